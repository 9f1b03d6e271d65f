package gate_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/gate"
)

// drawLanes says whether the site has lanes, which need some projects to differ.
func (p *player) drawLanes() {
	if p.oneLane {
		return
	}
	if p.policy.Lanes = rapid.Bool().Draw(p.rt, "lanes"); p.policy.Lanes {
		p.projects = 6
	}
	p.tell("lanes: %v", p.policy.Lanes)
}

// told is what is seen, called by numbers in all the ways that there are: by
// nobody, by one for all, for some only, and by two.
func (w *world) told() map[gate.ChangeID]gate.Closure {
	told := maps.Clone(w.seen)
	for id, c := range told {
		other := w.known[id].Number % 2
		switch w.clock % 4 {
		case 1:
			told[id] = w.names[0].Closure(c.Provides, c.Needs)
		case 2:
			if other == 0 {
				told[id] = w.names[0].Closure(c.Provides, c.Needs)
			}
		case 3:
			told[id] = w.names[other].Closure(c.Provides, c.Needs)
		}
	}
	return told
}

// drawClosure says what a change makes and reads, what of that its tree says, and
// whether anybody has looked at the tree yet.
func (p *player) drawClosure(id gate.ChangeID) {
	if !p.policy.Lanes {
		return
	}
	names := func(label string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}), 0, 2, rapid.ID[string]).Draw(p.rt, label)
	}
	all := gate.Closure{Provides: names("makes"), Needs: names("reads")}
	said := all
	if rapid.IntRange(1, 3).Draw(p.rt, "widens") == 3 {
		said = gate.Closure{Provides: all.Provides[:len(all.Provides)/2], Needs: all.Needs[:len(all.Needs)/2]}
	}
	p.closures[id], p.declared[id] = all, said
	if rapid.IntRange(1, 6).Draw(p.rt, "unknown") != 6 {
		p.seen[id] = said
	}
	p.tell("%s makes %v reads %v, as said %v, known %v", id, all.Provides, all.Needs, said, p.seen[id])
}

// related says which changes may conflict, and which fail together: with lanes,
// those that can affect each other.
func (p *player) related(a, b *gate.Change) (sameBranch, touches bool) {
	if !p.policy.Lanes {
		return true, true
	}
	x, y := gate.Ref{ID: a.ID, Branch: a.Branch}, gate.Ref{ID: b.ID, Branch: b.Branch}
	return a.Branch == b.Branch, touch(p.closures, x, y)
}

// surveyOne looks at the tree of a change.
func (p *player) surveyOne() {
	id := p.pick()
	if _, known := p.seen[id]; !known {
		p.tell("survey %s", id)
		p.seen[id] = p.declared[id]
	}
}

// TestLanesLikeOneByOne: what merges with lanes, and who is blamed, is what a gate
// that tests one change after the other would have found, where changes that
// cannot affect each other do not.
func TestLanesLikeOneByOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := player{world: newWorld(rt), rt: rt}
		p.setUp(rapid.IntRange(1, 14).Draw(rt, "changes"))
		for id := range p.seen {
			p.seen[id] = p.closures[id]
		}
		p.declared = p.closures
		p.agree()
		p.work(map[string]func(*rapid.T){"survey": func(*rapid.T) { p.surveyOne() }})
		p.settle()
		p.likeOneByOne(func(merged, trunk []gate.ChangeID) bool {
			return slices.Equal(slices.Sorted(slices.Values(merged)), slices.Sorted(slices.Values(trunk)))
		})
	})
}

// laned sets a scene of changes that are each of a project of its own, make a
// package of their own, and read nothing.
func laned(t *testing.T, changes int) *scene {
	s := &scene{newWorld(t), t}
	s.projects = 100
	s.policy = gate.Policy{Start: 20, Floor: 3, Ceiling: 100, Lanes: true}
	for i := 1; i <= changes; i++ {
		c := s.propose(i, "main")
		s.makes(i, string(c.ID))
		s.approved(i)
	}
	return s
}

// makes says what a change makes and reads, and that this is known.
func (s *scene) makes(n int, name string, reads ...string) {
	c := gate.Closure{Provides: []string{name}, Needs: reads}
	s.closures[cid(n)], s.declared[cid(n)], s.seen[cid(n)] = c, c, c
}

