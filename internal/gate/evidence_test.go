package gate_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/gate"
)

// The world with red bases: a job fails on whatever is tested, for a while or
// where no cure is in it.

// redAt says that a job fails where this is on the branches.
func (w *world) redAt(b *build, job string, content []gate.ChangeID) bool {
	return b.red[job] && !slices.ContainsFunc(content, func(id gate.ChangeID) bool { return w.cures[id] })
}

// under is all that the buildset's tree holds but its own changes.
func (b *build) under() []gate.ChangeID {
	return slices.DeleteFunc(b.content(), func(id gate.ChangeID) bool {
		return slices.ContainsFunc(b.effect.Changes, func(r gate.Ref) bool { return r.ID == id })
	})
}

// moved says that a buildset would find something else below itself now.
func (w *world) moved(b *build) bool {
	return b.prepared && (b.push != w.push || !maps.Equal(b.red, w.red))
}

// prove begins to find out how the failed voting jobs do without the item.
func (w *world) prove(b *build) {
	for i := range b.jobs {
		if j := &b.jobs[i]; failed(*j) && j.Evidence == "" && !b.cancelled {
			j.Evidence = gate.EvidenceRunning
		}
	}
}

func failed(j gate.Job) bool { return j.Voting && (j.State == gate.JobFailed || j.Early) }

// finishProof ends the run of one job on the base.
func (w *world) finishProof(b *build, i int) {
	j := &b.jobs[i]
	if j.Evidence != gate.EvidenceRunning {
		return
	}
	switch {
	case slices.ContainsFunc(b.effect.Changes, func(r gate.Ref) bool { return w.fresh[r.ID] }):
		j.Evidence = gate.EvidenceAbsent
	case w.hiccups > 0:
		w.hiccups--
		j.Evidence = gate.EvidenceUnknown
	case w.redAt(b, j.Name, b.under()):
		j.Evidence, j.Since = gate.EvidenceRed, w.tick()
	default:
		j.Evidence = gate.EvidenceGood
	}
}

func (p *player) turnRed() {
	name := rapid.SampledFrom([]string{"build", "test", "systest"}).Draw(p.rt, "job")
	if rapid.IntRange(0, 1).Draw(p.rt, "really") == 1 {
		p.red[name] = true
		p.tell("%s fails on the branch itself", name)
	}
}

func (p *player) mend() {
	clear(p.red)
	p.tell("the branch is mended")
}

func (p *player) setPolicy() {
	if rapid.IntRange(0, 3).Draw(p.rt, "which") == 3 {
		p.policy.Evidence = !p.policy.Evidence
		p.tell("evidence: %v", p.policy.Evidence)
		return
	}
	p.policy.FailFast = !p.policy.FailFast
}

func (p *player) proveOne() {
	for _, id := range slices.Sorted(maps.Keys(p.builds)) {
		b := p.builds[id]
		for i, j := range b.jobs {
			if j.Evidence == gate.EvidenceRunning {
				p.finishProof(b, i)
				p.tell("%s of buildset %d, on its base: %s", j.Name, id, b.jobs[i].Evidence)
				return
			}
		}
	}
}

// The oracle on evidence.

// holdBlame: who is blamed has a failed job that passes without it, or that is
// not there without it.
func (w *world) holdBlame(e gate.Effect, b *build) {
	if e.Report.Kind != gate.ReportFailed || b.broken != "" {
		return
	}
	for _, j := range b.jobs {
		if failed(j) && (j.Evidence == gate.EvidenceAbsent || j.Evidence == gate.EvidenceGood && w.guilty(b, j.Name)) {
			return
		}
	}
	w.fail("blames %v without evidence: %s", numbers(e.Changes), encode(b.jobs))
}

// holdTold: people are told of a red base once, when it becomes known.
func (w *world) holdTold(before gate.State, effects []gate.Effect) {
	news, told := 0, 0
	for name, r := range w.state.Red {
		if was, known := before.Red[name]; !known || was != r { // another one: it had passed meanwhile
			news++
		}
	}
	for _, e := range effects {
		if e.Kind == gate.Tell && e.Report.Kind == gate.ReportRed && !e.Report.Final {
			told++
		}
	}
	if told > news || news > 0 && told == 0 {
		w.fail("%d jobs turned red, and %d messages say so: %s → %s", news, told, encode(before.Red), encode(w.state.Red))
	}
}

