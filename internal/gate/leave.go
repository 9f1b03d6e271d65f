package gate

import (
	"fmt"
	"slices"
)

// exit is an item that leaves without having landed.
type exit struct {
	item   *Item
	report Report
}

// judge takes out the items whose changes may not stand in the queue any more:
// a new patch set, a lost vote, a need that is gone; and, since they come later
// in the order, those that need them (G18). An item with a submit in flight is
// judged after its outcome.
func (d *decider) judge() {
	var exits []exit
	out := map[ItemID]bool{}
	binds := !d.judgedAll && d.inLanes()
	var room [1]reading
	for _, it := range d.judged() {
		changes := d.read(room[:0], it)
		if binds {
			d.bind(it.ID, changes)
		}
		if it.Submit != nil || it.Verify {
			continue
		}
		if why, merged := d.lost(it, changes, out); merged {
			d.byItself(it, out)
		} else if why != "" {
			out[it.ID] = true
			for _, c := range it.Changes {
				d.left[c.ID] = why
			}
			exits = append(exits, exit{it, Report{Kind: ReportDequeued, Reason: why}})
		}
	}
	d.leave(exits)
}

// tie says that an item needs a change.
type tie struct {
	item ItemID
	on   ChangeID
}

// judged are the items to be judged, in order: all at first, then those that need
// what has left since, directly or not. For no other anything is different.
func (d *decider) judged() []*Item {
	if !d.judgedAll {
		d.judgedAll = true
		return slices.Clone(d.s.Items)
	}
	if len(d.gone) == 0 {
		return nil
	}
	d.bindAll()
	again := map[ItemID]bool{}
	for more := true; more; {
		more = false
		for _, t := range d.ties {
			if d.gone[t.on] && !again[t.item] {
				again[t.item], more = true, true
				if it := d.item(t.item); it != nil {
					d.goes(it.Changes)
				}
			}
		}
	}
	clear(d.gone)
	var items []*Item
	for _, it := range d.s.Items {
		if again[it.ID] {
			items = append(items, it)
		}
	}
	return items
}

// bindAll notes what each item needs, once.
func (d *decider) bindAll() {
	if d.ties != nil {
		return
	}
	var room [1]reading
	for _, it := range d.s.Items {
		d.bind(it.ID, d.read(room[:0], it))
	}
}

// bind notes what an item needs.
func (d *decider) bind(id ItemID, changes []reading) {
	if d.ties == nil {
		d.ties = make([]tie, 0, len(d.s.Items))
	}
	for i := range changes {
		for _, n := range d.needs(&changes[i].Change) {
			d.ties = append(d.ties, tie{id, n.ID})
		}
	}
}

// reading is what was read of a change; one that never was is not known.
type reading struct {
	Change
	known bool
}

// read appends what was read of an item's changes, in their order.
func (d *decider) read(list []reading, it *Item) []reading {
	for _, r := range it.Changes {
		c, known := d.f.Changes[r.ID]
		list = append(list, reading{c, known})
	}
	return list
}

// goes notes that changes do not stand where they stood.
func (d *decider) goes(refs []Ref) {
	for _, r := range refs {
		d.gone[r.ID] = true
	}
}

// lost says why an item may not stay, in words that start with "it" or a number
// understood; merged says that one of its changes has merged past the gate.
// out are those that leave with this judgement.
func (d *decider) lost(it *Item, changes []reading, out map[ItemID]bool) (why string, merged bool) {
	for i, r := range it.Changes {
		c := &changes[i].Change
		if !changes[i].known {
			continue // never read: the facts are to hold it, nothing is concluded
		}
		if c.Status == Merged || d.s.Done[r.ID].Result == ReportMerged {
			return "", true
		}
		w := d.changedSince(r, c)
		if w == "" {
			w = d.lostNeed(it, c, out)
		}
		if w != "" && why == "" {
			why = w
			if len(it.Changes) > 1 {
				why = d.names([]Ref{r}) + " " + w
			}
		}
	}
	return why, false
}

// changedSince compares a change with what of it stands in the queue.
func (d *decider) changedSince(r Ref, c *Change) string {
	if c.Status == Open {
		switch {
		case c.PatchSet != r.PatchSet, c.Revision != r.Revision:
			return fmt.Sprintf("has a new patch set (%d)", c.PatchSet)
		case c.Queue == d.s.Queue && c.Branch != r.Branch:
			return "was moved to the branch " + c.Branch.Branch
		}
	}
	return d.unfit(c)
}

