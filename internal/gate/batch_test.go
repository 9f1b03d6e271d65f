package gate_test

import (
	"slices"
	"testing"
	"time"

	"sluice/internal/gate"
)

// batched sets a scene whose changes all have a system test, run per batch.
func batched(t *testing.T, changes, size int) *scene {
	s := stage(t, changes)
	s.policy.Batch = size
	for i := 1; i <= changes; i++ {
		s.dear[cid(i)] = true
	}
	return s
}

// ready ends all that runs of changes but the runs of batches.
func (s *scene) ready(ns ...int) {
	s.t.Helper()
	for _, n := range ns {
		b := s.build(n)
		for i := range b.jobs {
			if b.jobs[i].Name != "systest" {
				s.finish(b, i, false)
			}
		}
	}
	s.step()
}

// ran lists the runs that were asked for, as the numbers of their members.
func (s *scene) ran() (runs [][]int) {
	for _, e := range s.log {
		if e.Kind != gate.RunDeferred {
			continue
		}
		var members []int
		for _, id := range e.StackItems {
			members = append(members, s.items[id].changes[0].Number)
		}
		runs = append(runs, members)
	}
	return runs
}

func (s *scene) runsWere(want ...[]int) {
	s.t.Helper()
	if got := s.ran(); !slices.EqualFunc(got, want, slices.Equal) {
		s.t.Errorf("runs of batches: %v, want %v", got, want)
	}
}

func TestABatchRunsOnceAndLandsTogether(t *testing.T) {
	s := batched(t, 4, 4)
	s.step()
	s.ready(1, 2, 4)
	s.runsWere()
	s.says(1, "built, waits for its batch")
	s.says(1, "#3: testing")
	s.ready(3)
	s.runsWere([]int{1, 2, 3, 4})
	s.says(2, "tested with its batch on #4")
	s.says(2, "the job systest is waiting")
	s.end(4)
	s.want("merged", s.merged(), 1, 2, 3, 4)
	for n := range 4 {
		s.told(n+1, gate.ReportMerged, "")
	}
	if s.state.Owed != nil {
		t.Errorf("the batch is complete, and owes %s", encode(s.state.Owed))
	}
}

func TestTheCulpritThirdOfFour(t *testing.T) {
	s := batched(t, 5, 4)
	s.culprit[cid(3)] = true
	s.step()
	s.ready(1, 2, 3, 4, 5)
	s.end(4)
	s.says(4, "its batch failed")
	s.says(1, "tested with its batch on #2")
	s.want("5 stands behind", s.behind(5), 1, 2, 3, 4)
	s.end(2)
	s.want("merged", s.merged(), 1, 2) // what is proven lands, while the culprit is looked for
	s.runsWere([]int{1, 2, 3, 4}, []int{1, 2}, []int{1, 2, 3})
	s.end(3)
	s.told(3, gate.ReportFailed, "systest failed")
	s.want("4 stands behind", s.behind(4))
	s.ready(4, 5)
	s.runsWere([]int{1, 2, 3, 4}, []int{1, 2}, []int{1, 2, 3}, []int{4, 5})
	s.end(5)
	s.want("merged", s.merged(), 1, 2, 4, 5)
	if s.state.Window != 20+2-11+2 {
		t.Errorf("window %d: one failure halves it once", s.state.Window)
	}
}

func TestTheCulpritKeepsItsPlaceUntilThoseUnderItLanded(t *testing.T) {
	s := batched(t, 3, 3)
	s.policy.Observe = true // nothing lands by itself
	s.culprit[cid(2)] = true
	s.step()
	s.ready(1, 2, 3)
	s.end(3)
	s.end(1)
	s.runsWere([]int{1, 2, 3}, []int{1}, []int{1, 2})
	s.end(2)
	s.want("queue", s.order(), 1, 2, 3)
	s.says(2, "failing: systest failed")
	s.want("3 stands behind", s.behind(3), 1)
}

func TestABatchEndsAtAnItemWithoutDearStages(t *testing.T) {
	s := batched(t, 3, 4)
	s.dear[cid(2)] = false
	s.step()
	s.ready(1, 2, 3)
	s.runsWere([]int{1})
	s.end(1)
	s.want("merged", s.merged(), 1, 2)
	s.runsWere([]int{1}, []int{3})
}

func TestABatchIsAtMostAsLargeAsThePolicySays(t *testing.T) {
	s := batched(t, 5, 2)
	s.step()
	s.ready(1, 2, 3, 4, 5)
	s.runsWere([]int{1, 2})
	s.end(2)
	s.runsWere([]int{1, 2}, []int{3, 4})
	s.end(4)
	s.end(5)
	s.want("merged", s.merged(), 1, 2, 3, 4, 5)
}

