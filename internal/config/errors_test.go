package config_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"sluice/internal/config"
)

var update = flag.Bool("update", false, "write the golden outputs anew")

// minimal is put before each site file of testdata/errors that begins with
// "# + minimal", so that a case holds only what it is about.
func minimal(t *testing.T, except string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docs, "examples", "minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, section := range strings.Split(string(text), "\n\n") {
		section = section[max(0, strings.LastIndex("\n"+section, "\ngerrit:")):]
		if key, _, _ := strings.Cut(section, ":"); !strings.Contains("\n"+except, "\n"+strings.TrimSpace(key)+":") {
			out = append(out, section)
		}
	}
	return strings.Join(out, "\n")
}

// Each file of testdata/errors is an archive of pairs: NAME.yaml, and NAME.txt
// with all that is said about it. A name that begins with "package" is a
// package file, others are site files.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases (%v)", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden := map[string]string{}
		for _, f := range archive.Files {
			golden[f.Name] = string(f.Data)
		}
		var out txtar.Archive
		out.Comment = archive.Comment
		for _, f := range archive.Files {
			name, isInput := strings.CutSuffix(f.Name, ".yaml")
			if !isInput {
				continue
			}
			got := said(t, f.Name, string(f.Data))
			out.Files = append(out.Files, f, txtar.File{Name: name + ".txt", Data: []byte(got)})
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				if diff := cmp.Diff(golden[name+".txt"], got); diff != "" && !*update {
					t.Errorf("what is said (-want +got):\n%s", diff)
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(&out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// said is all that is said about a file, errors and then warnings.
func said(t *testing.T, name, text string) string {
	t.Helper()
	var warnings []config.Warning
	var err error
	if strings.HasPrefix(name, "package") {
		var pkg *config.Package
		pkg, err = config.ParsePackage(name, []byte(text))
		if err == nil {
			site := load(t, "site.yaml")
			_, err = config.Merge(site, "main", "packages/greetd", "main", pkg)
			if err != nil {
				err = errors.New(strings.ReplaceAll(err.Error(), site.Name(), "site.yaml"))
			}
		}
	} else {
		if rest, ok := strings.CutPrefix(text, "# + minimal\n"); ok {
			// The minimal file follows, so that lines count from the case's own.
			text = rest + minimal(t, rest)
		}
		_, warnings, err = config.Parse(name, []byte(text))
	}
	var out strings.Builder
	if err != nil {
		out.WriteString(err.Error() + "\n")
	}
	for _, w := range warnings {
		out.WriteString("warning: " + w.String() + "\n")
	}
	return out.String()
}

// However a file is broken, a secret that stands in it is not shown.
func TestErrorsHideSecrets(t *testing.T) {
	const secret = "hunter2"
	for _, line := range []string{
		"database: hunter2\n", "database: {value: hunter2, file: /x}\n", "database: {valeu: hunter2}\n",
		"database: [hunter2]\n", "database: {value: hunter2\n", "database: {value: {x: hunter2}}\n",
		"database:\n  value: hunter2\n  file: 3\n", "database: {value: hunter2}\ndatabase: {value: hunter2}\n",
		"database: {value: hunter2}}\n", "\tdatabase: {value: hunter2}\n", "database: |\n  hunter2\n  hunter2\n",
		"widnow: 1\ndatabase: {value: hunter2} \n", "workers: [{name: W, token: {value: hunter2}}]\n",
		"workers: [{name: w, token: hunter2, token: hunter2}]\n", "x: &a hunter2\ndatabase: *a\n",
	} {
		_, warnings, err := config.Parse("site.yaml", []byte(line))
		if err == nil {
			t.Errorf("%q is taken", line)
			continue
		}
		text := err.Error()
		for _, w := range warnings {
			text += "\n" + w.String()
		}
		if strings.Contains(text, secret) {
			t.Errorf("%q: the secret is shown:\n%s", line, text)
		}
	}
}

// A wrong line far to the right, after letters wider than a byte, or behind a
// tab: the caret stands below what is meant.
func TestCaretStandsBelow(t *testing.T) {
	for _, text := range []string{
		"package: é-ü\nversion: derivd\n", "build: {parallel: é}\n",
		"scenarios: [{name: " + strings.Repeat("é", 300) + ", script: \"../x\", nodes: [{name: a}]}]\n",
	} {
		_, err := config.ParsePackage("p", []byte(text))
		var all *config.Error
		if !errors.As(err, &all) {
			t.Fatalf("%q: %v", text, err)
		}
		for _, p := range all.Problems {
			line := []rune(strings.Split(text, "\n")[p.Pos.Line-1])
			if got, want := []rune(p.Source)[p.Caret-1], line[p.Pos.Column-1]; got != want {
				t.Errorf("%s\nthe caret is below %q, and means %q", p, got, want)
			}
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	text := bytes.Repeat([]byte("- x\n"), 10_000)
	_, err := config.ParsePackage("p", append([]byte("build:\n"), bytes.ReplaceAll(text, []byte("- "), []byte("  - "))...))
	if err == nil || len(err.Error()) > 64<<10 {
		t.Errorf("10,000 wrong lines give %d bytes of error", len(err.Error()))
	}
}
