package gate_test

import (
	"testing"

	"sluice/internal/gate"
)

func TestG1EntersWhenReadyAndNothingForbids(t *testing.T) {
	s := stage(t, 0)
	s.propose(1, "main")
	s.step()
	s.want("queue", s.order())
	s.says(1, "needs Code-Review +2 [a reviewer]")
	s.approved(1)
	s.step()
	s.want("queue", s.order(), 1)
	s.end(1)
	s.want("merged", s.merged(), 1)
	s.told(1, gate.ReportMerged, "")
	s.says(1, "#1 has merged")
}

func TestG2NeedsStandAheadInOrder(t *testing.T) {
	s := stage(t, 3)
	s.edit(1, dependsOn(3, 2)) // approved first, and needs the others
	s.step()
	s.want("queue", s.order(), 3, 2, 1)
	s.want("1 stands behind", s.behind(1), 3, 2)
}

func TestG2InTheOrderOfBecomingReady(t *testing.T) {
	s := stage(t, 1)
	for n := 2; n <= 5; n++ {
		s.propose(n, "main")
	}
	s.edit(5, dependsOn(3))
	s.approved(4, 5, 2, 3)
	now := s.truth[cid(2)].ReadyAt
	s.edit(3, func(c *gate.Change) { c.ReadyAt = now }) // with 2, so that their numbers decide
	s.step()
	s.want("queue", s.order(), 1, 4, 3, 5, 2)
	s.propose(7, "main")
	s.propose(6, "main")
	s.approved(7, 6)
	s.edit(6, func(c *gate.Change) { c.ReadyAt = s.truth[cid(7)].ReadyAt })
	s.step()
	s.want("queue", s.order(), 1, 4, 3, 5, 2, 6, 7)
}

func TestG2WaitsOutsideForWhatIsNotReady(t *testing.T) {
	s := stage(t, 1)
	s.propose(2, "main")
	s.propose(3, "main", gate.Need{Kind: gate.Parent, ID: cid(2), PatchSet: 1})
	s.approved(3)
	s.step()
	s.want("queue", s.order(), 1)
	s.says(3, "#2 waits outside the queue")
	s.says(3, "#2 needs Code-Review +2 [a reviewer]")
	s.approved(2)
	s.step()
	s.want("queue", s.order(), 1, 2, 3)
}

func TestG2NeedsThatWillNeverMerge(t *testing.T) {
	s := stage(t, 5)
	s.edit(1, func(c *gate.Change) { c.Status = gate.Abandoned })
	s.edit(2, dependsOn(1))
	s.edit(3, func(c *gate.Change) {
		c.Needs = []gate.Need{{Kind: gate.DependsOn, Text: "I0123"}}
	})
	s.edit(4, func(c *gate.Change) { c.Needs = []gate.Need{{Kind: gate.Parent, ID: cid(5), PatchSet: 1}} })
	s.edit(5, func(c *gate.Change) { c.PatchSet = 2 })
	s.step()
	s.want("queue", s.order(), 5)
	s.says(2, "needs #1, which is abandoned [the author]")
	s.says(3, "needs I0123, which was not found [the author]")
	s.says(4, "stands on patch set 1 of #5, which is at patch set 2: rebase it [the author]")
}

func TestG3ACircleIsOneItem(t *testing.T) {
	s := stage(t, 4)
	s.edit(2, dependsOn(3))
	s.edit(3, dependsOn(2))
	s.edit(4, dependsOn(3))
	s.step()
	s.want("queue", s.order(), 1, 2, 4)
	s.want("in the circle", numbers(s.item(2).Changes), 2, 3)
	s.want("4 stands behind", s.behind(4), 1, 2, 3)
	s.end(1, 2, 4)
	s.want("merged", s.merged(), 1, 2, 3, 4)
}

func TestG3ParentsFirstWithinACircle(t *testing.T) {
	s := stage(t, 2)
	s.edit(1, func(c *gate.Change) { c.Needs = []gate.Need{{Kind: gate.Parent, ID: cid(2), PatchSet: 1}} })
	s.edit(2, dependsOn(1))
	s.step()
	s.want("in the circle", numbers(s.item(1).Changes), 2, 1)
}

func TestG3WhatLandedOfACircleIsTold(t *testing.T) {
	s := stage(t, 3)
	s.edit(1, dependsOn(2))
	s.edit(2, dependsOn(1))
	s.refuse[cid(2)] = 1
	s.step()
	s.end(1)
	s.want("merged", s.merged(), 1)
	s.told(1, gate.ReportBypassed, "#1 landed without #2")
	s.told(2, gate.ReportRefused, "#1 landed without #2")
	s.want("queue", s.order(), 1, 3)
	s.says(3, "waiting for #1 to be verified")
	s.end(1)
	s.told(1, gate.ReportMerged, "has passed all jobs")
	s.end(3)
	s.want("merged", s.merged(), 1, 3)
	s.says(2, "Gerrit refused to submit")
}