func TestARefusalMidwayHasWhatLandedTestedByItself(t *testing.T) {
	s := batched(t, 4, 3)
	s.refuse[cid(2)] = 1
	s.step()
	s.ready(1, 2, 3, 4)
	s.end(3)
	s.want("merged", s.merged(), 1)
	s.told(2, gate.ReportRefused, "no permission")
	s.told(1, gate.ReportPartial, "tested by itself")
	s.says(1, "merged without the rest of its batch")
	s.runsWere([]int{1, 2, 3}, []int{1})
	s.ready(3, 4) // meanwhile the others are tested on what is there
	s.want("merged", s.merged(), 1)
	s.runsWere([]int{1, 2, 3}, []int{1}, []int{3, 4})
	if s.count(gate.Publish) != 1 {
		t.Errorf("published %d times", s.count(gate.Publish))
	}
	s.end(1)
	s.told(1, gate.ReportPartial, "passes by itself")
	s.end(4)
	s.want("merged", s.merged(), 1, 3, 4)
}

func TestAPatchSetMidwayAndWhatLandedFailsByItself(t *testing.T) {
	s := batched(t, 3, 3)
	s.step()
	s.ready(1, 2, 3)
	s.job(3, "systest", gate.JobRunning)
	b := s.build(3)
	s.finish(b, len(b.jobs)-1, false)
	s.decide() // the first submit is under way
	s.edit(3, func(c *gate.Change) { c.PatchSet, c.Revision = 2, "new" })
	s.culprit[cid(1)] = true // only with what the others brought did it pass
	s.step()
	s.want("merged", s.merged(), 1)
	s.told(1, gate.ReportPartial, "")
	s.end(1)
	s.told(1, gate.ReportPartial, "fails by itself: systest failed")
	s.want("queue", s.order(), 2, 3)
	s.culprit[cid(1)] = false
	s.ready(2, 3)
	s.end(3)
	s.want("merged", s.merged(), 1, 2, 3)
}

func TestAPauseMidwayOnlyWaits(t *testing.T) {
	s := batched(t, 2, 2)
	s.step()
	s.obeys("pause", 1, "paused")
	s.ready(1, 2)
	s.runsWere()
	s.says(1, "the queue was paused by ada")
	s.obeys("resume", 1, "goes on")
	b := s.build(2)
	s.finish(b, len(b.jobs)-1, false)
	s.decide()
	s.command("pause", cid(1))
	s.step()
	s.want("merged", s.merged(), 1)
	s.says(2, "waits: the queue is paused")
	s.obeys("resume", 1, "goes on")
	s.want("merged", s.merged(), 1, 2)
	s.runsWere([]int{1, 2})
}

func TestABatchWithoutAVerdictBlamesNobody(t *testing.T) {
	s := batched(t, 2, 2)
	s.step()
	s.ready(1, 2)
	s.job(2, "systest", gate.JobError)
	s.runsWere([]int{1, 2}, []int{1})
	s.end(1)
	s.told(2, gate.ReportError, "systest could not be run")
	s.want("merged", s.merged(), 1)
	if s.state.Window != 21 {
		t.Errorf("window %d: nothing failed", s.state.Window)
	}
}

func TestAMergePastTheGateHasItsOwnDearStages(t *testing.T) {
	s := batched(t, 2, 2)
	s.step()
	s.mergeNow(cid(2))
	s.read(cid(2))
	s.step()
	s.ready(2)
	s.runsWere([]int{2})
	s.end(2)
	s.told(2, gate.ReportMerged, "passed all jobs")
}

func TestARestrictedItemIsInNoBatchOfPublicOnes(t *testing.T) {
	s := batched(t, 3, 3)
	s.edit(2, func(c *gate.Change) { c.Restricted = true })
	s.step()
	s.ready(1, 2, 3)
	s.runsWere([]int{1, 3})
}

// abreast sets a scene of batches in lanes: each change is of the lane that it is given.
func abreast(t *testing.T, size int, lanes ...string) *scene {
	s := laned(t, len(lanes))
	s.policy.Batch = size
	for i, lane := range lanes {
		s.makes(i+1, lane)
		s.dear[cid(i+1)] = true
	}
	return s
}

