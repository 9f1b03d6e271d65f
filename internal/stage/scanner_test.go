package stage

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scan feeds a log to the finders, as a job does.
func scan(text string) scanned {
	l := NewLog(&bytes.Buffer{}, 0, time.Now)
	files := map[string]bool{}
	for _, f := range []string{"src/main.c", "src/link.c", "src/Makefile", "Makefile", "py/helper.py", "py/setup.py", "py/bad.py", "py/test_it.py", "meson.build", "debian/control", "debian/rules", "debian/changelog", "x.spec"} {
		files[f] = true
	}
	l.scan.sources = sourceMap{base: "/build/c", files: files, alias: map[string]string{"spec": "x.spec"}}
	l.Write([]byte(text))
	return l.found()
}

func describe(s scanned) string {
	var b strings.Builder
	for _, f := range s.Findings {
		fmt.Fprintf(&b, "%s [%s] log line %d, excerpt of %d\n", f, f.Rule, f.LogLine, len(f.Excerpt))
	}
	fmt.Fprintf(&b, "outside: %q\nfetch: %q\nlast: %q\n", s.Outside, s.Fetch, s.Last)
	return b.String()
}

// The logs are of the real tools; the golden files are what is found in them.
func TestFinders(t *testing.T) {
	logs, err := filepath.Glob("testdata/logs/*.log")
	if err != nil || len(logs) < 20 {
		t.Fatal(len(logs), err)
	}
	for _, log := range logs {
		t.Run(strings.TrimSuffix(filepath.Base(log), ".log"), func(t *testing.T) {
			text, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			got := describe(scan(string(text)))
			golden := strings.TrimSuffix(log, ".log") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestLongLogIsCut(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(&out, 64<<10, time.Now)
	l.Step("build")
	line := strings.Repeat("x", 999) + "\n"
	for range 100_000 { // 100 MB
		l.Write([]byte(line))
	}
	l.Write([]byte("main.c:3:1: error: the true cause\nthe end"))
	found := l.found()
	steps, err := l.Close()
	if err != nil || len(steps) != 1 || steps[0].Elapsed <= 0 {
		t.Errorf("steps %v, %v", steps, err)
	}
	text := out.String()
	if len(text) > 80<<10 {
		t.Errorf("the log has %d bytes", len(text))
	}
	if !strings.Contains(text, "lines (") || !strings.HasSuffix(text, "the end\n") {
		t.Errorf("no notice, or no end: %s", text[len(text)-300:])
	}
	if f := found.Findings; len(f) != 1 || f[0].String() != "main.c:3: the true cause" {
		t.Errorf("findings %v", f)
	}
}

func TestLogLinesAreTheLogs(t *testing.T) {
	var out bytes.Buffer
	l := NewLog(&out, 0, time.Now)
	l.Step("one")
	l.Write([]byte("a\nb"))
	l.Write([]byte("c\nfoo.c:1:2: error: wrong\n"))
	found := l.found()
	lines := strings.Split(out.String(), "\n")
	if n := found.Findings[0].LogLine; lines[n-1] != "foo.c:1:2: error: wrong" {
		t.Errorf("line %d is %q", n, lines[n-1])
	}
}

func TestTransactionTable(t *testing.T) {
	text, err := os.ReadFile("testdata/dnf-plan.txt")
	if err != nil {
		t.Fatal(err)
	}
	plan, ok := parseTransaction(string(text))
	if !ok || len(plan) != 6 || plan[0] != (planned{"bzip2.x86_64", "1.0.8-5+b1", "distro"}) || plan[5].Name != "libgcc.x86_64" {
		t.Errorf("%v %v", plan, ok)
	}
}

func FuzzScanner(f *testing.F) {
	logs, err := filepath.Glob("testdata/logs/*.log")
	if err != nil {
		f.Fatal(err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := scan(text)
		lines := strings.Count(text, "\n") + 1
		for _, found := range s.Findings {
			if found.Message == "" || strings.ContainsAny(found.Message, "\n\r\x00\x1b") || len(found.Message) > 600 {
				t.Errorf("message %q", found.Message)
			}
			if found.LogLine < 1 || found.LogLine > lines {
				t.Errorf("log line %d of %d", found.LogLine, lines)
			}
			if len(found.Excerpt) > 20 {
				t.Errorf("an excerpt of %d lines", len(found.Excerpt))
			}
		}
	})
}

func FuzzReports(f *testing.F) {
	f.Add(`{"groups":[{"input_files":[{"path":"x_1.dsc","hints":[{"tag":"t","note":"c","visibility":"error","pointer":{"item":{"name":"debian/control"},"line_position":3}}]}]}]}`)
	f.Add("hello.x86_64: E: no-binary\nhello.spec:3: W: mixed\n")
	f.Fuzz(func(t *testing.T, text string) {
		parseLintian([]byte(text))
		parseRpmlint(text)
		parseTransaction(text)
		parseOn(strings.NewReader(text))
		seriesOf([]byte(text))
		for _, l := range messageLines(text) {
			if strings.ContainsAny(l, "\n\r\x00") {
				t.Errorf("line %q", l)
			}
		}
	})
}
