package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/internal/job"
	"sluice/internal/testenv"
)

// BenchmarkFirstJob measures the time from the event to the claim of the first
// job: of a new patch set in the check, of an approval in the gate.
func BenchmarkFirstJob(b *testing.B) {
	b.Run("proposed", func(b *testing.B) {
		s := benchSite(b, options{check: "build", gate: "none"}, 1)
		s.firstJobs(b, func(i int) *testenv.Pushed {
			c := s.proposeTo(b, 0, "proposed", i)
			s.claimed(c, checkOf(c))
			return c
		}, "patchset-created", checkOf)
	})
	b.Run("approved", func(b *testing.B) {
		s := benchSite(b, options{check: "none", gate: "build"}, 1)
		s.firstJobs(b, func(i int) *testenv.Pushed {
			c := s.proposeTo(b, 0, "approved", i)
			s.checked(c)
			s.g.Approve(b, c.Number)
			s.knownMerged(c)
			return c
		}, "comment-added", func(*testenv.Pushed) string { return "main" })
	})
}

func checkOf(c *testenv.Pushed) string { return "check/" + id(c) }

// firstJobs reports the median time from an event about each change to the
// claim of the first job in a queue, and where it went.
func (s *site) firstJobs(b *testing.B, one func(int) *testenv.Pushed, event string, queue func(*testenv.Pushed) string) {
	steps := []string{"read", "decided", "prepared", "first-job"}
	took := map[string][]float64{}
	for i := 0; b.Loop(); i++ {
		c := one(i)
		var at [4]float64
		err := s.db.QueryRow(b.Context(), `
			WITH event AS (SELECT max(received_at) AS at FROM gerrit_events WHERE change = $1 AND type = $2 AND raw #>> '{author,username}' IS DISTINCT FROM $4),
				job AS (SELECT a.claimed_at, j.buildset FROM attempts a JOIN jobs j ON j.id = a.job JOIN buildsets b ON b.id = j.buildset
					WHERE b.queue = $3 AND b.changes @> jsonb_build_array(jsonb_build_object('id', $1::text)) ORDER BY a.id LIMIT 1)
			SELECT coalesce(extract(epoch FROM e.handled_at - event.at), 0)::float8, extract(epoch FROM b.created_at - event.at)::float8,
				extract(epoch FROM b.prepared_at - event.at)::float8, extract(epoch FROM job.claimed_at - event.at)::float8
			FROM event, job JOIN buildsets b ON b.id = job.buildset, gerrit_events e WHERE e.received_at = event.at AND e.change = $1`,
			id(c), event, queue(c), s.g.Gate.Name).Scan(&at[0], &at[1], &at[2], &at[3])
		if err != nil {
			b.Fatal(err)
		}
		for k, step := range steps {
			took[step] = append(took[step], at[k])
		}
	}
	for _, step := range steps {
		b.ReportMetric(1000*median(took[step]), "ms/"+step)
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// claimed waits until a job of the change in the queue was claimed.
func (s *site) claimed(c *testenv.Pushed, queue string) {
	s.t.Helper()
	s.until("its first job is claimed", func() string {
		n := one[int](s, `SELECT count(*) FROM attempts a JOIN jobs j ON j.id = a.job JOIN buildsets b ON b.id = j.buildset WHERE b.queue = $1`, queue)
		return missing(n > 0, "none is")
	})
}

// checked waits until the change's check has ended.
func (s *site) checked(changes ...*testenv.Pushed) {
	s.t.Helper()
	s.until("the checks end", func() string {
		n := one[int](s, `SELECT count(DISTINCT queue) FROM items WHERE queue = ANY($1) AND left_at IS NOT NULL`, each(changes, checkOf))
		return missing(n == len(changes), "%d of %d have", n, len(changes))
	})
}

func each(changes []*testenv.Pushed, of func(*testenv.Pushed) string) []string {
	var out []string
	for _, c := range changes {
		out = append(out, of(c))
	}
	return out
}

// BenchmarkLand measures approved changes until they have merged, with empty
// stages, against a bare loop of the same votes and submits on the same Gerrit.
// A name is CHANGES/PROJECTS, and "lanes" where the projects have lanes of their own.
func BenchmarkLand(b *testing.B) {
	const wide = "{start: 200, floor: 3, ceiling: 200}"
	sizes := [][2]int{{1, 1}, {20, 20}, {20, 1}}
	if testenv.Full() {
		sizes = append(sizes, [][2]int{{100, 1}, {100, 10}, {200, 10}}...)
	}
	for _, size := range sizes {
		n, projects := size[0], size[1]
		name := fmt.Sprintf("%d/%d", n, projects)
		b.Run(name, func(b *testing.B) { land(b, n, projects, wide) })
		if projects > 1 {
			b.Run(name+"/lanes", func(b *testing.B) { land(b, n, projects, wide+", lanes: true") })
		}
	}
}

func land(b *testing.B, n, projects int, window string) {
	s := benchSite(b, options{check: "none", gate: "none", window: window}, projects)
	ungated := *s // the same projects, where no rule of the site is for them
	ungated.name = "bare-" + s.name
	for i := range projects {
		ungated.project(fmt.Sprintf("p%d", i))
	}
	once := func(n, round int) (withGate, without time.Duration) {
		gated, bare := s.proposals(b, n, projects, "gated", round), ungated.proposals(b, n, projects, "bare", round)
		s.checked(gated...)
		s.empty()
		began := time.Now()
		for _, c := range gated {
			s.g.Approve(b, c.Number)
		}
		s.knownMerged(gated...)
		withGate = time.Since(began)
		s.empty()
		began = time.Now()
		for _, c := range bare {
			s.g.Land(b, c.Number)
		}
		return withGate, time.Since(began)
	}
	once(warm, 0) // Gerrit compiles what it does often: whoever comes first would pay for it
	var withGate, without time.Duration
	round := 1
	for ; b.Loop(); round++ {
		one, other := once(n, round)
		withGate, without = withGate+one, without+other
	}
	landed := float64(n * (round - 1))
	b.ReportMetric(landed/withGate.Seconds(), "gated/s")
	b.ReportMetric(landed/without.Seconds(), "bare/s")
	b.ReportMetric(100*without.Seconds()/withGate.Seconds(), "%of-bare")
}

// warm is how many changes land in each way before any is measured.
const warm = 30

// BenchmarkReset measures, with a queue of 20 packages that are all tested, what
// follows the failure of its head: the time until each of those behind it has
// its new base (ms/reset), and until the one that builds against the head, on
// packages that will not be, has had its job cancelled (ms/cancelled). No
// independent package may be built again.
func BenchmarkReset(b *testing.B) {
	const n = 20
	s := newSite(b, options{check: "none", gate: "build, publish, install", window: "{start: 40, floor: 3, ceiling: 100}"})
	for i := range n {
		s.project(fmt.Sprintf("p%d", i))
	}
	s.projectWith("app", dependsOn("app", "p0"))
	s.worker.slots = 2 * n
	s.serve()
	var reset, cancelled []float64
	for round := 0; b.Loop(); round++ {
		releaseApp := s.worker.hold("build app")
		var release []func()
		for i := range n {
			release = append(release, s.worker.hold(fmt.Sprintf("install p%d", i)))
		}
		head := s.propose("p0", fmt.Sprintf("Fail %d", round), map[string]string{"outcome": "install fail it does not install\n", "n": fmt.Sprint(round)})
		behind := []*testenv.Pushed{s.propose("app", fmt.Sprintf("Use %d", round), map[string]string{"n": fmt.Sprint(round)})}
		for i := 1; i < n; i++ {
			behind = append(behind, s.proposeTo(b, i, "reset", round))
		}
		all := append([]*testenv.Pushed{head}, behind...)
		s.checked(all...)
		for _, c := range all {
			s.g.Approve(b, c.Number)
			s.inQueue(c)
		}
		s.until("all are built and installed, and the application is being built", func() string {
			m := one[int](s, `SELECT count(*) FROM jobs j JOIN buildsets b ON b.id = j.buildset
				WHERE b.queue = 'main' AND j.state = 'running' AND (j.stage = 'install' OR j.package = 'app')`)
			return missing(m == n+1, "%d of %d are", m, n+1)
		})
		built := len(s.worker.ran)
		failed := one[time.Time](s, `SELECT clock_timestamp()`)
		release[0]()
		s.until("those behind have their new base, and the application is built anew", func() string {
			m := one[int](s, `SELECT count(*) FROM buildsets WHERE queue = 'main' AND created_at > $1 AND prepared_at IS NOT NULL`, failed)
			k := one[int](s, `SELECT count(*) FROM jobs WHERE stage = 'build' AND package = 'app' AND state = 'cancelled' AND ended_at > $1`, failed)
			return missing(m >= len(behind) && k > 0, "%d of %d have, %d cancelled", m, len(behind), k)
		})
		since := `SELECT extract(epoch FROM max(%s) - (SELECT max(ended_at) FROM jobs WHERE stage = 'install' AND package = 'p0' AND state = 'failed'))::float8 `
		reset = append(reset, one[float64](s, fmt.Sprintf(since, "prepared_at")+`FROM buildsets WHERE queue = 'main'`))
		cancelled = append(cancelled, one[float64](s, fmt.Sprintf(since, "ended_at")+`FROM jobs WHERE stage = 'build' AND package = 'app' AND state = 'cancelled'`))
		for _, r := range append(release[1:], releaseApp) {
			r()
		}
		s.knownMerged(behind...)
		s.empty()
		for _, r := range s.worker.ran[built:] {
			if r.Stage == string(job.StageBuild) && r.Package != "app" {
				b.Fatalf("%s was built again", r.Package)
			}
		}
	}
	b.ReportMetric(1000*median(reset), "ms/reset")
	b.ReportMetric(1000*median(cancelled), "ms/cancelled")
}

// BenchmarkPublish measures the time from a merge to the package being in the
// signed repository.
func BenchmarkPublish(b *testing.B) {
	s := benchSite(b, options{check: "none", gate: "build, publish"}, 1)
	var took []float64
	for i := 0; b.Loop(); i++ {
		c := s.propose("p0", fmt.Sprintf("Change %d", i), map[string]string{fmt.Sprintf("f%d", i): "x\n"})
		s.g.Approve(b, c.Number)
		s.merged(c)
		s.empty()
		took = append(took, one[float64](s, `SELECT extract(epoch FROM published_at - landed_at)::float8 FROM buildsets WHERE landed_at IS NOT NULL ORDER BY id DESC LIMIT 1`))
	}
	b.ReportMetric(1000*median(took), "ms/installable")
}

// knownMerged waits until the service knows that the changes have merged, which
// is right after they have. Gerrit is not asked: that would slow it.
func (s *site) knownMerged(changes ...*testenv.Pushed) {
	s.t.Helper()
	var ids []string
	for _, c := range changes {
		ids = append(ids, id(c))
	}
	s.until("the changes merge", func() string {
		n := one[int](s, `SELECT count(*) FROM changes WHERE status = 'merged' AND id = ANY($1)`, ids)
		return missing(n == len(ids), "%d of %d have", n, len(ids))
	})
}

// benchSite serves n projects.
func benchSite(b *testing.B, opt options, n int) *site {
	b.Helper()
	s := newSite(b, opt)
	for i := range n {
		s.project(fmt.Sprintf("p%d", i))
	}
	s.serve()
	return s
}

// proposals are n changes, in turn to each project.
func (s *site) proposals(b *testing.B, n, projects int, kind string, round int) []*testenv.Pushed {
	b.Helper()
	var out []*testenv.Pushed
	for i := range n {
		out = append(out, s.proposeTo(b, i%projects, fmt.Sprintf("%s-%d", kind, round), i))
	}
	return out
}

// proposeTo proposes a change to a project of benchSite that conflicts with no other.
func (s *site) proposeTo(b *testing.B, project int, kind string, serial int) *testenv.Pushed {
	b.Helper()
	name := fmt.Sprintf("%s-%d", kind, serial)
	return s.propose(fmt.Sprintf("p%d", project), name, map[string]string{name: "x\n"})
}
