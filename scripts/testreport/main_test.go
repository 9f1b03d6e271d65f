package main

import (
	"strings"
	"testing"
)

func run(t *testing.T, events string) (*report, string) {
	t.Helper()
	var out strings.Builder
	r := &report{out: &out, output: map[string][]string{}, failures: map[string]int{}, tests: map[string]int{}}
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return r, out.String()
}

func TestReport(t *testing.T) {
	tests := []struct {
		name, events   string
		passed, failed int
		says           string
	}{
		{"a pass", `{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Elapsed":1.5}`, 1, 0, "ok      p  1 tests, 1.5 s"},
		{"a failure with its words", `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"  a_test.go:7: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"fail","Package":"p","Elapsed":1}`, 0, 1, "a_test.go:7: wrong"},
		{"a skip is a failure", `{"Action":"skip","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p"}`, 0, 1, "SKIPPED (not allowed)  p  TestA"},
		{"no test files", `{"Action":"skip","Package":"p"}`, 0, 0, ""},
		{"a build that fails", `{"ImportPath":"p [p.test]","Action":"build-output","Output":"p/a.go:3:1: syntax error\n"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}`, 0, 1, "p/a.go:3:1: syntax error"},
		{"a panic in the middle", `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}`, 0, 1, "panic: no"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, out := run(t, test.events)
			if r.passed != test.passed || r.failed != test.failed || !strings.Contains(out, test.says) {
				t.Errorf("%d passed, %d failed, and it says:\n%s", r.passed, r.failed, out)
			}
		})
	}
}
