// Command testreport reads the events of `go test -json` and writes what a person wants to know: a line per package as
// it ends, the output of each test that failed, and the sums in the last line. A skipped test counts as failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of `go test -json`; see `go doc cmd/test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output
	Test        string
	Output      string
	Elapsed     float64 // seconds
	FailedBuild string  // the ImportPath whose build failed
}

// report gathers what the events say.
type report struct {
	out            io.Writer
	passed, failed int
	output         map[string][]string // by package and test, and by ImportPath of a build
	failures       map[string]int      // failed tests by package
	tests          map[string]int      // tests that ended, by package
}

func main() {
	r := &report{out: os.Stdout, output: map[string][]string{}, failures: map[string]int{}, tests: map[string]int{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(2)
	}
	fmt.Fprintf(r.out, "\n%d passed, %d failed\n", r.passed, r.failed)
	if r.failed > 0 || r.passed == 0 {
		os.Exit(1)
	}
}

// read takes all events. What is not JSON (the go command's own words) is passed on.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
				r.take(e)
			} else {
				fmt.Fprint(r.out, line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		r.output[e.ImportPath] = append(r.output[e.ImportPath], e.Output)
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packageEnds(e)
		} else {
			r.testEnds(e, key)
		}
		delete(r.output, key)
	}
}

func (r *report) testEnds(e event, key string) {
	r.tests[e.Package]++
	if e.Action == "pass" {
		r.passed++
		return
	}
	r.failed++
	r.failures[e.Package]++
	word := "FAILED"
	if e.Action == "skip" {
		word = "SKIPPED (not allowed)"
	}
	fmt.Fprintf(r.out, "\n%s  %s  %s\n", word, e.Package, e.Test)
	r.quote(r.output[key])
}

func (r *report) packageEnds(e event) {
	switch {
	case e.Action == "skip": // no test files
	case e.Action == "pass":
		fmt.Fprintf(r.out, "ok      %s  %d tests, %.1f s\n", e.Package, r.tests[e.Package], e.Elapsed)
	default:
		fmt.Fprintf(r.out, "FAILED  %s  %.1f s\n", e.Package, e.Elapsed)
		if r.failures[e.Package] == 0 { // it did not build, panicked outside a test, or ran out of time
			r.failed++
			r.quote(r.output[e.FailedBuild])
			r.quote(r.unfinished(e.Package))
		}
	}
}

// unfinished is the output of a package's tests that never ended, and its own.
func (r *report) unfinished(pkg string) []string {
	var keys, lines []string
	for key := range r.output {
		if strings.HasPrefix(key, pkg+" ") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		lines = append(lines, r.output[key]...)
	}
	return lines
}

// quote writes output indented, without the go command's own progress lines.
func (r *report) quote(lines []string) {
	for _, line := range lines {
		word := strings.TrimSpace(line)
		if word == "" || strings.HasPrefix(word, "=== ") {
			continue
		}
		fmt.Fprintf(r.out, "    %s\n", strings.TrimRight(line, "\n"))
	}
}