// redJobs are the failed jobs of an attempt that fail on its base too, if it is
// known of all that failed and none is the item's own.
func (o oracle) redJobs(it *gate.Item) (names []string) {
	if it.Buildset == nil || !o.w.policy.Evidence || it.Submit != nil || it.Verify {
		return nil
	}
	b := o.w.builds[it.Buildset.ID]
	if b.conflict != nil || b.broken != "" {
		return nil
	}
	for _, j := range b.jobs {
		switch {
		case !ended(j):
			return nil
		case !failed(j) || j.Evidence == gate.EvidenceUnknown:
		case j.Evidence != gate.EvidenceRed:
			return nil
		default:
			names = append(names, j.Name)
		}
	}
	return names
}

// red says that an item's failure is settled, and is its base's.
func (o oracle) red(it *gate.Item) bool {
	return len(o.redJobs(it)) > 0 && len(o.left(it)) == 0
}

// doubted: it waits with a red base, and has not passed since.
func (o oracle) doubted(it *gate.Item) bool {
	return len(it.Red) > 0 && (it.Buildset == nil || !o.w.builds[it.Buildset.ID].passed())
}

// active: within the window, in which those that wait with a red base take no
// room, nor those that are held with them (G7).
func (o oracle) active(i int) bool {
	room := o.w.state.Window
	for _, j := range o.lane(i, i) {
		if j < i && len(o.w.state.Items[j].Red) == 0 && !o.apart(j) {
			room--
		}
	}
	return room > 0
}

// apart: doubted, or held with one that is.
func (o oracle) apart(i int) bool {
	it := o.w.state.Items[i]
	if len(it.Red) > 0 {
		return o.doubted(it)
	}
	for _, r := range it.Changes {
		for _, n := range o.needs(o.f.Changes[r.ID]) {
			if j, ok := o.where[n.ID]; ok && j < i && o.apart(j) {
				return true
			}
		}
	}
	return false
}

// first: no waiting item ahead that may be tested waits for one of the same jobs.
func (o oracle) first(i int) bool {
	for j, it := range o.w.state.Items[:i] {
		if o.held(j) {
			continue
		}
		for _, name := range it.Red {
			if slices.Contains(o.w.state.Items[i].Red, name) {
				return false
			}
		}
	}
	return true
}

// outlived: something has landed that it was not tested on, or its base moved.
func (o oracle) outlived(it *gate.Item) bool {
	b := o.w.builds[it.Buildset.ID]
	if o.w.policy.Lanes {
		return !o.w.provenInLane(b.effect, false) || o.f.Buildsets[it.Buildset.ID].Moved
	}
	return !slices.Equal(it.Buildset.Stack, o.w.landed[b.after:]) || o.f.Buildsets[it.Buildset.ID].Moved
}

// excused: it has failed, and the evidence against it is missing or red.
func (o oracle) excused(it *gate.Item) bool {
	if o.red(it) {
		return true
	}
	b := o.w.builds[it.Buildset.ID]
	if !o.w.policy.Evidence || b.conflict != nil || b.broken != "" || !it.Buildset.Proving {
		return false
	}
	open := false
	for _, j := range b.jobs {
		if failed(j) {
			open = open || j.Evidence == "" || j.Evidence == gate.EvidenceRunning
			if j.Evidence == gate.EvidenceGood || j.Evidence == gate.EvidenceAbsent {
				return false
			}
		}
	}
	return open
}

// reds: who fails as its base does waits for just those jobs, and each job that
// is waited for is noted.
func (o oracle) reds() {
	waited := map[string]bool{}
	for _, it := range o.w.state.Items {
		if want := o.redJobs(it); o.red(it) && !slices.Equal(want, it.Red) {
			o.w.fail("item %d waits for %v and its base fails %v", it.ID, it.Red, want)
		}
		for _, name := range it.Red {
			waited[name] = true
			if _, noted := o.w.state.Red[name]; !noted {
				o.w.fail("item %d waits for %s, of which nothing is known", it.ID, name)
			}
		}
	}
	for name := range o.w.state.Red {
		if !waited[name] {
			o.w.fail("the state remembers that %s is red, and nobody waits for it", name)
		}
	}
}

