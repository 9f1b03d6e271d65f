package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// BenchmarkFirstJob measures the time from the event of the vote that approves a
// change to the claim of its first job.
func BenchmarkFirstJob(b *testing.B) {
	s := benchSite(b, options{check: "none", gate: "build"}, 1)
	var waits []float64
	for i := 0; b.Loop(); i++ {
		c := s.propose("p0", fmt.Sprintf("Change %d", i), map[string]string{fmt.Sprintf("f%d", i): "x\n"})
		s.g.Approve(b, c.Number)
		s.knownMerged(c)
		waits = append(waits, one[float64](s, `
			SELECT extract(epoch FROM (SELECT max(a.claimed_at) FROM attempts a JOIN jobs j ON j.id = a.job WHERE j.buildset IS NOT NULL)
				- (SELECT max(received_at) FROM gerrit_events WHERE change = $1 AND type = 'comment-added' AND raw #>> '{author,username}' = $2))::float8`,
			id(c), s.g.Reviewer.Name))
	}
	slices.Sort(waits)
	b.ReportMetric(waits[len(waits)/2]*1000, "ms/first-job")
}

// BenchmarkLand measures approved changes until they have merged, with empty
// stages, against a bare loop of the same votes and submits on the same Gerrit.
func BenchmarkLand(b *testing.B) {
	sizes := []int{1, 20}
	if testenv.Full() {
		sizes = append(sizes, 100)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := benchSite(b, options{check: "none", gate: "none", window: "{start: 100, floor: 3, ceiling: 100}"}, n)
			for round := 0; b.Loop(); round++ {
				gated, bare := s.proposals(n, "gated", round), s.proposals(n, "bare", round)
				for _, c := range bare { // nobody gates them
					s.command("dequeue", c)
				}
				s.empty() // and nobody votes any more
				began := time.Now()
				for _, c := range gated {
					s.g.Approve(b, c.Number)
				}
				s.knownMerged(gated...)
				withGate := time.Since(began)
				s.empty()
				began = time.Now()
				for _, c := range bare {
					s.g.Land(b, c.Number)
				}
				without := time.Since(began)
				b.ReportMetric(float64(n)/withGate.Seconds(), "gated/s")
				b.ReportMetric(float64(n)/without.Seconds(), "bare/s")
				b.ReportMetric(100*without.Seconds()/withGate.Seconds(), "%of-bare")
			}
		})
	}
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
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2]*1000, "ms/installable")
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

// proposals are n changes, one to each project.
func (s *site) proposals(n int, kind string, round int) []*testenv.Pushed {
	s.t.Helper()
	var out []*testenv.Pushed
	for i := range n {
		out = append(out, s.propose(fmt.Sprintf("p%d", i), fmt.Sprintf("%s %d %d", kind, round, i),
			map[string]string{fmt.Sprintf("%s-%d", kind, round): "x\n"}))
	}
	return out
}
