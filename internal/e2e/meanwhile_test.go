package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/testenv"
)

// What can happen to a change while it stands in the queue (G18): each ends its
// stay, tells why where nobody could know, and touches nobody else.
func TestLeavesTheQueue(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "aa", "bb", "cc", "dd")
	release := s.worker.hold("install aa")
	head := s.good("aa")
	s.g.Approve(t, head.Number)
	s.inQueue(head)
	enter := func(name string) *testenv.Pushed {
		c := s.good(name)
		s.g.Approve(t, c.Number)
		s.inQueue(c)
		return c
	}
	left := func(c *testenv.Pushed) {
		s.until(fmt.Sprintf("change %d leaves", c.Number), func() string { return missing(!s.stands(c), "it stands there") })
	}
	amended, unloved, abandoned := enter("bb"), enter("cc"), enter("dd")

	amended = s.amend(amended, "bb", "Mend bb better", map[string]string{"src/hello.c": "int main(void) { return 5; }\n"})
	left(amended)
	s.told(amended, "Left the queue", "patch set")
	s.g.Vote(t, unloved.Number, s.g.Reviewer, "Code-Review", 0)
	left(unloved)
	s.told(unloved, "Left the queue", "Code-Review")
	s.g.Act(t, abandoned.Number, s.g.Maintainer, "abandon")
	left(abandoned)

	if n := s.buildsetsOf(head); n != 1 {
		t.Errorf("the head had %d buildsets", n)
	}
	s.g.Approve(t, amended.Number)
	s.inQueue(amended)
	release()
	s.merged(head, amended)
	s.empty()
	if got := s.status(unloved); got != "NEW" {
		t.Errorf("the change that lost its vote is %s", got)
	}
}

// Words and hashtags do nothing (G19).
func TestIdleEvents(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "aa")
	release := s.worker.hold("install aa")
	c := s.good("aa")
	s.g.Approve(t, c.Number)
	s.inQueue(c)
	before := one[int64](s, `SELECT version FROM queues WHERE name = 'main'`)
	s.g.Comment(t, c.Number, s.g.Maintainer, "I like it")
	if err := s.g.REST(s.g.Maintainer, "POST", fmt.Sprintf("/changes/%d/hashtags", c.Number), map[string]any{"add": []string{"nice"}}, nil); err != nil {
		t.Fatal(err)
	}
	s.until("both events are handled", func() string {
		n := one[int](s, `SELECT count(*) FROM gerrit_events WHERE change = $1 AND handled_at IS NOT NULL AND type IN ('comment-added', 'hashtags-changed')`, id(c))
		return missing(n >= 3, "%d are", n) // the approval is a comment too
	})
	if n := s.buildsetsOf(c); n != 1 || !s.stands(c) {
		t.Errorf("%d buildsets; version %d before", n, before)
	}
	release()
	s.merged(c)
	s.empty()
}

// An administrator takes a change out, puts it back, moves it to the head,
// pauses the queue and lets it go on (G20).
func TestCommands(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "aa", "bb", "cc")
	if answer := s.command("pause", nil); answer == "" {
		t.Error("a pause has no answer")
	}
	var all []*testenv.Pushed
	for _, name := range []string{"aa", "bb", "cc"} {
		c := s.good(name)
		s.g.Approve(t, c.Number)
		s.inQueue(c)
		all = append(all, c)
	}
	s.command("dequeue", all[1])
	if s.stands(all[1]) {
		t.Error("dequeued, and it stands there")
	}
	s.told(all[1], "Left the queue", "ada", "for a test")
	s.command("promote", all[2])
	s.command("resume", nil)
	s.merged(all[2], all[0])
	s.empty()
	if order := one[string](s, `SELECT string_agg(changes->0->>'id', ' ' ORDER BY landed_at) FROM buildsets WHERE landed_at IS NOT NULL`); order != id(all[2])+" "+id(all[0]) {
		t.Errorf("landed in the order %s", order)
	}
	if got := s.status(all[1]); got != "NEW" {
		t.Errorf("the dequeued change is %s", got)
	}
	s.command("enqueue", all[1])
	s.merged(all[1])
	s.empty()
	if answer := s.command("dequeue", all[1]); !strings.Contains(answer, fmt.Sprint(all[1].Number)) {
		t.Errorf("dequeue of what has merged is answered %q", answer)
	}
}

