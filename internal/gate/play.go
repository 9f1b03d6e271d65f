package gate

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// maxEvents bounds one play of a simulation, for each item in it.
const maxEvents = 2000

// play is one run of a simulation: a queue, and a world that answers its effects.
type play struct {
	chance
	sim    *Simulation
	state  State
	facts  Facts
	now    time.Duration // since the start
	events []event       // by time, the next one last
	serial int
	builds map[BuildsetID]*attempt
	line   []*attempt // those that are not over, the oldest first
	busy   int
	bad    map[ChangeID]bool // drawn: its tests fail
	shape  map[ItemID][]Task // drawn: of the items whose jobs are not known

	merged         map[ChangeID]time.Duration
	landings       []time.Duration
	landed, failed int
	resets         int
	last           time.Duration
	worked, wasted time.Duration
}

// event is something that will happen; do reports whether the queue has to decide on it.
type event struct {
	at     time.Duration
	serial int
	do     func() bool
}

// attempt is a buildset in the played world.
type attempt struct {
	id     BuildsetID
	item   *Item
	tasks  []Task
	jobs   []Job
	begun  []time.Duration // of the jobs that run
	ran    time.Duration   // by its jobs, so far
	over   bool            // dropped, or merged
	first  bool
	failed int    // index of the job that is to fail, -1: none
	shared []Task // those that run once for its batch
}

func newPlay(sim *Simulation, run uint64) *play {
	p := &play{
		chance: chance{state: sim.Seed + run*0x632be59bd9b4e019},
		sim:    sim, state: sim.State, facts: sim.Facts,
		builds: map[BuildsetID]*attempt{}, bad: map[ChangeID]bool{}, shape: map[ItemID][]Task{}, merged: map[ChangeID]time.Duration{},
	}
	p.facts.Changes = maps.Clone(sim.Facts.Changes)
	p.facts.Commands = nil
	p.facts.Buildsets = map[BuildsetID]BuildsetFacts{}
	p.facts.Submits = map[ItemID]SubmitOutcome{}
	for _, it := range p.state.Items {
		p.resume(it)
	}
	slices.SortFunc(p.line, func(a, b *attempt) int { return cmp.Compare(a.id, b.id) })
	for _, a := range sim.Arrivals {
		p.after(a.After, func() bool {
			p.facts.Changes[a.Change.ID] = a.Change
			return true
		})
	}
	return p
}

// resume takes an item as it stands at the start.
func (p *play) resume(it *Item) {
	if it.Submit != nil {
		p.submit(Effect{Item: it.ID, Changes: it.Changes, Serial: it.Submit.Serial})
	}
	b := it.Buildset
	if b == nil {
		return
	}
	known := p.sim.Facts.Buildsets[b.ID]
	a := p.begin(it, b.ID)
	if !known.Prepared {
		p.after(p.sim.Model.Prepare.draw(&p.chance), func() bool { return p.prepared(a) })
		return
	}
	p.facts.Buildsets[b.ID] = known
	if b.Proving {
		p.prove(Effect{Buildset: b.ID})
	}
	tasks := a.tasks
	a.tasks, a.jobs = nil, slices.Clone(known.Jobs)
	for _, j := range known.Jobs {
		t := Task{Name: j.Name, Voting: j.Voting}
		if i := slices.IndexFunc(tasks, func(t Task) bool { return t.Name == j.Name }); i >= 0 {
			t = tasks[i]
		}
		a.tasks = append(a.tasks, t)
	}
	if known.Deferred {
		a.shared = slices.DeleteFunc(slices.Clone(tasks), func(t Task) bool { return !t.Batch })
		if b.Batch != nil { // asked for, and not planned yet
			p.runShared(Effect{Buildset: b.ID, StackItems: b.Batch})
		}
	}
	a.begun = make([]time.Duration, len(a.jobs))
	p.doom(a, true)
	for i, j := range a.jobs {
		if j.State == JobRunning {
			p.start(a, i, a.tasks[i].Takes.rest(&p.chance, a.tasks[i].Ran))
		}
	}
	p.show(a)
}

// run plays until nothing happens any more.
func (p *play) run() {
	p.decide()
	for range maxEvents * (len(p.state.Items) + len(p.sim.Arrivals) + 1) {
		if len(p.events) == 0 {
			return
		}
		e := p.events[len(p.events)-1]
		p.events = p.events[:len(p.events)-1]
		p.now = e.at
		if e.do() {
			p.decide()
		} else {
			p.fill()
		}
	}
}

