package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/job"
	"sluice/internal/testenv"
)

const withLanes = "{start: 20, floor: 3, ceiling: 100}, lanes: true"

// standsOn gives the items that the newest attempt at a change in the gate stands behind.
func (s *site) standsOn(c *testenv.Pushed) string {
	return one[string](s, `
		SELECT coalesce((SELECT stack_items::text FROM buildsets WHERE queue = 'main' AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text))
		ORDER BY id DESC LIMIT 1), 'nothing yet')`, id(c))
}

// Of three changes, the second asks for what the first one makes, and the third
// for nothing of the two: it merges at once, and resets nobody.
func TestLanes(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none", window: withLanes})
	s.project("liba")
	s.project("other")
	tree := dependsOn("app", "liba")
	tree["debian/control"] = strings.Replace(tree["debian/control"], "Package: app\n", "Package: app\nDepends: liba\n", 1)
	s.projectWith("app", tree)
	s.serve()
	release := s.worker.hold("install liba")
	lib, app, other := s.good("liba"), s.good("app"), s.good("other")
	for _, c := range []*testenv.Pushed{lib, app} {
		s.g.Approve(t, c.Number)
		s.inQueue(c)
	}
	s.until("the application stands behind the library", func() string {
		on := s.standsOn(app)
		return missing(on == "{1}", "it stands behind %s", on)
	})
	s.g.Approve(t, other.Number)
	s.merged(other)
	if s.status(lib) != "NEW" || s.standsOn(other) != "{}" {
		t.Errorf("the library is %s, the other one stands behind %s", s.status(lib), s.standsOn(other))
	}
	if _, why := s.get(fmt.Sprintf("/api/v1/changes/main/%d/why", app.Number)); !strings.Contains(why, "liba") {
		t.Errorf("why the application waits: %s", why)
	}
	release()
	s.merged(lib, app)
	s.empty()
	for _, c := range []*testenv.Pushed{lib, app, other} {
		if n := s.buildsetsOf(c); n != 1 {
			t.Errorf("change %d had %d buildsets: nobody is reset", c.Number, n)
		}
	}
	// Released, the application is read through: who asks for it shares the library's lane.
	front := s.propose("other", "Use the application", dependsOn("other", "app"))
	lib = s.good2("liba")
	release = s.worker.hold("install liba")
	s.g.Approve(t, lib.Number)
	s.inQueue(lib)
	s.g.Approve(t, front.Number)
	s.until("what asks for the released application stands behind the library", func() string {
		on := s.standsOn(front)
		return missing(on != "{}" && on != "nothing yet", "it stands behind %s", on)
	})
	release()
	s.merged(lib, front)
	s.empty()
}

// good2 is a second good change to a package.
func (s *site) good2(name string) *testenv.Pushed {
	s.t.Helper()
	return s.propose(name, "Mend "+name+" again", map[string]string{"src/more.c": "int more;\n"})
}

// A build was served what its packaging does not name, and what a change ahead
// makes: it joins that one's lane before it merges.
func TestLanesJoinByWhatABuildWasServed(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none", window: withLanes})
	s.project("liba")
	s.project("plain")
	s.worker.rule(func(a *attempt) *job.Result {
		if a.spec.Stage != job.StageBuild || a.spec.Package != "plain" {
			return nil
		}
		res := a.made
		res.Trace.Served = map[string]job.Served{"liba": {Version: "1", Digest: job.Digest(strings.Repeat("a", 64)), Repository: "apt"}}
		return &res
	})
	s.serve()
	release := s.worker.hold("install liba")
	held := s.worker.hold("build plain")
	lib, plain := s.good("liba"), s.good("plain")
	for _, c := range []*testenv.Pushed{lib, plain} {
		s.g.Approve(t, c.Number)
		s.inQueue(c)
	}
	s.until("the two stand in lanes of their own", func() string {
		on := s.standsOn(plain)
		return missing(on == "{}", "it stands behind %s", on)
	})
	held()
	s.until("it stands behind the library", func() string {
		on := s.standsOn(plain)
		return missing(on == "{1}", "it stands behind %s", on)
	})
	if st, _ := s.facts("main"); len(st.Items) != 2 {
		t.Errorf("something has landed: %+v", st.Items)
	}
	release()
	s.merged(lib, plain)
	s.empty()
	if order := one[string](s, `SELECT string_agg(changes->0->>'id', ' ' ORDER BY landed_at) FROM buildsets WHERE landed_at IS NOT NULL`); order != id(lib)+" "+id(plain) {
		t.Errorf("landed in the order %s", order)
	}
	if st, _ := s.facts("main"); len(st.Landed) > 0 {
		t.Errorf("the state remembers %+v", st.Landed)
	}
}
