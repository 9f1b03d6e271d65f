package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// answers gives what the gate wrote in answer to comments on a change.
func (s *site) answers(c *testenv.Pushed) (all []string) {
	for _, m := range s.said(c) {
		if strings.Contains(m, "(sluice comment-") {
			all = append(all, m)
		}
	}
	return all
}

// inThread writes on a change as Gerrit's page does: as a comment on no file.
func (s *site) inThread(c *testenv.Pushed, user testenv.User, text string) {
	s.t.Helper()
	err := s.g.REST(user, "POST", fmt.Sprintf("/changes/%d/revisions/current/review", c.Number), map[string]any{
		"comments": map[string]any{"/PATCHSET_LEVEL": []map[string]any{{"message": text, "unresolved": false}}},
	}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
}

// builds counts how often changes were built; what their branch alone was built
// for evidence is not counted.
func (s *site) builds() int {
	return one[int](s, `SELECT count(*) FROM jobs WHERE stage = 'build' AND buildset IS NOT NULL AND state IN ('passed', 'failed')`)
}

// allAnswered waits until each command in a comment has been dealt with.
func (s *site) allAnswered(want int) {
	s.t.Helper()
	s.until("the comments are answered", func() string {
		n := one[int](s, `SELECT count(*) FROM comments WHERE answered_at IS NOT NULL`)
		return missing(n == want, "%d of %d are", n, want)
	})
}

// A person asks why in a comment and is told; asks for a recheck, in a message or as
// Gerrit's page writes it, and the change is tested again. Each is answered once,
// and the gate never answers itself.
func TestCommandsInComments(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "build"}, "hello")
	c := s.bad("hello")
	s.told(c, "Check failed")
	s.voted(c, -1)
	tests := func() int { return s.builds() }
	if n := tests(); n != 1 {
		t.Errorf("built %d times before anybody asked", n)
	}

	s.g.Comment(t, c.Number, s.g.Reviewer, "I do not see it. Who can tell me?\n\nwhy?")
	answer := s.told(c, "(sluice comment-", "Gate:", "Check:", "needs Code-Review+2", "failed its tests", "[the author]")
	if !strings.Contains(answer, s.servers[0].URL+"/change/main/") {
		t.Errorf("no link:\n%s", answer)
	}
	s.g.Comment(t, c.Number, s.g.Reviewer, "why not use a map?")

	s.g.Comment(t, c.Number, s.g.Limited, "recheck the mirror was down")
	s.until("it is built again", func() string { return missing(tests() == 2, "%d times", tests()) })
	s.allAnswered(2)
	s.told(c, "Check failed")
	s.until("the second failure is told", func() string {
		n := strings.Count(strings.Join(s.said(c), "\n"), "Check failed")
		return missing(n == 2, "told %d times", n)
	})
	why := one[string](s, `SELECT who || ': ' || why FROM commands WHERE verb = 'retry'`)
	if why != "Lou Limited: a review comment: the mirror was down" {
		t.Errorf("recorded is %q", why)
	}
	s.inThread(c, s.g.Maintainer, "recheck")
	s.until("it is built once more", func() string { return missing(tests() == 3, "%d times", tests()) })
	s.allAnswered(3)
	if all := s.answers(c); len(all) != 1 {
		t.Errorf("answered %d times:\n%s", len(all), strings.Join(all, "\n---\n"))
	}

	// In the gate it is the gate's test that is made again; one that an
	// administrator took out is not, and the comment says so.
	release := s.worker.hold("build hello")
	s.g.Approve(t, c.Number)
	s.inQueue(c)
	s.command("dequeue", c)
	s.g.Comment(t, c.Number, s.g.Maintainer, "recheck")
	s.told(c, "Not tested again", "was taken out by ada (for a test)")
	release()
}

// A site can choose other words, or none, and let only those ask for a recheck who
// have to do with the change. A comment that no event told of is found by
// reconciling, and is answered once, also when the service was away.
func TestCommentsBySiteRules(t *testing.T) {
	t.Parallel()
	link, known := testenv.Gerrit(t).SSHLink(t)
	s := start(t, options{
		check: "build", ssh: link.Addr, knownHosts: known, reconcile: time.Second,
		more: "comments: {recheck: [try-again], why: [], by: reviewers}",
	}, "hello")
	c := s.bad("hello")
	s.told(c, "Check failed")
	link.Cut()
	for _, srv := range s.servers {
		srv.kill()
	}
	s.g.Comment(t, c.Number, s.g.Reviewer, "recheck")
	s.g.Comment(t, c.Number, s.g.Reviewer, "why")
	s.g.Comment(t, c.Number, s.g.Limited, "try-again")
	s.g.Comment(t, c.Number, s.g.Maintainer, "try-again because I may")
	s.servers[0].start()
	s.told(c, "Not tested again", "only the change's owner, its uploader and its reviewers")
	s.until("it is built again", func() string {
		n := s.builds()
		return missing(n == 2, "built %d times", n)
	})
	s.allAnswered(2)
	s.g.Comment(t, c.Number, s.g.Maintainer, "that is all")
	s.until("the last comment is heard", func() string {
		n := one[int](s, `SELECT count(*) FROM changes WHERE id = $1 AND read_at > (SELECT max(answered_at) FROM comments)`, id(c))
		return missing(n == 1, "it is not")
	})
	if all := s.answers(c); len(all) != 1 || one[int](s, `SELECT count(*) FROM comments`) != 2 {
		t.Errorf("answered:\n%s", strings.Join(all, "\n---\n"))
	}
}
