package gate

import (
	"fmt"
	"maps"
	"slices"
)

// maxRounds bounds the repetition of the rules within one decision. What a
// round has changed makes another one necessary; three are usual.
const maxRounds = 200

// Decide applies the rules of a queue to what is known and returns the state
// after it and what is to be done. It is pure, total and deterministic: state
// and facts are not modified, every input has an answer, equal inputs have
// equal answers. It is a fixed point: deciding again from the returned state
// and the same facts, without the commands, yields no effect.
func Decide(state State, facts Facts) (State, []Effect) {
	d := newDecider(state, facts)
	d.outcomes()
	d.beside()
	d.obey()
	for range maxRounds {
		d.changed = false
		if d.s.Kind == Independent {
			d.check()
		} else {
			if d.reshaped { // nobody comes or goes for what is tested, only for what is reported
				d.judge()
				d.enter()
				d.reshaped = false
			}
			d.report()
			d.redeem()
			if d.reshaped { // first whoever leaves, then what is started for those who stay
				continue
			}
			d.relaned = false
			l := d.lanes()
			d.restack(l)
			if d.relaned {
				l = d.lanes()
			}
			d.batch(l)
			d.submit(l)
		}
		if !d.changed {
			break
		}
	}
	d.forget()
	return d.s, d.effects
}

// decider is one decision on its way.
type decider struct {
	s       State // the state to be returned; items are shared until mine
	f       Facts
	effects []Effect
	changed bool // in this round
	// reshaped: items came, went or moved since judge and enter looked.
	reshaped bool

	// mine are the items that this decision has copied and may write to.
	mine map[ItemID]bool
	// place says in which item a change stands; index where that item is.
	place map[ChangeID]ItemID
	index index
	stale bool // index has to be made anew
	// Held, Done, Forced and Red have been copied.
	ownHeld, ownDone, ownForced, mineRed bool
	// runs are the items on which dear stages were asked for, among them all those
	// that stand in the queue.
	runs []ItemID
	// What calls names and branches by numbers; apart: not all closures were made by
	// one Names, so that this one calls all.
	numbering *Names
	apart     bool
	branches  map[Branch]int32
	// topics are the open changes of each topic, where whole topics are submitted.
	topics map[string][]ChangeID
	// left remembers why a change left in this decision, for its dependants' reports.
	left map[ChangeID]string
	// relaned: what lanes are made of, or who takes room in them, is different.
	relaned bool
	// What judge and enter need not find again: who needs what, which changes have
	// left since, and which stand outside.
	judgedAll, enteredAll bool

	ties    []tie
	gone    map[ChangeID]bool
	outside []ChangeID
}

func newDecider(state State, facts Facts) *decider {
	d := &decider{
		s:     state,
		f:     facts,
		mine:  map[ItemID]bool{},
		place: make(map[ChangeID]ItemID, len(state.Items)),
		left:  map[ChangeID]string{},
		gone:  map[ChangeID]bool{},
		stale: true, reshaped: true,
	}
	d.s.Items = slices.Clone(state.Items)
	for _, it := range d.s.Items {
		for _, c := range it.Changes {
			d.place[c.ID] = it.ID
		}
		if it.Buildset != nil && it.Buildset.Batch != nil {
			d.runs = append(d.runs, it.ID)
		}
	}
	d.s.NextItem = max(d.s.NextItem, 1)
	d.s.NextBuildset = max(d.s.NextBuildset, 1)
	d.f.Policy = facts.Policy.filled()
	if d.s.Window == 0 {
		d.s.Window = d.f.Policy.Start
	}
	d.resize(d.s.Window)
	if d.f.Policy.WholeTopics {
		d.topics = topics(facts.Changes)
	}
	return d
}

// filled returns the policy with the usual value for what is not set, and
// floor ≤ ceiling.
func (p Policy) filled() Policy {
	if p.Start <= 0 {
		p.Start = 20
	}
	if p.Floor <= 0 {
		p.Floor = 3
	}
	if p.Ceiling <= 0 {
		p.Ceiling = 100
	}
	p.Ceiling = max(p.Ceiling, p.Floor)
	return p
}

// resize sets the window within its bounds (G7).
func (d *decider) resize(w int) {
	d.s.Window = min(max(w, d.f.Policy.Floor), d.f.Policy.Ceiling)
}

func (d *decider) emit(e Effect) {
	d.effects = append(d.effects, e)
	d.changed = true
}

// at returns where the item stands, -1 when it is not in the queue (any more).
func (d *decider) at(id ItemID) int {
	if d.stale {
		d.index = make(index, len(d.s.Items)>>6+1)
		for i, it := range d.s.Items {
			d.index.put(it.ID, i)
		}
		d.stale = false
	}
	return d.index.at(id)
}

// index says where items stand, in pages: their serials are close to each other.
type index map[ItemID]*[64]int32

