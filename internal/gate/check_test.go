package gate_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/gate"
)

// stageCheck sets a scene in which the check of change 1 is decided.
func stageCheck(t *testing.T, changes int) *scene {
	s := &scene{newWorld(t), t}
	s.state = gate.State{Queue: "check/g~1", Kind: gate.Independent, Change: cid(1)}
	for i := 1; i <= changes; i++ {
		s.propose(i, "main")
	}
	return s
}

// stageCheckOnNeed sets a scene in which change 1 is being checked on change 2,
// which it needs.
func stageCheckOnNeed(t *testing.T) (*scene, *build) {
	t.Helper()
	s := stageCheck(t, 2)
	s.edit(1, dependsOn(2))
	s.step()
	s.want("ahead", numbers(s.build(1).effect.Stack), 2)
	return s, s.build(1)
}

// needMerges has change 2 merge: what is checked after that stands on nothing.
func (s *scene) needMerges() {
	s.t.Helper()
	s.mergeNow(cid(2))
	s.read(cid(2))
	s.step()
	s.want("ahead once it has merged", numbers(s.build(1).effect.Stack))
}

func TestACheckNeedsNoApproval(t *testing.T) {
	s := stageCheck(t, 1)
	s.step()
	s.says(1, "patch set 1 of #1 is being checked: testing 1/4")
	s.end(1)
	s.told(1, gate.ReportPassed, "")
	s.want("items", s.order())
	s.want("merged", s.merged())
	s.step()
	if n := s.count(gate.Prepare); n != 1 {
		t.Errorf("checked %d times", n)
	}
	s.says(1, "patch set 1 of #1 passed (its check)")
}

func TestACheckOfEachPatchSet(t *testing.T) {
	s := stageCheck(t, 1)
	s.step()
	old := s.item(1).Buildset.ID
	s.edit(1, func(c *gate.Change) { c.PatchSet, c.Revision = 2, "1/2" })
	s.step()
	if !s.builds[old].cancelled || s.item(1).Changes[0].PatchSet != 2 {
		t.Errorf("the old patch set is still checked: %s", encode(s.state))
	}
	s.fails[cid(1)] = true
	s.build(1).fails = true
	s.end(1)
	s.told(1, gate.ReportFailed, "build failed")
	s.edit(1, func(c *gate.Change) { c.PatchSet, c.Revision = 3, "1/3" })
	s.step()
	s.want("items", s.order(), 1)
}

func TestG6ACheckStandsOnItsOwnNeeds(t *testing.T) {
	s := stageCheck(t, 5)
	s.edit(1, dependsOn(2, 4, 5))
	s.edit(2, dependsOn(3))
	s.edit(4, func(c *gate.Change) { c.Queue = "other" })
	s.mergeNow(cid(5))
	s.read(cid(5))
	s.step()
	s.want("ahead", numbers(s.build(1).effect.Stack), 3, 2, 4)
	s.end(1)
	s.edit(3, func(c *gate.Change) { c.PatchSet, c.Revision = 2, "3/2" })
	s.step()
	s.want("ahead of the second check", numbers(s.build(1).effect.Stack), 3, 2, 4)
	s.edit(2, func(c *gate.Change) { c.PatchSet, c.Revision = 2, "2/2" }) // while it runs
	s.step()
	if n := s.count(gate.Prepare); n != 3 {
		t.Errorf("%d buildsets", n)
	}
	s.end(1)
	s.mergeNow(cid(3)) // changes nothing that was tested
	s.read(cid(3))
	s.step()
	s.want("items", s.order())
}

// What a check waits for will not come, since its base is another one now: it
// begins anew on that. Once it has ended, nothing of this matters.
func TestACheckBeginsAnewWhenItsBaseHasMoved(t *testing.T) {
	s, old := stageCheckOnNeed(t)
	s.push++
	s.needMerges()
	s.want("buildsets", []int{len(s.builds)}, 2)
	if !old.cancelled {
		t.Error("the old one goes on")
	}
	s.end(1)
	s.told(1, gate.ReportPassed, "")
	s.push++
	s.step()
	s.want("items", s.order())
}

