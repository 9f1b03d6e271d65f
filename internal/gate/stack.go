package gate

import "slices"

// patience is how often a restricted item is passed by before it holds the queue (G25).
const patience = 3

// restack gives each active item the base that it is to be tested on: the
// nearest good items ahead and all that these stand behind (G6, G7, G9). An
// attempt on another base is dropped, save one whose failure is settled.
func (d *decider) restack(l lanes) {
	bad, claimed := map[ItemID]bool{}, map[string]bool{}
	for i := range d.s.Items {
		it := d.s.Items[i]
		active := l.short(i) == 0
		if !active && it.Buildset == nil {
			continue
		}
		restricted := d.restricted(it)
		base := l.base(i, restricted)
		switch {
		case it.Verify:
			if it.Buildset == nil && d.s.Paused == nil {
				d.prepare(it, nil)
			}
			d.fallOut(d.s.Items[i], active)
			continue
		case it.Submit != nil:
			it.claim(claimed)
			d.fallOut(it, active)
		case l.verifying(i) != nil:
			if !d.decided(it) {
				d.drop(it)
			} else {
				d.fallOut(it, active)
			}
			continue
		case d.heldBy(it, bad) != 0:
			d.drop(it)
			bad[it.ID] = true
		case d.bides(it, it.claim(claimed), active):
			d.fallOut(it, active)
			bad[it.ID] = true
		case !d.attempt(l, i, base, active):
			bad[it.ID] = true
		}
		l.push(i, restricted, !bad[it.ID], base)
	}
}

// attempt brings one item's attempt onto the base and says whether others may
// stand behind it.
func (d *decider) attempt(l lanes, i int, base []int, active bool) bool {
	it := d.s.Items[i]
	if it.Buildset != nil && (it.Buildset.Overtaken || !l.fits(i, base)) && !d.decided(it) {
		it = d.drop(it)
	}
	it = d.fallOut(it, active)
	if it.Buildset == nil {
		if active && d.s.Paused == nil {
			d.prepare(it, base)
		}
		return len(it.Red) == 0
	}
	v := d.verdict(it)
	if v.over && !v.ended && d.f.Policy.FailFast && !it.Buildset.RestCancelled {
		it = d.edit(it)
		it.Buildset.RestCancelled = true
		d.emit(Effect{Kind: CancelRest, Item: it.ID, Buildset: it.Buildset.ID})
	}
	return it.trusted(v)
}

// fallOut notes whether an item keeps its attempt outside the window (G7).
func (d *decider) fallOut(it *Item, active bool) *Item {
	if fell := it.Buildset != nil && !active; fell != it.FellOut {
		it = d.edit(it)
		it.FellOut = fell
	}
	return it
}

// decided says that an item's failure is its own: it fails, and nothing unmerged
// is under it. It is not tested again by itself (G11).
func (d *decider) decided(it *Item) bool {
	return it.Buildset != nil && d.settled(it) && !d.verdict(it).good()
}

// heldBy returns the failing item ahead that one of the item's changes needs, 0
// when there is none (G11).
func (d *decider) heldBy(it *Item, bad map[ItemID]bool) ItemID {
	if len(bad) == 0 {
		return 0
	}
	for _, r := range it.Changes {
		for _, n := range d.needs(new(d.f.Changes[r.ID])) {
			if on := d.place[n.ID]; on != it.ID && bad[on] {
				return on
			}
		}
	}
	return 0
}

// prepare begins a new attempt of an item on those that stand at some places.
func (d *decider) prepare(it *Item, base []int) {
	it = d.edit(it)
	it.Attempts++
	it.FellOut = false
	it.Buildset = &Buildset{ID: d.s.NextBuildset, Refresh: it.Refresh, Retry: it.Retry}
	it.Retry = false
	d.s.NextBuildset++
	e := Effect{
		Kind: Prepare, Item: it.ID, Buildset: it.Buildset.ID, Changes: it.Changes,
		Stack:  slices.Grow(slices.Clone(it.Ahead), len(base)),
		Verify: it.Verify, Retry: it.Buildset.Retry, Recheck: it.Recheck,
	}
	for _, at := range base {
		on := d.s.Items[at]
		e.StackItems = append(e.StackItems, on.ID)
		e.Stack = append(e.Stack, on.Changes...)
	}
	it.Buildset.Stack = slices.Clone(e.StackItems)
	d.emit(e)
	if it.Attempts == 1 && !it.Verify {
		d.tell(it, Report{Kind: ReportStarted})
	}
}

// report tells of the failures that are settled and complete, and takes those
// items out (G11). What merged past the gate is reported when its jobs have ended.
func (d *decider) report() {
	var exits []exit
	var red []ItemID
	var passing []string
	for _, it := range d.s.Items {
		if it.Buildset == nil || it.Submit != nil {
			continue
		}
		v := d.verdict(it)
		switch {
		case it.Verify:
			if v.ended || v.outcome == passed {
				d.verified(it, v)
				return
			}
		case !v.good() && v.ended && d.settled(it):
			if r, over := d.conclude(it, v); r.Kind == ReportRed {
				red = append(red, it.ID)
			} else if over {
				exits = append(exits, exit{it, r})
				passing = append(passing, d.acquitted(it)...)
			}
		}
	}
	d.cure(passing)
	d.wait(red, passing)
	d.leave(exits)
}

// conclude says what is told of a failure, by its evidence; over, whether that
// is the end of it: in a gate an item whose base is red waits, and so does one
// of which that is not known yet.
func (d *decider) conclude(it *Item, v verdict) (r Report, over bool) {
	switch d.proof(it, v) {
	case unproven:
		d.prove(it)
		return Report{}, false
	case redBase:
		return Report{Kind: ReportRed, Reason: redSentence(d.reds(it))}, d.s.Kind == Independent
	case unknown:
		return Report{Kind: ReportError, Reason: v.why + ", and whether it does on the branch itself could not be found out"}, true
	}
	return d.blame(it, v), true
}

// blame words a failure, and narrows the window for one of its tests (G7).
func (d *decider) blame(it *Item, v verdict) Report {
	switch v.outcome {
	case conflict:
		return Report{Kind: ReportConflict, Reason: v.why, Conflict: d.f.Buildsets[it.Buildset.ID].Conflict}
	case errored:
		return Report{Kind: ReportError, Reason: v.why}
	}
	d.resize(d.s.Window / 2)
	return Report{Kind: ReportFailed, Reason: v.why}
}
