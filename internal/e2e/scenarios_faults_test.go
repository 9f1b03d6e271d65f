package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"sluice/internal/testenv"
)

// faults: what a Gerrit and the way to it can do. Each ends as if nothing had
// been, or in Gerrit's own words; nothing is done twice (G17, G22).
var faults = []scenario{
	{name: "submit-409", play: submitConflicts},
	{name: "submit-500", play: func(s *site) { s.survives(submitOf, 3, answers(500, "Internal server error")) }},
	{name: "submit-502", play: func(s *site) { s.survives(submitOf, 2, answers(502, "<html>Bad Gateway</html>")) }},
	{name: "submit-503", play: func(s *site) { s.survives(submitOf, 3, answers(503, "Service Unavailable")) }},
	{name: "submit-reset", play: func(s *site) { s.survives(submitOf, 2, reset) }},
	{name: "submit-answer-lost", play: func(s *site) { s.survives(submitOf, 1, lost) }},
	{name: "submit-never-answered", play: func(s *site) { s.survives(submitOf, 1, silent) }},
	{name: "vote-500", play: func(s *site) { s.survives(reviewOf, 2, answers(500, "Internal server error")) }},
	{name: "vote-409", play: func(s *site) { s.survives(reviewOf, 1, answers(409, "change is locked")) }},
	{name: "vote-answer-lost", play: func(s *site) { s.survives(reviewOf, 1, lost) }},
	{name: "vote-never-answered", play: func(s *site) { s.survives(reviewOf, 1, silent) }},
	{name: "read-500", play: func(s *site) { s.survives(readOf, 9, answers(500, "Internal server error")) }},
	{name: "read-reset", play: func(s *site) { s.survives(readOf, 9, reset) }},
	{name: "read-never-answered", play: func(s *site) { s.survives(readOf, 2, silent) }},
	{name: "read-login-page", play: func(s *site) { s.survives(readOf, 2, answers(200, "<html><form>Who are you?</form></html>")) }},
	{name: "read-denied-for-a-while", play: func(s *site) { s.survives(readOf, 2, answers(403, "Forbidden")) }},
	{name: "slow-gerrit", play: func(s *site) { s.survives(anyOf, 1000, slow(700*time.Millisecond)) }},
	{name: "fetch-503", play: fetchFails},
	{name: "report-503", play: func(s *site) { s.reportsOnce(answers(503, "Service Unavailable")) }},
	{name: "report-answer-lost", play: func(s *site) { s.reportsOnce(lost) }},
	{name: "report-never-answered", play: func(s *site) { s.reportsOnce(silent) }},
	{name: "report-too-long", play: reportTooLong},
	{name: "report-too-long-for-this-gerrit", play: reportTooLongForThisGerrit},
}

func anyOf(c *testenv.Pushed) string { return fmt.Sprintf(`^[A-Z]+ /a/changes/%d\b`, c.Number) }

// survives: the fault comes for the next n requests of a kind about a change
// that is tested already; it lands all the same, once.
func (s *site) survives(kind func(*testenv.Pushed) string, n int, bring func(http.ResponseWriter, *http.Request, http.Handler)) {
	name := s.packages("a")[0]
	release := s.worker.hold("install " + name)
	c := s.good(name)
	s.approve(c)
	s.tested(c, 0)
	f := s.proxy.next(n, kind(c), bring)
	release()
	s.g.Comment(s.t, c.Number, s.g.Maintainer, "Any news?") // so that it is read
	s.merged(c)
	s.once(c)
	if f.times() == 0 {
		s.t.Error("the fault never came")
	}
	if got := strings.Join(s.said(c), "\n"); strings.Contains(got, "refused") || strings.Contains(got, "failed") {
		s.t.Errorf("somebody was blamed:\n%s", got)
	}
}

