package e2e

import (
	"net/http"
	"strings"
	"testing"

	"sluice/internal/testenv"
)

// behindProxy starts a service that reaches Gerrit through a proxy, which brings faults.
func behindProxy(t *testing.T, opt options, packages ...string) *site {
	t.Helper()
	s := newSite(t, opt)
	s.proxy = newProxy(t, s.g)
	s.opt.gerritURL = s.proxy.URL
	for _, p := range packages {
		s.project(p)
	}
	s.serve()
	return s
}

// A check's word that Gerrit took only when the gate had spoken does not take the
// gate's vote away.
func TestALateWordHasNoVote(t *testing.T) {
	t.Parallel()
	s := behindProxy(t, options{check: "build"}, "aa")
	release := s.worker.hold("build aa")
	defer release()
	c := s.propose("aa", "Do not install", map[string]string{"outcome": "install fail it does not install\n"})
	refused := s.proxy.next(1, reviewOf(c), answers(http.StatusServiceUnavailable, "Service Unavailable"))
	release()
	s.until("the check's word is refused", func() string { return missing(refused.times() == 1, "it was not") })
	s.g.Approve(t, c.Number)
	s.told(c, "Gate failed", "it does not install")
	s.told(c, "Check passed")
	s.voted(c, -2)
}

// While the submit of one change is under way, the next one gets its vote: it
// lands at once. If the first is refused, the vote is taken back, and the second
// is tested again without it.
func TestTheNextIsVotedOnMeanwhile(t *testing.T) {
	t.Parallel()
	s := behindProxy(t, options{check: "none"}, "aa", "bb", "cc", "dd")
	pair := func(name, next string, meets func(http.ResponseWriter, *http.Request, http.Handler)) (first, second *testenv.Pushed, goOn func()) {
		t.Helper()
		tested := s.worker.hold("install " + name)
		first, second = s.good(name), s.good(next)
		s.approve(first, second)
		s.until("the second has passed", func() string {
			n := one[int](s, `SELECT count(*) FROM jobs j JOIN buildsets b ON b.id = j.buildset
				WHERE j.stage = 'install' AND j.state = 'passed' AND b.changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(second))
			return missing(n > 0, "it has not")
		})
		gate := make(chan struct{})
		s.proxy.next(1, submitOf(first), func(w http.ResponseWriter, r *http.Request, on http.Handler) {
			select {
			case <-gate:
			case <-r.Context().Done():
			}
			meets(w, r, on)
		})
		tested()
		s.voted(second, 2)
		if s.g.Change(t, first.Number).Status != "NEW" {
			t.Error("the first had merged already")
		}
		return first, second, func() { close(gate) }
	}

	a, b, goOn := pair("aa", "bb", func(w http.ResponseWriter, r *http.Request, on http.Handler) { on.ServeHTTP(w, r) })
	goOn()
	s.merged(a, b)
	s.once(a, b)
	if said := strings.Join(s.said(b), "\n"); strings.Count(said, "Gate passed") != 1 {
		t.Errorf("told of its passing more or less than once:\n%s", said)
	}

	c, d, goOn := pair("cc", "dd", answers(http.StatusConflict, "a rule that nobody could see"))
	goOn()
	s.told(c, "a rule that nobody could see")
	s.told(d, "tested again, as what it stood on did not merge")
	s.merged(d)
	s.empty()
}

// A change merges past the gate, and the gate learns of it only while the submit of
// another one of the project is under way, which was tested on it: what merged past
// the gate is published after that one, as a later version.
func TestWhatIsLearntDuringASubmitIsLater(t *testing.T) {
	t.Parallel()
	s := behindProxy(t, options{check: "none"}, "hello")
	tested := s.worker.hold("install hello")
	c := s.good("hello")
	past := s.propose("hello", "Past the gate", map[string]string{"past": "the gate\n"})
	s.approve(c, past)
	s.until("both are tested", func() string {
		n := countOf(s, `SELECT count(*) FROM jobs WHERE stage = 'install' AND state = 'running'`)
		return missing(n == 2, "%d are", n)
	})
	_, known := s.proxy.stop(readOf(past))
	s.byHand(past)
	submits, submit := s.proxy.stop(submitOf(c))
	tested()
	s.until("the submit of the one that was tested again is under way", func() string { return missing(submits.times() == 1, "it is not") })
	known()
	s.told(past, "past the gate")
	submit()
	s.merged(c)
	s.empty()
	s.publishedAs(c, "1.0-1+sluice1~deb12")
	s.publishedAs(past, "1.0-1+sluice2~deb12")
}

// Another change merges past the gate in the very moment of a submit, so that both
// have to be tested as they merged, at once: each has a version of its own.
func TestTwoAreTestedAsTheyMerged(t *testing.T) {
	t.Parallel()
	s := behindProxy(t, options{check: "none"}, "hello")
	c := s.good("hello")
	past := s.propose("hello", "Past the gate", map[string]string{"past": "the gate\n"})
	submits, submit := s.proxy.stop(submitOf(c))
	s.approve(c, past)
	s.until("a submit is under way", func() string { return missing(submits.times() == 1, "it is not") })
	s.byHand(past)
	s.told(past, "past the gate")
	submit()
	s.told(c, "whose tree is not the tested one")
	s.told(c, "has passed all jobs")
	s.told(past, "has passed all jobs")
	s.empty()
	s.publishedAs(c, "1.0-1+sluice1~deb12")
	s.publishedAs(past, "1.0-1+sluice2~deb12")
}

func (s *site) publishedAs(c *testenv.Pushed, want string) {
	s.t.Helper()
	got := one[string](s, `SELECT packages->0->>'version' FROM buildsets WHERE published_at IS NOT NULL AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(c))
	if got != want {
		s.t.Errorf("change %d is published as %s, not %s", c.Number, got, want)
	}
}