func TestG3ACircleAcrossQueuesIsRefused(t *testing.T) {
	s := stage(t, 1)
	s.propose(2, "other", gate.Need{Kind: gate.DependsOn, ID: cid(1)})
	s.edit(1, dependsOn(2))
	s.step()
	s.want("queue", s.order())
	s.says(1, "the queues main and other never wait for each other")
}

func TestG4AChangeStandsOnce(t *testing.T) {
	s := stage(t, 1)
	s.step()
	s.edit(1, func(c *gate.Change) { c.ReadyAt = s.tick() }) // approved again
	s.step()
	s.obeys("enqueue", 1, "stands in the queue already")
	s.want("queue", s.order(), 1)
	if n := s.count(gate.Prepare); n != 1 {
		t.Errorf("%d buildsets", n)
	}
}

func TestG5ANeedInAnotherQueueIsWaitedFor(t *testing.T) {
	s := stage(t, 1)
	s.propose(2, "other")
	s.edit(1, dependsOn(2))
	s.step()
	s.want("queue", s.order())
	s.says(1, "needs #2, which is in another queue (other) and has not merged [the gate]")
	s.mergeNow(cid(2))
	s.read(cid(2))
	s.step()
	s.want("queue", s.order(), 1)
}

func TestG18WhatHappensMeanwhile(t *testing.T) {
	cases := []struct {
		name, reason, dependant string
		happens                 func(s *scene, c *gate.Change)
	}{
		{"new patch set", "has a new patch set (2)", "needs #2, which has a new patch set", func(s *scene, c *gate.Change) { c.PatchSet, c.Revision, c.Ready = 2, "x", false }},
		{"lost vote", "needs Code-Review +2", "needs #2, which needs Code-Review +2", func(s *scene, c *gate.Change) { s.unapprove(c.ID) }},
		{"abandoned", "was abandoned", "needs #2, which is abandoned", func(s *scene, c *gate.Change) { c.Status = gate.Abandoned }},
		{"gone", "is gone", "needs #2, which is gone", func(s *scene, c *gate.Change) { c.Status = gate.Gone }},
		{"another queue", "belongs to the queue other", "needs #2, which is in another queue (other)", func(s *scene, c *gate.Change) { c.Queue = "other" }},
		{"another branch", "was moved to the branch old", "needs #2, which was moved", func(s *scene, c *gate.Change) { c.Branch.Branch, c.Ready = "old", false }},
		{"another need", "needs #5", "needs #2, which needs #5", func(s *scene, c *gate.Change) { s.propose(5, "main"); dependsOn(5)(c) }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			s := stage(t, 4)
			s.edit(3, dependsOn(2))
			s.step()
			old := s.item(2).Buildset.ID
			s.edit(2, func(c *gate.Change) { tc.happens(s, c) })
			s.step()
			if !s.builds[old].cancelled {
				t.Error("its jobs go on")
			}
			if tc.name != "another branch" { // there it is formed anew
				s.want("queue", s.order(), 1, 4)
			}
			s.want("4 stands behind", s.behind(4), 1)
			s.told(2, gate.ReportDequeued, tc.reason)
			s.told(3, gate.ReportDequeued, tc.dependant)
			if s.state.Window != 20 {
				t.Errorf("the window is %d (G7)", s.state.Window)
			}
		})
	}
}

func TestG18ASubmitsOwnPatchSetIsNone(t *testing.T) {
	s := stage(t, 2)
	s.edit(2, func(c *gate.Change) { c.Needs = []gate.Need{{Kind: gate.Parent, ID: cid(1), PatchSet: 1}} })
	s.step()
	for i := range s.build(1).jobs {
		s.finish(s.build(1), i, false)
	}
	s.decide() // the submit is decided
	submit := s.outbox[len(s.outbox)-1]
	if submit.Kind != gate.SubmitChanges {
		t.Fatalf("got %s", encode(submit))
	}
	s.upload(cid(1)) // Gerrit cherry-picks: the event comes before the answer
	s.read(cid(1))
	s.decide()
	s.want("queue", s.order(), 1, 2)
	s.truth[cid(1)].PatchSet, s.truth[cid(1)].Revision = 1, "1/1"
	s.step()
	s.want("merged", s.merged(), 1)
	s.end(2)
	s.want("merged", s.merged(), 1, 2)
}

func TestG19OtherEventsChangeNothing(t *testing.T) {
	s := stage(t, 2)
	s.step()
	before := len(s.log)
	s.edit(1, func(c *gate.Change) { c.Subject = "words" })
	s.step()
	if len(s.log) != before {
		t.Errorf("something followed: %s", encode(s.log[before:]))
	}
}

