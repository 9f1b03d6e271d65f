package gate

import "slices"

// Batches: where a stage is dear, it runs once for several items that stand on
// one another, on the last of them, whose test repositories hold what all of
// them made. A run on an item tests the prefix of the batch that ends with it.
// What runs have shown is kept with the attempts that they were asked on, and
// stays true as long as these do: the stacks of a prefix do not change.

// Owed is what landed on the strength of a run of which not all has landed yet:
// until it has, or what did land has been tested by itself, nothing else lands.
type Owed struct {
	// Item is the last that landed; Buildset is its attempt, and tests all of Items.
	Item     ItemID   `json:"item"`
	Changes  []Ref    `json:"changes"`
	Buildset Buildset `json:"buildset"`
	// Items are those that landed on that run, in order; Before are the changes of
	// all of them but Item.
	Items  []ItemID `json:"items"`
	Before []Ref    `json:"before,omitempty"`
}

// spans are the changes by which what has landed of a batch touches others.
func (o Owed) spans() []Ref { return append(slices.Clip(o.Before), o.Changes...) }

// spans are the changes by which an item touches others: its own and, of what has
// landed of a batch, all of that.
func (it *Item) spans() []Ref {
	if len(it.Before) == 0 {
		return it.Changes
	}
	return append(slices.Clip(it.Before), it.Changes...)
}

// batch asks for the dear stages of those batches whose first item is built and
// has nothing unmerged under it.
func (d *decider) batch(l lanes) {
	if d.s.Paused != nil {
		return
	}
	b := batches{decider: d, lanes: l}
	for i, it := range d.s.Items {
		if it.Verify {
			d.batchVerified(it)
		} else if at := l.holder(i); (at < 0 || at == i) && d.begins(it) {
			if last, members := b.next(i); last != nil {
				d.runDeferred(last, members)
			}
		}
	}
}

// begins says that an item is the first of a batch.
func (d *decider) begins(it *Item) bool {
	if it.Buildset == nil || it.FellOut || !d.settled(it) {
		return false
	}
	v := d.verdict(it)
	return v.outcome == built || v.good() && it.Buildset.Batch != nil
}

// batchVerified asks for the dear stages of an item that has merged: what landed
// of its batch shares them, one that merged past the gate has its own.
func (d *decider) batchVerified(it *Item) {
	if b := it.Buildset; b != nil && b.Batch == nil && d.verdict(it).outcome == built {
		members := it.Part
		if len(members) == 0 {
			members = []ItemID{it.ID}
		}
		d.runDeferred(it, members)
	}
}

// batches finds the batches of a queue as it is.
type batches struct {
	*decider
	lanes
	// on are those that stand behind an item and nothing unmerged further back, by
	// their places, in order; nil until somebody asks.
	on map[ItemID][]int
}

// next gives the item on which the dear stages of a batch are to run next and
// the members that it stands for; nil while that is not known, or nothing is left.
func (d *batches) next(i int) (last *Item, members []ItemID) {
	chain := d.chain(i)
	proven, failed, ok := d.known(chain)
	switch {
	case !ok: // one at a time
		return nil, nil
	case failed > 0:
		mid := chain[(proven+failed)/2-1]
		if d.verdict(mid).outcome != built {
			return nil, nil
		}
		tried := chain[failed-1].Buildset.Batch // also those that have landed since: their tests may be what fails
		if i := slices.Index(tried, mid.ID); i >= 0 {
			return mid, tried[:i+1]
		}
		return mid, ids(chain[:(proven+failed)/2])
	case proven > 0, chain[0].Submit != nil: // they land first
		return nil, nil
	}
	n, whole := d.gather(chain)
	if n == 0 || !whole {
		return nil, nil
	}
	return chain[n-1], ids(chain[:n])
}

// gather counts the items of a chain that make a batch: at most as many as the
// policy says, all active, all built. whole is false while one of them is still
// being tested.
func (d *batches) gather(chain []*Item) (n int, whole bool) {
	first := d.at(chain[0].ID)
	for n < min(len(chain), d.batchSize()) && !chain[n].FellOut {
		if n > 0 && d.holder(d.at(chain[n].ID)) > first { // nobody lands past it
			return n, true
		}
		switch d.verdict(chain[n]).outcome {
		case testing:
			return n, false
		case built:
			n++
		default:
			return n, true
		}
	}
	return n, true
}

