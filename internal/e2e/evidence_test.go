package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/testenv"
)

// breaks lets a stage of a package fail on every tree that does not hold a file.
func (w *worker) breaks(stage job.Stage, pkg, unless string) {
	w.rule(func(a *attempt) *job.Result {
		if _, mended := a.tree[unless]; mended || a.spec.Stage != stage || a.spec.Package != pkg {
			return nil
		}
		r := failed("src/hello.c:1: error: 'linux/unistd.h' is not there any more")
		return &r
	})
}

// red waits until a change waits with a red base.
func (s *site) red(c *testenv.Pushed) {
	s.t.Helper()
	s.until(fmt.Sprintf("change %d waits with the branch", c.Number), func() string {
		st, facts := s.facts("main")
		facts.Policy.Evidence = true
		for _, p := range gate.Order(st, facts) {
			if p.Changes[0].ID == gate.ChangeID(id(c)) {
				return missing(p.State == gate.PlaceRed, "it is %s: %s", p.State, p.Word)
			}
		}
		return "it is not in the queue\n" + strings.Join(s.said(c), "\n---\n")
	})
}

// baseRuns counts the runs on a base so far.
func (s *site) baseRuns() int {
	return countOf(s, `SELECT count(*) FROM jobs WHERE base_of IS NOT NULL`)
}

// The branch itself does not build any more. Two innocent changes wait, blamed
// for nothing; people are told once, and the base is built once. A change that
// mends it passes them by and merges, and then both do.
func TestARedBranchBlamesNobody(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	s.worker.breaks(job.StageBuild, "hello", "mended")
	one := s.propose("hello", "Add a", map[string]string{"a": "a\n"})
	s.g.Approve(t, one.Number)
	comment := s.told(one, "Nobody is blamed", "build hello juno/debian-12 amd64 fails on the branch itself since 20", "it fails on the branch itself too http")
	if strings.Contains(comment, "last passed") {
		t.Errorf("it never passed:\n%s", comment)
	}
	s.red(one)
	two := s.propose("hello", "Add b", map[string]string{"b": "b\n"})
	s.g.Approve(t, two.Number)
	s.red(two)
	for _, said := range s.said(two) {
		if strings.Contains(said, "blamed") {
			t.Errorf("one message for one red job, not one for each change:\n%s", said)
		}
	}
	if n := s.baseRuns(); n != 1 {
		t.Errorf("the base was built %d times", n)
	}
	st, facts := s.facts("main")
	facts.Policy.Evidence = true
	why := fmt.Sprintf("%+v", gate.Explain(st, facts, gate.ChangeID(id(two))))
	for _, words := range []string{"fails on the branch itself since", "tried first", "blamed for nothing"} {
		if !strings.Contains(why, words) {
			t.Errorf("why says %s\nwant %q", why, words)
		}
	}
	fix := s.propose("hello", "Mend it", map[string]string{"mended": "yes\n"})
	s.g.Approve(t, fix.Number)
	s.merged(fix, one, two)
	s.empty()
	if order, want := s.landed(), id(fix)+" "+id(one)+" "+id(two); order != want {
		t.Errorf("landed in the order %s, not %s", order, want)
	}
	for _, c := range []*testenv.Pushed{one, two} {
		for _, said := range s.said(c) {
			if strings.Contains(said, "Gate failed") {
				t.Errorf("blamed:\n%s", said)
			}
		}
	}
}

// landed lists the changes that the gate merged, in order.
func (s *site) landed() string {
	return one[string](s, `SELECT string_agg(changes->0->>'id', ' ' ORDER BY landed_at) FROM buildsets WHERE landed_at IS NOT NULL`)
}

