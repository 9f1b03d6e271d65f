package gate_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"sluice/internal/gate"
)

// failer is what both *testing.T and *rapid.T can do.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

type pair [2]gate.ChangeID

// world is a Gerrit, an engine and workers in a few maps: it holds what is true,
// what has been read of it, and performs effects at least once, in any order.
type world struct {
	t      failer
	clock  int64
	policy gate.Policy
	story  []string

	truth map[gate.ChangeID]*gate.Change // in Gerrit
	known map[gate.ChangeID]gate.Change  // as last read
	trunk []gate.ChangeID                // what is on the branches, in order
	push  int                            // pushes past review

	fails    map[gate.ChangeID]bool // does not build
	broken   map[gate.ChangeID]bool // no job can be planned
	clash    map[pair]bool          // do not merge together
	spoil    map[pair]bool          // fail only in combination
	refuse   map[gate.ChangeID]int  // so many submits are refused
	differ   map[gate.ChangeID]bool // lands as another tree than the tested
	hiccups  int                    // so many jobs end without a verdict
	red      map[string]bool        // jobs that fail whatever is tested
	cures    map[gate.ChangeID]bool // but where one of these is
	fresh    map[gate.ChangeID]bool // brings jobs that its base does not have
	dear     map[gate.ChangeID]bool // has a system test
	culprit  map[gate.ChangeID]bool // makes each system test fail that it is in
	sour     map[pair]bool          // make each system test fail that both are in
	commands []gate.Command

	// What their packages make and read: in truth, as their trees say it, and as
	// far as it is known. The rest shows when they are built.
	closures, declared, seen map[gate.ChangeID]gate.Closure
	names                    [2]gate.Names
	projects                 int

	state    gate.State
	builds   map[gate.BuildsetID]*build
	happened map[gate.ItemID]gate.SubmitOutcome // in Gerrit
	outcomes map[gate.ItemID]gate.SubmitOutcome // as recorded
	killed   bool                               // the engine, before it can record an outcome
	outbox   []gate.Effect
	done     []gate.Effect // performed, and may be performed again

	// The record, for the properties.
	log     []gate.Effect
	judged  int           // so much of the log before the last decision
	landed  []gate.ItemID // in this queue, by the gate or past it, in order
	items   map[gate.ItemID]*life
	answers map[int64]string
	debts   []*debt
	out     map[gate.ChangeID]bool // published
}

// life is what effects said of one item.
type life struct {
	changes  []gate.Ref
	in, left bool
	final    []gate.Report
	started  bool
	bypassed bool
	again    bool // has landed before, and is only tested
}

// build is what a Prepare asked for and what has become of it.
type build struct {
	effect    gate.Effect
	after     int // how many had landed in this queue when it was decided
	prepared  bool
	cancelled bool
	base      []gate.ChangeID // what was on the branches when it was merged
	push      int
	conflict  *gate.Conflict
	broken    string
	fails     bool            // the patch sets under test do not build
	red       map[string]bool // as it was then
	jobs      []gate.Job
	deferred  bool
	sick      bool          // its system test fails
	members   []gate.ItemID // whose system tests were asked for
	with      []gate.ItemID // the batch that it was submitted with
	submitted bool
	series    *series
}

func newWorld(t failer) *world {
	return &world{
		t: t, clock: 1000, policy: gate.Policy{Start: 4, Floor: 2, Ceiling: 6},
		truth: map[gate.ChangeID]*gate.Change{}, known: map[gate.ChangeID]gate.Change{},
		fails: map[gate.ChangeID]bool{}, broken: map[gate.ChangeID]bool{}, clash: map[pair]bool{}, spoil: map[pair]bool{},
		refuse: map[gate.ChangeID]int{}, differ: map[gate.ChangeID]bool{},
		red: map[string]bool{}, cures: map[gate.ChangeID]bool{}, fresh: map[gate.ChangeID]bool{},
		closures: map[gate.ChangeID]gate.Closure{}, declared: map[gate.ChangeID]gate.Closure{}, seen: map[gate.ChangeID]gate.Closure{}, projects: 3,
		dear: map[gate.ChangeID]bool{}, culprit: map[gate.ChangeID]bool{}, sour: map[pair]bool{}, out: map[gate.ChangeID]bool{},
		state:  gate.State{Queue: "main", Kind: gate.Dependent},
		builds: map[gate.BuildsetID]*build{}, outcomes: map[gate.ItemID]gate.SubmitOutcome{}, happened: map[gate.ItemID]gate.SubmitOutcome{},
		items: map[gate.ItemID]*life{}, answers: map[int64]string{},
	}
}

