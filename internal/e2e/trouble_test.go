package e2e

import (
	"bytes"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/job"
	"sluice/internal/testenv"
)

// Gerrit is restarted while changes are tested: nothing is lost, and the queue
// goes on by itself. This story runs alone, since it takes everybody's Gerrit.
func TestGerritRestart(t *testing.T) {
	s := start(t, options{check: "none", reconcile: 2 * time.Second}, "aa", "bb")
	release := s.worker.hold("install aa")
	a, b := s.good("aa"), s.good("bb")
	for _, c := range []*testenv.Pushed{a, b} {
		s.g.Approve(t, c.Number)
		s.inQueue(c)
	}
	s.g.Stop(t)
	release()
	s.until("the gate wants to submit", func() string {
		return missing(countOf(s, `SELECT count(*) FROM submissions`) > 0, "not yet")
	})
	s.g.Start(t)
	s.merged(a, b)
	s.empty()
}

// The stream of events is cut from before a change exists until it has merged:
// reconciling sees it through (G21).
func TestStreamCut(t *testing.T) {
	t.Parallel()
	g := testenv.Gerrit(t)
	link, known := g.SSHLink(t)
	link.Cut()
	s := start(t, options{reconcile: time.Second, ssh: link.Addr, knownHosts: known}, "hello")
	c := s.good("hello")
	s.voted(c, 1)
	s.g.Approve(t, c.Number)
	s.merged(c)
	s.empty()
	if n := countOf(s, `SELECT count(*) FROM gerrit_events`); n != 0 {
		t.Errorf("%d events came through a link that was cut", n)
	}
	link.Mend()
}

// Gerrit's search index is behind what has merged: what it says of that is not
// believed, and nothing merges twice (G21).
func TestTheIndexIsBehind(t *testing.T) {
	t.Parallel()
	s := behindProxy(t, options{check: "none", gate: "none", reconcile: time.Second}, "hello")
	c := s.good("hello")
	submit, release := s.proxy.stop(submitOf(c))
	index := staleIndex{of: c.ChangeID}
	s.proxy.next(math.MaxInt, `^GET /a/changes/$`, index.answer)
	s.g.Approve(t, c.Number)
	s.until("the gate submits, and the index has shown the change", func() string {
		return missing(submit.times() > 0 && index.shown(2), "not yet")
	})
	index.stop()
	release()
	s.merged(c)
	s.knownMerged(c)
	s.until("the service has asked the index that is behind", func() string { return missing(index.shown(3), "not yet") })
	s.empty()
	s.once(c)
	if status := one[string](s, `SELECT status FROM changes WHERE id = $1`, id(c)); status != "merged" {
		t.Errorf("the change is %s", status)
	}
}

// staleIndex answers searches with what was found by one before.
type staleIndex struct {
	of   string     // a change that each answer has
	mu   sync.Mutex // guards what follows
	last []byte
	old  bool
	n    int
}

func (x *staleIndex) answer(w http.ResponseWriter, r *http.Request, on http.Handler) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.old {
		answer := httptest.NewRecorder()
		r.Header.Del("Accept-Encoding")
		on.ServeHTTP(answer, r)
		x.last = answer.Body.Bytes()
	}
	if bytes.Contains(x.last, []byte(x.of)) {
		x.n++
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(x.last)
}

// shown reports whether the change was found n times since the last stop.
func (x *staleIndex) shown(n int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.n >= n
}

// stop has the index stay as it is.
func (x *staleIndex) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.old, x.n = true, 0
}

// A worker dies: its lease runs out, the job is tried again elsewhere, and
// nobody is blamed (G12).
func TestLostWorker(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none"})
	s.project("hello")
	s.worker.rule(func(a *attempt) *job.Result {
		if a.spec.Stage == job.StageInstall && a.spec.Attempt == 1 {
			return &job.Result{} // never heard of again
		}
		return nil
	})
	s.serve()
	c := s.good("hello")
	s.g.Approve(t, c.Number)
	s.until("the first attempt is under way", func() string {
		return missing(countOf(s, `SELECT count(*) FROM attempts a JOIN jobs j ON j.id = a.job WHERE j.stage = 'install'`) > 0, "not yet")
	})
	s.exec(`UPDATE attempts SET expires_at = now() WHERE state = 'running'`) // rather than wait for a minute
	s.merged(c)
	s.empty()
	if got := strings.Join(s.said(c), "\n"); strings.Contains(got, "lost") || strings.Contains(got, "failed") {
		t.Errorf("somebody was blamed:\n%s", got)
	}
}

