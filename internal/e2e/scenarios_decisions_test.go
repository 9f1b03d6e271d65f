package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/testenv"
)

// decisions: the gate's own rules, where Gerrit has a part in them.
var decisions = []scenario{
	{name: "conflict-that-goes", play: conflictThatGoes},
	{name: "window", play: windowMoves, window: "{start: 2, floor: 1, ceiling: 3}"},
	{name: "fail-fast", play: failFast},
	{name: "non-voting", play: nonVoting},
	{name: "mirror-away", play: mirrorAway},
	{name: "forced-in", play: forcedIn},
	{name: "dequeued-while-submitting", play: dequeuedWhileSubmitting},
	{name: "paused-while-submitting", play: pausedWhileSubmitting},
	{name: "all-fail", play: allFail},
	{name: "ten-at-once", play: tenAtOnce},
}

// What conflicts with a change that then fails was never wrong.
func conflictThatGoes(s *site) {
	names := s.packages("a", "b")
	name := names[1]
	head := s.good(names[0])
	release := s.worker.hold("install " + names[0])
	culprit := s.propose(name, "Return three, badly", map[string]string{"src/hello.c": "int main(void)\n{\n\treturn 3;\n}\n", "outcome": "build fail src/hello.c:3: error: three\n"})
	other := s.propose(name, "Return four", map[string]string{"src/hello.c": "int main(void)\n{\n\treturn 4;\n}\n"})
	keep := s.worker.hold("build " + name)
	s.approve(head, culprit, other)
	s.until("the conflict is known", func() string {
		n := one[int](s, `SELECT count(*) FROM buildsets WHERE state = 'conflict' AND queue = $1`, s.queue)
		return missing(n > 0, "it is not")
	})
	keep()
	release()
	s.merged(head, other)
	s.voted(culprit, -2)
	s.once(head, other)
	if got := strings.Join(s.said(other), "\n"); strings.Contains(got, "does not merge") {
		s.t.Errorf("the innocent was told:\n%s", got)
	}
}

// windowSize reads the queue's.
func (s *site) windowSize() int {
	s.t.Helper()
	st, _ := s.facts(s.queue)
	return st.Window
}

// A landing widens the window by one, up to its ceiling; a failure halves it, down to its floor (G7).
func windowMoves(s *site) {
	name := s.packages("a")[0]
	land := func(n int) {
		c := s.edit(name, fmt.Sprintf("f%d", n), "x\n")
		s.g.Approve(s.t, c.Number)
		s.merged(c)
		s.empty()
	}
	want := func(n int) {
		s.t.Helper()
		if got := s.windowSize(); got != n {
			s.t.Errorf("the window is %d, not %d", got, n)
		}
	}
	want(2)
	land(1)
	want(3)
	land(2)
	want(3)
	for _, n := range []int{1, 1} {
		c := s.bad(name)
		s.g.Approve(s.t, c.Number)
		s.voted(c, -2)
		s.empty()
		want(n)
	}
	release := s.worker.hold("install " + name)
	first, second := s.edit(name, "g1", "x\n"), s.edit(name, "g2", "x\n")
	s.approve(first, second)
	s.tested(first, 0)
	if n := s.buildsetsOf(second); n != 0 {
		s.t.Errorf("an item outside the window has %d buildsets", n)
	}
	release()
	s.merged(first, second)
	s.empty()
	want(3)
}

// The first job that fails ends the item's others (G8).
func failFast(s *site) {
	name := s.packages("a")[0]
	release := s.worker.hold("lint " + name)
	defer release()
	c := s.propose(name, "Do not install", map[string]string{"outcome": "install fail it does not install\n"})
	s.g.Approve(s.t, c.Number)
	s.voted(c, -2)
	s.told(c, "it does not install", "lint")
	if got := one[string](s, `SELECT j.state FROM jobs j JOIN buildsets b ON b.id = j.buildset WHERE b.queue = $1 AND stage = 'lint'`, s.queue); got != "cancelled" {
		s.t.Errorf("the other job is %s", got)
	}
}

// A job without a vote decides nothing, and is told of (G13).
func nonVoting(s *site) {
	name := s.packages("a")[0]
	c := s.propose(name, "Be untidy", map[string]string{"outcome": "lint fail src/hello.c:1: untidy\n"})
	s.g.Approve(s.t, c.Number)
	s.merged(c)
	s.told(c, "lint", "failed", "non-voting")
	s.once(c)
}

