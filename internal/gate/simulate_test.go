package gate_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"sluice/internal/gate"
)

// alike is a model in which each item has one build and two tests behind it.
func alike(build, test gate.Times) gate.Model {
	return gate.Model{
		Usual: [][]gate.Task{{
			{Name: "build", Voting: true, Takes: build},
			{Name: "install", Voting: true, Rank: 1, Takes: test},
			{Name: "lint", Rank: 1, Takes: gate.Times{time.Hour}},
		}},
		Prepare: gate.Times{time.Second}, Submit: gate.Times{2 * time.Second},
	}
}

// approved is a queue of n items that nothing was done with yet.
func approved(n int) (gate.State, gate.Facts) {
	f := gate.Facts{Now: time.Unix(1_000_000, 0).UTC(), Changes: map[gate.ChangeID]gate.Change{}}
	for i := 1; i <= n; i++ {
		f.Changes[cid(i)] = gate.Change{
			ID: cid(i), Number: i, Branch: gate.Branch{Project: "g:p", Branch: "main"}, PatchSet: 1, Revision: "r",
			Status: gate.Open, Ready: true, ReadyAt: time.Unix(int64(i), 0), Queue: "main",
		}
	}
	return gate.State{Queue: "main", Kind: gate.Dependent}, f
}

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if d := got - want; d > time.Second || d < -time.Second {
		t.Errorf("%s: %s; wanted %s", what, got, want)
	}
}

// Jobs of one length each: the forecast can be counted by hand.
func TestSimulateByHand(t *testing.T) {
	s, f := approved(3)
	m := alike(gate.Times{10 * time.Minute}, gate.Times{5 * time.Minute})
	got := gate.Simulate(gate.Simulation{State: s, Facts: f, Model: m})
	for i := 1; i <= 3; i++ { // side by side, then one submit after the other
		o := got.Changes[cid(i)]
		near(t, "merge", o.Median, 15*time.Minute+time.Second+time.Duration(i)*2*time.Second)
		near(t, "spread", o.Late-o.Early, 0)
		if o.Merges != 1 {
			t.Errorf("change %d merges in %v of the runs", i, o.Merges)
		}
	}
	if got.Merged != 3 || got.Failed != 0 || got.Resets != 0 || got.Wasted != 0 {
		t.Errorf("%+v", got)
	}

	m.Slots = 1 // the builds one after the other, then what is behind them
	slow := gate.Simulate(gate.Simulation{State: s, Facts: f, Model: m})
	if o := slow.Changes[cid(3)]; o.Median < 45*time.Minute {
		t.Errorf("three items of a quarter of an hour on one slot in %s", o.Median)
	}

	f.Policy = gate.Policy{Start: 1, Floor: 1, Ceiling: 1}
	m.Slots = 0
	single := gate.Simulate(gate.Simulation{State: s, Facts: f, Model: m})
	near(t, "the third with a window of one", single.Changes[cid(3)].Median, 3*(15*time.Minute+3*time.Second))
}

// What runs already takes only what is left of it.
func TestSimulateGoesOnFromWhereTheQueueIs(t *testing.T) {
	s, f := approved(1)
	s, effects := gate.Decide(s, f)
	b := effects[1].Buildset
	f.Buildsets = map[gate.BuildsetID]gate.BuildsetFacts{b: {Prepared: true, Jobs: []gate.Job{
		{Name: "build", Voting: true, State: gate.JobPassed}, {Name: "install", Voting: true, State: gate.JobRunning},
	}}}
	m := alike(gate.Times{10 * time.Minute}, gate.Times{5 * time.Minute, 5 * time.Minute})
	m.Tasks = map[gate.ItemID][]gate.Task{1: {
		{Name: "build", Voting: true, Takes: m.Usual[0][0].Takes},
		{Name: "install", Voting: true, Rank: 1, Takes: gate.Times{4 * time.Minute, 6 * time.Minute}, Ran: 5 * time.Minute},
	}}
	o := gate.Simulate(gate.Simulation{State: s, Facts: f, Model: m, Runs: 50}).Changes[cid(1)]
	if o.Median < 10*time.Second || o.Late > 65*time.Second {
		t.Errorf("an install of 4 to 6 minutes that has run for 5 ends in %s, %s at the latest", o.Median, o.Late)
	}
}

