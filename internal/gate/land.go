package gate

import (
	"fmt"
	"slices"
	"strings"
)

// submit decides the next submits: in each lane that of the first item, in
// order, that has passed with nothing unmerged under it. One is in flight per
// lane at a time (G14).
func (d *decider) submit(l lanes) {
	if d.s.Paused != nil || d.f.Policy.Observe {
		return
	}
	for i, it := range d.s.Items {
		if !l.turn(i) || l.short(i) > 0 || !d.belongs(it, l.owed(i)) || !d.landable(it) {
			continue
		}
		it = d.edit(it)
		it.FellOut = false
		it.Submits++
		it.Submit = &Submit{Serial: it.Submits, At: d.f.Now, With: d.cover(it.ID).attemptOr().Batch}
		d.emit(Effect{
			Kind: SubmitChanges, Item: it.ID, Buildset: it.attempt(), Changes: it.Changes,
			Serial: it.Submits,
		})
		l.submits(i)
	}
}

// landable says that an item is proven on what is now the tip.
func (d *decider) landable(it *Item) bool {
	if it.Buildset == nil || it.Buildset.Overtaken || !d.settled(it) || !d.covered(it) {
		return false
	}
	for _, r := range it.Changes {
		c, ok := d.f.Changes[r.ID]
		if !ok {
			return false
		}
		for _, n := range d.needs(&c) {
			if !d.hasMerged(n.ID) && d.place[n.ID] != it.ID {
				return false
			}
		}
	}
	return true
}

// holds says that an item was passed by often enough: nothing lands before it is decided (G25),
// but what is left of a batch of which some has landed.
func (d *decider) holds(it *Item) bool {
	return it.Rebases >= patience && d.restricted(it) && len(it.Red) == 0
}

// outcomes takes in what became of the submits in flight.
func (d *decider) outcomes() {
	for _, it := range slices.Clone(d.s.Items) {
		o, ok := d.f.Submits[it.ID]
		if !ok || it.Submit == nil || o.Serial != it.Submit.Serial {
			continue
		}
		it = d.edit(it)
		with := it.Submit.With
		it.Submit = nil
		switch {
		case o.Result == SubmitLanded && o.TreeDiffers:
			d.bypass(it, "what is on the branch is not the tree that was tested"+because(o.Text))
		case o.Result == SubmitLanded:
			d.landed(it, with)
		case o.Result == SubmitMoved:
			d.moved(it)
		default:
			d.refused(it, o)
		}
	}
}

func because(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	return ": " + text
}

// landed: the tested packages are the published ones. Those that stood behind
// the item stand on the tip now, and go on; those that did not start again.
func (d *decider) landed(it *Item, with []ItemID) {
	d.emit(Effect{Kind: Publish, Item: it.ID, Buildset: it.attempt(), Changes: it.Changes})
	d.overtake(it)
	d.cure(d.passes(it))
	d.owe(it, with)
	d.resize(d.s.Window + 1)
	d.depart(it, Report{Kind: ReportMerged})
}

// attempt is the present buildset, 0 when there is none.
func (it *Item) attempt() BuildsetID {
	if it.Buildset == nil {
		return 0
	}
	return it.Buildset.ID
}

// depart takes out one item that has merged.
func (d *decider) depart(it *Item, r Report) {
	r.Final = true
	d.tell(it, r)
	d.emit(Effect{Kind: Leave, Item: it.ID, Changes: it.Changes})
	for _, c := range it.Changes {
		delete(d.place, c.ID)
		d.note(c, r)
		d.finish(c.ID, Done{PatchSet: c.PatchSet, At: d.f.Now, Result: ReportMerged, Reason: r.Reason})
	}
	d.s.Items = slices.Delete(d.s.Items, d.at(it.ID), d.at(it.ID)+1)
	d.stale, d.reshaped = true, true
}

// moved: nothing was submitted, since the base is not the tested one. The item
// and those that stand on it are tested on what is there now (G15).
func (d *decider) moved(it *Item) {
	d.edit(it).Refresh++
	for _, other := range d.s.Items {
		if other.Buildset != nil && slices.Contains(other.Buildset.Stack, it.ID) {
			d.edit(other).Refresh++
		}
	}
	d.dropAbove(map[ItemID]bool{it.ID: true})
	d.drop(d.item(it.ID))
}

// refused: final, unless something newer is known of the change (G17).
func (d *decider) refused(it *Item, o SubmitOutcome) {
	if slices.ContainsFunc(it.Changes, func(c Ref) bool { return slices.Contains(o.Landed, c.ID) }) {
		d.partly(it, o)
		return
	}
	if why, merged := d.lost(it, d.read(nil, it), nil); why != "" || merged {
		return // judge takes it from here
	}
	d.leave([]exit{{it, Report{Kind: ReportRefused, Reason: strings.TrimSpace(o.Text)}}})
}

