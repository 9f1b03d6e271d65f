package gate_test

import (
	"slices"
	"testing"

	"sluice/internal/gate"
)

func TestG6StandsBehindTheNearestGoodAhead(t *testing.T) {
	s := stage(t, 4)
	s.fails[cid(2)] = true
	s.step()
	s.want("4 stands behind", s.behind(4), 1, 2, 3)
	s.job(2, "build", gate.JobFailed)
	s.want("3 stands behind", s.behind(3), 1)
	s.want("4 stands behind", s.behind(4), 1, 3)
}

func TestG7TheWindow(t *testing.T) {
	s := stage(t, 9)
	s.policy = gate.Policy{Start: 4, Floor: 2, Ceiling: 5}
	s.fails[cid(3)] = true
	s.step()
	if s.item(5).Buildset != nil || s.item(4).Buildset == nil {
		t.Error("only the first four are active")
	}
	s.says(5, "waiting outside the window")
	s.end(1, 2)
	if s.state.Window != 5 {
		t.Errorf("window %d after two merges, the ceiling is 5", s.state.Window)
	}
	old := s.item(7).Buildset.ID
	s.end(3)
	if s.state.Window != 2 {
		t.Errorf("window %d after a failure, want half of 5", s.state.Window)
	}
	// 6 and 7 fell out; their attempts stood on the failing one, so nothing is left of them.
	if s.item(7).Buildset != nil || !s.builds[old].cancelled {
		t.Error("an attempt outside the window is tested on a base that is gone")
	}
	s.end(4)
	if s.state.Window != 3 {
		t.Errorf("window %d after a merge", s.state.Window)
	}
}

func TestG7AnItemThatFallsOutKeepsItsJobs(t *testing.T) {
	s := stage(t, 6)
	s.policy = gate.Policy{Start: 6, Floor: 2, Ceiling: 6}
	s.fails[cid(1)] = true
	s.step()
	s.job(1, "build", gate.JobFailed) // those behind move at once, the window has not shrunk yet
	last := s.item(6).Buildset.ID
	s.end(1)
	if it := s.item(6); s.state.Window != 3 || it.Buildset == nil || it.Buildset.ID != last || !it.FellOut {
		t.Errorf("window %d, the last item: %s", s.state.Window, encode(it))
	}
	s.end(2)
	s.end(3)
	if it := s.item(6); it.FellOut || it.Buildset.ID != last {
		t.Errorf("back in the window: %s", encode(it))
	}
}

// One that is being submitted falls out of the window as any other does.
func TestG7AnItemInFlightFallsOut(t *testing.T) {
	s := stage(t, 4)
	s.policy = gate.Policy{Start: 4, Floor: 1, Ceiling: 4}
	for n := range 3 {
		s.fails[cid(n+1)] = true
	}
	s.step()
	for n := range 3 {
		s.finish(s.build(n+1), 0, false)
		s.step()
	}
	for i := range s.build(4).jobs {
		s.finish(s.build(4), i, false)
	}
	s.decide()
	for i := range s.build(1).jobs {
		s.finish(s.build(1), i, false)
	}
	s.decide()
	if it := s.item(4); it.Submit == nil || !it.FellOut || s.state.Window != 2 {
		t.Errorf("window %d, in flight %s", s.state.Window, encode(it))
	}
	s.step()
	s.want("merged", s.merged(), 4)
}

func TestG8AConflictIsAStateUntilNothingIsUnderIt(t *testing.T) {
	s := stage(t, 3)
	s.clash[pair{cid(2), cid(1)}] = true
	s.step()
	s.want("queue", s.order(), 1, 2, 3)
	s.want("3 stands behind", s.behind(3), 1)
	s.says(2, "conflict: does not merge together with a change ahead: f")
	s.end(1)
	s.told(2, gate.ReportConflict, "f")
	s.want("queue", s.order(), 3)
	if s.state.Window != 21 {
		t.Errorf("window %d: a conflict is no failure of tests", s.state.Window)
	}
}

func TestG8AConflictEndsWithWhatItIsWith(t *testing.T) {
	s := stage(t, 2)
	s.clash[pair{cid(2), cid(1)}], s.fails[cid(1)] = true, true
	s.step()
	s.end(1)
	s.want("queue", s.order(), 2)
	s.end(2)
	s.want("merged", s.merged(), 2)
}

func TestG9FollowersMoveAtTheFirstFailure(t *testing.T) {
	s := stage(t, 3)
	s.step()
	old := s.item(3).Buildset.ID
	s.build(2).jobs[0].Early = true // seen in the log, before the job ends
	s.step()
	s.want("3 stands behind", s.behind(3), 1)
	if !s.builds[old].cancelled {
		t.Error("the stale jobs go on")
	}
	s.want("queue", s.order(), 1, 2, 3)
}