func TestLanesOfWhatCannotAffectEachOther(t *testing.T) {
	s := laned(t, 4)
	s.makes(3, "app", "g~1")
	s.step()
	s.want("2 stands behind", s.behind(2))
	s.want("3 stands behind", s.behind(3), 1)
	s.want("4 stands behind", s.behind(4))
	s.says(2, "nothing ahead can affect it")
	s.says(3, "1 of those ahead are in its lane, the nearest #1: #3 may read g~1")
	s.end(4, 2)
	s.want("merged", s.merged(), 4, 2)
	if n := s.count(gate.Prepare); n != 4 {
		t.Errorf("%d buildsets: a landing in one lane resets nobody in another", n)
	}
	s.end(3)
	s.says(3, "waits for #1 ahead")
	s.end(1)
	s.want("merged", s.merged(), 4, 2, 1, 3)
}

func TestLanesSubmitAtOnce(t *testing.T) {
	s := laned(t, 3)
	s.makes(3, "g~3", "g~1")
	s.step()
	for _, n := range []int{1, 2, 3} {
		for i := range s.build(n).jobs {
			s.finish(s.build(n), i, false)
		}
	}
	s.decide()
	flights := 0
	for _, it := range s.state.Items {
		if it.Submit != nil {
			flights++
		}
	}
	if flights != 2 || s.item(3).Submit != nil {
		t.Errorf("%d submits are in flight, want one of each lane: %s", flights, encode(s.state))
	}
	s.step()
	s.want("queue", s.order())
}

func TestLanesTheWindowCountsPerLane(t *testing.T) {
	s := laned(t, 6)
	s.policy.Start, s.policy.Floor, s.policy.Ceiling = 2, 2, 2
	for n := range 4 {
		s.makes(n+1, "same")
	}
	s.step()
	for n, active := range []bool{true, true, false, false, true, true} {
		if got := s.item(n+1).Buildset != nil; got != active {
			t.Errorf("%d is active: %v", n+1, got)
		}
	}
	s.says(4, "it starts when 2 of those ahead have left")
	s.end(6, 1)
	s.want("merged", s.merged(), 6, 1)
	if s.item(3).Buildset == nil || s.item(4).Buildset != nil {
		t.Error("one more of the lane is active")
	}
}

// What joined two lanes lands: those that stood on it go on, each by itself.
func TestLanesALandingThatPartsALaneResetsNobody(t *testing.T) {
	s := laned(t, 3)
	s.makes(2, "g~2", "g~1")
	s.makes(3, "g~3", "g~1")
	s.step()
	s.want("3 stands behind", s.behind(3), 1)
	s.end(1)
	s.end(3, 2)
	s.want("merged", s.merged(), 1, 3, 2)
	if n := s.count(gate.Prepare); n != 3 {
		t.Errorf("%d buildsets", n)
	}
}

// What a build shows joins two lanes before anything of it lands.
func TestLanesJoinWhenABuildWidensAClosure(t *testing.T) {
	s := laned(t, 2)
	s.closures[cid(2)] = gate.Closure{Provides: []string{"g~2"}, Needs: []string{"g~1"}}
	s.step()
	s.want("2 stands behind", s.behind(2))
	s.end(2)
	s.want("merged", s.merged())
	s.want("2 stands behind", s.behind(2), 1)
	s.end(2)
	s.says(2, "waits for #1 ahead")
	s.end(1)
	s.want("merged", s.merged(), 1, 2)
}

// Likewise when the other one has landed meanwhile: what failed without it is
// not to blame.
func TestLanesJoinWhatHasLanded(t *testing.T) {
	s := laned(t, 2)
	s.closures[cid(2)] = gate.Closure{Provides: []string{"g~2"}, Needs: []string{"g~1"}}
	s.step()
	old := s.item(2).Buildset.ID
	s.end(1)
	s.want("merged", s.merged(), 1)
	if s.item(2).Buildset.ID != old || len(s.state.Landed) != 1 {
		t.Errorf("it goes on, and what landed is remembered: %s", encode(s.state))
	}
	s.job(2, "build", gate.JobFailed)
	s.built(s.build(2))
	s.job(2, "test", gate.JobFailed)
	if s.item(2).Buildset.ID == old || len(s.state.Landed) != 0 {
		t.Errorf("it is tested again, on that: %s", encode(s.state))
	}
	s.end(2)
	s.want("merged", s.merged(), 1, 2)
}

