package e2e

import (
	"net/http"
	"testing"
)

// A check's word that Gerrit took only when the gate had spoken does not take the
// gate's vote away.
func TestALateWordHasNoVote(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "build"})
	s.proxy = newProxy(t, s.g)
	s.opt.gerritURL = s.proxy.URL
	s.project("aa")
	s.serve()
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