func TestG9FailFastCancelsTheRest(t *testing.T) {
	s := stage(t, 1)
	s.policy.FailFast, s.fails[cid(1)] = true, true
	s.step()
	s.finish(s.build(1), 0, true) // it shows that it fails, and says the rest itself
	s.step()
	if n := s.count(gate.CancelRest); n != 0 {
		t.Errorf("%d times before it has ended", n)
	}
	s.job(1, "build", gate.JobFailed)
	if s.count(gate.CancelRest) != 1 {
		t.Errorf("%d times", s.count(gate.CancelRest))
	}
	s.told(1, gate.ReportFailed, "build failed")
}

func TestG11SecondChance(t *testing.T) {
	s := stage(t, 3)
	s.spoil[pair{cid(2), cid(1)}] = true // 2 fails only together with 1
	s.fails[cid(1)] = true
	s.step()
	s.end(2)
	s.want("queue", s.order(), 1, 2, 3)
	s.says(2, "if one of those under it leaves, it is tested again")
	s.end(1)
	s.told(1, gate.ReportFailed, "build")
	s.end(2)
	s.end(3)
	s.want("merged", s.merged(), 2, 3)
}

func TestG11ThoseBehindMayMergeFirst(t *testing.T) {
	s := stage(t, 2)
	s.fails[cid(1)] = true
	s.step()
	s.job(1, "build", gate.JobFailed) // its other jobs go on
	s.end(2)
	s.want("merged", s.merged(), 2)
	s.want("queue", s.order(), 1)
	s.end(1)
	s.told(1, gate.ReportFailed, "build failed")
}

func TestG11DependantsAreHeldAndReportedAfter(t *testing.T) {
	s := stage(t, 4)
	s.fails[cid(2)] = true
	s.edit(3, dependsOn(2))
	s.step()
	s.job(2, "build", gate.JobFailed)
	s.want("queue", s.order(), 1, 2, 3, 4)
	s.says(3, "held with #2, which it needs")
	s.want("4 stands behind", s.behind(4), 1)
	s.end(2)
	s.end(1)
	s.told(3, gate.ReportDequeued, "needs #2, which failed its tests")
	s.want("queue", s.order(), 4)
	if s.state.Window != 10 {
		t.Errorf("window %d: halved once, for the one that failed", s.state.Window)
	}
	s.says(3, "#2 failed its tests")
	// A new patch set of 2 brings both back.
	s.fails[cid(2)] = false
	s.edit(2, func(c *gate.Change) { c.PatchSet, c.Revision = 2, "2/2" })
	s.step()
	s.want("queue", s.order(), 4, 2, 3)
}

func TestG11NotAgainUntilSomethingIsNewer(t *testing.T) {
	s := stage(t, 1)
	s.fails[cid(1)] = true
	s.step()
	s.end(1)
	s.step()
	s.want("queue", s.order())
	s.says(1, "patch set 1 of #1 failed its tests: build failed [the author]")
	s.edit(1, func(c *gate.Change) { c.ReadyAt = s.tick() })
	s.step()
	s.want("queue", s.order(), 1)
	s.end(1)
	s.obeys("retry", 1, "tested again")
	s.want("queue", s.order(), 1)
	if !s.item(1).Buildset.Retry {
		t.Error("what failed is reused")
	}
}

func TestG12NoVerdictNoBlame(t *testing.T) {
	s := stage(t, 2)
	s.hiccups = 1
	s.step()
	s.end(1)
	s.told(1, gate.ReportError, "test could not be run")
	if s.state.Window != 20 {
		t.Errorf("window %d", s.state.Window)
	}
	s.want("2 stands behind", s.behind(2))
	s.says(1, "could not be tested")
}

func TestG13NonVotingDecidesNothing(t *testing.T) {
	s := stage(t, 1)
	s.step()
	s.job(1, "lint", gate.JobFailed)
	s.end(1)
	s.want("merged", s.merged(), 1)
}

func TestG14LandsInOrderAndResetsNobody(t *testing.T) {
	s := stage(t, 3)
	s.step()
	s.end(3, 2)
	s.want("merged", s.merged())
	s.says(3, "passed, waits for #2 ahead")
	s.end(1)
	s.want("merged", s.merged(), 1, 2, 3)
	if n := s.count(gate.Prepare); n != 3 {
		t.Errorf("%d buildsets for three changes", n)
	}
}

func TestG14SomethingMustHavePassed(t *testing.T) {
	s := stage(t, 1)
	s.step()
	b := s.build(1)
	for i := range b.jobs {
		b.jobs[i].State = gate.JobNotApplicable
	}
	s.step()
	s.want("merged", s.merged())
	s.told(1, gate.ReportError, "nothing was tested")
}