// partly: a member of a circle was refused midway. What landed is told as it is,
// and is verified as an item of its own; the rest leaves (G3).
func (d *decider) partly(it *Item, o SubmitOutcome) {
	var in, out []Ref
	for _, c := range it.Changes {
		if slices.Contains(o.Landed, c.ID) {
			in = append(in, c)
		} else {
			out = append(out, c)
		}
	}
	why := fmt.Sprintf("%s landed without %s, which they belong together with%s", d.names(in), d.names(out), because(o.Text))
	d.leave([]exit{{it, Report{Kind: ReportRefused, Reason: why}}})
	d.bypass(d.admit(in), why)
}

// bypass: an item has merged past what was tested. It stays at the head until
// its merged tree has been through all voting jobs; nothing lands meanwhile (G16).
func (d *decider) bypass(it *Item, why string) {
	d.overtake(it)
	d.dropAbove(map[ItemID]bool{it.ID: true})
	it = d.edit(it)
	if it.Buildset != nil && (it.Buildset.Proving || !d.verdict(it).ended) {
		d.emit(Effect{Kind: Cancel, Item: it.ID, Buildset: it.Buildset.ID})
	}
	it.Buildset, it.FellOut, it.Red, it.Verify = nil, false, nil, true
	for _, c := range it.Changes {
		d.unforce(c.ID)
		d.finish(c.ID, Done{PatchSet: c.PatchSet, At: d.f.Now, Result: ReportMerged, Reason: why})
	}
	d.tell(it, Report{Kind: ReportBypassed, Reason: why})
	d.toFront([]ItemID{it.ID})
}

// verified: the merged tree's jobs have ended.
func (d *decider) verified(it *Item, v verdict) {
	if it.Part != nil {
		d.redeemed(it, v)
		return
	}
	switch v.outcome {
	case passed:
		d.emit(Effect{Kind: Publish, Item: it.ID, Buildset: it.attempt(), Changes: it.Changes})
		d.cure(d.passes(it))
		d.depart(it, Report{Kind: ReportMerged, Reason: "the merged tree has passed all jobs"})
	case errored:
		d.depart(it, Report{Kind: ReportError, Reason: "merged, and not published: " + v.why})
	default:
		d.depart(it, Report{Kind: ReportBypassed, Reason: "merged, and not published: " + v.why})
	}
}

// toFront moves items, in their order, to the head of the queue; only an item
// whose submit is in flight, or that has merged, stays ahead of them.
func (d *decider) toFront(ids []ItemID) {
	rank := func(it *Item) int {
		switch {
		case it.Submit != nil:
			return 0
		case it.Verify:
			return 1
		case slices.Contains(ids, it.ID):
			return 2
		}
		return 3
	}
	before := slices.Clone(d.s.Items)
	slices.SortStableFunc(d.s.Items, func(a, b *Item) int { return rank(a) - rank(b) })
	d.stale, d.reshaped = true, true
	d.changed = d.changed || !slices.Equal(before, d.s.Items)
}

// byItself: a change of the item has merged without the gate. Where the gate
// only observes, that is how changes merge; else it is a bypass.
func (d *decider) byItself(it *Item, out map[ItemID]bool) {
	var in, rest []Ref
	for _, c := range it.Changes {
		if d.hasMerged(c.ID) {
			in = append(in, c)
		} else {
			rest = append(rest, c)
		}
	}
	why := "was submitted past the gate"
	if len(rest) == 0 {
		if d.f.Policy.Observe {
			d.observed(it)
		} else {
			d.bypass(it, why)
		}
		return
	}
	d.overtake(it)
	out[it.ID] = true
	for _, c := range rest {
		d.left[c.ID] = "belonged together with " + d.names(in) + ", merged past the gate"
	}
	d.leave([]exit{{it, Report{Kind: ReportDequeued, Reason: d.names(in) + " " + why}}})
	if !d.f.Policy.Observe {
		d.bypass(d.admit(in), why)
	}
}

// observed: someone else merged the item, as is usual where the gate only observes.
func (d *decider) observed(it *Item) {
	if !d.landable(it) {
		d.dropAbove(map[ItemID]bool{it.ID: true})
	}
	d.overtake(it)
	if b := it.Buildset; b != nil && (b.Proving || !d.verdict(it).ended) {
		d.emit(Effect{Kind: Cancel, Item: it.ID, Buildset: b.ID})
	}
	d.depart(it, Report{Kind: ReportMerged})
}