// Failures cost those behind an attempt, and a smaller window fewer of them.
func TestSimulateFailures(t *testing.T) {
	s, f := approved(30)
	m := alike(gate.Times{10 * time.Minute}, gate.Times{5 * time.Minute})
	m.Fails = 0.3
	sim := gate.Simulation{State: s, Facts: f, Model: m, Runs: 30}
	wide := gate.Simulate(sim)
	if math.Abs(wide.Failed-9) > 3 || wide.Resets == 0 || wide.Wasted == 0 || wide.Wasted > wide.Worked {
		t.Errorf("30 items of which a third fails: %+v", wide)
	}
	if share := wide.Changes[cid(1)].Merges; share < 0.4 || share > 0.95 {
		t.Errorf("the first merges in %v of the runs", share)
	}
	sim.Facts.Policy = gate.Policy{Start: 2, Floor: 2, Ceiling: 2}
	if narrow := gate.Simulate(sim); narrow.Wasted >= wide.Wasted || narrow.PerHour >= wide.PerHour {
		t.Errorf("a window of two wastes %s and merges %.1f an hour; one of twenty %s and %.1f", narrow.Wasted, narrow.PerHour, wide.Wasted, wide.PerHour)
	}
	sim.Facts.Policy = gate.Policy{FailFast: true}
	if fast := gate.Simulate(sim); fast.Worked >= wide.Worked {
		t.Errorf("fail-fast works %s; without it %s", fast.Worked, wide.Worked)
	}
}

// A simulation modifies nothing, and is the same each time.
func TestSimulateIsPure(t *testing.T) {
	s, f := standing(200)
	m := alike(gate.Times{time.Minute, time.Hour}, gate.Times{time.Minute, time.Hour})
	m.Fails = 0.1
	sim := gate.Simulation{State: s, Facts: f, Model: m, Runs: 3, Limit: 50, Seed: 7, Arrivals: []gate.Arrival{{After: time.Minute, Change: gate.Change{
		ID: cid(999), Number: 999, PatchSet: 1, Status: gate.Open, Ready: true, Queue: "main",
	}}}}
	before := encode([]any{s, f.Changes, f.Buildsets, m})
	a, b := gate.Simulate(sim), gate.Simulate(sim)
	if !reflect.DeepEqual(a, b) {
		t.Error("equal simulations differ")
	}
	if encode([]any{s, f.Changes, f.Buildsets, m}) != before {
		t.Error("a simulation modified what it was given")
	}
	if _, ok := a.Changes[cid(999)]; !ok {
		t.Error("what arrived never merges")
	}
	if o := a.Changes[cid(200)]; o.Median <= a.Changes[cid(45)].Median {
		t.Errorf("the last of 200 merges after %s, the 45th after %s", o.Median, a.Changes[cid(45)].Median)
	}
	sim.Seed++
	if reflect.DeepEqual(a, gate.Simulate(sim)) {
		t.Error("the seed changes nothing")
	}
}

// Paused, nothing is promised.
func TestSimulatePaused(t *testing.T) {
	s, f := approved(3)
	s.Paused = &gate.Note{Who: "ada"}
	if got := gate.Simulate(gate.Simulation{State: s, Facts: f, Model: alike(gate.Times{1}, nil)}); len(got.Changes) > 0 {
		t.Errorf("%+v", got)
	}
}

// TestBacktest holds the estimate to a world that is not the simulation's own:
// second by second, each project with builds of its own length, few workers. The
// model is what was measured of its first half; the estimates are asked for all
// through the second, and compared with what came.
func TestBacktest(t *testing.T) {
	w := newTimed(11)
	for range 6 * 3600 {
		w.second()
	}
	m := w.measured()
	type guess struct {
		at    int
		given gate.Outlook
	}
	guesses := map[gate.ChangeID][]guess{}
	for i := range 6 * 3600 {
		w.second()
		if i%600 == 0 && i < 5*3600 {
			m.Tasks = w.tasks(m)
			forecast := gate.Simulate(gate.Simulation{State: w.state, Facts: w.facts(), Model: m, Limit: 40})
			for id, o := range forecast.Changes {
				guesses[id] = append(guesses[id], guess{w.now, o})
			}
		}
	}
	var off []float64
	within, all := 0, 0
	for id, list := range guesses {
		at, ok := w.merged[id]
		if !ok {
			continue
		}
		for _, g := range list {
			took := time.Duration(at-g.at) * time.Second
			off = append(off, math.Abs((g.given.Median-took).Seconds())/math.Max(took.Seconds(), 300))
			all++
			if took >= g.given.Early-time.Minute && took <= g.given.Late+time.Minute {
				within++
			}
		}
	}
	slices.Sort(off)
	median, share := off[len(off)/2], float64(within)/float64(all)
	t.Logf("%d estimates: median error %.0f %%, nine of ten within %.0f %%; %.0f %% within their range", all, 100*median, 100*off[len(off)*9/10], 100*share)
	if all < 100 || median > 0.35 || share < 0.7 {
		t.Errorf("%d estimates: median error %.2f of the time it took, %.2f within the range", all, median, share)
	}
}

