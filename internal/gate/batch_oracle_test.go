package gate_test

import (
	"math/bits"
	"slices"

	"sluice/internal/gate"
)

// The oracle's side of batches: what may run, what it proves, who is to blame.

// series are the runs that look for one culprit in a batch.
type series struct{ members, runs int }

// debt is what landed with a batch that is not complete.
type debt struct {
	item gate.ItemID // the last that landed
	all  []gate.ItemID
}

// built: all has passed but for the stages that run per batch, not run yet.
func (b *build) built() bool {
	return b.deferred && b.prepared && b.conflict == nil && b.broken == "" && !b.cancelled &&
		!slices.ContainsFunc(b.jobs, func(j gate.Job) bool {
			return j.Voting && (j.Early || j.State != gate.JobPassed && j.State != gate.JobNotApplicable)
		})
}

// bad: its voting jobs fail, or have ended without a verdict.
func (b *build) bad() bool {
	over := !b.deferred
	for _, j := range b.jobs {
		if j.Voting && (j.Early || j.State == gate.JobFailed || j.State == gate.JobError) {
			return true
		}
		over = over && ended(j)
	}
	return over && !b.passed()
}

// runs are the present attempts on which dear stages were asked for.
func (w *world) runs() (all []*build) {
	for _, it := range w.state.Items {
		if it.Buildset != nil && !it.Verify && w.builds[it.Buildset.ID].members != nil {
			all = append(all, w.builds[it.Buildset.ID])
		}
	}
	return all
}

// proof is a run that passed, covers the item, and of whose stack exactly what is
// before the item has landed since; in lanes, beside what touches nothing of the rest.
func (w *world) proof(id gate.ItemID) *build {
	for _, p := range w.runs() {
		if p.passed() && slices.Contains(p.members, id) && w.next(p) == id {
			return p
		}
	}
	return nil
}

// next is what of a buildset's stack and itself lands next, 0 when that is not
// what it was tested on.
func (w *world) next(p *build) gate.ItemID {
	since := w.landed[p.after:]
	order := append(slices.Clone(p.effect.StackItems), p.effect.Item)
	for i, id := range order {
		if slices.Contains(since, id) {
			continue
		}
		if !w.policy.Lanes && !slices.Equal(since, order[:i]) || w.policy.Lanes && w.disturbed(since, order) {
			return 0
		}
		return id
	}
	return 0
}

// disturbed says that something of another order has landed that touches what has
// not landed of an order.
func (w *world) disturbed(since, order []gate.ItemID) bool {
	return slices.ContainsFunc(since, func(landed gate.ItemID) bool {
		return !slices.Contains(order, landed) && slices.ContainsFunc(w.unlanded(order), func(id gate.ItemID) bool {
			return w.touches(w.items[landed].changes, w.items[id].changes)
		})
	})
}

// recordBatchSubmit: with its batch an item lands on a run that tested exactly
// what landed before it, it, and members of the batch that land next; those come
// first, or what has landed is tested by itself before anything else lands.
func (w *world) recordBatchSubmit(e gate.Effect) {
	b := w.builds[e.Buildset]
	if b.deferred {
		p := w.proof(e.Item)
		if !b.built() || p == nil {
			w.fail("submits %v, whose dear stages nothing has run for", numbers(e.Changes))
		}
		b.with = p.members
	}
	due := w.due(e.Item)
	if len(due) > 0 && !slices.ContainsFunc(due, func(d *debt) bool { return slices.Contains(b.with, d.item) || slices.Contains(b.members, d.item) }) {
		w.fail("submits %v before the rest of the batch of item %d, or a test of what landed of it", numbers(e.Changes), due[0].item)
	}
	b.submitted = true
}