func TestG15AMovedBaseIsTestedAgain(t *testing.T) {
	s := stage(t, 2)
	s.step()
	s.end(2)
	s.push++
	s.end(1)
	s.want("merged", s.merged())
	if b := s.item(1).Buildset; b.Refresh != 1 {
		t.Errorf("refreshed %d times", b.Refresh)
	}
	s.end(1, 2)
	s.want("merged", s.merged(), 1, 2)
}

func TestG16WhatLandedIsNotWhatWasTested(t *testing.T) {
	for _, good := range []bool{true, false} {
		s := stage(t, 2)
		s.differ[cid(1)] = true
		s.step()
		s.end(2)
		s.fails[cid(1)] = !good // shows only in the merged tree
		s.end(1)
		s.told(1, gate.ReportBypassed, "not the tree that was tested")
		if s.count(gate.Publish) != 0 {
			t.Error("published what was not tested")
		}
		s.says(2, "waiting for #1 to be verified")
		s.end(1)
		if good {
			s.told(1, gate.ReportMerged, "passed all jobs")
		} else {
			s.told(1, gate.ReportBypassed, "not published: build failed")
		}
		if published := s.count(gate.Publish) == 1; published != good {
			t.Errorf("published: %v", published)
		}
		s.end(2)
		s.want("merged", s.merged(), 1, 2)
	}
}

func TestG16MergedPastTheGate(t *testing.T) {
	s := stage(t, 3)
	s.step()
	s.mergeNow(cid(3))
	s.read(cid(3))
	s.step()
	s.told(3, gate.ReportBypassed, "submitted past the gate")
	s.want("queue", s.order(), 3, 1, 2)
	s.end(3)
	s.end(1, 2)
	s.want("merged", s.merged(), 3, 1, 2)
}

func TestG17ARefusalIsFinalInGerritsWords(t *testing.T) {
	s := stage(t, 3)
	s.refuse[cid(1)] = 1
	s.edit(2, dependsOn(1))
	s.step()
	s.end(1)
	s.told(1, gate.ReportRefused, "no permission")
	s.told(2, gate.ReportDequeued, "needs #1, which Gerrit refused to submit")
	s.want("queue", s.order(), 3)
	if s.state.Window != 20 {
		t.Errorf("window %d: a refusal is no failure of tests (G7)", s.state.Window)
	}
}

func TestG17SomethingNewerComesFirst(t *testing.T) {
	s := stage(t, 1)
	s.step()
	s.unapprove(cid(1)) // not read: the submit finds out
	s.end(1)
	s.told(1, gate.ReportDequeued, "needs Code-Review +2")
	s.approved(1)
	s.step()
	s.want("queue", s.order(), 1)
}

func TestG22TheSameOutcomeTwice(t *testing.T) {
	s := stage(t, 1)
	s.refuse[cid(1)] = 1
	s.step()
	s.push++
	s.end(1) // moved: serial 1
	s.end(1) // refused: serial 2
	s.told(1, gate.ReportRefused, "no permission")
	if n := s.count(gate.SubmitChanges); n != 2 {
		t.Errorf("%d submits", n)
	}
}

func TestG25RestrictedStandsUnderNothingPublic(t *testing.T) {
	s := stage(t, 6)
	s.edit(2, func(c *gate.Change) { c.Restricted = true })
	s.edit(6, dependsOn(2))
	s.step()
	s.want("2 stands behind", s.behind(2), 1)
	s.want("3 stands behind", s.behind(3), 1)
	s.want("queue", s.order(), 1, 2, 3, 4, 5)
	s.says(6, "needs a restricted change that has not merged")
	s.end(1, 3, 4, 5)
	s.want("merged", s.merged(), 1, 3, 4, 5)
	s.approved(s.propose(7, "main").Number)
	s.step()
	s.end(7) // passed by three times: now it holds the queue
	s.want("merged", s.merged(), 1, 3, 4, 5)
	s.says(7, "waits for #2 ahead")
	s.end(2)
	if got := s.merged(); !slices.Equal(got, []int{1, 3, 4, 5, 2}) {
		t.Errorf("merged %v", got)
	}
	s.end(7)
	s.end(6)
}

func TestObserveSubmitsNothing(t *testing.T) {
	s := stage(t, 2)
	s.policy.Observe = true
	s.step()
	s.end(1, 2)
	s.want("merged", s.merged())
	s.says(1, "this gate only observes")
	s.mergeNow(cid(1)) // by the site's present CI
	s.read(cid(1))
	s.step()
	s.told(1, gate.ReportMerged, "")
	s.want("queue", s.order(), 2)
	if s.count(gate.Prepare) != 2 || s.count(gate.SubmitChanges)+s.count(gate.Publish) != 0 {
		t.Error("it did more than look")
	}
}