func TestABatchIsOfOneLaneAndWaitsForNoOther(t *testing.T) {
	s := abreast(t, 3, "a", "b", "a", "b", "a", "b")
	s.culprit[cid(4)] = true
	s.step()
	s.ready(2, 4, 6)
	s.end(6)
	s.runsWere([]int{2, 4, 6}, []int{2})
	s.says(4, "built, waits for its batch")
	s.ready(1, 3, 5)
	s.end(5)
	s.want("merged", s.merged(), 1, 3, 5)
	s.end(2)
	s.want("merged", s.merged(), 1, 3, 5, 2)
	s.end(4)
	s.told(4, gate.ReportFailed, "systest failed")
	s.ready(6)
	s.end(6)
	s.want("merged", s.merged(), 1, 3, 5, 2, 6)
	s.runsWere([]int{2, 4, 6}, []int{2}, []int{1, 3, 5}, []int{2, 4}, []int{6})
}

// A build widens a closure: the batch of the one lane goes behind that of the other.
func TestABatchWhoseLaneIsJoined(t *testing.T) {
	s := abreast(t, 2, "a", "a", "b", "b")
	s.closures[cid(3)] = gate.Closure{Provides: []string{"a", "b"}}
	s.step()
	s.want("4 stands behind", s.behind(4), 3)
	s.ready(1, 2)
	s.ready(3)
	s.want("4 stands behind", s.behind(4), 1, 2, 3)
	s.ready(3, 4)
	s.runsWere([]int{1, 2})
	s.end(2)
	s.runsWere([]int{1, 2}, []int{3, 4})
	s.end(4)
	s.want("merged", s.merged(), 1, 2, 3, 4)
}

// What landed of a batch and is tested by itself holds up all that it touches,
// and no other lane.
func TestARefusalMidwayHoldsUpItsLane(t *testing.T) {
	s := abreast(t, 3, "a", "b", "c", "d", "d")
	s.makes(2, "b", "a")
	s.makes(3, "c", "a")
	s.refuse[cid(2)] = 1
	s.step()
	s.ready(1, 2, 3)
	s.runsWere([]int{1, 2})
	s.end(2)
	s.told(2, gate.ReportRefused, "no permission")
	s.runsWere([]int{1, 2}, []int{3}, []int{1})
	s.ready(4, 5)
	s.end(5)
	s.end(3)
	s.want("merged", s.merged(), 1, 4, 5)
	s.says(3, "waits for #1 ahead")
	s.end(1)
	s.told(1, gate.ReportPartial, "passes by itself")
	s.want("merged", s.merged(), 1, 4, 5, 3)
}

// A dear stage on one worker: with batches it is waited for once.
func TestABatchInASimulation(t *testing.T) {
	s, f := approved(4)
	m := alike(gate.Times{10 * time.Minute}, gate.Times{5 * time.Minute})
	m.Usual[0] = append(m.Usual[0][:2], gate.Task{Name: "systest", Voting: true, Rank: 2, Batch: true, Takes: gate.Times{time.Hour}})
	m.Slots = 1
	f.Policy.Batch = 4
	got := gate.Simulate(gate.Simulation{State: s, Facts: f, Model: m})
	near(t, "all", got.Lasted, 4*15*time.Minute+time.Hour+4*2*time.Second+time.Second)
	if got.Merged != 4 {
		t.Errorf("%+v", got)
	}
}

// A queue whose items are built goes on with its batch.
func TestABatchUnderWayInASimulation(t *testing.T) {
	s, f := approved(2)
	f.Policy.Batch, f.Buildsets = 2, map[gate.BuildsetID]gate.BuildsetFacts{}
	s, effects := gate.Decide(s, f)
	m := gate.Model{Tasks: map[gate.ItemID][]gate.Task{}, Submit: gate.Times{2 * time.Second}}
	for _, e := range effects {
		if e.Kind == gate.Prepare {
			m.Tasks[e.Item] = []gate.Task{{Name: "build", Voting: true}, {Name: "systest", Voting: true, Rank: 2, Batch: true, Takes: gate.Times{time.Hour}}}
			f.Buildsets[e.Buildset] = gate.BuildsetFacts{Prepared: true, Deferred: true, Jobs: []gate.Job{{Name: "build", Voting: true, State: gate.JobPassed}}}
		}
	}
	near(t, "built", gate.Simulate(gate.Simulation{State: s, Facts: f, Model: m}).Lasted, time.Hour+4*time.Second)
	s, effects = gate.Decide(s, f)
	if len(effects) != 1 || effects[0].Kind != gate.RunDeferred {
		t.Fatalf("decided %s", encode(effects))
	}
	near(t, "asked for", gate.Simulate(gate.Simulation{State: s, Facts: f, Model: m}).Lasted, time.Hour+4*time.Second)
}