// recordBatchLanded keeps the debts: one for each batch of which some has landed.
func (w *world) recordBatchLanded(e gate.Effect) {
	b := w.builds[e.Buildset]
	if b == nil || b.effect.Verify || !b.submitted || !b.deferred && b.members == nil { // or someone else merged it
		return
	}
	d := &debt{item: e.Item}
	w.debts = slices.DeleteFunc(w.debts, func(was *debt) bool {
		same := slices.Contains(b.with, was.item) || slices.Contains(b.members, was.item)
		if same {
			d.all = append(d.all, was.all...)
		}
		return same
	})
	if b.deferred {
		d.all = append(d.all, e.Item)
		w.debts = append(w.debts, d)
	}
}

// owes gives the debt that some changes, which landed last of a batch, are.
func (w *world) owes(changes []gate.Ref) *debt {
	for _, d := range w.debts {
		if slices.Equal(w.items[d.item].changes, changes) {
			return d
		}
	}
	return nil
}

// redeems says that what landed of a batch is being tested by itself.
func (w *world) redeems(d *debt) bool {
	return slices.ContainsFunc(w.state.Items, func(it *gate.Item) bool { return slices.Equal(it.Part, d.all) })
}

// mate says that an item is one of a batch of which some has landed.
func (w *world) mate(id gate.ItemID) bool {
	p := w.proof(id)
	return p != nil && slices.ContainsFunc(w.debts, func(d *debt) bool { return slices.Contains(p.members, d.item) })
}

// recordRun: the dear stages of a batch run on its last member when all that they
// are for is built, once; nothing that a run has shown is run again.
func (w *world) recordRun(e gate.Effect) {
	b := w.builds[e.Buildset]
	if b.members != nil {
		w.fail("the dear stages run twice on buildset %d", e.Buildset)
	}
	if w.state.Paused != nil {
		w.fail("a batch starts while the queue is paused (G20)")
	}
	if !b.built() {
		w.fail("the dear stages run on buildset %d, which is not built", e.Buildset)
	}
	b.members = e.StackItems
	if l := w.items[e.Item]; l.again {
		if d := w.owes(l.changes); d == nil || !slices.Equal(b.members, d.all) {
			w.fail("what landed is %v, and what is tested of it %v", d, b.members)
		}
		return
	}
	if b.effect.Verify {
		if !slices.Equal(b.members, []gate.ItemID{e.Item}) {
			w.fail("verifies item %d with %v", e.Item, b.members)
		}
		return
	}
	w.recordMembers(b)
	w.recordSeries(b)
}

// recordMembers: all that is unmerged under the last of them, each directly on
// the one before, built, nothing unmerged under the first.
func (w *world) recordMembers(b *build) {
	if w.next(b) == 0 {
		w.fail("a batch is tested on a base that is not there any more: %s", encode(b.effect))
	}
	order := append(slices.Clone(b.effect.StackItems), b.effect.Item)
	open := w.unlanded(order)
	if n := len(b.members); n < len(open) || !slices.Equal(b.members[n-len(open):], open) || !w.policy.Lanes && !slices.Equal(b.members, order[len(order)-n:]) {
		w.fail("a run on %d for %v; unmerged are %v, of %v", b.effect.Item, b.members, open, order)
	}
	for _, it := range w.state.Items {
		i := slices.Index(open, it.ID)
		if i < 0 || i == len(open)-1 {
			continue
		}
		other := w.builds[it.Buildset.ID]
		if !other.built() && !(other.members != nil && other.passed()) {
			w.fail("item %d is a member of a batch and not built", it.ID)
		}
		if on := w.unlanded(other.effect.StackItems); !slices.Equal(on, open[:i]) {
			w.fail("item %d does not stand directly on the one before: %v in %v", it.ID, on, order)
		}
	}
}

func (w *world) unlanded(items []gate.ItemID) []gate.ItemID {
	return slices.DeleteFunc(slices.Clone(items), func(id gate.ItemID) bool { return slices.Contains(w.landed, id) })
}

