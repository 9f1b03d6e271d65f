package gate_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/gate"
)

// player draws a history and plays it in a world.
type player struct {
	*world
	rt      *rapid.T
	oneLane bool // the site has no lanes
}

// TestHistories plays random histories of everything that can happen and holds
// each decision to the rules; then lets the trouble end and expects an empty queue.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := player{world: newWorld(rt), rt: rt}
		p.setUp(rapid.SampledFrom([]int{2, 4, 6, 8, 10}).Draw(rt, "changes"))
		p.play()
		p.calm()
	})
}

// play is anything that can happen, in any order.
func (p *player) play() {
	p.rt.Repeat(map[string]func(*rapid.T){
		"approve":   func(*rapid.T) { p.on("approve", p.approve) },
		"approve2":  func(*rapid.T) { p.on("approve", p.approve) },
		"trouble":   func(*rapid.T) { p.trouble() },
		"read":      func(*rapid.T) { p.readOne() },
		"read2":     func(*rapid.T) { p.readAll() },
		"decide":    func(*rapid.T) { p.decide() },
		"decide2":   func(*rapid.T) { p.decide() },
		"perform":   func(*rapid.T) { p.performOne() },
		"perform2":  func(*rapid.T) { p.flush() },
		"again":     func(*rapid.T) { p.performAgain() },
		"finish":    func(*rapid.T) { p.finishOne() },
		"finish2":   func(*rapid.T) { p.finishOne() },
		"finish3":   func(*rapid.T) { p.finishOne() },
		"finishAll": func(*rapid.T) { p.tell("all jobs end"); p.finishAll() },
		"turn":      func(*rapid.T) { p.decide(); p.flush() },
		"turn2":     func(*rapid.T) { p.decide(); p.flush(); p.finishAll() },
		"turn3":     func(*rapid.T) { p.decide(); p.flush(); p.finishAll() },
		"command":   func(*rapid.T) { p.commandOne() },
		"policy":    func(*rapid.T) { p.setPolicy() },
		"batch":     func(*rapid.T) { p.setBatch() },
		"red":       func(*rapid.T) { p.turnRed() },
		"mend":      func(*rapid.T) { p.mend() },
		"proof":     func(*rapid.T) { p.proveOne() },
		"lanes":     func(*rapid.T) { p.surveyOne() },
	})
}

// setUp proposes changes with needs among those before them and some after, and
// says what is wrong with them.
func (p *player) setUp(n int) {
	flag := func(label string, oneIn int) bool { return rapid.IntRange(1, oneIn).Draw(p.rt, label) == oneIn }
	p.drawLanes()
	for i := 1; i <= n; i++ {
		queue := "main"
		if flag("elsewhere", 12) {
			queue = "other"
		}
		var needs []gate.Need
		for j := 1; j <= n; j++ {
			oneIn := 10
			if j > i {
				oneIn = 40
			}
			if j == i || !flag("need", oneIn) {
				continue
			}
			need := gate.Need{Kind: gate.DependsOn, ID: cid(j)}
			if j < i && flag("parent", 2) {
				need.Kind, need.PatchSet = gate.Parent, 1
			}
			needs = append(needs, need)
		}
		if i < n && flag("circle", 12) || i > 1 && slices.ContainsFunc(p.truth[cid(i-1)].Needs, func(n gate.Need) bool { return n.ID == cid(i) }) {
			on := i + 1
			if i > 1 && !slices.ContainsFunc(needs, func(n gate.Need) bool { return n.ID == cid(i-1) }) {
				on = i - 1
			}
			if on <= n {
				needs = append(needs, gate.Need{Kind: gate.DependsOn, ID: cid(on)})
			}
		}
		c := p.propose(i, queue, needs...)
		p.drawClosure(c.ID)
		c.Restricted = flag("restricted", 10)
		if flag("topic", 5) {
			c.Topic = "t"
		}
		p.fails[c.ID], p.broken[c.ID], p.differ[c.ID] = flag("fails", 6), flag("broken", 20), flag("differs", 12)
		p.cures[c.ID], p.fresh[c.ID] = flag("cures", 8), flag("fresh", 12)
		if flag("refused", 10) {
			p.refuse[c.ID] = 1
		}
		for j := 1; j < i; j++ {
			sameBranch, touches := p.related(c, p.truth[cid(j)])
			p.clash[pair{cid(i), cid(j)}] = sameBranch && flag("clash", 14)
			p.clash[pair{cid(j), cid(i)}] = p.clash[pair{cid(i), cid(j)}]
			p.spoil[pair{cid(i), cid(j)}] = touches && flag("spoil", 10)
			p.spoil[pair{cid(j), cid(i)}] = p.spoil[pair{cid(i), cid(j)}]
		}
		if !flag("not yet approved", 4) {
			p.approve(c.ID)
		}
		p.read(c.ID)
		p.tell("change %d of %s needs %v restricted=%v", i, queue, needs, c.Restricted)
	}
	p.policy.Observe, p.policy.WholeTopics = flag("observe", 10), flag("topics", 4)
	p.policy.Evidence = !flag("no evidence", 5)
	p.setUpBatches(n)
	p.hiccups = rapid.IntRange(0, 2).Draw(p.rt, "hiccups")
	p.tell("fails %v broken %v clash %v spoil %v refuse %v differ %v", set(p.fails), set(p.broken), set(p.clash), set(p.spoil), p.refuse, set(p.differ))
}