// TestRedBase: with a branch that stays red, whoever passes on its own merges,
// cures among them; nobody is blamed but for what is its own; and once the
// branch is mended the queue empties, and it all is as if it had never been red.
func TestRedBase(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := player{world: newWorld(rt), rt: rt, oneLane: true}
		p.setUp(rapid.IntRange(1, 12).Draw(rt, "changes"))
		p.policy.Evidence = true
		clear(p.fresh)
		p.red["test"], p.red["build"] = true, rapid.Bool().Draw(rt, "builds too")
		p.agree()
		p.work(map[string]func(*rapid.T){
			"proof": func(*rapid.T) { p.proveOne() },
			"mend":  func(*rapid.T) { p.push++ },
		})
		p.settle()
		for _, it := range p.state.Items {
			b := p.newBuild(gate.Effect{Changes: it.Changes})
			p.merge(b)
			if b.conflict == nil && !p.bad(b, "build") && !p.bad(b, "test") && !p.needsWaiting(it) {
				p.fail("%v waits, and passes on what is there", numbers(it.Changes))
			}
		}
		p.mend()
		p.settle()
		if len(p.state.Items) > 0 {
			p.fail("the branch is mended and the queue does not empty: %s", encode(p.state))
		}
	})
}

// needsWaiting says that an item needs another one that has not merged.
func (p *player) needsWaiting(it *gate.Item) bool {
	for _, r := range it.Changes {
		for _, n := range p.truth[r.ID].Needs {
			if p.truth[n.ID].Status != gate.Merged && !slices.ContainsFunc(it.Changes, func(o gate.Ref) bool { return o.ID == n.ID }) {
				return true
			}
		}
	}
	return false
}

// Stories.

func red(t *testing.T, changes int) *scene {
	s := stage(t, changes)
	s.policy.Evidence = true
	s.red["test"] = true
	return s
}

// prove ends what runs on the base of changes.
func (s *scene) proveAll(ns ...int) {
	s.t.Helper()
	for _, n := range ns {
		b := s.build(n)
		for i := range b.jobs {
			s.finishProof(b, i)
		}
		s.step()
	}
}

func TestEvidenceNobodyIsBlamedForARedBase(t *testing.T) {
	s := red(t, 4)
	s.cures[cid(4)] = true
	s.step()
	s.end(1, 2, 3)
	s.says(1, "whether it fails on the branch itself is being found out")
	s.proveAll(1)
	s.told(1, gate.ReportRed, "test fails on the branch itself since ")
	s.says(1, "test fails on the branch itself since ")
	s.says(1, "[the author]")
	if s.proveAll(2, 3); s.last(2).Kind == gate.ReportRed || s.last(3).Kind == gate.ReportRed {
		t.Error("one message for one red job, not one for each item")
	}
	s.want("queue", s.order(), 1, 2, 3, 4)
	s.want("4 stands behind", s.behind(4))
	s.end(4)
	s.want("merged", s.merged(), 4)
	s.end(1, 2, 3)
	s.want("merged", s.merged(), 4, 1, 2, 3)
	if s.state.Window != 24 {
		t.Errorf("window %d: a red base narrows nothing", s.state.Window)
	}
}

func TestEvidenceAGoodBaseConvicts(t *testing.T) {
	s := red(t, 2)
	s.red["test"], s.fails[cid(1)] = false, true
	s.step()
	s.end(1)
	if s.count(gate.Prove) != 1 || s.last(1).Final {
		t.Fatal("it is blamed before it is known how its base does")
	}
	s.proveAll(1)
	s.told(1, gate.ReportFailed, "build failed")
}

func TestEvidenceAbsentIsNoEvidence(t *testing.T) {
	s := red(t, 1)
	s.fresh[cid(1)] = true
	s.step()
	s.end(1)
	s.proveAll(1)
	s.told(1, gate.ReportFailed, "test failed")
}

func TestEvidenceThatCannotBeHadBlamesNobody(t *testing.T) {
	s := red(t, 1)
	s.step()
	s.end(1)
	s.hiccups = 1
	s.proveAll(1)
	s.told(1, gate.ReportError, "could not be found out")
}

func TestEvidenceOneFailureOfItsOwnIsEnough(t *testing.T) {
	s := red(t, 1)
	s.fails[cid(1)] = true // its build, beside the red test
	s.step()
	s.end(1)
	s.proveAll(1)
	s.told(1, gate.ReportFailed, "build, test failed")
}