func TestG20Commands(t *testing.T) {
	s := stage(t, 4)
	s.edit(4, dependsOn(3))
	s.propose(5, "main")
	s.step()
	s.obeys("promote", 4, "stand at the head")
	s.want("queue", s.order(), 3, 4, 1, 2)
	s.want("1 stands behind", s.behind(1), 3, 4)
	s.obeys("dequeue", 3, "stays out until")
	s.want("queue", s.order(), 1, 2)
	s.told(3, gate.ReportDequeued, "was taken out by ada (because)")
	s.told(4, gate.ReportDequeued, "needs #3, which was taken out by ada")
	s.says(3, "was taken out of the queue by ada (because)")
	s.obeys("enqueue", 3, "enters as soon as")
	s.want("queue", s.order(), 1, 2, 3, 4)
	s.obeys("enqueue", 5, "enters as soon as") // without being ready
	s.want("queue", s.order(), 1, 2, 3, 4, 5)
	s.obeys("pause", 0, "paused")
	s.end(1)
	s.want("merged", s.merged())
	s.says(1, "the queue was paused by ada (because) [an administrator]")
	s.obeys("resume", 0, "goes on")
	s.want("merged", s.merged(), 1)
	s.obeys("promote", 9, "no change g~9 is known")
	s.obeys("dance", 2, "no command is called")
}

func TestG20AHoldEndsWithANewPatchSet(t *testing.T) {
	s := stage(t, 1)
	s.step()
	s.obeys("dequeue", 1, "stays out")
	s.edit(1, func(c *gate.Change) { c.PatchSet, c.Revision = 2, "1/2" })
	s.step()
	s.want("queue", s.order(), 1)
	if len(s.state.Held) > 0 {
		t.Errorf("still held: %v", s.state.Held)
	}
}

func TestG20WhatIsBeingSubmittedStaysAhead(t *testing.T) {
	s := stage(t, 3)
	s.step()
	b := s.build(1)
	for i := range b.jobs {
		s.finish(b, i, false)
	}
	s.decide()
	s.command("promote", cid(3))
	s.decide()
	s.want("queue", s.order(), 1, 3, 2)
	s.command("dequeue", cid(1)) // too late, if Gerrit agrees
	s.decide()
	s.want("queue", s.order(), 1, 3, 2)
	s.says(1, "submitting [Gerrit]")
	s.step()
	s.want("merged", s.merged(), 1)
	s.read(cid(1))
	s.step()
	if len(s.state.Held) > 0 {
		t.Errorf("still held: %v", s.state.Held)
	}
}

func TestG3ACircleWaitsForAllItsMembers(t *testing.T) {
	s := stage(t, 2)
	s.propose(3, "main", gate.Need{Kind: gate.DependsOn, ID: cid(1)})
	s.edit(1, dependsOn(2))
	s.edit(2, dependsOn(3))
	s.step()
	s.want("queue", s.order())
	s.says(1, "#3 needs Code-Review +2")
	s.approved(3)
	s.step()
	s.want("in the circle", numbers(s.item(1).Changes), 1, 2, 3)
	s.unapprove(cid(2))
	s.read(cid(2))
	s.step()
	s.want("queue", s.order())
	s.told(3, gate.ReportDequeued, "#2 needs Code-Review +2")
}

func TestG3AMemberThatMergedByItself(t *testing.T) {
	s := stage(t, 3)
	s.edit(1, dependsOn(2))
	s.edit(2, dependsOn(1))
	s.step()
	s.mergeNow(cid(2))
	s.read(cid(2))
	s.step()
	s.told(2, gate.ReportBypassed, "submitted past the gate")
	s.want("queue", s.order(), 2, 3, 1) // the other goes on alone, at the end
	s.end(2)
	s.end(3, 1)
	s.want("merged", s.merged(), 2, 3, 1)
}

func TestG3AWholeTopicIsOneItem(t *testing.T) {
	s := stage(t, 3)
	s.policy.WholeTopics = true
	s.edit(1, func(c *gate.Change) { c.Topic = "t" })
	s.propose(4, "main").Topic = "t"
	s.read(cid(4))
	s.step()
	s.want("queue", s.order(), 2, 3)
	s.says(1, "#4 needs Code-Review +2")
	s.approved(4)
	s.step()
	s.want("queue", s.order(), 2, 3, 1)
	s.want("in the topic", numbers(s.item(1).Changes), 1, 4)
	s.edit(3, func(c *gate.Change) { c.Topic = "t" }) // joins: formed anew
	s.step()
	s.want("queue", s.order(), 2, 1)
	s.want("in the topic", numbers(s.item(1).Changes), 1, 3, 4)
	s.end(2, 1)
	s.want("merged", s.merged(), 2, 1, 3, 4)
}

func TestG3ATopicAcrossQueuesIsRefused(t *testing.T) {
	s := stage(t, 1)
	s.policy.WholeTopics = true
	s.edit(1, func(c *gate.Change) { c.Topic = "t" })
	s.propose(2, "other").Topic = "t"
	s.read(cid(2))
	s.edit(1, func(c *gate.Change) { c.Subject = "read after its mate" })
	s.step()
	s.want("queue", s.order())
	s.says(1, "the queues main and other never wait for each other")
}