func set[K comparable](m map[K]bool) (keys []K) {
	for k, in := range m {
		if in {
			keys = append(keys, k)
		}
	}
	return keys
}

func (p *player) pick() gate.ChangeID {
	return rapid.SampledFrom(slices.Sorted(maps.Keys(p.truth))).Draw(p.rt, "change")
}

// trouble is what people do to their changes.
func (p *player) trouble() {
	switch rapid.IntRange(0, 6).Draw(p.rt, "trouble") {
	case 0:
		p.on("unapprove", p.unapprove)
	case 1:
		p.on("upload", p.uploadOpen)
	case 2:
		p.on("abandon or restore", p.abandon)
	case 3:
		p.on("merge past the gate", p.past)
	case 4:
		p.on("amend the needs of", p.amend)
	case 5:
		p.on("set the topic of", p.setTopic)
	case 6:
		p.push++
		p.tell("a push")
	}
}

// on does something to an open change; the fact is often read at once.
func (p *player) on(what string, do func(id gate.ChangeID)) {
	id := p.pick()
	if p.truth[id].Status == gate.Merged {
		return
	}
	p.tell("%s %s", what, id)
	do(id)
	if rapid.Bool().Draw(p.rt, "event") {
		p.read(id)
	}
}

func (p *player) uploadOpen(id gate.ChangeID) {
	p.upload(id)
	if rapid.Bool().Draw(p.rt, "mended") {
		p.fails[id], p.broken[id] = false, false
	}
	if rapid.Bool().Draw(p.rt, "votes gone") {
		p.unapprove(id)
	}
	for i, n := range p.truth[id].Needs {
		if n.Kind == gate.Parent {
			p.truth[id].Needs[i].PatchSet = p.truth[n.ID].PatchSet
		}
	}
}

func (p *player) abandon(id gate.ChangeID) {
	c := p.truth[id]
	if c.Status == gate.Open {
		c.Status = gate.Abandoned
	} else {
		c.Status = gate.Open
	}
}

// past: someone with the right submits it, whatever the gate thinks. Gerrit
// merges a change only after those that it stands on.
func (p *player) past(id gate.ChangeID) {
	c := p.truth[id]
	if c.Status != gate.Open || !p.policy.Observe && rapid.IntRange(1, 3).Draw(p.rt, "really") != 1 {
		return
	}
	for _, n := range c.Needs {
		if n.Kind == gate.Parent && p.truth[n.ID].Status != gate.Merged {
			return
		}
	}
	p.mergeNow(id)
}

// amend drops a need, or adds one to a change of this queue.
func (p *player) amend(id gate.ChangeID) {
	c := p.truth[id]
	if len(c.Needs) > 0 && rapid.Bool().Draw(p.rt, "drop") {
		c.Needs = slices.Clone(c.Needs[1:])
		return
	}
	if on := p.pick(); on != id && !slices.ContainsFunc(c.Needs, func(n gate.Need) bool { return n.ID == on }) {
		c.Needs = append(slices.Clone(c.Needs), gate.Need{Kind: gate.DependsOn, ID: on})
	}
}

func (p *player) setTopic(id gate.ChangeID) {
	p.truth[id].Topic = rapid.SampledFrom([]string{"", "", "t", "u"}).Draw(p.rt, "topic")
}

func (p *player) readOne() {
	id := p.pick()
	p.tell("read %s", id)
	p.read(id)
}

func (p *player) performOne() {
	if len(p.outbox) == 0 {
		return
	}
	i := rapid.IntRange(0, len(p.outbox)-1).Draw(p.rt, "effect")
	e := p.outbox[i]
	p.tell("perform %s item=%d buildset=%d", e.Kind, e.Item, e.Buildset)
	p.killed = rapid.IntRange(1, 5).Draw(p.rt, "killed") == 5
	p.perform(e)
	// Done, and the acknowledgement lost: it stays to be performed again.
	if killed := p.killed; killed {
		p.killed = false
		p.tell("killed before that was recorded")
	} else {
		p.outbox = slices.Delete(p.outbox, i, i+1)
		p.done = append(p.done, e)
	}
}

func (p *player) performAgain() {
	if len(p.done) > 0 {
		e := rapid.SampledFrom(p.done).Draw(p.rt, "effect")
		p.tell("perform again %s item=%d buildset=%d", e.Kind, e.Item, e.Buildset)
		p.perform(e)
	}
}

func (p *player) finishOne() {
	var open []*build
	for _, id := range slices.Sorted(maps.Keys(p.builds)) {
		b := p.builds[id]
		if !b.cancelled && slices.ContainsFunc(b.jobs, func(j gate.Job) bool { return !ended(j) }) {
			open = append(open, b)
		}
	}
	if len(open) == 0 {
		return
	}
	b := open[rapid.IntRange(0, len(open)-1).Draw(p.rt, "buildset")]
	i := rapid.IntRange(0, len(b.jobs)-1).Draw(p.rt, "job")
	p.finish(b, i, rapid.Bool().Draw(p.rt, "early"))
	p.tell("job %s of buildset %d: %s early=%v", b.jobs[i].Name, b.effect.Buildset, b.jobs[i].State, b.jobs[i].Early)
}