func TestEvidenceOnlyWithNothingUnmergedUnderIt(t *testing.T) {
	s := red(t, 2)
	s.red["test"], s.spoil[pair{cid(2), cid(1)}] = false, true
	s.step()
	s.end(2)
	if s.count(gate.Prove) != 0 {
		t.Error("nothing is asked of a base that is not on the branch")
	}
	s.end(1)
	s.proveAll(2)
	s.told(2, gate.ReportFailed, "test failed")
}

func TestEvidenceTheFirstTriesForAll(t *testing.T) {
	s := red(t, 3)
	s.step()
	s.end(1, 2, 3)
	s.proveAll(1, 2, 3)
	old := s.item(2).Buildset.ID
	s.push++ // something has moved, and the branch is red still
	s.step()
	if s.build(1).effect.Buildset == 1 || s.item(2).Buildset.ID != old {
		t.Error("one tries for all that wait for the same")
	}
	s.says(2, "tried first")
	s.end(1)
	s.proveAll(1)
	if n := s.tells(gate.ReportRed); n != 1 {
		t.Errorf("%d messages about one red job", n)
	}
	s.mendAll()
	s.step()
	s.end(1)
	s.want("merged", s.merged(), 1)
	s.want("3 stands behind", s.behind(3), 2)
	s.end(2, 3)
	s.want("merged", s.merged(), 1, 2, 3)
}

func (s *scene) mendAll() { clear(s.red) }

func (s *scene) tells(kind gate.ReportKind) (n int) {
	for _, e := range s.log {
		if e.Kind == gate.Tell && e.Report.Kind == kind {
			n++
		}
	}
	return n
}

// Those who wait take no room in the window, and nobody who is tested begins
// anew because one of them tries again.
func TestEvidenceThoseWhoWaitAreInNobodysWay(t *testing.T) {
	s := red(t, 5)
	s.policy = gate.Policy{Start: 3, Floor: 2, Ceiling: 3, Evidence: true}
	s.cures[cid(4)], s.cures[cid(5)] = true, true
	s.step()
	if s.item(4).Buildset != nil {
		t.Fatal("outside the window")
	}
	s.end(1, 2, 3)
	s.proveAll(1, 2, 3)
	s.want("5 stands behind", s.behind(5), 4)
	was, tried := s.item(5).Buildset.ID, s.item(1).Buildset.ID
	s.red["root"] = true // something else has moved
	s.step()
	if s.item(1).Buildset.ID == tried || s.item(5).Buildset.ID != was {
		t.Error("5 began anew because one ahead is tried again")
	}
	s.end(4)
	s.want("merged", s.merged(), 4)
	s.settle()
	s.want("merged", s.merged(), 4, 1, 2, 3, 5)
}

func TestEvidenceAnAdministratorActsOnOneThatWaits(t *testing.T) {
	s := red(t, 2)
	s.step()
	s.end(1, 2)
	s.proveAll(1, 2)
	old := s.item(2).Buildset.ID
	s.obeys("retry", 2, "tested again")
	if s.item(2).Buildset.ID == old {
		t.Error("nothing is tested again")
	}
	s.obeys("dequeue", 1, "stays out")
	s.want("queue", s.order(), 2)
}

func TestEvidenceOfARestrictedItemIsNotShown(t *testing.T) {
	s := red(t, 2)
	s.edit(1, func(c *gate.Change) { c.Restricted = true })
	s.step()
	s.job(1, "build", gate.JobFailed)
	s.red["build"] = true
	s.builds[s.item(1).Buildset.ID].red["build"] = true
	s.end(1, 2)
	s.proveAll(1, 2)
	if len(s.state.Red) != 2 {
		t.Fatalf("red: %s", encode(s.state.Red))
	}
	shown, _ := gate.Redact(s.state, s.facts(), restricted)
	if _, ok := shown.Red["build"]; ok || len(shown.Red) != 1 || shown.Items[0].Red[0] == "build" {
		t.Errorf("shown: %s", encode(shown))
	}
}

func TestEvidenceOfACheck(t *testing.T) {
	s := red(t, 1)
	s.state = gate.State{Queue: "check/g~1", Kind: gate.Independent, Change: cid(1)}
	s.step()
	s.end(1)
	s.proveAll(1)
	s.told(1, gate.ReportRed, "test fails on the branch itself since ")
	if why := s.why(1); !strings.Contains(why, "fails as the branch itself does") {
		t.Error(why)
	}
}