// A check on top of a change that does not build has no verdict; whoever asks is
// told which change that is, and it is checked again when that is mended.
func TestACheckOnWhatDoesNotBuild(t *testing.T) {
	s, b := stageCheckOnNeed(t)
	for i := range b.jobs {
		b.jobs[i].State, b.jobs[i].Lacks = gate.JobError, "change 2, which this one needs, does not build"
	}
	s.step()
	s.told(1, gate.ReportError, "change 2, which this one needs, does not build")
	s.says(1, "could not be tested: change 2, which this one needs, does not build (its check) [the author] → it is checked again by itself with a new patch set of what it needs")
	s.edit(2, func(c *gate.Change) { c.PatchSet, c.Revision = 2, "2/2" })
	s.step()
	s.end(1)
	s.told(1, gate.ReportPassed, "")
}

func TestACheckRunsAgainWhenAsked(t *testing.T) {
	s := stageCheck(t, 1)
	s.step()
	s.end(1)
	s.obeys("retry", 1, "tested again")
	s.want("items", s.order(), 1)
	s.obeys("dequeue", 1, "stays out")
	s.want("items", s.order())
	s.says(1, "was taken out by ada (because)")
	s.obeys("enqueue", 1, "enters")
	s.want("items", s.order(), 1)
	s.obeys("promote", 1, "stands in no queue")
}

func TestACheckEndsWithItsChange(t *testing.T) {
	for _, status := range []gate.Status{gate.Merged, gate.Abandoned, gate.Gone} {
		s := stageCheck(t, 1)
		s.step()
		b := s.build(1)
		s.edit(1, func(c *gate.Change) { c.Status = status })
		s.step()
		s.want("items", s.order())
		if !b.cancelled || s.last(1).Kind != gate.ReportDequeued {
			t.Errorf("%s: cancelled %v, told %v", status, b.cancelled, s.last(1))
		}
	}
}

func TestACheckWaitsForItsNonVotingJobs(t *testing.T) {
	s := stageCheck(t, 1)
	s.step()
	s.job(1, "build", gate.JobPassed)
	s.job(1, "test", gate.JobPassed)
	s.want("items", s.order(), 1)
	s.says(1, "the job lint is waiting (it decides nothing)")
	s.job(1, "lint", gate.JobFailed)
	s.told(1, gate.ReportPassed, "")
}

// TestCheckHistories plays random histories of one change and what it needs: each
// patch set that lasts has one report, about what was true of it.
func TestCheckHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := player{world: newWorld(rt), rt: rt}
		p.setUp(rapid.IntRange(1, 5).Draw(rt, "changes"))
		p.state = gate.State{Queue: "check/g~1", Kind: gate.Independent, Change: cid(1)}
		rt.Repeat(map[string]func(*rapid.T){
			"upload":  func(*rapid.T) { p.on("upload", p.uploadOpen) },
			"abandon": func(*rapid.T) { p.on("abandon", p.abandon) },
			"merge":   func(*rapid.T) { p.on("merge", p.past) },
			"retest":  func(*rapid.T) { p.on("ask for a new check of", p.retest) },
			"amend":   func(*rapid.T) { p.on("amend the needs of", p.amend) },
			"push":    func(*rapid.T) { p.push++; p.tell("a push") },
			"read":    func(*rapid.T) { p.readOne() },
			"decide":  func(*rapid.T) { p.decide() },
			"perform": func(*rapid.T) { p.performOne() },
			"again":   func(*rapid.T) { p.performAgain() },
			"finish":  func(*rapid.T) { p.finishOne() },
			"end":     func(*rapid.T) { p.finishAll() },
			"command": func(*rapid.T) { p.commandOne() },
		})
		p.readAll()
		p.command("resume", "")
		p.settle()
		if len(p.state.Items) > 0 {
			p.fail("the check does not end: %s", encode(p.state))
		}
		for id, l := range p.items {
			if !l.left || len(l.final) != 1 {
				p.fail("item %d has the final reports %v", id, l.final)
			}
		}
		p.checkedAsItIs()
	})
}

