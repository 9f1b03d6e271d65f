package plan

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/internal/job"
	"sluice/internal/record"
)

func subject(pkg, target string, archs ...Architecture) Subject {
	return Subject{
		Subject: record.Subject{Package: pkg, Target: target}, Target: job.Target{Name: target, Format: job.DEB},
		Architectures: archs, Version: job.Version{Full: "1.0-1"}, Released: map[string]string{pkg: "0.9-1"},
	}
}

var amd64, arm64 = Architecture{Name: "amd64", Voting: true, Primary: true}, Architecture{Name: "arm64"}

func request(subjects ...Subject) Request {
	rules := map[job.Stage]Rules{}
	for _, s := range job.Stages {
		rules[s] = Rules{Voting: true, MaxAttempts: 3}
	}
	return Request{
		Subjects: subjects, Rules: rules, Roots: func(job.Target, string) int64 { return 77 },
		Stages: []job.Stage{job.StageBuild, job.StagePublish, job.StageLint, job.StageInstall, job.StageUpgrade, job.StageSystest},
	}
}

func byName(jobs []record.NewJob) map[string]record.NewJob {
	m := map[string]record.NewJob{}
	for _, j := range jobs {
		m[j.Name] = j
	}
	return m
}

// Two packages on one target are built, linted and installed apart, published
// and system-tested together.
func TestJobsOfTwoPackages(t *testing.T) {
	one, two := subject("one", "juno/deb", amd64, arm64), subject("two", "juno/deb", amd64)
	one.NeedsAhead = []int64{5, 4, 5}
	one.Scenarios = []job.Scenario{{Name: "greet"}}
	two.Scenarios = []job.Scenario{{Name: "greet"}}
	two.Released = nil
	jobs := byName(Jobs(request(one, two)))
	want := []string{
		"build one juno/deb amd64", "build one juno/deb arm64", "build two juno/deb amd64", "lint one juno/deb amd64", "lint two juno/deb amd64",
		"publish all juno/deb amd64", "install one juno/deb amd64", "install one juno/deb arm64", "install two juno/deb amd64",
		"upgrade one juno/deb amd64", "upgrade one juno/deb arm64", "systest greet juno/deb amd64",
	}
	for _, n := range want {
		if _, ok := jobs[n]; !ok {
			t.Errorf("no job %q", n)
		}
	}
	if len(jobs) != len(want) {
		t.Errorf("%d jobs, not %d: two was never released and cannot be upgraded", len(jobs), len(want))
	}
	if p := jobs["publish all juno/deb amd64"]; len(p.Needs) != 3 {
		t.Errorf("publish needs %v", p.Needs)
	}
	if jobs["build one juno/deb arm64"].Voting || !jobs["build one juno/deb amd64"].Voting {
		t.Error("only the voting architecture votes")
	}
	if s := jobs["systest greet juno/deb amd64"]; !slices.Equal(s.NeedsAhead, []int64{4, 5}) || !slices.Contains(s.Labels, "nspawn") {
		t.Errorf("systest: %+v", s)
	}
}

// Whatever the stages and subjects, names are unique and a job stands after all
// that it needs.
func TestJobsStandAfterTheirNeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var subjects []Subject
		for _, target := range []string{"a/x", "b/y"} {
			for _, pkg := range []string{"p", "q"} {
				if rapid.Bool().Draw(t, "subject") {
					subjects = append(subjects, subject(pkg, target, amd64))
				}
			}
		}
		r := request(subjects...)
		r.Stages = slices.DeleteFunc(r.Stages, func(job.Stage) bool { return rapid.Bool().Draw(t, "without") })
		seen := map[string]bool{}
		for _, j := range Jobs(r) {
			if seen[j.Name] {
				t.Fatalf("%s twice", j.Name)
			}
			seen[j.Name] = true
			if !slices.Contains(r.Stages, j.Stage) {
				t.Fatalf("%s was not asked for", j.Name)
			}
			for _, n := range j.Needs {
				if !seen[n] {
					t.Fatalf("%s needs %s, which is not before it", j.Name, n)
				}
			}
		}
	})
}

