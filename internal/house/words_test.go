package house

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"
)

// word is something that no committed file may hold. The patterns are written so that they do not match themselves.
type word struct {
	pattern *regexp.Regexp
	why     string
	only    string // a regular expression of the files it is looked for in; "" is all
}

var forbidden = []word{
	{regexp.MustCompile(`(^|[^\w.])/w[o]rk/`), "a path of one machine", ""},
	{regexp.MustCompile(`\.\./sha[r]ed`), "a path of one machine", ""},
	{regexp.MustCompile(`\b(proxy\.gola[n]g\.org|sum\.gola[n]g\.org|repo1?\.mav[e]n\.(apache\.)?org|files\.pythonhos[t]ed\.org|py[p]i\.org|registry\.npm[j]s\.org)\b`),
		"a registry's host: the tools' own configuration knows where to fetch", ""},
	{regexp.MustCompile(`\b(t|b|f|tb)\.Sk[i]p(f|Now)?\(`), "a skipped test: make it run, or shrink it", `\.go$`},
	{regexp.MustCompile(`\b(TO[D]O|FIX[M]E|X[X]X)\b`), "left for later: do it, or say it in the issue", `\.(go|ts|tsx|sql|sh|css|html)$|Makefile$|Dockerfile$`},
}

// generated are files that a program wrote.
var generated = regexp.MustCompile(`(^|/)(go\.sum|dist/.*|.*\.gen\.go)$`)

// maxLines is where a Go file is refused: two ideas have become one file.
const maxLines = 600

// committed lists the files of the checkout that git holds or would add.
func committed(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	return strings.Split(strings.Trim(string(out), "\x00"), "\x00")
}

func TestWordsThatNoFileMayHold(t *testing.T) {
	for _, name := range committed(t) {
		if generated.MatchString(name) {
			continue
		}
		text, err := os.ReadFile(path.Join("../..", name))
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			continue // deleted and not yet committed, a directory behind a link, or not text
		}
		for _, w := range forbidden {
			if w.only != "" && !regexp.MustCompile(w.only).MatchString(name) {
				continue
			}
			for _, at := range w.pattern.FindAllIndex(text, -1) {
				line := bytes.Count(text[:at[0]], []byte("\n")) + 1
				t.Errorf("%s:%d: %q: %s", name, line, text[at[0]:at[1]], w.why)
			}
		}
		if lines := bytes.Count(text, []byte("\n")); path.Ext(name) == ".go" && lines > maxLines {
			t.Errorf("%s has %d lines, and %d is the most: split it by idea", name, lines, maxLines)
		}
	}
}

// The patterns find what they are for.
func TestForbiddenPatternsMatch(t *testing.T) {
	examples := []string{"see /wo" + "rk/main", "cp ../sha" + "red/x", "https://proxy.gol" + "ang.org", "\tt.Sk" + "ip(\"no\")", "// TO" + "DO later"}
	for i, example := range examples {
		if !forbidden[i].pattern.MatchString(example) {
			t.Errorf("%q is not found by %s", example, forbidden[i].pattern)
		}
	}
}