// after has something happen later.
func (p *play) after(d time.Duration, do func() bool) {
	p.serial++
	e := event{p.now + max(d, 0), p.serial, do}
	i, _ := slices.BinarySearchFunc(p.events, e, func(a, b event) int {
		return cmp.Or(cmp.Compare(b.at, a.at), cmp.Compare(b.serial, a.serial))
	})
	p.events = slices.Insert(p.events, i, e)
}

// decide lets the queue decide, and carries out what it decides.
func (p *play) decide() {
	p.facts.Now = p.sim.Facts.Now.Add(p.now)
	var effects []Effect
	p.state, effects = Decide(p.state, p.facts)
	for _, e := range effects {
		switch e.Kind {
		case Prepare:
			p.prepare(e)
		case Cancel:
			p.cancel(e)
		case CancelRest:
			if a := p.builds[e.Buildset]; a != nil {
				p.stop(a)
				p.show(a)
				p.after(0, func() bool { return true })
			}
		case Prove:
			p.prove(e)
		case RunDeferred:
			p.runShared(e)
		case SubmitChanges:
			p.submit(e)
		case Tell:
			p.told(e)
		}
	}
	p.fill()
}

func (p *play) prepare(e Effect) {
	i := slices.IndexFunc(p.state.Items, func(it *Item) bool { return it.ID == e.Item })
	if i < 0 {
		return
	}
	it := p.state.Items[i]
	if it.Attempts > 1 {
		p.resets++
	}
	a := p.begin(it, e.Buildset)
	p.after(p.sim.Model.Prepare.draw(&p.chance), func() bool { return p.prepared(a) })
}

// begin makes an attempt with the tasks that the item will have.
func (p *play) begin(it *Item, id BuildsetID) *attempt {
	tasks, known := p.sim.Model.Tasks[it.ID]
	if !known {
		if tasks, known = p.shape[it.ID]; !known && len(p.sim.Model.Usual) > 0 {
			tasks = p.sim.Model.Usual[p.below(len(p.sim.Model.Usual))]
			p.shape[it.ID] = tasks
		}
	}
	a := &attempt{id: id, item: it, tasks: tasks, first: it.Attempts <= 1, failed: -1}
	p.builds[id] = a
	p.line = append(p.line, a)
	return a
}

// prepared plans the jobs of an attempt. One without jobs passes at once.
func (p *play) prepared(a *attempt) bool {
	if a.over {
		return false
	}
	reused := p.sim.Model.Again
	if a.first {
		reused = p.sim.Model.Reused
	}
	p.defers(a)
	for _, t := range a.tasks {
		j := Job{Name: t.Name, Voting: t.Voting, State: JobWaiting}
		if p.share() < reused {
			j.State = JobPassed
		}
		a.jobs = append(a.jobs, j)
	}
	if len(a.jobs) == 0 {
		a.tasks, a.jobs = []Task{{Name: "noop", Voting: true}}, []Job{{Name: "noop", Voting: true, State: JobPassed}}
	}
	a.begun = make([]time.Duration, len(a.jobs))
	p.doom(a, false)
	p.show(a)
	return a.verdict() != testing
}

// doom draws whether the item's own tests fail, once a run, and which job shows
// it. Of an attempt that is under way what has passed makes it less likely; one
// that failed will fail again.
func (p *play) doom(a *attempt, underWay bool) {
	if len(a.item.Changes) == 0 {
		return
	}
	id := a.item.Changes[0].ID
	var open, votes []int
	for i, j := range a.jobs {
		if !j.Voting || j.State == JobNotApplicable {
			continue
		}
		votes = append(votes, i)
		switch {
		case j.State == JobFailed || j.Early:
			p.bad[id], a.failed = j.Evidence != EvidenceRed, i
			return
		case !j.State.final():
			open = append(open, i)
		}
	}
	bad, drawn := p.bad[id]
	if !drawn {
		share := 1.0
		if underWay && len(votes) > 0 {
			share = float64(len(open)) / float64(len(votes))
		}
		bad = p.share() < p.sim.Model.Fails*share
		p.bad[id] = bad
	}
	if !bad || len(votes) == 0 {
		return
	}
	if len(open) == 0 { // all were reused, and yet it fails: so one was not
		open = votes
	}
	a.failed = open[p.below(len(open))]
	a.jobs[a.failed].State = JobWaiting
}

