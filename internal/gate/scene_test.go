package gate_test

import (
	"slices"
	"strings"
	"testing"

	"sluice/internal/gate"
)

// scene tells a story in a world: each step decides, and performs what follows.
type scene struct {
	*world
	t *testing.T
}

// stage sets a scene of approved changes, numbered from 1, in one queue.
func stage(t *testing.T, changes int) *scene {
	s := &scene{newWorld(t), t}
	s.policy = gate.Policy{Start: 20, Floor: 3, Ceiling: 100}
	for i := 1; i <= changes; i++ {
		s.propose(i, "main")
		s.approved(i)
	}
	return s
}

func (s *scene) approved(ns ...int) {
	for _, n := range ns {
		s.approve(cid(n))
		s.read(cid(n))
	}
}

// edit changes what is true of a change, and reads it.
func (s *scene) edit(n int, f func(c *gate.Change)) {
	f(s.truth[cid(n)])
	s.read(cid(n))
}

func dependsOn(ns ...int) func(c *gate.Change) {
	return func(c *gate.Change) {
		for _, n := range ns {
			c.Needs = append(c.Needs, gate.Need{Kind: gate.DependsOn, ID: cid(n)})
		}
	}
}

// step decides, and performs the effects, until nothing follows by itself; no
// job ends by itself.
func (s *scene) step() {
	s.t.Helper()
	for range 100 {
		if s.decide(); len(s.outbox) == 0 {
			return
		}
		s.flush()
	}
	s.t.Fatalf("no rest")
}

func (s *scene) item(n int) *gate.Item {
	s.t.Helper()
	for _, it := range s.state.Items {
		if slices.ContainsFunc(it.Changes, func(r gate.Ref) bool { return r.Number == n }) {
			return it
		}
	}
	s.t.Fatalf("%d does not stand in the queue: %s", n, encode(s.state))
	return nil
}

func (s *scene) build(n int) *build {
	s.t.Helper()
	it := s.item(n)
	if it.Buildset == nil {
		s.t.Fatalf("%d is not being tested", n)
	}
	return s.builds[it.Buildset.ID]
}

// end ends the jobs of changes as these deserve.
func (s *scene) end(ns ...int) {
	s.t.Helper()
	for _, n := range ns {
		b := s.build(n)
		for i := range b.jobs {
			s.finish(b, i, false)
		}
		s.step()
	}
}

// job sets one job's state.
func (s *scene) job(n int, name string, state gate.JobState) {
	s.t.Helper()
	b := s.build(n)
	i := slices.IndexFunc(b.jobs, func(j gate.Job) bool { return j.Name == name })
	b.jobs[i].State = state
	s.step()
}

// order lists the queue, as the first change of each item.
func (s *scene) order() (ns []int) {
	for _, it := range s.state.Items {
		ns = append(ns, it.Changes[0].Number)
	}
	return ns
}

// behind lists what the present attempt of a change stands behind.
func (s *scene) behind(n int) []int {
	s.t.Helper()
	for _, p := range gate.Order(s.state, s.facts()) {
		if p.Item == s.item(n).ID {
			return numbers(p.Behind)
		}
	}
	return nil
}

func (s *scene) merged() (ns []int) {
	for _, id := range s.trunk {
		ns = append(ns, s.truth[id].Number)
	}
	return ns
}

// last is the last report about a change.
func (s *scene) last(n int) gate.Report {
	for _, e := range slices.Backward(s.log) {
		if e.Kind == gate.Tell && slices.Contains(numbers(e.Changes), n) {
			return e.Report
		}
	}
	return gate.Report{}
}

func (s *scene) count(kind gate.EffectKind) (n int) {
	for _, e := range s.log {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// want compares lists of changes.
func (s *scene) want(what string, got []int, want ...int) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func (s *scene) told(n int, kind gate.ReportKind, words string) {
	s.t.Helper()
	if r := s.last(n); r.Kind != kind || !strings.Contains(r.Reason, words) {
		s.t.Errorf("%d was told %s %q, want %s %q", n, r.Kind, r.Reason, kind, words)
	}
}

// why flattens an explanation.
func (s *scene) why(n int) string {
	return flat(gate.Explain(s.state, s.facts(), cid(n)))
}

func flat(r gate.Reason) string {
	text := r.Text + " [" + r.Who + "] → " + r.Next
	for _, c := range r.Children {
		text += "\n" + flat(c)
	}
	return text
}

func (s *scene) says(n int, words string) {
	s.t.Helper()
	if why := s.why(n); !strings.Contains(why, words) {
		s.t.Errorf("why %d: %s\nwant %q", n, why, words)
	}
}

func (s *scene) obeys(verb string, n int, answer string) {
	s.t.Helper()
	s.command(verb, cid(n))
	id := s.commands[len(s.commands)-1].ID
	s.step()
	if !strings.Contains(s.answers[id], answer) {
		s.t.Errorf("%s %d: %q, want %q", verb, n, s.answers[id], answer)
	}
}