func (w *world) tick() time.Time {
	w.clock++
	return time.Unix(w.clock, 0).UTC()
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	s := ""
	for _, line := range w.story {
		s += "\n  " + line
	}
	w.t.Fatalf("%s\nthe story:%s", fmt.Sprintf(format, args...), s)
}

func cid(n int) gate.ChangeID { return gate.ChangeID(fmt.Sprintf("g~%d", n)) }

// propose makes a change and reads it.
func (w *world) propose(n int, queue string, needs ...gate.Need) *gate.Change {
	c := &gate.Change{
		ID: cid(n), Number: n, Branch: gate.Branch{Project: fmt.Sprintf("g:p%d", n%w.projects), Branch: "main"}, PatchSet: 1,
		Revision: fmt.Sprintf("r%d-1", n), Status: gate.Open, Queue: queue, Needs: needs, NotReady: []string{"needs Code-Review +2"},
	}
	w.truth[c.ID] = c
	w.read(c.ID)
	return c
}

func (w *world) approve(id gate.ChangeID) {
	c := w.truth[id]
	if !c.Ready {
		c.Ready, c.NotReady, c.ReadyAt = true, nil, w.tick()
	}
}

func (w *world) unapprove(id gate.ChangeID) {
	c := w.truth[id]
	c.Ready, c.NotReady = false, []string{"needs Code-Review +2"}
}

func (w *world) upload(id gate.ChangeID) {
	c := w.truth[id]
	c.PatchSet++
	c.Revision = fmt.Sprintf("r%d-%d", c.Number, c.PatchSet)
}

// read makes what is true of a change a fact.
func (w *world) read(id gate.ChangeID) {
	c := w.truth[id]
	c.Read++
	k := *c
	k.Needs = slices.Clone(c.Needs)
	w.known[id] = k
}

func (w *world) readAll() {
	for _, id := range slices.Sorted(maps.Keys(w.truth)) {
		w.read(id)
	}
}

func (w *world) command(verb string, id gate.ChangeID) {
	n := int64(len(w.answers) + len(w.commands) + 1)
	w.commands = append(w.commands, gate.Command{ID: n, Verb: verb, Change: id, Note: gate.Note{Who: "ada", Why: "because", At: w.tick()}})
}

// facts are read from the world as an engine would: changes that are open, that
// stand in the queue, that are noted, and all that those need.
func (w *world) facts() gate.Facts {
	f := gate.Facts{
		Now: w.tick(), Policy: w.policy, Changes: map[gate.ChangeID]gate.Change{},
		Buildsets: map[gate.BuildsetID]gate.BuildsetFacts{}, Submits: maps.Clone(w.outcomes), Commands: w.commands,
		Closures: w.told(),
	}
	var add func(id gate.ChangeID)
	add = func(id gate.ChangeID) {
		c, ok := w.known[id]
		if _, in := f.Changes[id]; in || !ok {
			return
		}
		f.Changes[id] = c
		for _, n := range c.Needs {
			add(n.ID)
		}
		for mate, m := range w.known {
			if c.Topic != "" && m.Topic == c.Topic {
				add(mate)
			}
		}
	}
	for id, c := range w.known {
		if c.Status == gate.Open && c.Queue == w.state.Queue {
			add(id)
		}
	}
	for _, it := range w.state.Items {
		for _, r := range it.Changes {
			add(r.ID)
		}
	}
	for id := range w.state.Done {
		add(id)
	}
	for id := range w.state.Held {
		add(id)
	}
	add(w.state.Change)
	for id, b := range w.builds {
		f.Buildsets[id] = w.buildset(b)
	}
	return f
}