// Two lanes land in one decision: a failure that only the second settles was found
// without the first.
func TestLanesAFailureThatIsOvertakenBeforeItIsSettled(t *testing.T) {
	s := laned(t, 3)
	s.edit(1, func(c *gate.Change) { c.Restricted = true })
	s.makes(3, "g~3", "g~1")
	delete(s.seen, cid(2))
	s.fails[cid(3)] = true
	s.step() // of 2 nothing is known when 3 begins
	s.want("3 stands behind", s.behind(3), 2)
	old := s.item(3).Buildset.ID
	for n := range 3 {
		for i := range s.build(n + 1).jobs {
			s.finish(s.build(n+1), i, false)
		}
	}
	s.decide()
	s.flush()
	s.decide()
	s.want("merged", s.merged(), 1, 2)
	if b := s.item(3).Buildset; b == nil || b.ID == old {
		t.Error("3 is not tested on 1")
	}
	s.step()
	s.end(3)
	s.told(3, gate.ReportFailed, "build failed")
}

func TestLanesTheUnknownTouchesEverything(t *testing.T) {
	s := laned(t, 3)
	delete(s.seen, cid(2))
	s.decide() // nothing is prepared yet
	s.want("2 stands behind", s.behind(2), 1)
	s.want("3 stands behind", s.behind(3), 1, 2)
	s.says(3, "what #2 can affect is not known yet")
	s.step() // it is inspected: what runs stays
	s.want("3 stands behind", s.behind(3), 1, 2)
	if n := s.count(gate.Prepare); n != 3 {
		t.Errorf("%d buildsets", n)
	}
	s.end(1, 2, 3)
	s.want("merged", s.merged(), 1, 2, 3)
}

func TestLanesABypassBlocksItsLane(t *testing.T) {
	s := laned(t, 4)
	s.makes(3, "g~3", "g~2")
	s.step()
	s.mergeNow(cid(2))
	s.read(cid(2))
	s.step()
	s.says(3, "waiting for #2 to be verified")
	s.end(4)
	s.want("merged", s.merged(), 2, 4)
	s.end(2, 3, 1)
	s.want("merged", s.merged(), 2, 4, 3, 1)
}

func TestLanesFailuresAreTheLanesOwn(t *testing.T) {
	s := laned(t, 4)
	s.makes(3, "g~3", "g~1")
	s.makes(4, "g~4", "g~2")
	s.fails[cid(1)] = true
	s.step()
	other := s.item(4).Buildset.ID
	s.job(1, "build", gate.JobFailed)
	s.want("3 stands behind", s.behind(3))
	if s.item(4).Buildset.ID != other {
		t.Error("a failure in another lane reset it")
	}
	s.end(1, 2, 3, 4)
	s.want("merged", s.merged(), 2, 3, 4)
	s.told(1, gate.ReportFailed, "build")
}

func TestLanesOfOneBranchAreOne(t *testing.T) {
	s := laned(t, 3)
	s.edit(3, func(c *gate.Change) { c.Branch = s.truth[cid(1)].Branch })
	s.edit(2, dependsOn(1))
	s.step()
	s.want("2 stands behind", s.behind(2), 1)
	s.want("3 stands behind", s.behind(3), 1)
	s.says(3, "both change main of g:p1")
	s.says(2, "they need each other, or one the other")
}

func TestLanesTurnedOff(t *testing.T) {
	s := laned(t, 3)
	s.step()
	s.end(2)
	old := s.item(1).Buildset.ID
	s.policy.Lanes = false
	s.step()
	s.want("3 stands behind", s.behind(3), 1)
	if s.item(1).Buildset.ID == old || len(s.state.Landed) != 0 {
		t.Error("it is tested on what landed beside it")
	}
	s.end(1, 3)
	s.want("merged", s.merged(), 2, 1, 3)
}

func TestLanesRestrictedStandsUnderNothingPublic(t *testing.T) {
	s := laned(t, 4)
	for n := range 4 {
		s.makes(n+1, "same")
	}
	for _, n := range []int{2, 4} {
		s.edit(n, func(c *gate.Change) { c.Restricted = true })
	}
	s.step()
	s.want("2 stands behind", s.behind(2), 1)
	s.want("3 stands behind", s.behind(3), 1)
	s.want("4 stands behind", s.behind(4), 1, 3)
	for _, id := range slices.Sorted(maps.Keys(s.truth)) {
		s.end(s.truth[id].Number)
	}
}