// Gerrit refuses a submit for a reason that no read of the change shows.
func submitConflicts(s *site) {
	name := s.packages("a")[0]
	release := s.worker.hold("install " + name)
	c := s.good(name)
	s.approve(c)
	s.proxy.next(1, submitOf(c), answers(409, "the pack file is locked by another repack"))
	release()
	s.told(c, "Gerrit refused the submit", "the pack file is locked by another repack")
	s.voted(c, -2)
	s.empty()
	s.command("retry", c)
	s.merged(c)
	s.empty()
	if n := s.landings(c); n != 1 {
		s.t.Errorf("landed %d times", n)
	}
}

// The project cannot be fetched for a while.
func fetchFails(s *site) {
	name := s.packages("a")[0]
	f := s.proxy.next(3, fetchOf(s.name+"/"+name), answers(503, "Service Unavailable"))
	c := s.good(name)
	s.g.Approve(s.t, c.Number)
	s.merged(c)
	s.once(c)
	if f.times() == 0 {
		s.t.Error("nothing was fetched through the proxy")
	}
}

// reportsOnce: the report of a failure meets a fault, and is there once.
func (s *site) reportsOnce(bring func(http.ResponseWriter, *http.Request, http.Handler)) {
	name := s.packages("a")[0]
	c := s.bad(name)
	f := s.proxy.next(2, reviewOf(c), bring)
	s.g.Approve(s.t, c.Number)
	s.voted(c, -2)
	s.empty()
	said := strings.Join(s.said(c), "\n---\n")
	if n := strings.Count(said, "Gate failed"); n != 1 || f.times() == 0 {
		s.t.Errorf("told of the failure %d times, after %d faults:\n%s", n, f.times(), said)
	}
}

// A report that is longer than Gerrit takes is cut; what was cut is a link away.
func reportTooLong(s *site) {
	name := s.packages("a")[0]
	c := s.propose(name, "Break it at length", map[string]string{"outcome": "build fail src/hello.c:3: error: " + strings.Repeat("no such thing; ", 4000) + "\n"})
	s.g.Approve(s.t, c.Number)
	s.voted(c, -2)
	comment := s.told(c, "Gate failed", "src/hello.c:3: error: no such thing", "[… cut")
	s.linked(comment)
}

// linked holds a comment to end with an address that has all of it.
func (s *site) linked(comment string) {
	s.t.Helper()
	_, rest, found := strings.Cut(comment, s.servers[0].URL+"/buildset/")
	if !found {
		s.t.Fatalf("no link to all of it:\n%s", comment[max(0, len(comment)-600):])
	}
	var n int
	if _, err := fmt.Sscanf(rest, "%d", &n); err != nil {
		s.t.Fatal(err)
	}
	if status, _ := s.get(fmt.Sprintf("/api/v1/buildsets/%d", n)); status != http.StatusOK {
		s.t.Errorf("the link leads to a %d", status)
	}
}

// A Gerrit whose limit is lower than most: its refusal is answered with a shorter comment.
func reportTooLongForThisGerrit(s *site) {
	const limit = 900
	name := s.packages("a")[0]
	c := s.propose(name, "Break it at some length", map[string]string{"outcome": "build fail src/hello.c:3: error: " + strings.Repeat("no such thing; ", 400) + "\n"})
	s.proxy.next(1000, reviewOf(c), func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		if r.ContentLength > limit {
			answers(400, s.tooLong(c))(w, r, on)
			return
		}
		on.ServeHTTP(w, r)
	})
	s.g.Approve(s.t, c.Number)
	s.voted(c, -2)
	s.linked(s.told(c, "Gate failed", "src/hello.c:3: error: no such thing", "[… cut"))
}

// tooLong is what Gerrit says to a message that is longer than it takes.
func (s *site) tooLong(c *testenv.Pushed) string {
	s.t.Helper()
	err := s.g.REST(s.g.Admin, "POST", s.rest(c, "revisions/current/review"), map[string]string{"message": strings.Repeat("x", 20000)}, nil)
	if err == nil || !strings.Contains(err.Error(), "400") {
		s.t.Errorf("Gerrit says to a long message: %v", err)
		return ""
	}
	_, words, _ := strings.Cut(err.Error(), "400 Bad Request: ")
	return words
}

func (s *site) rest(c *testenv.Pushed, path string) string {
	return fmt.Sprintf("/changes/%d/%s", c.Number, path)
}