func spec(change func(*job.Spec)) job.Spec {
	s := job.Spec{
		Job: 1, Attempt: 1, Lease: "l", Buildset: 3, Stage: job.StageBuild, Name: "build one",
		Source:       &job.Source{Archive: "a", Tree: "t", Message: "m", Maintainer: "x", Date: time.Unix(9, 0)},
		Version:      &job.Version{Full: "1"},
		Root:         &job.Root{Name: "r", Archive: "z", Digest: "d"},
		Repositories: []job.Repository{{Name: "buildset-3", Path: "/test/3/"}},
		Limits:       job.Limits{Timeout: time.Hour},
	}
	change(&s)
	return s
}

// The key holds what a job depends on, and nothing of its place in the world.
func TestStaticKey(t *testing.T) {
	key := func(change func(*job.Spec)) string {
		k, err := StaticKey(spec(change))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	same := key(func(*job.Spec) {})
	for what, change := range map[string]func(*job.Spec){
		"place":        func(s *job.Spec) { s.Job, s.Attempt, s.Lease, s.Buildset = 9, 9, "x", 9 },
		"repositories": func(s *job.Spec) { s.Repositories = nil },
		"limits":       func(s *job.Spec) { s.Limits.Memory = 7 },
		"root archive": func(s *job.Spec) { s.Root.Archive = "other" },
	} {
		if key(change) != same {
			t.Errorf("the %s is in the key", what)
		}
	}
	for what, change := range map[string]func(*job.Spec){
		"source":  func(s *job.Spec) { s.Source.Archive = "b" },
		"version": func(s *job.Spec) { s.Version.Full = "2" },
		"root":    func(s *job.Spec) { s.Root.Digest = "e" },
		"message": func(s *job.Spec) { s.Source.Message = "n" },
		"stage":   func(s *job.Spec) { s.Stage = job.StageLint },
		"package": func(s *job.Spec) { s.Packages = []job.File{{Name: "f", Digest: "1"}} },
	} {
		if key(change) == same {
			t.Errorf("the %s is not in the key", what)
		}
	}
	lint := func(message string) string {
		return key(func(s *job.Spec) { s.Stage, s.Source.Message = job.StageLint, message })
	}
	if lint("a") != lint("b") {
		t.Error("only a build reads the message")
	}
	if spec(func(*job.Spec) {}).Source.Message != "m" {
		t.Error("the spec was changed")
	}
}

// Jobs are kin where one says how the other would do on the same tree: what the
// package under test is built as, and what came before it, is no matter.
func TestKin(t *testing.T) {
	kin := func(change func(*job.Spec)) string {
		k, err := Kin(spec(change))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	same := kin(func(*job.Spec) {})
	for what, change := range map[string]func(*job.Spec){
		"version":  func(s *job.Spec) { s.Version.Full = "2" },
		"message":  func(s *job.Spec) { s.Source.Message, s.Source.Maintainer, s.Source.Date = "n", "y", time.Unix(1, 0) },
		"archive":  func(s *job.Spec) { s.Source.Archive = "b" },
		"packages": func(s *job.Spec) { s.Packages = []job.File{{Name: "f", Digest: "1"}} },
		"released": func(s *job.Spec) { s.Released, s.Known = map[string]string{"a": "1"}, []job.Finding{{}} },
	} {
		if kin(change) != same {
			t.Errorf("another %s makes strangers of them", what)
		}
	}
	for what, change := range map[string]func(*job.Spec){
		"tree":     func(s *job.Spec) { s.Source.Tree = "u" },
		"root":     func(s *job.Spec) { s.Root.Digest = "e" },
		"scripts":  func(s *job.Spec) { s.Scripts = []string{"test"} },
		"scenario": func(s *job.Spec) { s.Scenario = &job.Scenario{Name: "two"} },
		"stage":    func(s *job.Spec) { s.Stage = job.StageLint },
	} {
		if kin(change) == same {
			t.Errorf("they are kin with another %s", what)
		}
	}
}