func (w *world) buildset(b *build) gate.BuildsetFacts {
	return gate.BuildsetFacts{
		Prepared: b.prepared, Conflict: b.conflict, Broken: b.broken, Jobs: slices.Clone(b.jobs), Moved: w.moved(b),
		Deferred: b.deferred,
	}
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// decide makes one decision, stores it, and holds it to all that must be true
// of each: nothing given is modified, deciding again yields nothing.
func (w *world) decide() []gate.Effect {
	f := w.facts()
	was, wasFacts := encode(w.state), fmt.Sprintf("%v", f)
	before := w.state
	s, effects := gate.Decide(w.state, f)
	if encode(before) != was || fmt.Sprintf("%v", f) != wasFacts {
		w.fail("Decide modified what it was given:\n%s\n%s", was, encode(before))
	}
	if s2, again := gate.Decide(before, f); encode(s2) != encode(s) || !reflect.DeepEqual(effects, again) {
		w.fail("Decide is not deterministic:\n%v\n%v", effects, again)
	}
	var stored gate.State
	if err := json.Unmarshal([]byte(encode(s)), &stored); err != nil {
		w.fail("the state does not survive its storage: %v", err)
	}
	f.Commands, f.Now = nil, w.tick()
	if s2, more := gate.Decide(stored, f); len(more) > 0 || encode(s2) != encode(s) {
		w.fail("deciding again changes something: %s\n%s\n%s", encode(more), encode(s), encode(s2))
	}
	w.state = stored
	w.commands = nil
	w.holdTold(before, effects)
	w.holdEntries(f, effects)
	w.judged = len(w.log)
	for _, e := range effects {
		w.record(e)
		w.outbox = append(w.outbox, e)
	}
	w.hold(f)
	return effects
}

// perform does one effect; doing it once more changes nothing.
func (w *world) perform(e gate.Effect) {
	b := w.builds[e.Buildset]
	switch e.Kind {
	case gate.Prepare:
		if !b.prepared && !b.cancelled {
			w.merge(b)
		}
	case gate.Cancel, gate.CancelRest:
		b.cancelled = b.cancelled || e.Kind == gate.Cancel
		for i := range b.jobs {
			if !ended(b.jobs[i]) {
				b.jobs[i].State = gate.JobCancelled
			}
		}
	case gate.Prove:
		w.prove(b)
	case gate.RunDeferred:
		if b.deferred && !b.cancelled {
			b.deferred, b.sick = false, w.isSick(b)
			b.jobs = append(b.jobs, gate.Job{Name: "systest", Voting: true, State: gate.JobWaiting})
		}
	case gate.SubmitChanges:
		if o, ok := w.happened[e.Item]; !ok || o.Serial < e.Serial {
			o := w.submit(e)
			o.Serial = e.Serial
			w.happened[e.Item] = o
			w.tell("submit of %v: %s differs=%v", e.Changes[0].Number, o.Result, o.TreeDiffers)
		}
		if !w.killed {
			w.outcomes[e.Item] = w.happened[e.Item]
		}
	}
}

func ended(j gate.Job) bool {
	return j.State != gate.JobWaiting && j.State != gate.JobRunning
}

// merge makes the speculative merge: onto what is on the branches now and the stack.
func (w *world) merge(b *build) {
	b.prepared, b.base, b.push, b.red = true, slices.Clone(w.trunk), w.push, maps.Clone(w.red)
	w.inspect(b)
	for _, own := range b.effect.Changes {
		for _, under := range b.content() {
			if w.clash[pair{own.ID, under}] && !b.effect.Verify {
				b.conflict = &gate.Conflict{Files: []string{"f"}, With: under}
				return
			}
		}
		if w.broken[own.ID] {
			b.broken = "no packaging"
			return
		}
	}
	b.jobs = []gate.Job{
		{Name: "build", Voting: true, State: gate.JobWaiting},
		{Name: "test", Voting: true, State: gate.JobWaiting},
		{Name: "lint", State: gate.JobWaiting},
		{Name: "arm", Voting: true, State: gate.JobNotApplicable},
	}
	b.sick = w.sickFor(b.effect.Changes, b.content())
	if !slices.ContainsFunc(b.effect.Changes, func(r gate.Ref) bool { return w.dear[r.ID] }) {
		return
	}
	if b.deferred = w.policy.Batch > 1 && w.state.Kind == gate.Dependent; !b.deferred {
		b.jobs = append(b.jobs, gate.Job{Name: "systest", Voting: true, State: gate.JobWaiting})
	}
}

// content is all that the buildset's tree holds: branches, stack, own.
func (b *build) content() []gate.ChangeID {
	all := slices.Clone(b.base)
	for _, r := range append(slices.Clone(b.effect.Stack), b.effect.Changes...) {
		if !slices.Contains(all, r.ID) {
			all = append(all, r.ID)
		}
	}
	return all
}

// finish ends one job of a buildset as its content deserves; early shows a
// failure before the end.
func (w *world) finish(b *build, i int, early bool) {
	j := &b.jobs[i]
	if ended(*j) || b.cancelled {
		return
	}
	bad := w.bad(b, j.Name)
	w.built(b)
	switch {
	case bad && early && !j.Early:
		j.State, j.Early = gate.JobRunning, true
		return
	case bad:
		j.State = gate.JobFailed
	case w.hiccups > 0 && (j.Name == "test" || j.Name == "systest"):
		w.hiccups--
		j.State = gate.JobError
	default:
		j.State = gate.JobPassed
	}
}

// bad says that a job fails, of its own or as its base does.
func (w *world) bad(b *build, job string) bool {
	return w.guilty(b, job) || w.redAt(b, job, b.content())
}

func (w *world) guilty(b *build, job string) bool {
	for _, own := range b.effect.Changes {
		for _, under := range b.content() {
			if job == "test" && w.spoil[pair{own.ID, under}] {
				return true
			}
		}
	}
	return job == "build" && b.fails || job == "systest" && b.sick
}

// submit is Gerrit's answer, after the engine has resolved the base again.
func (w *world) submit(e gate.Effect) gate.SubmitOutcome {
	b := w.builds[e.Buildset]
	for _, r := range e.Changes {
		w.read(r.ID) // read again before a verdict is final (G17)
		c := w.truth[r.ID]
		_, forced := w.state.Forced[r.ID]
		if c.Status != gate.Open || c.PatchSet != r.PatchSet || !c.Ready && !forced {
			return gate.SubmitOutcome{Result: gate.SubmitRefused, Text: "change is not ready"}
		}
	}
	tested := b.content()
	for _, r := range e.Changes {
		tested = slices.DeleteFunc(tested, func(id gate.ChangeID) bool { return id == r.ID })
	}
	slices.Sort(tested)
	if now := slices.Sorted(slices.Values(w.trunk)); !slices.Equal(w.matters(e, now), w.matters(e, tested)) || b.push != w.push {
		return gate.SubmitOutcome{Result: gate.SubmitMoved, Text: "the branch has moved"}
	}
	out := gate.SubmitOutcome{Result: gate.SubmitLanded}
	for _, r := range e.Changes {
		if w.refuse[r.ID] > 0 {
			w.refuse[r.ID]--
			out.Result, out.Text = gate.SubmitRefused, "no permission"
			return out
		}
		w.mergeNow(r.ID)
		out.Landed = append(out.Landed, r.ID)
		out.TreeDiffers = out.TreeDiffers || w.differ[r.ID]
	}
	return out
}

// mergeNow is Gerrit merging a change, by cherry-pick: a patch set more.
func (w *world) mergeNow(id gate.ChangeID) {
	w.upload(id)
	w.truth[id].Status = gate.Merged
	w.trunk = append(w.trunk, id)
}

// flush performs all that is to be done.
func (w *world) flush() {
	for len(w.outbox) > 0 {
		e := w.outbox[0]
		w.outbox = w.outbox[1:]
		w.perform(e)
		w.done = append(w.done, e)
	}
}

// finishAll ends all jobs that run and says whether there were any.
func (w *world) finishAll() bool {
	any := false
	for _, id := range slices.Sorted(maps.Keys(w.builds)) {
		b := w.builds[id]
		for i := range b.jobs {
			any = any || !ended(b.jobs[i]) && !b.cancelled || b.jobs[i].Evidence == gate.EvidenceRunning
			w.finish(b, i, false)
			w.finishProof(b, i)
		}
	}
	return any
}

// settle lets everything that can happen by itself happen.
func (w *world) settle() {
	for range 1000 {
		w.decide()
		busy := len(w.outbox) > 0
		w.flush()
		if ran := w.finishAll(); !busy && !ran {
			return
		}
	}
	w.fail("the queue never comes to rest: %s", encode(w.state))
}