// checkedAsItIs: an open change that nobody took out has a report on its present
// patch set, which says what its last buildset showed.
func (p *player) checkedAsItIs() {
	c := p.truth[cid(1)]
	for _, b := range p.builds {
		if !c.Restricted && slices.ContainsFunc(b.effect.Stack, func(r gate.Ref) bool { return p.truth[r.ID].Restricted }) {
			p.fail("a public change was checked on %v", b.effect.Stack)
		}
	}
	if _, held := p.state.Held[c.ID]; held || c.Status != gate.Open || !c.Restricted && p.needsRestricted(c.ID, map[gate.ChangeID]bool{}) {
		return
	}
	done := p.state.Done[c.ID]
	if done.PatchSet != c.PatchSet {
		p.fail("patch set %d has no report: %+v", c.PatchSet, done)
	}
	last := slices.Max(slices.Collect(maps.Keys(p.builds)))
	for p.builds[last].effect.Recheck && p.noVerdict(p.builds[last]) { // takes nothing back
		last--
	}
	if b := p.builds[last]; b.passed() != (done.Result == gate.ReportPassed) {
		p.fail("told %s, and passed is %v", done.Result, b.passed())
	}
	if done.Retest != c.Retest {
		p.fail("the new check that was asked for (%d) was not made: %+v", c.Retest, done)
	}
	if told := p.lastTold(); told != done.Result {
		p.fail("people were told %s last, and the check found %s", told, done.Result)
	}
}

// noVerdict: no voting job failed, and one has no result, or there is none (G12).
func (p *player) noVerdict(b *build) bool {
	failed := func(j gate.Job) bool { return j.Voting && j.State == gate.JobFailed }
	return !b.passed() && b.conflict == nil && b.broken == "" && !slices.ContainsFunc(b.jobs, failed)
}

// lastTold is the last result that people were told of change 1.
func (w *world) lastTold() (kind gate.ReportKind) {
	for _, e := range w.log {
		if r := e.Report; e.Kind == gate.Tell && r.Final && !r.Same && r.Kind != gate.ReportDequeued {
			kind = r.Kind
		}
	}
	return kind
}

func (p *player) retest(id gate.ChangeID) { p.truth[id].Retest++ }

// However often something merges while a check runs, one more check follows; and
// people are told only when it finds something else (R66).
func TestACheckRunsAgainOnWhatHasMerged(t *testing.T) {
	s := stageCheck(t, 1)
	merges := func() { s.edit(1, func(c *gate.Change) { c.Retest++ }) }
	s.step()
	merges()
	merges()
	s.step()
	s.want("buildsets", []int{len(s.builds)}, 1)
	s.end(1)
	if told := s.lastTold(); told != gate.ReportPassed {
		t.Errorf("told %s", told)
	}
	s.says(1, "is being checked again, on what has merged since")
	if !s.build(1).effect.Recheck {
		t.Error("a re-check is not told apart")
	}
	s.end(1)
	s.want("items", s.order())
	s.want("buildsets", []int{len(s.builds)}, 2)
	if r := s.last(1); !r.Same {
		t.Errorf("people are told what they know: %+v", r)
	}
	s.clash[pair{cid(1), cid(2)}] = true
	s.trunk = append(s.trunk, cid(2))
	merges()
	s.step()
	s.step()
	if r := s.last(1); r.Kind != gate.ReportConflict || r.Same {
		t.Errorf("the new conflict is not told: %+v", r)
	}
	clear(s.clash)
	s.hiccups = 1
	merges()
	s.step()
	s.end(1)
	if r := s.last(1); r.Kind != gate.ReportError || !r.Same {
		t.Errorf("a re-check without a verdict is told: %+v", r)
	}
	s.says(1, "does not merge")
	merges()
	s.step()
	s.end(1)
	s.told(1, gate.ReportPassed, "")
	if r := s.last(1); r.Same {
		t.Errorf("that it merges again is not told: %+v", r)
	}
	merges()
	s.step()
	s.edit(1, func(c *gate.Change) { c.PatchSet, c.Revision = 2, "1/2" })
	s.step()
	if s.build(1).effect.Recheck {
		t.Error("the first check of a patch set is a re-check")
	}
}