// A mirror is away for a while: the job is tried again, and nobody is blamed (G12).
func mirrorAway(s *site) {
	name := s.packages("a")[0]
	var tries atomic.Int64
	s.worker.rule(func(a *attempt) *job.Result {
		if a.spec.Package == name && a.spec.Stage == job.StageInstall && tries.Add(1) == 1 {
			return &job.Result{Outcome: job.Error, Cause: "the mirror is out of reach"}
		}
		return nil
	})
	c := s.good(name)
	s.g.Approve(s.t, c.Number)
	s.merged(c)
	s.once(c)
	if got := strings.Join(s.said(c), "\n"); tries.Load() != 2 || strings.Contains(got, "out of reach") {
		s.t.Errorf("%d tries; it was told:\n%s", tries.Load(), got)
	}
}

// An administrator forces a change in that nobody approved: it is tested, and
// Gerrit has the last word on whether it may merge (G17, G20).
func forcedIn(s *site) {
	name := s.packages("a")[0]
	c := s.good(name)
	s.until("the service knows the change", func() string {
		return missing(one[int](s, `SELECT count(*) FROM changes WHERE id = $1`, id(c)) == 1, "not yet")
	})
	s.command("enqueue", c)
	s.until("it leaves again", func() string {
		n := one[int](s, `SELECT count(*) FROM buildsets WHERE queue = $1 AND state NOT IN ('preparing', 'running')`, s.queue)
		return missing(n > 0 && !s.stands(c), "it stands there, with %d buildsets", n)
	})
	if got := s.status(c); got != "NEW" {
		s.t.Errorf("it is %s", got)
	}
	s.told(c, "Workflow")
	s.g.Approve(s.t, c.Number)
	s.merged(c)
}

// What Gerrit has in hand is not taken back: the dequeue comes too late, and says so.
func dequeuedWhileSubmitting(s *site) {
	c, _, release := s.standing()
	f, submit := s.proxy.stop(submitOf(c))
	release()
	s.until("the submit is under way", func() string { return missing(f.times() > 0, "not yet") })
	if _, err := s.store.Command(s.t.Context(), s.queue, "dequeue", gate.ChangeID(id(c)), "ada", "too late"); err != nil {
		s.t.Fatal(err)
	}
	submit()
	s.merged(c)
	s.once(c)
}

// A pause stops no submit that is under way, and the next only after the resume.
func pausedWhileSubmitting(s *site) {
	c, name, release := s.standing()
	behind := s.edit(name, "behind", "x\n")
	s.approve(behind)
	f, submit := s.proxy.stop(submitOf(c))
	release()
	s.until("the submit is under way", func() string { return missing(f.times() > 0, "not yet") })
	s.command("pause", nil)
	submit()
	s.merged(c)
	s.left(c)
	if got := s.status(behind); got != "NEW" {
		s.t.Errorf("in a paused queue, %s", got)
	}
	s.command("resume", nil)
	s.merged(behind)
	s.once(c, behind)
}

// Everybody fails, for reasons of their own: each is told its own.
func allFail(s *site) {
	var all []*testenv.Pushed
	for _, name := range s.packages("a", "b", "c") {
		all = append(all, s.propose(name, "Break "+name, map[string]string{"outcome": "build fail src/hello.c:3: error: of " + name + "\n"}))
	}
	for _, c := range all {
		s.g.Approve(s.t, c.Number)
	}
	for i, c := range all {
		s.voted(c, -2)
		s.told(c, "Gate failed", "error: of "+s.queue+"-"+string(rune('a'+i)))
	}
}

// Ten changes of one project, one of them bad: nine land in their order.
func tenAtOnce(s *site) {
	name := s.packages("a")[0]
	var good []*testenv.Pushed
	release := s.worker.hold("install " + name)
	for i := range 10 {
		c := s.edit(name, fmt.Sprintf("f%d", i), "x\n")
		if i == 4 {
			c = s.bad(name)
			s.approve(c)
			defer s.voted(c, -2)
			continue
		}
		s.approve(c)
		good = append(good, c)
	}
	release()
	s.merged(good...)
	s.once(good...)
	want := ""
	for _, c := range good {
		want += id(c) + " "
	}
	if got := one[string](s, `SELECT string_agg((changes->0->>'id') || ' ', '' ORDER BY landed_at) FROM buildsets WHERE landed_at IS NOT NULL AND queue = $1`, s.queue); got != want {
		s.t.Errorf("landed in the order %s, not %s", got, want)
	}
}