func (p *player) commandOne() {
	verb := rapid.SampledFrom([]string{"enqueue", "dequeue", "promote", "retry", "pause", "resume", "resume", "dance"}).Draw(p.rt, "verb")
	id := p.pick()
	p.tell("command %s %s", verb, id)
	p.command(verb, id)
}

// calm ends the trouble: events arrive, the queue is resumed, work is done. Then
// the queue empties, and every open change has a reason to be outside.
func (p *player) calm() {
	p.tell("calm")
	p.policy.Observe = false
	p.mend()
	p.readAll()
	p.command("resume", "")
	for range 20 {
		p.settle()
		p.readAll()
	}
	if len(p.state.Items) > 0 {
		p.fail("the queue does not empty: %s", encode(p.state))
	}
	for id, l := range p.items {
		if !l.left || len(l.final) != 1 {
			p.fail("item %d has the final reports %v, left %v", id, l.final, l.left)
		}
	}
	f := p.facts()
	for id, c := range p.known {
		r := gate.Explain(p.state, f, id)
		if c.Status == gate.Open && c.Queue == "main" && len(r.Children) == 0 && r.Who == "the gate" {
			p.fail("%s is outside for no reason: %+v", id, r)
		}
	}
	for id := range p.state.Done {
		if c, ok := p.known[id]; !ok || c.Status != gate.Open {
			p.fail("the state remembers %s, which is closed", id)
		}
	}
}

// TestLikeOneByOne: with all approved and nobody meddling, what merges, in which
// order, and who is blamed, is what a gate that tests one change after the other,
// each on the branch, would have found.
func TestLikeOneByOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := player{world: newWorld(rt), rt: rt, oneLane: true}
		p.setUp(rapid.IntRange(1, 14).Draw(rt, "changes"))
		p.agree()
		p.work(nil)
		p.settle()
		p.likeOneByOne(slices.Equal)
	})
}

// agree: all changes are approved, nobody meddles, and nothing but tests decides.
func (p *player) agree() {
	p.hiccups, p.policy.Observe, p.policy.WholeTopics = 0, false, false
	clear(p.refuse)
	clear(p.differ)
	for i := 1; i <= len(p.truth); i++ {
		c := p.truth[cid(i)]
		c.Restricted, c.Queue = false, "main"
		c.Needs = slices.DeleteFunc(c.Needs, func(n gate.Need) bool { return n.ID > c.ID })
		p.approve(c.ID)
	}
	p.readAll()
}

// work is what follows by itself, in any order, and more where that is given; it
// is decided on after each step.
func (p *player) work(more map[string]func(*rapid.T)) {
	steps := map[string]func(*rapid.T){
		"":        func(*rapid.T) { p.decide() },
		"perform": func(*rapid.T) { p.performOne() },
		"flush":   func(*rapid.T) { p.flush() },
		"finish":  func(*rapid.T) { p.finishOne() },
		"finish2": func(*rapid.T) { p.finishOne() },
	}
	maps.Copy(steps, more)
	p.rt.Repeat(steps)
}

// likeOneByOne compares what merged, and who was blamed, with the gate that tests
// one change after the other.
func (p *player) likeOneByOne(same func(merged, trunk []gate.ChangeID) bool) {
	trunk, blamed := p.oneByOne()
	if !same(p.trunk, trunk) {
		p.fail("merged %v; one by one %v", p.trunk, trunk)
	}
	for _, l := range p.items {
		k := l.final[0].Kind
		if want := blamed[l.changes[0].ID]; k != gate.ReportMerged && want != k {
			p.fail("%v got %s, one by one %q", numbers(l.changes), k, want)
		}
	}
}

// oneByOne is the gate without speculation.
func (p *player) oneByOne() (trunk []gate.ChangeID, blamed map[gate.ChangeID]gate.ReportKind) {
	blamed = map[gate.ChangeID]gate.ReportKind{}
	for _, e := range p.log {
		if e.Kind != gate.Enter {
			continue
		}
		id := e.Changes[0].ID
		b := p.newBuild(gate.Effect{Changes: e.Changes})
		p.trunk, trunk = trunk, p.trunk
		p.merge(b)
		p.trunk, trunk = trunk, p.trunk
		switch {
		case slices.ContainsFunc(p.truth[id].Needs, func(n gate.Need) bool { return !slices.Contains(trunk, n.ID) }):
			blamed[id] = gate.ReportDequeued
		case b.conflict != nil:
			blamed[id] = gate.ReportConflict
		case b.broken != "", p.bad(b, "build"), p.bad(b, "test"), p.dear[id] && p.bad(b, "systest"):
			blamed[id] = gate.ReportFailed
		default:
			trunk = append(trunk, id)
		}
	}
	return trunk, blamed
}
