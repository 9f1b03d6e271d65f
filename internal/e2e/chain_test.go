package e2e

import (
	"testing"

	"sluice/internal/testenv"
)

// chain proposes a relation chain in one package: each stands on the one before.
func (s *site) chain(project string, n int) []*testenv.Pushed {
	s.t.Helper()
	var all []*testenv.Pushed
	var parent *testenv.Pushed
	for i := range n {
		name := string(rune('a' + i))
		parent = s.on(parent, project, "Add "+name, map[string]string{name: name + "\n"})
		all = append(all, parent)
	}
	return all
}

// The top of a chain is approved first, then the middle: nobody enters, and each
// says for whom it waits. With the bottom approved all enter, the lowest first.
func TestChainApprovedFromTheTop(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	c := s.chain("hello", 3)
	s.vouch(c[2])
	s.says(c[2], "needs "+number(c[1]), "Code-Review", "a reviewer")
	s.vouch(c[1])
	s.says(c[1], "needs "+number(c[0]), "Code-Review")
	s.says(c[2], "needs "+number(c[1]), "needs "+number(c[0]))
	if s.stands(c[1]) || s.stands(c[2]) {
		t.Error("a child stands in the queue before its parent")
	}
	s.vouch(c[0])
	s.merged(c...)
	s.empty()
	s.inOrder(singly(c...)...)
}

// The bottom is approved last but one: those above that are ready follow it, up
// to the first that is not.
func TestChainApprovedFromTheBottom(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	c := s.chain("hello", 4)
	release := s.worker.hold("install hello")
	s.vouch(c[1], c[3])
	s.vouch(c[0])
	s.inQueue(c[0], c[1])
	s.says(c[3], "needs "+number(c[2]))
	release()
	s.merged(c[0], c[1])
	s.says(c[2], "Code-Review")
	if got := s.status(c[3]); got != "NEW" {
		t.Errorf("the top is %s without the one below it", got)
	}
	s.vouch(c[2])
	s.merged(c[2], c[3])
	s.empty()
	s.inOrder(singly(c...)...)
}

// The middle of a chain in the queue is abandoned: those above leave with it and
// say why, the one below merges. Restored, all come back by themselves.
func TestChainAbandonedInTheMiddle(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	c := s.chain("hello", 3)
	release := s.worker.hold("install hello")
	s.vouch(c...)
	s.inQueue(c...)
	s.g.Act(t, c[1].Number, s.g.Maintainer, "abandon")
	s.told(c[2], "Left the queue", number(c[1]), "abandoned")
	s.says(c[2], "needs "+number(c[1])+", which is abandoned", "the author")
	s.explained()
	release()
	s.merged(c[0])
	s.g.Act(t, c[1].Number, s.g.Maintainer, "restore")
	s.vouch(c[1])
	s.merged(c[1], c[2])
	s.empty()
	s.inOrder(singly(c...)...)
}

// The parent has a newer patch set: its child stands on an old one, which can
// never merge so. It says so, and enters once it is rebased.
func TestChainOnAnOldPatchSet(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	c := s.chain("hello", 2)
	release := s.worker.hold("install hello")
	s.vouch(c...)
	s.inQueue(c...)
	newer := s.amend(c[0], "hello", "Add a", map[string]string{"a": "aaa\n"})
	s.told(c[1], "Left the queue", number(c[0]))
	s.vouch(newer)
	s.says(c[1], "stands on patch set 1 of "+number(c[0])+", which is at patch set 2: rebase it", "the author")
	rebased := s.g.Push(t, testenv.Proposal{
		Project: s.name + "/hello", Message: "Add b", On: newer, ChangeID: c[1].ChangeID, Files: map[string]string{"b": "b\n"},
	})
	s.vouch(rebased)
	release()
	s.merged(newer, rebased)
	s.empty()
	s.inOrder(singly(newer, rebased)...)
}

// A circle of Depends-On in one queue is one item, parents first. One across two
// queues never enters, and both queues are named.
func TestCircles(t *testing.T) {
	t.Parallel()
	s := start(t, options{
		check: "none", queues: "\n  - {name: other}",
		projects: `
  - {project: "PREFIX/elsewhere", branch: main, releases: [juno], queue: other}`,
	}, "aa", "bb", "cc", "elsewhere")
	circle := func(one, two string) (a, b *testenv.Pushed) {
		a = s.good(one)
		b = s.propose(two, "Need it\n\nDepends-On: "+a.ChangeID, map[string]string{"src/hello.c": "int main(void) { return 3; }\n"})
		a = s.amend(a, one, "Need that\n\nDepends-On: "+b.ChangeID, map[string]string{"src/hello.c": "int main(void) { return 2; }\n"})
		s.known(a, b)
		return a, b
	}
	here, there := circle("cc", "elsewhere")
	s.vouch(here, there)
	s.says(here, "needs "+number(there), "other", "the queues main and other never wait for each other", "the author")
	s.says(there, "needs "+number(here), "the queues other and main never wait for each other")

	a, b := circle("aa", "bb")
	s.vouch(a)
	s.says(a, "needs "+number(b), "Code-Review")
	s.vouch(b)
	s.merged(a, b)
	s.empty()
	s.inOrder([]*testenv.Pushed{a, b})
	if s.status(here) != "NEW" || s.status(there) != "NEW" {
		t.Error("half of a circle across queues has merged")
	}
}
