package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// hints: events only say where to look; what they say, how often and in which
// order, changes nothing (G21).
var hints = []scenario{
	{name: "events-twice", play: func(s *site) { s.replayed(false) }},
	{name: "events-backwards", play: func(s *site) { s.replayed(true) }},
	{name: "events-malformed", play: eventsMalformed},
	{name: "events-of-unknown-types", play: eventsUnknown},
	{name: "events-of-strangers", play: eventsOfStrangers},
}

// post sends the service an event, as Gerrit's webhooks plugin does.
func (s *site) post(event, secret string) int {
	s.t.Helper()
	resp, err := http.Post(s.servers[0].URL+"/hooks/gerrit/main?secret="+secret, "application/json", strings.NewReader(event))
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// replayed: all events of a change come again while it is tested, as new ones.
func (s *site) replayed(backwards bool) {
	c, _, release := s.standing()
	order := "id"
	if backwards {
		order = "id DESC"
	}
	rows, err := s.db.Query(context.Background(), `SELECT raw::text FROM gerrit_events WHERE change = $1 ORDER BY `+order, id(c))
	if err != nil {
		s.t.Fatal(err)
	}
	var events []string
	for rows.Next() {
		var raw string
		if err := rows.Scan(&raw); err != nil {
			s.t.Fatal(err)
		}
		events = append(events, raw)
	}
	if len(events) < 2 {
		s.t.Errorf("there are %d events of the change", len(events))
	}
	for _, raw := range events {
		for n := range 2 {
			if status := s.post(strings.Replace(raw, "{", fmt.Sprintf(`{"again":%d,`, n), 1), hookSecret); status != http.StatusNoContent {
				s.t.Errorf("an event is answered with %d", status)
			}
		}
	}
	s.handled()
	release()
	s.merged(c)
	s.once(c)
	if n := s.buildsetsOf(c); n != 1 {
		s.t.Errorf("%d buildsets", n)
	}
}

// handled waits until every event that came is.
func (s *site) handled() {
	s.t.Helper()
	last := one[int64](s, `SELECT coalesce(max(id), 0) FROM gerrit_events`)
	s.until("all events are handled", func() string {
		n := one[int](s, `SELECT count(*) FROM gerrit_events WHERE handled_at IS NULL AND id <= $1`, last)
		return missing(n == 0, "%d are not", n)
	})
}

func eventsMalformed(s *site) {
	c, _, release := s.standing()
	for _, event := range []string{"", "{", "null", "[]", `{"type":7}`, `{"type":"comment-added","change":"none"}`, "\x00\xff", `{"type":"patchset-created","change":{"number":-1}}`,
		`{"type":"patchset-created","change":{"number":99999999999999999999}}`, strings.Repeat("[", 100000)} {
		if status := s.post(event, hookSecret); status >= 500 {
			s.t.Errorf("%.50q is answered with %d", event, status)
		}
	}
	if status := s.post(`{"type":"comment-added"}`, "guessed"); status != http.StatusUnauthorized {
		s.t.Errorf("a wrong secret is answered with %d", status)
	}
	s.handled()
	release()
	s.merged(c)
	s.once(c)
}

func eventsUnknown(s *site) {
	c, _, release := s.standing()
	for _, event := range []string{
		`{"type":"moon-landed","eventCreatedOn":1}`,
		fmt.Sprintf(`{"type":"change-blessed","change":{"number":%d},"eventCreatedOn":2}`, c.Number),
		fmt.Sprintf(`{"type":"patchset-created","change":{"number":%d},"patchSet":{"number":99,"revision":"0000000000000000000000000000000000000000"},"eventCreatedOn":3}`, c.Number),
		fmt.Sprintf(`{"type":"change-merged","change":{"number":%d,"status":"MERGED"},"eventCreatedOn":4}`, c.Number), // it has not
	} {
		if status := s.post(event, hookSecret); status != http.StatusNoContent {
			s.t.Errorf("%s is answered with %d", event, status)
		}
	}
	s.handled()
	if n := s.buildsetsOf(c); n != 1 || !s.stands(c) {
		s.t.Errorf("%d buildsets; stands: %v", n, s.stands(c))
	}
	release()
	s.merged(c)
	s.once(c)
}

// Events of projects that nobody gates, and of changes that are not there.
func eventsOfStrangers(s *site) {
	c, _, release := s.standing()
	stray := s.g.Push(s.t, testenv.Proposal{Project: s.g.Project(s.t, "", ""), Message: "Elsewhere", Files: map[string]string{"x": "y\n"}})
	s.g.Approve(s.t, stray.Number)
	if status := s.post(`{"type":"patchset-created","change":{"number":8888888},"eventCreatedOn":5}`, hookSecret); status != http.StatusNoContent {
		s.t.Errorf("it is answered with %d", status)
	}
	s.handled()
	release()
	s.merged(c)
	s.once(c)
	if got := s.status(stray); got != "NEW" || len(s.said(stray)) > 0 {
		s.t.Errorf("the stranger is %s, and was told %q", got, s.said(stray))
	}
}

// The stream of events breaks in each phase of a change's life, and is there
// again only when that phase is over.
func TestStreamCutInEachPhase(t *testing.T) {
	t.Parallel()
	link, known := testenv.Gerrit(t).SSHLink(t)
	s := start(t, options{check: "none", reconcile: 2 * time.Second, ssh: link.Addr, knownHosts: known}, "aa", "bb", "cc", "dd")
	phase := func(f func()) { link.Cut(); f(); link.Mend() }

	var proposed *testenv.Pushed
	phase(func() { proposed = s.good("aa") })
	s.g.Approve(t, proposed.Number)
	s.merged(proposed)

	approved := s.good("bb")
	phase(func() { s.g.Approve(t, approved.Number); s.inQueue(approved) })
	s.merged(approved)

	release := s.worker.hold("install cc")
	amended := s.good("cc")
	s.approve(amended)
	s.tested(amended, 0)
	phase(func() {
		amended = s.amend(amended, "cc", "Mend cc better", map[string]string{"src/hello.c": "int main(void) { return 5; }\n"})
		s.left(amended)
	})
	s.g.Approve(t, amended.Number)
	release()
	s.merged(amended)

	release = s.worker.hold("install dd")
	landing := s.good("dd")
	s.approve(landing)
	phase(func() { release(); s.merged(landing) })
	s.once(proposed, approved, amended, landing)
}
