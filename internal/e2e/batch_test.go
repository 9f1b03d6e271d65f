package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"sluice/internal/job"
	"sluice/internal/testenv"
)

// Four changes share their system test, and the third makes it fail: three runs
// find it, the three others merge, and what is blamed is the third alone.
func TestABatchWithACulprit(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none", gate: "build, publish, systest", batch: ", batch: {size: 4}", plainBlame: true})
	script := filepath.Join(s.dir, "greet.sh")
	write(t, script, "#!/bin/sh\ntrue\n")
	s.opt.more = fmt.Sprintf("scenarios:\n  - {name: greet, nodes: [{name: one}], script: %s}\n", script)
	names := []string{"aa", "bb", "cc", "dd"}
	for _, name := range names {
		s.project(name)
	}
	s.serve()
	culprit := func(a *attempt) bool { // its packages are there, whoever's system test it is
		for _, r := range a.spec.Repositories {
			if one[int](s, `SELECT count(*) FROM buildsets b, jsonb_array_elements(b.packages) p WHERE 'buildset-' || b.id = $1 AND p->>'package' = 'cc'`, r.Name) > 0 {
				return true
			}
		}
		return false
	}
	s.worker.rule(func(a *attempt) *job.Result {
		if a.spec.Stage != job.StageSystest || !culprit(a) {
			return nil
		}
		res := failed("greet.sh:1: no greeting")
		res.Trace = a.made.Trace
		return &res
	})
	release := s.worker.hold("build aa")
	var all []*testenv.Pushed
	for _, name := range names {
		c := s.good(name)
		s.g.Approve(t, c.Number)
		s.inQueue(c)
		all = append(all, c)
	}
	s.until("the others are built", func() string {
		n := one[int](s, `SELECT count(*) FROM jobs WHERE stage = 'publish' AND state = 'passed'`)
		return missing(n == 3, "%d are", n)
	})
	if n := len(s.worker.runs(job.StageSystest, "greet")); n > 0 {
		t.Errorf("%d system tests before the first is built", n)
	}
	release()
	s.voted(all[2], -2)
	s.told(all[2], "systest greet juno/debian-12 amd64", "no greeting")
	s.merged(all[0], all[1], all[3])
	s.empty()

	var got []string
	for _, r := range s.worker.runs(job.StageSystest, "greet") {
		got = append(got, fmt.Sprintf("%s %s", one[string](s, `SELECT packages->0->>'package' FROM buildsets WHERE id = $1`, r.Buildset), r.Outcome))
	}
	want := []string{"dd failed", "bb passed", "cc failed", "dd passed"} // the four, the first two, the third, and the fourth on the new base
	if !slices.Equal(got, want) {
		t.Errorf("system tests: %v, want %v", got, want)
	}
	for _, name := range names {
		if n := len(s.worker.runs(job.StageBuild, name)); n != 1 {
			t.Errorf("%s was built %d times", name, n)
		}
	}
	for i, name := range names {
		if _, ok := s.released(name); ok != (i != 2) {
			t.Errorf("%s is released: %v", name, ok)
		}
	}
}

// With lanes too, what stands on one another shares its system test, and what
// nothing ahead can affect is tested and merges without waiting for that.
func TestABatchIsOfOneLane(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none", gate: "build, publish, systest", window: withLanes, batch: ", batch: {size: 4}"})
	script := filepath.Join(s.dir, "greet.sh")
	write(t, script, "#!/bin/sh\ntrue\n")
	s.opt.more = fmt.Sprintf("scenarios:\n  - {name: greet, nodes: [{name: one}], script: %s}\n", script)
	s.project("liba")
	s.project("other")
	s.projectWith("app", dependsOn("app", "liba"))
	s.serve()
	release := s.worker.hold("build liba")
	lib, app, other := s.good("liba"), s.good("app"), s.good("other")
	for _, c := range []*testenv.Pushed{lib, app, other} {
		s.g.Approve(t, c.Number)
		s.inQueue(c)
	}
	s.merged(other)
	release()
	s.merged(lib, app)
	s.empty()
	var got []string
	for _, r := range s.worker.runs(job.StageSystest, "greet") {
		got = append(got, fmt.Sprintf("%s %s", one[string](s, `SELECT packages->0->>'package' FROM buildsets WHERE id = $1`, r.Buildset), r.Outcome))
	}
	if want := []string{"other passed", "app passed"}; !slices.Equal(got, want) {
		t.Errorf("system tests: %v, want %v", got, want)
	}
}
