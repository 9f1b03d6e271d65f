package e2e

import (
	"strings"
	"testing"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/testenv"
)

// rechecks counts the checks of a change that were made again for a merge.
func (s *site) rechecks(c *testenv.Pushed) int {
	return one[int](s, `SELECT count(*) FROM buildsets WHERE recheck AND queue = 'check/' || $1`, id(c))
}

// settled waits until a change's check has come to a result, and no other is asked for.
func (s *site) settled(c *testenv.Pushed, want gate.ReportKind) {
	s.t.Helper()
	s.until("the check of "+number(c)+" begins", func() string {
		n := one[int](s, `SELECT count(*) FROM queues WHERE name = 'check/' || $1`, id(c))
		return missing(n == 1, "it is not known")
	})
	s.until("the check of "+number(c)+" says "+string(want), func() string {
		st, facts := s.facts("check/" + id(c))
		done := st.Done[gate.ChangeID(id(c))]
		pending := one[int](s, `SELECT count(*) FROM moved`)
		return missing(pending == 0 && len(st.Items) == 0 && done.Result == want && done.Retest == facts.Changes[gate.ChangeID(id(c))].Retest, "%+v, %d pending", done, pending)
	})
}

// On a merge, every open change that touches what merged is checked again on the
// new tip: a conflict is told at once; one that passes as before is not told
// again, and what its jobs read has not changed is not run again.
func TestRetestOnMerge(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "build, publish, install"})
	s.project("hello")
	s.projectWith("user", dependsOn("user", "hello"))
	s.project("other")
	s.serve()
	line := func(n string) map[string]string {
		return map[string]string{"src/hello.c": "int main(void)\n{\n\treturn " + n + ";\n}\n"}
	}
	first := s.propose("hello", "Return three", line("3"))
	clash := s.propose("hello", "Return four", line("4"))
	user := s.propose("user", "Use it", map[string]string{"doc": "how\n"})
	other := s.propose("other", "Another", map[string]string{"doc": "else\n"})
	for _, c := range []*testenv.Pushed{first, clash, user, other} {
		s.voted(c, 1)
		s.settled(c, gate.ReportPassed)
	}
	before := len(s.worker.runs(job.StageBuild, "user"))
	s.vouch(first)
	s.merged(first)
	s.told(clash, "Check failed: the change does not merge", "src/hello.c")
	s.voted(clash, -1)
	s.until("the check of "+number(user)+" is made on the published package", func() string {
		return missing(s.rechecks(user) > 0 && one[int](s, `SELECT count(*) FROM moved`) == 0, "%d re-checks", s.rechecks(user))
	})
	s.settled(user, gate.ReportPassed)
	s.empty()
	if n := len(s.worker.runs(job.StageBuild, "user")) - before; n != 1 {
		t.Errorf("what reads the new package was built %d times more", n)
	}
	if n := strings.Count(strings.Join(s.said(user), "\n"), "Check passed"); n != 1 {
		t.Errorf("that it passes was told %d times", n)
	}
	if n := s.rechecks(other); n != 0 {
		t.Errorf("a change that has nothing to do with it was checked %d times more", n)
	}
	if p := one[int](s, `SELECT min(priority) FROM jobs j JOIN buildsets b ON b.id = j.buildset WHERE b.recheck`); p < 200 {
		t.Errorf("a re-check has the priority %d: it comes before what people wait for", p)
	}

	// A merge past the gate counts too; and that the conflict is gone is told.
	undo := s.propose("hello", "Return zero", line("0"))
	s.known(undo)
	s.command("dequeue", undo)
	s.byHand(undo)
	s.voted(clash, 1)
}

// Ten merges in a row ask for one new check of what is open, or a few: not for ten.
func TestRetestAfterAStorm(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none", gate: "none"}, "hello")
	waiting := s.propose("hello", "Wait", map[string]string{"waiting": "w\n"})
	s.settled(waiting, gate.ReportPassed)
	var all []*testenv.Pushed
	for _, name := range strings.Split("abcdefghij", "") {
		all = append(all, s.propose("hello", "Add "+name, map[string]string{name: name + "\n"}))
	}
	s.vouch(all...)
	s.merged(all...)
	s.until("it is checked again", func() string { return missing(s.rechecks(waiting) > 0, "not yet") })
	s.settled(waiting, gate.ReportPassed)
	if n := s.rechecks(waiting); n > 5 {
		t.Errorf("checked %d times more for ten merges", n)
	}
	s.empty()
}

// A site can have only those checked again that could enter the gate, or none.
func TestRetestBySiteRules(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string][2]bool{"none": {false, false}, "approved": {false, true}} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			s := start(t, options{check: "none", gate: "none", retest: rule}, "hello", "far")
			blocker := s.good("far")
			open := s.propose("hello", "Nobody has looked", map[string]string{"open": "o\n"})
			ready := s.using("hello", blocker.ChangeID)
			s.settled(open, gate.ReportPassed)
			s.settled(ready, gate.ReportPassed)
			s.vouch(ready)
			s.says(ready, "needs "+number(blocker))
			merges := s.propose("hello", "Merge", map[string]string{"m": "m\n"})
			s.vouch(merges)
			s.merged(merges)
			s.empty()
			s.until("what has moved is dealt with", func() string {
				n := one[int](s, `SELECT count(*) FROM moved`)
				return missing(n == 0, "%d rows", n)
			})
			s.settled(open, gate.ReportPassed)
			s.settled(ready, gate.ReportPassed)
			if got := [2]bool{s.rechecks(open) > 0, s.rechecks(ready) > 0}; got != want {
				t.Errorf("checked again: %v, want %v", got, want)
			}
		})
	}
}