// batchSize is how many items share a run at most.
func (d *decider) batchSize() int { return max(1, d.f.Policy.Batch) }

func ids(items []*Item) []ItemID {
	var out []ItemID
	for _, it := range items {
		out = append(out, it.ID)
	}
	return out
}

// chain lists the items from this one on that each stand directly on the one
// before, and on nothing unmerged but those, all good: public ones on a public
// one (G25). So they are of one lane. Where several stand on one, the chain goes on
// with the one that was run with the first already, else with the first of them.
func (d *batches) chain(i int) []*Item {
	first := d.s.Items[i]
	chain, stack := []*Item{first}, []ItemID{first.ID}
	for {
		var next *Item
		for _, at := range d.standingOn(stack[len(stack)-1]) {
			it := d.s.Items[at]
			if !slices.Equal(d.unlanded(it), stack) || d.restricted(it) != d.restricted(first) || !it.trusted(d.verdict(it)) {
				continue
			}
			if next == nil || !d.together(next.ID, first.ID) && d.together(it.ID, first.ID) {
				next = it
			}
		}
		if next == nil {
			return chain
		}
		chain, stack = append(chain, next), append(stack, next.ID)
	}
}

// together says that the dear stages of two items were asked for as one.
func (d *decider) together(a, b ItemID) bool {
	return slices.ContainsFunc(d.runs, func(on ItemID) bool {
		members := d.item(on).attemptOr().Batch
		return slices.Contains(members, a) && slices.Contains(members, b)
	})
}

// standingOn gives the places of those that stand behind an item and nothing
// unmerged further back.
func (d *batches) standingOn(id ItemID) []int {
	if d.on == nil {
		d.on = map[ItemID][]int{}
		for i, it := range d.s.Items {
			if it.Buildset == nil || it.Verify {
				continue
			}
			for _, under := range slices.Backward(it.Buildset.Stack) {
				if d.at(under) >= 0 {
					d.on[under] = append(d.on[under], i)
					break
				}
			}
		}
	}
	return d.on[id]
}

// known sums up the runs on a chain: the length of the longest prefix that
// passed, and of the shortest longer one that did not, 0 for none. ok is false
// while one is under way.
func (d *decider) known(chain []*Item) (proven, failed int, ok bool) {
	for n, it := range chain {
		if it.Buildset.Batch == nil {
			continue
		}
		switch d.verdict(it).outcome {
		case passed:
			proven, failed = n+1, 0
		case suspect:
			if failed == 0 {
				failed = n + 1
			}
		default:
			return 0, 0, false
		}
	}
	return proven, failed, true
}

func (d *decider) runDeferred(it *Item, members []ItemID) {
	it = d.edit(it)
	it.Buildset.Batch = slices.Clone(members)
	d.runs = append(d.runs, it.ID)
	d.emit(Effect{
		Kind: RunDeferred, Item: it.ID, Buildset: it.Buildset.ID, Changes: it.Changes, StackItems: it.Buildset.Batch,
	})
}

// unlanded are the items of an attempt's stack that have not landed.
func (d *decider) unlanded(it *Item) []ItemID {
	stack := it.Buildset.Stack
	for i, id := range stack {
		if d.at(id) >= 0 {
			return slices.DeleteFunc(slices.Clone(stack[i:]), func(id ItemID) bool { return d.at(id) < 0 })
		}
	}
	return nil
}

// convicted says of an item whose run failed that it is the last of the shortest
// prefix that fails: nothing unmerged is under it, or the run that ends with the
// one under it has passed.
func (d *decider) convicted(it *Item) bool {
	under := d.unlanded(it)
	if len(under) == 0 {
		return true
	}
	b := d.item(under[len(under)-1]).attemptOr()
	return b.Batch != nil && d.f.Buildsets[b.ID].read().outcome == passed
}

// attemptOr is the present attempt, an empty one when there is none.
func (it *Item) attemptOr() Buildset {
	if it == nil || it.Buildset == nil {
		return Buildset{}
	}
	return *it.Buildset
}

// cover is the item whose passed run has covered another one, nil when there is none.
func (d *decider) cover(id ItemID) *Item {
	for _, on := range d.runs {
		it := d.item(on)
		if slices.Contains(it.attemptOr().Batch, id) && !it.Verify && d.verdict(it).outcome == passed {
			return it
		}
	}
	return nil
}