// lostNeed says which need of a change does not stand ahead of it any more.
func (d *decider) lostNeed(it *Item, c *Change, out map[ItemID]bool) string {
	here := -1
	for _, n := range d.needs(c) {
		s := d.need(c, n)
		if s != needHere {
			if w := d.refusal(n, s); w != "" {
				return w
			}
			continue
		}
		at := -1
		on, in := d.place[n.ID]
		if in {
			at = d.at(on)
		}
		switch {
		case at < 0 || out[on]:
			if w := d.left[n.ID]; w != "" {
				return fmt.Sprintf("needs %s, which %s", d.call(n), w)
			}
			if done, ok := d.s.Done[n.ID]; ok {
				return fmt.Sprintf("needs %s, which %s", d.call(n), done.Result.past())
			}
			return fmt.Sprintf("needs %s, which is not in the queue", d.call(n))
		case on == it.ID:
			continue
		}
		if here < 0 {
			here = d.at(it.ID)
		}
		if at > here {
			return fmt.Sprintf("needs %s, which stands behind it", d.call(n))
		}
	}
	return ""
}

// past is a report as a clause: "#12 …".
func (k ReportKind) past() string {
	switch k {
	case ReportFailed:
		return "failed its tests"
	case ReportConflict:
		return "does not merge"
	case ReportRefused:
		return "Gerrit refused to submit"
	case ReportError:
		return "could not be tested"
	case ReportDequeued:
		return "left the queue"
	case ReportMerged, ReportBypassed, ReportPublished, ReportPartial:
		return "has merged"
	case ReportPassed:
		return "passed"
	case ReportRed:
		return "fails as the branch itself does"
	}
	return string(k)
}

// leave removes items that did not land. Each gets its one final report; what
// stood behind it is tested again without it.
func (d *decider) leave(exits []exit) {
	if len(exits) == 0 {
		return
	}
	gone := map[ItemID]bool{}
	for _, e := range exits {
		gone[e.item.ID] = true
	}
	d.dropAbove(gone)
	for _, e := range exits {
		it := d.item(e.item.ID)
		e.report.Final = true
		if b := it.Buildset; b != nil && (b.Proving || !d.verdict(it).ended) {
			d.emit(Effect{Kind: Cancel, Item: it.ID, Buildset: b.ID})
		}
		d.tell(it, e.report)
		d.emit(Effect{Kind: Leave, Item: it.ID, Changes: it.Changes})
		for _, c := range it.Changes {
			delete(d.place, c.ID)
			d.note(c, e.report)
			d.outside = append(d.outside, c.ID)
		}
		d.goes(it.Changes)
	}
	d.s.Items = slices.DeleteFunc(d.s.Items, func(it *Item) bool { return gone[it.ID] })
	d.stale, d.reshaped = true, true
}

// note remembers a final report about a patch set, so that it does not enter
// again by itself. One that only lost something comes back when that is mended.
func (d *decider) note(c Ref, r Report) {
	if r.Kind == ReportDequeued {
		return
	}
	d.unforce(c.ID)
	if r.Kind == ReportBypassed || d.s.Done[c.ID].Result == ReportMerged {
		r.Kind = ReportMerged // whatever was said of it, it is on the branch
	}
	d.finish(c.ID, Done{PatchSet: c.PatchSet, At: d.f.Now, Result: r.Kind, Reason: r.Reason})
	d.left[c.ID] = r.Kind.past()
}

func (d *decider) tell(it *Item, r Report) {
	e := Effect{Kind: Tell, Item: it.ID, Changes: it.Changes, Report: r}
	if it.Buildset != nil {
		e.Buildset = it.Buildset.ID
	}
	d.emit(e)
}

// drop ends the present attempt of an item: it proves nothing any more.
func (d *decider) drop(it *Item) *Item {
	if it.Buildset == nil {
		return it
	}
	it = d.edit(it)
	if it.Buildset.Overtaken && d.restricted(it) {
		it.Rebases++
		d.relaned = true
	}
	d.relaned = d.relaned || len(it.Red) > 0
	d.emit(Effect{Kind: Cancel, Item: it.ID, Buildset: it.Buildset.ID})
	it.Buildset = nil
	it.FellOut = false
	return it
}

// dropAbove drops each attempt that has one of these items in its stack. So an
// item that is named in a stack and not in the queue has always landed.
func (d *decider) dropAbove(below map[ItemID]bool) {
	for _, it := range d.s.Items {
		if it.Buildset == nil || it.Submit != nil || below[it.ID] {
			continue
		}
		if slices.ContainsFunc(it.Buildset.Stack, func(id ItemID) bool { return below[id] }) {
			d.drop(it)
		}
	}
}

// names joins changes for a report that may be about others, too: what not
// everybody may read has no name there (G25).
func (d *decider) names(refs []Ref) string {
	refs = slices.Clone(refs)
	for i := range refs {
		if d.f.Changes[refs[i].ID].Restricted {
			refs[i].Number = 0
		}
	}
	return names(refs)
}

// restricted says whether an item holds a change that not everyone may read.
func (d *decider) restricted(it *Item) bool {
	return slices.ContainsFunc(it.Changes, func(r Ref) bool { return d.f.Changes[r.ID].Restricted })
}