// Somebody pushes past the gate while a change is tested: the change is merged
// anew on what is there now, tested, and lands.
func TestPushPastTheGate(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	release := s.worker.hold("install hello")
	c := s.good("hello")
	s.g.Approve(t, c.Number)
	s.inQueue(c)
	s.until("it is tested", func() string {
		return missing(countOf(s, `SELECT count(*) FROM jobs WHERE stage = 'install' AND state = 'running'`) > 0, "not yet")
	})
	past := s.propose("hello", "Past the gate", map[string]string{"past": "the gate\n"})
	s.command("dequeue", past) // so that it does not enter
	s.byHand(past)
	release()
	s.merged(c)
	s.empty()
	if n := s.buildsetsOf(c); n < 2 {
		t.Errorf("%d buildsets: it was not tested on what is there now", n)
	}
	tree := one[string](s, `SELECT base->'branches'->0->>'under' FROM buildsets WHERE landed_at IS NOT NULL AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(c))
	if tree == "" {
		t.Error("no base")
	}
}

// byHand approves and submits a change past the gate. The check's own vote, by
// the same account, may come between the vote and the submit.
func (s *site) byHand(c *testenv.Pushed) {
	s.t.Helper()
	s.g.Approve(s.t, c.Number)
	s.until("a submit by hand", func() string {
		s.g.Vote(s.t, c.Number, s.g.Gate, "Verified", 2)
		if err := s.g.Submit(c.Number, s.g.Gate); err != nil {
			return err.Error()
		}
		return ""
	})
}

// A change in the queue is submitted by hand, past the gate: that is told, the
// merged tree is put through all jobs, and published because they pass (G16).
func TestBypass(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	release := s.worker.hold("install hello")
	c := s.good("hello")
	s.g.Approve(t, c.Number)
	s.inQueue(c)
	s.byHand(c)
	s.told(c, "Merged past the gate")
	release()
	s.told(c, "has passed all jobs")
	s.empty()
	if pkg, ok := s.released("hello"); !ok {
		t.Errorf("it is not released: %v", pkg)
	}
}

// Gerrit refuses the submit: its own words are on the change, and the queue goes on.
func TestRefusedSubmit(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none"})
	p := s.project("hello")
	s.project("other")
	// A requirement that nobody's vote fulfils, and that comes to be once the change is in the queue.
	s.serve()
	release := s.worker.hold("install hello")
	c, other := s.good("hello"), s.good("other")
	s.g.Approve(t, c.Number)
	s.inQueue(c)
	s.g.Approve(t, other.Number)
	s.inQueue(other)
	if err := s.g.REST(s.g.Admin, "POST", "/projects/"+strings.ReplaceAll(p, "/", "%2F")+"/access", map[string]any{"add": map[string]any{
		"refs/heads/*": map[string]any{"permissions": map[string]any{"submit": map[string]any{"exclusive": true, "rules": map[string]any{
			"global:Registered-Users": map[string]any{"action": "BLOCK"}}}}}}}, nil); err != nil {
		t.Fatal(err)
	}
	release()
	s.told(c, "Gerrit refused the submit", "submit")
	s.merged(other)
	s.voted(c, -2)
	s.empty()
	if got := s.status(c); got != "NEW" {
		t.Errorf("the refused change is %s", got)
	}
}

// The site file changes while something is tested: the buildset goes on as it
// began, and does not land before what votes since has passed (G24).
func TestAJobThatVotesSince(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none", gate: "build, publish, lint, install", stages: "\n  lint: {voting: false}"})
	s.project("aa")
	s.project("bb")
	s.serve()
	release := s.worker.hold("install aa")
	untidy, tidy := s.propose("aa", "Be untidy", map[string]string{"outcome": "lint fail src/hello.c:1: untidy\n"}), s.good("bb")
	s.approve(untidy, tidy)
	s.until("it is linted, without a vote", func() string {
		n := one[int](s, `SELECT count(*) FROM jobs WHERE stage = 'lint' AND NOT voting AND (package, state) IN (('aa', 'failed'), ('bb', 'passed'))`)
		return missing(n == 2, "%d of 2 are", n)
	})
	server := s.servers[0]
	server.kill()
	s.opt.stages = ""
	write(t, server.Config, s.config(server.URL))
	server.start()
	release()
	s.told(untidy, "Gate failed", "src/hello.c:1: untidy")
	s.merged(tidy)
	s.empty()
	if got := s.status(untidy); got != "NEW" {
		t.Errorf("what had not passed is %s", got)
	}
}
