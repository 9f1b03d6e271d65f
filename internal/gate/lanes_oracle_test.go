package gate_test

import (
	"slices"

	"sluice/internal/gate"
)

// This file is the side of the world and of its judge that knows lanes.

// touch says, by what is known, that two changes cannot be shown not to affect
// each other.
func (w *world) touch(a, b gate.Ref) bool {
	return touch(w.seen, a, b) || w.needsOther(a, b) || w.needsOther(b, a)
}

// needsOther: what has landed needs nobody any more, whatever is said of it since.
func (w *world) needsOther(a, b gate.Ref) bool {
	c, other := w.known[a.ID], w.known[b.ID]
	if w.truth[a.ID].Status == gate.Merged && !w.stands(a.ID) {
		return false
	}
	mates := w.policy.WholeTopics && c.Topic != "" && other.Topic == c.Topic && c.Status == gate.Open && other.Status == gate.Open
	return mates || slices.ContainsFunc(c.Needs, func(n gate.Need) bool { return n.ID == b.ID })
}

func (w *world) stands(id gate.ChangeID) bool {
	return slices.ContainsFunc(w.state.Items, func(it *gate.Item) bool {
		return slices.ContainsFunc(it.Changes, func(r gate.Ref) bool { return r.ID == id })
	})
}

func touch(closures map[gate.ChangeID]gate.Closure, a, b gate.Ref) bool {
	x, known := closures[a.ID]
	y, too := closures[b.ID]
	reads := func(x, y gate.Closure) bool {
		return slices.ContainsFunc(x.Provides, func(n string) bool { return slices.Contains(y.Provides, n) || slices.Contains(y.Needs, n) })
	}
	return a.ID == b.ID || a.Branch == b.Branch || !known || !too || reads(x, y) || reads(y, x)
}

func (w *world) touches(as, bs []gate.Ref) bool {
	return slices.ContainsFunc(as, func(a gate.Ref) bool {
		return slices.ContainsFunc(bs, func(b gate.Ref) bool { return w.touch(a, b) })
	})
}

// affects says that what has landed touches others. It needs nobody any more,
// though it may stand again, as what is left of a batch.
func (w *world) affects(landed, others []gate.Ref) bool {
	return slices.ContainsFunc(landed, func(a gate.Ref) bool {
		return slices.ContainsFunc(others, func(b gate.Ref) bool { return touch(w.seen, a, b) || w.needsOther(b, a) })
	})
}

// inspect: a prepared change has been looked at; built: all of it is known.
func (w *world) inspect(b *build) {
	for _, r := range b.effect.Changes {
		if _, known := w.seen[r.ID]; !known {
			w.seen[r.ID] = w.declared[r.ID]
		}
	}
}

func (w *world) built(b *build) {
	for _, r := range b.effect.Changes {
		w.seen[r.ID] = w.closures[r.ID]
	}
}

// matters leaves of some changes those that the engine compares before a submit:
// all that touch the item's.
func (w *world) matters(e gate.Effect, ids []gate.ChangeID) []gate.ChangeID {
	return slices.DeleteFunc(ids, func(id gate.ChangeID) bool {
		c := w.truth[id]
		return w.policy.Lanes && !w.touches(e.Changes, []gate.Ref{{ID: id, Branch: c.Branch}})
	})
}

// provenInLane: all that an attempt stood behind has landed, those that touch in
// their order, and nothing else that touches it; with more, not before those.
func (w *world) provenInLane(e gate.Effect, more bool) bool {
	b := w.builds[e.Buildset]
	since := w.landed[b.after:]
	last := -1
	for n, id := range b.effect.StackItems {
		at := slices.Index(since, id)
		if at < 0 {
			return false
		}
		last = max(last, at)
		for _, before := range b.effect.StackItems[:n] {
			if slices.Index(since, before) > at && w.touches(w.items[before].changes, w.items[id].changes) {
				return false
			}
		}
	}
	for at, id := range since {
		if !slices.Contains(b.effect.StackItems, id) && (!more || at < last) && w.affects(w.items[id].changes, e.Changes) {
			return false
		}
	}
	return true
}

func (w *world) recordSubmitInLane(e gate.Effect) {
	if w.policy.Lanes && !w.provenInLane(e, false) {
		w.fail("submits %v on a stack %v; landed since: %v", numbers(e.Changes), w.builds[e.Buildset].effect.StackItems, w.landed[w.builds[e.Buildset].after:])
	}
}

func (w *world) blamedInLane(e gate.Effect) {
	if !w.provenInLane(e, true) {
		b := w.builds[e.Buildset]
		w.fail("blames %v with something unmerged under it (G11): stack %v, landed %v", numbers(e.Changes), b.effect.StackItems, w.landed[b.after:])
	}
}

// touching says that two places touch.
func (o oracle) touching(i, j int) bool {
	a, b := o.w.state.Items[i], o.w.state.Items[j]
	return o.w.touches(a.Changes, b.Changes) || o.meets(o.w.changes(a.Part), j) || o.meets(o.w.changes(b.Part), i)
}

