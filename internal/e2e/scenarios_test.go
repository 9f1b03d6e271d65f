package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// scenario is a story on the installation that all of them share. It has
// projects and a queue of its own, and packages that begin with its name.
type scenario struct {
	name   string
	play   func(s *site)
	window string // of its queue; "" for a wide one
}

// scenarios are grouped by what they are about, a file each.
var scenarios = [][]scenario{submitTypes, requirements, faults, hints, trees, lives, decisions}

// TestScenarios plays every scenario on one service, one database and one real
// Gerrit, with a proxy between that brings faults.
func TestScenarios(t *testing.T) {
	s := newSite(t, options{check: "none", gate: "build, publish, lint, install", reconcile: 20 * time.Second,
		stages: "\n  lint: {voting: false}\n  install: {retries: 2}"})
	s.worker.slots = 40
	s.proxy = newProxy(t, s.g)
	s.opt.gerritURL = s.proxy.URL
	s.opt.gerritMore = fmt.Sprintf("\n    webhook_secret: {file: %s/hook}\n    timeout: 5s", s.dir)
	write(t, s.dir+"/hook", hookSecret)
	for _, group := range scenarios {
		for _, c := range group {
			window := c.window
			if window == "" {
				window = wideWindow
			}
			s.opt.projects += fmt.Sprintf("\n  - {project: \"%s/%s/**\", branch: main, releases: [juno], queue: %s}", s.name, c.name, c.name)
			s.opt.queues += fmt.Sprintf("\n  - {name: %s, window: %s}", c.name, window)
		}
	}
	s.serve()
	for _, group := range scenarios {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				defer func() { t.Logf("%s: failed: %v, %.1f s", c.name, t.Failed(), time.Since(began).Seconds()) }()
				own := s.part(t, c.name)
				c.play(own)
				own.empty()
			})
		}
	}
}

const hookSecret = "hush"

// part is the site as one scenario sees it.
func (s *site) part(t *testing.T, name string) *site {
	own := *s
	own.t, own.name, own.queue = t, s.name+"/"+name, name
	feed, unfeed := s.hub.Feed()
	own.feed = feed
	t.Cleanup(unfeed)
	return &own
}

// packages makes projects of the scenario's own, each with one package, and
// gives their names.
func (s *site) packages(names ...string) []string {
	s.t.Helper()
	for i, name := range names {
		names[i] = s.queue + "-" + name
		s.project(names[i])
	}
	return names
}

// typed is a package in a project of a submit type.
func (s *site) typed(name, submitType string) string {
	s.t.Helper()
	name = s.queue + "-" + name
	s.projectAs(name, submitType, files(name, nil))
	return name
}

// edit is a change of one file.
func (s *site) edit(name, file, text string) *testenv.Pushed {
	s.t.Helper()
	return s.propose(name, "Edit "+file, map[string]string{file: text})
}

// approve approves changes, and waits until they stand in the queue, in this order.
func (s *site) approve(changes ...*testenv.Pushed) {
	s.t.Helper()
	for _, c := range changes {
		s.g.Approve(s.t, c.Number)
		s.inQueue(c)
	}
}

// left waits until a change does not stand in the queue any more.
func (s *site) left(c *testenv.Pushed) {
	s.t.Helper()
	s.until(fmt.Sprintf("change %d leaves", c.Number), func() string { return missing(!s.stands(c), "it stands there") })
}

// once holds the changes to have been told, and landed, once.
func (s *site) once(changes ...*testenv.Pushed) {
	s.t.Helper()
	s.empty()
	for _, c := range changes {
		if n := s.landings(c); n != 1 {
			s.t.Errorf("change %d landed %d times", c.Number, n)
		}
		seen := map[string]bool{}
		for _, m := range s.said(c) {
			i := strings.LastIndex(m, "(sluice effect-")
			if i >= 0 && seen[m[i:]] {
				s.t.Errorf("change %d was told twice: %s", c.Number, m)
			}
			seen[m[max(i, 0):]] = true
		}
	}
}

func (s *site) landings(c *testenv.Pushed) int {
	return one[int](s, `SELECT count(*) FROM buildsets WHERE landed_at IS NOT NULL AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(c))
}

// admin calls Gerrit as its administrator, about a project.
func (s *site) admin(method, name, path string, body any) {
	s.t.Helper()
	project := strings.ReplaceAll(s.name+"/"+name, "/", "%2F")
	if err := s.g.REST(s.g.Admin, method, "/projects/"+project+path, body, nil); err != nil {
		s.t.Fatal(err)
	}
}