// covered says that an item has passed all that it has to, by itself or with its batch.
func (d *decider) covered(it *Item) bool {
	switch d.verdict(it).outcome {
	case passed:
		return true
	case built:
		return it.Buildset.Batch == nil && d.cover(it.ID) != nil
	}
	return false
}

// owe notes that an item has landed with its batch, or that the batch is complete.
func (d *decider) owe(it *Item, with []ItemID) {
	b := it.Buildset
	if b == nil || b.Batch == nil && !d.f.Buildsets[b.ID].Deferred {
		return
	}
	var rest []Owed
	o := Owed{Item: it.ID, Changes: it.Changes, Buildset: *b}
	for _, was := range d.s.Owed {
		if slices.Contains(with, was.Item) {
			o.Items, o.Before = append(o.Items, was.Items...), append(o.Before, was.spans()...)
		} else {
			rest = append(rest, was)
		}
	}
	if b.Batch == nil || d.verdict(it).outcome != passed {
		o.Items = append(o.Items, it.ID)
		rest = append(rest, o)
	}
	d.s.Owed = rest
}

// redeem has what landed of a batch tested by itself, if the rest cannot land as
// it was tested any more. What landed is published already, and is told as it is.
func (d *decider) redeem() {
	for _, o := range d.s.Owed {
		if d.cover(o.Item) != nil || slices.ContainsFunc(d.s.Items, func(it *Item) bool {
			return it.Submit != nil && it.Buildset != nil && slices.Contains(it.Buildset.Stack, o.Item)
		}) {
			continue
		}
		d.s.Owed = slices.DeleteFunc(slices.Clone(d.s.Owed), func(other Owed) bool { return other.Item == o.Item })
		if len(d.s.Owed) == 0 {
			d.s.Owed = nil
		}
		it := d.admit(o.Changes)
		it.Verify, it.Part, it.Before, it.Attempts, it.Buildset = true, o.Items, o.Before, 1, new(o.Buildset)
		it.Buildset.Overtaken = true // nothing lands on it any more
		d.tell(it, Report{Kind: ReportPartial, Reason: "what has landed is tested by itself"})
		d.toFront([]ItemID{it.ID})
	}
}

// belongs says that an item may land now, as far as the unfinished batches of its
// lane are concerned: those that belong to one come first.
func (d *decider) belongs(it *Item, owed []Owed) bool {
	return len(owed) == 0 || slices.ContainsFunc(owed, func(o Owed) bool {
		return slices.Contains(d.cover(o.Item).attemptOr().Batch, it.ID)
	})
}

// redeemed tells how what landed of a batch does by itself. It is published.
func (d *decider) redeemed(it *Item, v verdict) {
	r := Report{Kind: ReportPartial, Reason: "what has landed fails by itself: " + v.why}
	switch v.outcome {
	case passed:
		r.Reason = "what has landed passes by itself"
	case errored:
		r = Report{Kind: ReportError, Reason: "what has landed of its batch could not be tested by itself: " + v.why}
	}
	d.depart(it, r)
}

// defers takes the tasks that run once for a batch out of an attempt of a play.
func (p *play) defers(a *attempt) {
	if p.facts.Policy.Batch < 2 {
		return
	}
	var own []Task
	for _, t := range a.tasks {
		if t.Batch {
			a.shared = append(a.shared, t)
		} else {
			own = append(own, t)
		}
	}
	a.tasks = own
}

// runShared gives the attempt of the last member of a batch all that its members
// share. In a simulation it passes: what fails does so before.
func (p *play) runShared(e Effect) {
	p.after(0, func() bool {
		a := p.builds[e.Buildset]
		if a == nil {
			return false
		}
		for _, id := range e.StackItems {
			for _, t := range p.sharedBy(id) {
				if !slices.ContainsFunc(a.tasks, func(own Task) bool { return own.Name == t.Name }) {
					a.tasks = append(a.tasks, t)
					a.jobs, a.begun = append(a.jobs, Job{Name: t.Name, Voting: t.Voting, State: JobWaiting}), append(a.begun, 0)
				}
			}
		}
		a.shared = nil
		p.show(a)
		known := p.facts.Buildsets[a.id]
		known.Deferred = false
		p.facts.Buildsets[a.id] = known
		return true
	})
}

// sharedBy gives the withheld tasks of an item's present attempt.
func (p *play) sharedBy(id ItemID) []Task {
	for _, a := range p.builds {
		if a.item.ID == id {
			return a.shared
		}
	}
	return nil
}