// recordSeries: 1 + ⌈log2 n⌉ runs find the culprit among n.
func (w *world) recordSeries(b *build) {
	var above *build
	for _, r := range w.runs() {
		switch {
		case r == b:
			continue
		case !slices.Contains(r.members, b.effect.Item) && !slices.Contains(b.effect.StackItems, r.effect.Item):
			continue // of another batch
		case !r.passed() && !r.bad():
			w.fail("a batch runs on %d while one runs on %d", b.effect.Item, r.effect.Item)
		case r.passed() && slices.Contains(r.members, b.effect.Item):
			w.fail("item %d is tested again: a run on %d has passed", b.effect.Item, r.effect.Item)
		case r.bad() && slices.Contains(b.effect.StackItems, r.effect.Item):
			w.fail("item %d is tested again: a run on %d, under it, has failed", b.effect.Item, r.effect.Item)
		}
		if r.bad() && above == nil {
			above = r
		}
	}
	if above == nil {
		if len(b.members) > w.batchSize() {
			w.fail("a batch of %d, of at most %d", len(b.members), w.batchSize())
		}
		w.recordBegin(b)
		b.series = &series{len(b.members), 1}
		return
	}
	if len(b.members) > len(above.members) || !slices.Equal(b.members, above.members[:len(b.members)]) {
		w.fail("%v failed, and %v is no prefix of it: the tests of a member may be what fails", above.members, b.members)
	}
	b.series = above.series
	b.series.runs++
	if most := 1 + bits.Len(uint(b.series.members-1)); b.series.runs > most {
		w.fail("%d runs for one culprit among %d", b.series.runs, b.series.members)
	}
}

// recordBegin: a batch begins when its first item is not about to land anyway, and
// whoever could still belong to it has been waited for.
func (w *world) recordBegin(b *build) {
	o := w.oracle(w.facts())
	last := o.at[b.effect.Item]
	if slices.ContainsFunc(b.members, func(id gate.ItemID) bool { return w.state.Items[o.at[id]].Submit != nil }) {
		w.fail("a batch of %v begins while one of it is being submitted", b.members)
	}
	chain := o.chain(o.at[b.members[0]], b)
	if n := len(b.members); n > len(chain) || !slices.Equal(chain[:n], b.members) {
		w.fail("a batch of %v begins, and what stands directly on one another is %v", b.members, chain)
	}
	if len(b.members) >= w.batchSize() || len(b.members) == len(chain) || o.patient(last) {
		return
	}
	next := w.state.Items[o.at[chain[len(b.members)]]]
	if other := w.builds[next.Buildset.ID]; !next.FellOut && !other.built() && !other.passed() {
		w.fail("a batch of %v begins without item %d, which is being tested", b.members, next.ID)
	}
}

// chain lists the good items from one on that each stand behind all of the list,
// and nothing else unmerged. In lanes several may: one that a run other than this
// has shared with the first goes before the others, then the first of them.
func (o oracle) chain(i int, but *build) []gate.ItemID {
	s := o.w.state
	chain := []gate.ItemID{s.Items[i].ID}
	for {
		var next []gate.ItemID
		for j, it := range s.Items {
			if it.Buildset != nil && !it.Verify && !o.fails(it) && !o.doubted(it) && o.secret(i) == o.secret(j) && slices.Equal(o.left(it), chain) {
				next = append(next, it.ID)
			}
		}
		if len(next) == 0 {
			return chain
		}
		ran := slices.IndexFunc(next, func(id gate.ItemID) bool {
			return slices.ContainsFunc(o.w.runs(), func(r *build) bool {
				return r != but && slices.Contains(r.members, chain[0]) && slices.Contains(r.members, id)
			})
		})
		chain = append(chain, next[max(ran, 0)])
	}
}

// patient says that one was passed by too often which may hold up a place's lane (G25).
func (o oracle) patient(i int) bool {
	return slices.ContainsFunc(o.lane(i, len(o.w.state.Items)-1), func(j int) bool {
		return o.w.state.Items[j].Rebases >= 3 && len(o.w.state.Items[j].Red) == 0
	})
}