func (a *attempt) verdict() outcome {
	return BuildsetFacts{Prepared: true, Jobs: a.jobs}.read().outcome
}

// show makes what became of an attempt a fact.
func (p *play) show(a *attempt) {
	known := p.facts.Buildsets[a.id]
	known.Prepared, known.Jobs, known.Deferred = true, slices.Clone(a.jobs), known.Deferred || len(a.shared) > 0
	p.facts.Buildsets[a.id] = known
}

// fill starts what may run, of the oldest attempts first.
func (p *play) fill() {
	if p.sim.Model.Slots > 0 && p.busy >= p.sim.Model.Slots {
		return
	}
	p.line = slices.DeleteFunc(p.line, func(a *attempt) bool { return a.over })
	for _, a := range p.line {
		for i := range a.jobs {
			if p.sim.Model.Slots > 0 && p.busy >= p.sim.Model.Slots {
				return
			}
			if a.jobs[i].State == JobWaiting && a.may(i) {
				a.jobs[i].State = JobRunning
				p.start(a, i, a.tasks[i].Takes.draw(&p.chance))
			}
		}
	}
}

// may says that nothing of a lower rank is open.
func (a *attempt) may(i int) bool {
	for k, t := range a.tasks {
		if t.Rank < a.tasks[i].Rank && !a.jobs[k].State.final() {
			return false
		}
	}
	return true
}

func (p *play) start(a *attempt, i int, d time.Duration) {
	p.busy++
	a.begun[i] = p.now
	p.after(d, func() bool { return p.ended(a, i) })
}

// ended is the end of a job that runs; what needs one that failed is not run.
func (p *play) ended(a *attempt, i int) bool {
	if a.over || a.jobs[i].State != JobRunning {
		return false
	}
	before := a.verdict()
	p.busy--
	p.ran(a, i)
	a.jobs[i].State = JobPassed
	if i == a.failed {
		a.jobs[i].State = JobFailed
		for k, t := range a.tasks {
			if t.Rank > a.tasks[i].Rank && a.jobs[k].State == JobWaiting {
				a.jobs[k].State = JobCancelled
			}
		}
	}
	p.show(a)
	open := slices.ContainsFunc(a.jobs, func(j Job) bool { return !j.State.final() })
	return a.verdict() != before || !open
}

func (p *play) ran(a *attempt, i int) {
	d := p.now - a.begun[i]
	a.ran += d
	p.worked += d
}

// stop ends all that an attempt still runs.
func (p *play) stop(a *attempt) {
	for i := range a.jobs {
		if a.jobs[i].State == JobRunning {
			p.busy--
			p.ran(a, i)
		}
		if !a.jobs[i].State.final() {
			a.jobs[i].State = JobCancelled
		}
	}
}

func (p *play) cancel(e Effect) {
	a := p.builds[e.Buildset]
	if a == nil || a.over {
		return
	}
	p.stop(a)
	p.wasted += a.ran
	p.end(a)
}

// end forgets an attempt.
func (p *play) end(a *attempt) {
	a.over = true
	delete(p.builds, a.id)
	delete(p.facts.Buildsets, a.id)
}

// submit lets Gerrit merge, after its time.
func (p *play) submit(e Effect) {
	p.after(p.sim.Model.Submit.draw(&p.chance), func() bool {
		p.facts.Submits[e.Item] = SubmitOutcome{Serial: e.Serial, Result: SubmitLanded}
		return true
	})
}

// told notes the ends of items, and shows Gerrit's side of a merge.
func (p *play) told(e Effect) {
	if !e.Report.Final {
		return
	}
	p.last = p.now
	delete(p.facts.Submits, e.Item)
	if a := p.builds[e.Buildset]; a != nil {
		p.stop(a)
		p.end(a)
	}
	if e.Report.Kind != ReportMerged {
		p.failed++
		return
	}
	p.landed++
	p.landings = append(p.landings, p.now)
	for _, r := range e.Changes {
		p.merged[r.ID] = p.now
		if c, ok := p.facts.Changes[r.ID]; ok {
			c.Status = Merged
			p.facts.Changes[r.ID] = c
		}
	}
}