// What is released does not install any more, for a reason outside the branch.
// Who waits is tested again when something else has landed.
func TestARedReleaseWaitsForTheNextLanding(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello", "other")
	first := s.good("hello")
	s.g.Approve(t, first.Number)
	s.merged(first)
	s.empty()
	s.worker.breaks(job.StageInstall, "hello", "nothing")
	next := s.propose("hello", "Add a", map[string]string{"a": "a\n"})
	s.g.Approve(t, next.Number)
	// What passed when the first one landed would pass again by all that is known:
	// it convicts. So the root has to be another one than it had.
	s.told(next, "Gate failed", "it passes without this change")
	s.voted(next, -2)
	if n := s.baseRuns(); n != 0 {
		t.Errorf("%d runs on the base, though its result is known", n)
	}
	s.exec(`UPDATE jobs SET spec = jsonb_set(spec, '{root,digest}', '"another"') WHERE stage = 'install' AND state = 'passed'`)
	again := s.propose("hello", "Add b", map[string]string{"b": "b\n"})
	s.g.Approve(t, again.Number)
	s.red(again)
	s.told(again, "Nobody is blamed", "install hello", "(it last passed 20")
	if runs := s.worker.runs(job.StageInstall, "hello"); runs[len(runs)-1].Buildset != 0 {
		t.Errorf("nothing ran on the base: %+v", runs)
	}
	s.worker.mends()
	other := s.good("other")
	s.g.Approve(t, other.Number)
	s.merged(other, again)
	s.empty()
}

// mends takes all rules away.
func (w *worker) mends() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules = nil
}

// A package that was never released has no base to be compared with: its change
// is judged as usual. Where the branch itself does not build, a check says so.
func TestEvidenceInChecks(t *testing.T) {
	t.Parallel()
	s := start(t, options{}, "hello")
	s.worker.breaks(job.StageInstall, "hello", "nothing")
	fresh := s.good("hello")
	s.told(fresh, "Check failed", "the branch has no such job yet")
	s.voted(fresh, -1)
	s.worker.breaks(job.StageBuild, "hello", "mended")
	innocent := s.propose("hello", "Add a", map[string]string{"a": "a\n"})
	s.told(innocent, "nothing against this change", "build hello", "fails on the branch itself")
	s.voted(innocent, 0)
}

// What the branch itself asks for is not there any more: the solver blames
// nobody for that, the build decides, and the base is red.
func TestARedBranchIsExcusedBeforeTheBuild(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{apt: baseWithFoo})
	tree := files("hello", nil)
	tree["debian/control"] = needing("hello", "libfoo (>= 2)")
	s.projectWith("hello", tree)
	s.serve()
	s.worker.breaks(job.StageBuild, "hello", "mended")
	c := s.propose("hello", "Add a", map[string]string{"a": "a\n"})
	s.told(c, "nothing against this change", "build hello", "fails on the branch itself")
	s.voted(c, 0)
	guilty := s.propose("hello", "Ask for more", map[string]string{"debian/control": needing("hello", "libfoo (>= 3)")})
	s.told(guilty, "Check failed", "libfoo (>= 3)")
	s.voted(guilty, -1)
}

// Where a site asks for no evidence, the change answers for what fails.
func TestWithoutEvidence(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none", plainBlame: true}, "hello")
	s.worker.breaks(job.StageBuild, "hello", "mended")
	c := s.good("hello")
	s.g.Approve(t, c.Number)
	s.told(c, "Gate failed")
	s.voted(c, -2)
	s.empty()
	if n := s.baseRuns(); n != 0 {
		t.Errorf("%d runs on the base", n)
	}
}

// The change is abandoned while its base is being looked at: that is stopped.
func TestEvidenceThatNobodyWantsIsStopped(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	s.worker.breaks(job.StageBuild, "hello", "mended")
	enough := make(chan struct{})
	defer close(enough)
	s.worker.rule(func(a *attempt) *job.Result {
		if a.spec.Stage == job.StageBuild && a.spec.Buildset == 0 {
			<-enough
		}
		return nil
	})
	c := s.good("hello")
	s.g.Approve(t, c.Number)
	state := func() string {
		return one[string](s, `SELECT coalesce((SELECT state FROM jobs WHERE base_of IS NOT NULL), 'not there')`)
	}
	s.until("the base is built", func() string { return missing(state() == "running", "the run is %s", state()) })
	s.g.Act(t, c.Number, s.g.Maintainer, "abandon")
	s.empty()
	s.until("it is stopped", func() string { return missing(state() == "cancelled", "the run is %s", state()) })
}