// suspect says that an item's run failed, and it is not known that it is to blame:
// something unmerged is under it, and the run that ends with that has not passed.
func (o oracle) suspect(it *gate.Item) bool {
	left := o.left(it)
	if o.w.builds[it.Buildset.ID].members == nil || len(left) == 0 {
		return false
	}
	under := o.w.state.Items[o.at[left[len(left)-1]]]
	if under.Buildset == nil {
		return true
	}
	b := o.w.builds[under.Buildset.ID]
	return b.members == nil || !b.passed()
}

// batches: no batch stands still.
func (o oracle) batches() {
	s := o.w.state
	if s.Paused != nil {
		return
	}
	for i, it := range s.Items {
		if it.Buildset == nil || it.Submit != nil || !o.active(i) || o.patient(i) {
			continue
		}
		b := o.w.builds[it.Buildset.ID]
		if it.Verify && b.built() && b.members == nil {
			o.w.fail("item %d has merged, and its dear stages do not run", it.ID)
		}
		if !it.Verify && len(o.left(it)) == 0 && !o.fails(it) && (b.built() || b.members != nil) {
			o.batch(i)
		}
	}
}

// batch looks at the one that begins with an item.
func (o oracle) batch(i int) {
	s := o.w.state
	chain := o.chain(i, nil)
	var attempts []*build
	for _, id := range chain {
		attempts = append(attempts, o.w.builds[s.Items[o.at[id]].Buildset.ID])
	}
	proven, failed := 0, 0
	for n, b := range attempts {
		switch {
		case b.members == nil:
		case b.passed():
			proven, failed = n+1, 0
		case !b.bad():
			return // one runs
		case failed == 0:
			failed = n + 1
		}
	}
	if failed > 0 {
		o.w.fail("the batch of item %d failed at %d of %v, passed at %d, and nothing runs", chain[0], failed, chain, proven)
	}
	if proven > 0 {
		return
	}
	for n, b := range attempts {
		if n == o.w.batchSize() || !o.active(o.at[chain[n]]) || !b.built() && b.passed() {
			break
		}
		if !b.built() {
			return // it is being tested
		}
	}
	o.w.fail("the batch of item %d, %v, is built and does not run", chain[0], chain)
}

// due are the debts that an item waits for: all, or those of its lane. One that is
// being tested by itself holds up its lane as what has merged past the gate does.
func (w *world) due(id gate.ItemID) []*debt {
	if !w.policy.Lanes || len(w.debts) == 0 {
		return w.debts
	}
	o := w.oracle(w.facts())
	lane := o.lane(o.at[id], len(w.state.Items)-1)
	return slices.DeleteFunc(slices.Clone(w.debts), func(d *debt) bool {
		return w.redeems(d) || !slices.ContainsFunc(lane, func(j int) bool { return o.inDebt(j, d) })
	})
}

// inDebt says that a place is of the lane of what has landed of a batch: the two
// touch, or it is one of the batch.
func (o oracle) inDebt(i int, d *debt) bool {
	mate := slices.ContainsFunc(o.w.runs(), func(p *build) bool {
		return p.passed() && slices.Contains(p.members, d.item) && slices.Contains(p.members, o.w.state.Items[i].ID)
	})
	return mate || o.meets(o.w.changes(d.all), i)
}

// changes are those of some items.
func (w *world) changes(ids []gate.ItemID) (all []gate.Ref) {
	for _, id := range ids {
		all = append(all, w.items[id].changes...)
	}
	return all
}

// meets says that what has landed touches what stands at a place.
func (o oracle) meets(landed []gate.Ref, i int) bool {
	it := o.w.state.Items[i]
	spans := append(o.w.changes(it.Part), it.Changes...)
	return slices.ContainsFunc(landed, func(a gate.Ref) bool {
		return slices.ContainsFunc(spans, func(b gate.Ref) bool { return touch(o.w.seen, a, b) }) ||
			slices.ContainsFunc(it.Changes, func(b gate.Ref) bool { return o.w.needsOther(b, a) })
	})
}

func (w *world) batchSize() int { return max(1, w.policy.Batch) }