// needsRestricted: one of the open needs of a change, directly or not, is
// restricted; a parent that has moved on is none (G25).
func (p *player) needsRestricted(id gate.ChangeID, seen map[gate.ChangeID]bool) bool {
	seen[id] = true
	for _, n := range p.needsNow(id) {
		on := p.truth[n.ID]
		if on == nil || on.Status != gate.Open || n.PatchSet != 0 && n.PatchSet != on.PatchSet || seen[n.ID] {
			continue
		}
		if on.Restricted || p.needsRestricted(n.ID, seen) {
			return true
		}
	}
	return false
}

// needsNow are the needs of a change, its topic-mates too where whole topics are submitted.
func (p *player) needsNow(id gate.ChangeID) []gate.Need {
	c := p.truth[id]
	needs := slices.Clone(c.Needs)
	for _, other := range p.truth {
		if p.policy.WholeTopics && c.Topic != "" && other.Topic == c.Topic && other.ID != id {
			needs = append(needs, gate.Need{Kind: gate.TopicMate, ID: other.ID})
		}
	}
	return needs
}

func TestG25ACheckWaitsForWhatIsRestricted(t *testing.T) {
	s, b := stageCheckOnNeed(t)
	s.edit(2, func(c *gate.Change) { c.Restricted = true })
	s.step()
	s.want("items", s.order())
	if !b.cancelled {
		t.Error("the check on a restricted change goes on")
	}
	s.says(1, "#1 needs a restricted change that has not merged")
	s.needMerges()
}

// A check stands on its topic-mates, where topics are submitted whole, but not on
// those that stand on it.
func TestACheckStandsOnItsTopic(t *testing.T) {
	s := stageCheck(t, 4)
	s.policy.WholeTopics = true
	for n := 1; n <= 3; n++ {
		s.edit(n, func(c *gate.Change) { c.Topic = "g:t" })
	}
	s.edit(4, func(c *gate.Change) { c.Needs = []gate.Need{{Kind: gate.Parent, ID: cid(1), PatchSet: 1}} })
	s.edit(3, func(c *gate.Change) { c.Needs = []gate.Need{{Kind: gate.Parent, ID: cid(4), PatchSet: 1}} })
	s.step()
	s.want("ahead", numbers(s.build(1).effect.Stack), 2)
}

// A re-check that fails as the branch itself does says nothing new of its change:
// what was found before stands, and nobody is told.
func TestARecheckOnARedBranchTakesNothingBack(t *testing.T) {
	s := stageCheck(t, 1)
	s.policy.Evidence = true
	s.step()
	s.end(1)
	s.told(1, gate.ReportPassed, "")
	s.red["test"] = true
	s.edit(1, func(c *gate.Change) { c.Retest++ })
	s.step()
	s.end(1)
	s.proveAll(1)
	if r := s.last(1); r.Kind != gate.ReportRed || !r.Same {
		t.Errorf("told: %+v", r)
	}
	if done := s.state.Done[cid(1)]; done.Result != gate.ReportPassed || done.Retest != 1 {
		t.Errorf("noted: %+v", done)
	}
	s.want("items", s.order())
}