// What fails for a reason outside the change gives no verdict (G12): the check's vote stands.
func TestNoVerdict(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none", stages: "\n  install: {retries: 0}"}, "hello")
	c := s.propose("hello", "Be unlucky", map[string]string{"outcome": "install error the mirror is out of reach\n"})
	s.g.Approve(t, c.Number)
	s.told(c, "Gate has no verdict", "the mirror is out of reach")
	s.voted(c, 1)
	s.empty()
}

// Two replicas share one database; one of them is killed in mid-queue.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "aa", "bb", "cc")
	second := s.serve()
	release := s.worker.hold("install aa")
	var all []*testenv.Pushed
	for _, name := range []string{"aa", "bb", "cc"} {
		c := s.good(name)
		s.g.Approve(t, c.Number)
		s.inQueue(c)
		all = append(all, c)
	}
	release()
	second.kill()
	s.merged(all...)
	s.empty()
	s.nothingTwice(all...)
	second.start()
}

// A package for two formats: both are built, tested and published for one change.
func TestBothFormats(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none", rpm: true})
	s.projectWith("both", files("both", map[string]string{"both.spec": "Name: both\nVersion: 1.0\nRelease: 1%{?dist}\nSummary: both\nLicense: MIT\nBuildArch: noarch\n%description\nboth\n%files\n"}))
	s.serve()
	c := s.good("both")
	s.g.Approve(t, c.Number)
	s.merged(c)
	s.empty()
	if pkg, ok := s.released("both"); !ok {
		t.Errorf("not released as a .deb: %v", pkg)
	}
	if status, _ := s.get("/repo/juno/el-9/updates/repodata/repomd.xml"); status != 200 {
		t.Errorf("no RPM repository: %d", status)
	}
	published := one[string](s, `SELECT string_agg(name || ' ' || version || ' ' || kind, ', ' ORDER BY kind) FROM repository_packages WHERE repository = 'juno/el-9/updates'`)
	if !strings.Contains(published, "both 1.0-1.sluice1.el9 package") && !strings.Contains(published, "both 1.0-") {
		t.Errorf("released as RPMs: %s", published)
	}
	if differ := countOf(s, `SELECT count(*) FROM repository_packages k JOIN artifacts a ON a.digest = k.tested WHERE k.repository = 'juno/el-9/updates' AND k.payload <> '' AND a.package ->> 'payload' <> k.payload`); differ != 0 {
		t.Errorf("%d RPMs have another payload than was tested", differ)
	}
}

// exec changes the database, for what would else take long.
func (s *site) exec(statement string) {
	s.t.Helper()
	if _, err := s.db.Exec(s.t.Context(), statement); err != nil {
		s.t.Fatal(err)
	}
}

// nothingTwice: no comment and no publication is there twice.
func (s *site) nothingTwice(changes ...*testenv.Pushed) {
	s.t.Helper()
	for _, c := range changes {
		seen := map[string]bool{}
		for _, m := range s.said(c) {
			i := strings.LastIndex(m, "(sluice effect-")
			if i < 0 {
				continue
			}
			if seen[m[i:]] {
				s.t.Errorf("change %d was told twice: %s", c.Number, m)
			}
			seen[m[i:]] = true
		}
		passed := 0
		for _, m := range s.said(c) {
			if strings.Contains(m, "Gate passed.") {
				passed++
			}
		}
		if passed > 1 {
			s.t.Errorf("change %d was voted on %d times by the gate", c.Number, passed)
		}
		landed := one[int](s, `SELECT count(*) FROM buildsets WHERE landed_at IS NOT NULL AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(c))
		if landed > 1 {
			s.t.Errorf("change %d landed %d times", c.Number, landed)
		}
	}
	if twice := one[string](s, `SELECT coalesce(string_agg(format('%s of buildset %s', repository, buildset), ', '), '') FROM (
			SELECT repository, buildset FROM repository_packages GROUP BY 1, 2 HAVING count(DISTINCT added) > 1) x`); twice != "" {
		s.t.Errorf("published twice: %s", twice)
	}
	publications, landed := countOf(s, `SELECT count(*) FROM publications`), countOf(s, `SELECT count(DISTINCT k.buildset || k.repository) FROM repository_packages k`)
	if publications != landed {
		s.t.Errorf("%d publications of %d buildsets", publications, landed)
	}
}