// BenchmarkSimulate5000 is one estimate of a queue of 5,000 items, as the service asks for it.
func BenchmarkSimulate5000(b *testing.B) {
	s, f := standing(5000)
	m := alike(gate.Times{time.Minute, time.Hour}, gate.Times{time.Minute, time.Hour})
	m.Fails = 0.1
	began := cpu(b)
	for b.Loop() {
		gate.Simulate(gate.Simulation{State: s, Facts: f, Model: m, Limit: 100})
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
}

// timed is a world with a clock: changes come, jobs take their time.
type timed struct {
	*rand.Rand
	now    int // seconds
	number int
	policy gate.Policy
	state  gate.State
	known  map[gate.ChangeID]gate.Change
	bad    map[gate.ChangeID]bool
	builds map[gate.BuildsetID]*timedBuild
	submit map[gate.ItemID]int // ends at
	serial map[gate.ItemID]int

	merged   map[gate.ChangeID]int
	failed   int
	builtFor map[string][]time.Duration // by project
	tested   []time.Duration
}

type timedBuild struct {
	item    gate.ItemID
	project string
	change  gate.ChangeID
	ready   int    // prepared at
	begun   [2]int // 0: not yet
	ends    [2]int
	state   [2]gate.JobState
}

func newTimed(seed uint64) *timed {
	return &timed{
		Rand: rand.New(rand.NewPCG(seed, 1)), now: 1_000_000, policy: gate.Policy{Start: 8, Floor: 3, Ceiling: 20},
		state: gate.State{Queue: "main", Kind: gate.Dependent}, known: map[gate.ChangeID]gate.Change{}, bad: map[gate.ChangeID]bool{},
		builds: map[gate.BuildsetID]*timedBuild{}, submit: map[gate.ItemID]int{}, serial: map[gate.ItemID]int{},
		merged: map[gate.ChangeID]int{}, builtFor: map[string][]time.Duration{},
	}
}

const timedSlots = 6

var timedProjects = []string{"g:small", "g:middle", "g:large"}

// took draws how long a project's build takes: log-normal, some three times as long as the others'.
func (w *timed) took(project string) int {
	mean := map[string]float64{"g:small": 60, "g:middle": 200, "g:large": 600}[project]
	return int(mean*math.Exp(0.3*w.NormFloat64())) + 1
}

func (w *timed) second() {
	w.now++
	changed := false
	if w.Float64() < 1.0/120 && len(w.state.Items) < 60 {
		w.number++
		c := gate.Change{
			ID: cid(w.number), Number: w.number, Branch: gate.Branch{Project: timedProjects[w.IntN(3)], Branch: "main"}, PatchSet: 1, Revision: "r",
			Status: gate.Open, Ready: true, ReadyAt: time.Unix(int64(w.now), 0), Queue: "main",
		}
		w.known[c.ID], w.bad[c.ID] = c, w.Float64() < 0.12
		changed = true
	}
	running := 0
	for _, b := range w.builds {
		for i := range b.state {
			if b.state[i] == gate.JobRunning {
				running++
			}
		}
	}
	for _, id := range sortedBuilds(w.builds) {
		b := w.builds[id]
		if w.now == b.ready {
			changed = true
		}
		for i := range b.state {
			switch {
			case b.state[i] == gate.JobRunning && w.now >= b.ends[i]:
				changed = true
				running--
				w.end(b, i)
			case b.state[i] == gate.JobWaiting && w.now >= b.ready && running < timedSlots && (i == 0 || b.state[0] == gate.JobPassed):
				running++
				b.state[i], b.begun[i], b.ends[i] = gate.JobRunning, w.now, w.now+w.took(b.project)
				if i == 1 {
					b.ends[i] = w.now + 20 + w.IntN(100)
				}
			}
		}
	}
	for _, end := range w.submit {
		changed = changed || end == w.now
	}
	if changed {
		w.decide()
	}
}

func sortedBuilds(m map[gate.BuildsetID]*timedBuild) []gate.BuildsetID {
	var out []gate.BuildsetID
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

func (w *timed) end(b *timedBuild, i int) {
	took := time.Duration(w.now-b.begun[i]) * time.Second
	if i == 0 {
		w.builtFor[b.project] = append(w.builtFor[b.project], took)
	} else {
		w.tested = append(w.tested, took)
	}
	b.state[i] = gate.JobPassed
	if i == 1 && w.bad[b.change] {
		b.state[i] = gate.JobFailed
	}
}

func (w *timed) facts() gate.Facts {
	f := gate.Facts{
		Now: time.Unix(int64(w.now), 0).UTC(), Policy: w.policy, Changes: w.known,
		Buildsets: map[gate.BuildsetID]gate.BuildsetFacts{}, Submits: map[gate.ItemID]gate.SubmitOutcome{},
	}
	for id, b := range w.builds {
		if w.now < b.ready {
			continue
		}
		f.Buildsets[id] = gate.BuildsetFacts{Prepared: true, Jobs: []gate.Job{
			{Name: "build", Voting: true, State: b.state[0]}, {Name: "test", Voting: true, State: b.state[1]},
		}}
	}
	for id, end := range w.submit {
		if w.now >= end {
			f.Submits[id] = gate.SubmitOutcome{Serial: w.serial[id], Result: gate.SubmitLanded}
		}
	}
	return f
}

func (w *timed) decide() {
	var effects []gate.Effect
	w.state, effects = gate.Decide(w.state, w.facts())
	for _, e := range effects {
		switch e.Kind {
		case gate.Prepare:
			c := w.known[e.Changes[0].ID]
			w.builds[e.Buildset] = &timedBuild{
				item: e.Item, project: c.Branch.Project, change: c.ID, ready: w.now + 3, state: [2]gate.JobState{gate.JobWaiting, gate.JobWaiting},
			}
		case gate.Cancel, gate.Leave:
			delete(w.builds, e.Buildset)
			for id, b := range w.builds {
				if e.Kind == gate.Leave && b.item == e.Item {
					delete(w.builds, id)
				}
			}
		case gate.SubmitChanges:
			w.submit[e.Item], w.serial[e.Item] = w.now+2, e.Serial
		case gate.Tell:
			if !e.Report.Final {
				continue
			}
			delete(w.submit, e.Item)
			c := w.known[e.Changes[0].ID]
			if e.Report.Kind == gate.ReportMerged {
				w.merged[c.ID] = w.now
				c.Status = gate.Merged
			} else {
				w.failed++
				c.Ready = false
			}
			w.known[c.ID] = c
		}
	}
}

// measured is what an engine would have measured so far.
func (w *timed) measured() gate.Model {
	m := gate.Model{
		Prepare: gate.Times{3 * time.Second}, Submit: gate.Times{2 * time.Second}, Slots: timedSlots,
		Fails: float64(w.failed) / float64(w.failed+len(w.merged)),
	}
	for _, p := range timedProjects {
		m.Usual = append(m.Usual, w.shape(p))
	}
	return m
}

func (w *timed) shape(project string) []gate.Task {
	return []gate.Task{
		{Name: "build", Voting: true, Takes: gate.Measured(w.builtFor[project], 10)},
		{Name: "test", Voting: true, Rank: 1, Takes: gate.Measured(w.tested, 10)},
	}
}

// tasks are those of the items that stand in the queue.
func (w *timed) tasks(m gate.Model) map[gate.ItemID][]gate.Task {
	out := map[gate.ItemID][]gate.Task{}
	for _, it := range w.state.Items {
		tasks := w.shape(w.known[it.Changes[0].ID].Branch.Project)
		if it.Buildset != nil {
			if b := w.builds[it.Buildset.ID]; b != nil {
				for i := range tasks {
					if b.state[i] == gate.JobRunning {
						tasks[i].Ran = time.Duration(w.now-b.begun[i]) * time.Second
					}
				}
			}
		}
		out[it.ID] = tasks
	}
	return out
}