// lane lists who shares a place's lane, of the places up to one; without lanes, all do.
func (o oracle) lane(i, upTo int) []int {
	lane := []int{i}
	for k := 0; k < len(lane); k++ {
		for j := 0; j <= upTo; j++ {
			if !slices.Contains(lane, j) && (!o.w.policy.Lanes || o.touching(lane[k], j)) {
				lane = append(lane, j)
			}
		}
	}
	return lane
}

// places are where the items stand.
func (o oracle) places(ids []gate.ItemID) (places []int) {
	for _, id := range ids {
		places = append(places, o.at[id])
	}
	return places
}

// standsOn is what an item's attempt stands behind now, or will.
func (o oracle) standsOn(i int) []int {
	if it := o.w.state.Items[i]; it.Buildset != nil && it.Submit == nil {
		return o.places(o.left(it))
	}
	return o.due(i)
}

// due is the rule for lanes to the letter: the good ones ahead that it touches,
// the nearest first, and all that these stand behind, and what those stand
// behind that fail; for a public item none that is restricted, for a restricted
// one none that was passed by (G25).
func (o oracle) due(i int) []int {
	var stack []int
	for j := i - 1; j >= 0; j-- {
		it := o.w.state.Items[j]
		waits := it.Buildset == nil && !o.active(j)
		if it.Verify || waits || !o.touching(i, j) || slices.Contains(stack, j) || o.secret(j) && !o.secret(i) {
			continue
		}
		more := o.standsOn(j)
		if !o.idle(j) {
			more = append(more, j)
		}
		if slices.ContainsFunc(append(slices.Clone(more), j), func(below int) bool {
			return o.secret(below) && slices.ContainsFunc(stack, func(k int) bool { return k > below && !o.secret(k) && o.touching(k, below) })
		}) {
			continue
		}
		for _, below := range more {
			if !slices.Contains(stack, below) {
				stack = append(stack, below)
			}
		}
	}
	slices.Sort(stack)
	return stack
}

// stackInLane holds an attempt to its place: it stands on what is due, and on
// all that this stands behind; on more only if that was due when it was decided
// and is still good. What has landed since and is not in its stack does not
// touch it.
func (o oracle) stackInLane(i int) {
	it := o.w.state.Items[i]
	due, left := o.due(i), o.places(o.left(it))
	if slices.Contains(o.fresh(), it.Buildset.ID) && !slices.Equal(due, left) {
		o.w.fail("item %d stands behind %v and should behind %v", it.ID, left, due)
	}
	for _, j := range due {
		if !slices.Contains(left, j) {
			o.w.fail("item %d can be affected by %d, and does not stand behind it: %v, due %v", it.ID, o.w.state.Items[j].ID, left, due)
		}
	}
	if !slices.IsSorted(left) {
		o.w.fail("item %d stands behind %v, which is not in order", it.ID, left)
	}
	for _, j := range left {
		on := o.w.state.Items[j]
		if j >= i || o.idle(j) || o.secret(j) && !o.secret(i) {
			o.w.fail("item %d stands behind %d and must not", it.ID, on.ID)
		}
		if on.Buildset == nil || on.Buildset.ID > it.Buildset.ID {
			o.w.fail("item %d stands on an attempt of %d that is over", it.ID, on.ID)
		}
		for _, below := range o.standsOn(j) {
			if !slices.Contains(left, below) {
				o.w.fail("item %d stands behind %d and not behind %d, as that does", it.ID, on.ID, o.w.state.Items[below].ID)
			}
		}
	}
	for _, id := range o.w.landed[o.w.builds[it.Buildset.ID].after:] {
		if !slices.Contains(it.Buildset.Stack, id) && o.w.affects(o.w.items[id].changes, it.Changes) {
			o.w.fail("item %d: %d has landed, can affect it and is not in its stack %v", it.ID, id, it.Buildset.Stack)
		}
	}
}

// fresh are the buildsets of the last decision.
func (o oracle) fresh() (ids []gate.BuildsetID) {
	for _, e := range o.w.log[o.w.judged:] {
		if e.Kind == gate.Prepare {
			ids = append(ids, e.Buildset)
		}
	}
	return ids
}

// submits says that the last decision submits an item.
func (o oracle) submits(i int) bool {
	it := o.w.state.Items[i]
	return it.Submit != nil && slices.ContainsFunc(o.w.log[o.w.judged:], func(e gate.Effect) bool {
		return e.Kind == gate.SubmitChanges && e.Item == it.ID && e.Serial == it.Submit.Serial
	})
}

// order: nothing is submitted past one ahead that can affect it, and is good or
// may be tested again.
func (o oracle) order() {
	for i, it := range o.w.state.Items {
		if o.submits(i) && len(o.due(i)) > 0 {
			o.w.fail("item %d is submitted past %v", it.ID, o.due(i))
		}
	}
}