func (x index) put(id ItemID, at int) {
	p := x[id>>6]
	if p == nil {
		p = new([64]int32)
		x[id>>6] = p
	}
	p[id&63] = int32(at) + 1
}

func (x index) at(id ItemID) int {
	if p := x[id>>6]; p != nil {
		return int(p[id&63]) - 1
	}
	return -1
}

// item returns the item with this id, nil when it is not in the queue.
func (d *decider) item(id ItemID) *Item {
	if i := d.at(id); i >= 0 {
		return d.s.Items[i]
	}
	return nil
}

// standing returns the item that the change stands in, nil when in none.
func (d *decider) standing(id ChangeID) *Item {
	if i, ok := d.place[id]; ok {
		return d.item(i)
	}
	return nil
}

// edit returns the item for writing: a copy, unless it is one already.
func (d *decider) edit(it *Item) *Item {
	d.changed = true
	if d.mine[it.ID] {
		return d.s.Items[d.at(it.ID)]
	}
	c := *it
	if it.Buildset != nil {
		b := *it.Buildset
		c.Buildset = &b
	}
	d.mine[c.ID] = true
	d.s.Items[d.at(c.ID)] = &c
	return &c
}

func (d *decider) hold(id ChangeID, n Note) {
	d.s.Held, d.ownHeld = owned(d.s.Held, d.ownHeld), true
	d.s.Held[id] = n
}

func (d *decider) unhold(id ChangeID) {
	if _, ok := d.s.Held[id]; ok {
		d.s.Held, d.ownHeld = owned(d.s.Held, d.ownHeld), true
		delete(d.s.Held, id)
	}
}

func (d *decider) force(id ChangeID, n Note) {
	d.s.Forced, d.ownForced = owned(d.s.Forced, d.ownForced), true
	d.s.Forced[id] = n
}

func (d *decider) unforce(id ChangeID) {
	if _, ok := d.s.Forced[id]; ok {
		d.s.Forced, d.ownForced = owned(d.s.Forced, d.ownForced), true
		delete(d.s.Forced, id)
	}
}

func (d *decider) finish(id ChangeID, n Done) {
	d.s.Done, d.ownDone = owned(d.s.Done, d.ownDone), true
	d.s.Done[id] = n
}

// again lets a patch set that had its final report enter once more.
func (d *decider) again(id ChangeID) {
	if n, ok := d.s.Done[id]; ok && n.Result != ReportMerged {
		n.Again = true
		d.finish(id, n)
	}
}

func (d *decider) unfinish(id ChangeID) {
	if _, ok := d.s.Done[id]; ok {
		d.s.Done, d.ownDone = owned(d.s.Done, d.ownDone), true
		delete(d.s.Done, id)
	}
}

// owned returns the map for writing: a copy, unless it is one already.
func owned[V any](m map[ChangeID]V, mine bool) map[ChangeID]V {
	if mine && m != nil {
		return m
	}
	if m == nil {
		return map[ChangeID]V{}
	}
	return maps.Clone(m)
}

// forget drops the notes about changes that are known to be closed or, for a hold and a
// forced entry, have a newer patch set: the state does not grow with history.
func (d *decider) forget() {
	d.forgetLanded()
	over := func(id ChangeID, patchSet int) bool {
		c, ok := d.f.Changes[id]
		return ok && (c.Status != Open || patchSet != 0 && c.PatchSet != patchSet)
	}
	for id, n := range d.s.Held {
		if over(id, n.PatchSet) && !d.inFlight(id) {
			d.unhold(id)
		}
	}
	d.forgetRed()
	for id, n := range d.s.Forced {
		if over(id, n.PatchSet) && !d.inFlight(id) {
			d.unforce(id)
		}
	}
	for id, n := range d.s.Done {
		read := d.f.Changes[id].Status == Merged // what landed is remembered until Gerrit says so too
		if read || n.Result != ReportMerged && over(id, n.PatchSet) {
			d.unfinish(id)
		}
	}
}

// inFlight says that a change is being submitted: its patch sets say nothing yet.
func (d *decider) inFlight(id ChangeID) bool {
	it := d.standing(id)
	return it != nil && it.Submit != nil
}

// refOf is the change as it was read.
func refOf(c Change) Ref {
	return Ref{ID: c.ID, Number: c.Number, Branch: c.Branch, PatchSet: c.PatchSet, Revision: c.Revision}
}

// name is how people call a change; 0 stands for one that is not shown (see Redact).
func name(number int) string {
	if number == 0 {
		return "a restricted change"
	}
	return fmt.Sprintf("#%d", number)
}

// names joins the changes of an item.
func names(refs []Ref) string {
	s := ""
	for i, r := range refs {
		if i > 0 {
			s += ", "
		}
		s += name(r.Number)
	}
	return s
}
