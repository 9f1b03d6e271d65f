package gate

import (
	"fmt"
	"slices"
)

// Closure is what is known of a change's packages: what it can affect, and what
// can affect it. The names are the engine's, such as "juno/debian-12 libhello".
type Closure struct {
	// Provides are the names of what it makes or changes.
	Provides []string `json:"provides,omitempty"`
	// Needs are the names of what its builds and tests may read, directly or not.
	Needs []string `json:"needs,omitempty"`
	// numbers are what by calls them, one after the other; by is nil where it was made without.
	by      *Names
	numbers []int32
}

// Landing is what has landed while attempts run that do not stand on it: those of
// other lanes. It is remembered for as long as one of these stands.
type Landing struct {
	Item    ItemID `json:"item"`
	Changes []Ref  `json:"changes"`
	// Before is the first buildset that was decided after it.
	Before BuildsetID `json:"before"`
}

// lanes says who stands behind whom, while the queue is walked from its head.
// Two items touch when they cannot be shown not to affect each other. An item
// stands behind the good ones ahead that it touches, and all that those stand
// behind; passing by one that fails it stands behind what that one stands
// behind, for its failure is settled only when that has landed (G11). It shares
// its lane with those ahead that it touches, those that these touch, and so on;
// where the site has no lanes, with all.
type lanes interface {
	// rank is how many stand ahead of an item in its lane, head the first of them;
	// short says how many of these have to leave before it is active (G7).
	rank(i int) int
	head(i int) *Item
	short(i int) int
	// joined is where its lane begins, together with all that have joined it since.
	joined(i int) int
	// verifying is the item of its lane that has merged past the gate, if any (G16).
	verifying(i int) *Item
	// base are the places of those that an item is to be tested on (G6, G25).
	base(i int, restricted bool) []int
	// push says that others may stand behind the item, on this base and it; or,
	// of one that is not good, only on what it stands behind.
	push(i int, restricted, good bool, base []int)
	// fits says that an attempt stands on its base: what of its stack has not
	// landed is that.
	fits(i int, base []int) bool
	// stops says that an item's submit waits for another's submit or merged tree,
	// or for one that was passed by often enough (G14, G16, G25); turn, for nobody's.
	stops(at, i int) bool
	turn(i int) bool
	// holder is where the item stands that holds up its lane, -1 when none does (G25).
	holder(i int) int
	// owed is what has landed in its lane of batches that are not complete.
	owed(i int) []Owed
	// submits says that the item's submit is in flight from now on.
	submits(i int)
}

// lanes gives the lanes of the queue as it is.
func (d *decider) lanes() lanes {
	if d.inLanes() {
		return d.newManyLanes()
	}
	return d.newOneLane()
}

// inLanes says that the queue has lanes.
func (d *decider) inLanes() bool { return d.f.Policy.Lanes && d.s.Kind == Dependent }

// oneLane: each item touches each.
type oneLane struct {
	d      *decider
	verify *Item
	// top is the nearest good item ahead with all that it stands behind, public
	// the same for one that is not restricted.
	top, public []int
	busy        bool
	patient     int // the first that was passed by often enough
	shorts      []int
}

func (d *decider) newOneLane() *oneLane {
	l := &oneLane{d: d, patient: len(d.s.Items), shorts: make([]int, len(d.s.Items))}
	room, taken := room{d: d}, 0
	for i, it := range d.s.Items {
		l.shorts[i] = max(0, taken+1-d.s.Window)
		if room.takes(it) {
			taken++
		}
		if it.Verify && it.Part == nil && l.verify == nil {
			l.verify = it
		}
		l.busy = l.busy || it.Submit != nil || it.Verify
		if i < l.patient && len(d.s.Owed) == 0 && d.holds(it) {
			l.patient = i
		}
	}
	return l
}

func (l *oneLane) rank(i int) int      { return i }
func (l *oneLane) short(i int) int     { return l.shorts[i] }
func (l *oneLane) verifying(int) *Item { return l.verify }
func (l *oneLane) turn(i int) bool     { return !l.busy && i <= l.patient }
func (l *oneLane) owed(int) []Owed     { return l.d.s.Owed }
func (l *oneLane) head(int) *Item      { return l.d.s.Items[0] }
func (l *oneLane) joined(int) int      { return 0 }
func (l *oneLane) submits(int)         { l.busy = true }

func (l *oneLane) holder(i int) int {
	if l.patient > i {
		return -1
	}
	return l.patient
}

func (l *oneLane) stops(at, i int) bool {
	other := l.d.s.Items[at]
	return at != i && (other.Submit != nil || other.Verify || at == l.holder(i))
}

func (l *oneLane) base(_ int, restricted bool) []int {
	if restricted {
		return l.top
	}
	return l.public
}

func (l *oneLane) push(i int, restricted, good bool, _ []int) {
	switch {
	case !good:
	case restricted:
		l.top = append(slices.Clip(l.top), i)
	default:
		l.public = append(l.public, i)
		l.top = l.public
	}
}

func (l *oneLane) fits(i int, base []int) bool {
	stack := l.d.s.Items[i].Buildset.Stack
	landed := len(stack) - len(base)
	return landed >= 0 && l.d.areAt(stack[landed:], base) &&
		!slices.ContainsFunc(stack[:landed], func(id ItemID) bool { return l.d.at(id) >= 0 })
}

// areAt says that just these items stand at these places.
func (d *decider) areAt(ids []ItemID, places []int) bool {
	if len(ids) != len(places) {
		return false
	}
	for i, at := range places {
		if d.s.Items[at].ID != ids[i] {
			return false
		}
	}
	return true
}

// overtake marks the attempts that have not been shown to hold together with
// what has merged: it is not in their stack, or something of their stack that it
// touches should have merged before it. A failure that was not settled yet goes
// at once, for another landing of this decision may settle it.
func (d *decider) overtake(merged *Item) {
	by := newTouching(d)
	by.add(0, merged.Changes, d.footprints(nil, merged.Changes))
	for _, it := range d.s.Items {
		if it.ID == merged.ID || it.Buildset == nil || it.Buildset.Overtaken {
			continue
		}
		if d.lacks(it, merged.ID, by) {
			it = d.edit(it)
			it.Buildset.Overtaken = true
			if it.Submit == nil && !it.Verify && !d.decided(it) {
				d.drop(it)
			}
		}
	}
	if d.inLanes() {
		d.s.Landed = append(slices.Clip(d.s.Landed), Landing{Item: merged.ID, Changes: merged.Changes, Before: d.s.NextBuildset})
	}
}

func (d *decider) lacks(it *Item, merged ItemID, by *touching) bool {
	stack := it.Buildset.Stack
	at := slices.Index(stack, merged)
	switch {
	case !d.inLanes():
		return at < 0
	case at < 0:
		return by.any(it.Changes)
	}
	return slices.ContainsFunc(stack[:at], func(id ItemID) bool {
		on := d.item(id)
		return on != nil && by.any(on.Changes)
	})
}

// beside looks again at what landed in other lanes: a closure that has widened
// since, or a site that has one lane now, brings it under an attempt that does
// not stand on it. What that shows proves nothing, nor is it to blame.
func (d *decider) beside() {
	if len(d.s.Landed) == 0 {
		return
	}
	landed := newTouching(d)
	for k, l := range d.s.Landed {
		landed.add(k, l.Changes, d.footprints(nil, l.Changes))
	}
	for _, it := range d.s.Items {
		if it.Buildset == nil || it.Buildset.Overtaken {
			continue
		}
		touched := landed.all
		if d.inLanes() {
			touched = landed.of(it.Changes, d.footprints(nil, it.Changes))
		}
		if !slices.ContainsFunc(touched, func(k int) bool { return d.s.Landed[k].missedBy(it.Buildset) }) {
			continue
		}
		it = d.edit(it)
		it.Buildset.Overtaken = true
		if it.Submit == nil && !it.Verify && len(it.Red) == 0 {
			d.drop(it)
		}
	}
}

// missedBy says that an attempt was decided before the landing and does not stand on it.
func (l Landing) missedBy(b *Buildset) bool {
	return b.ID < l.Before && !slices.Contains(b.Stack, l.Item)
}

// forgetLanded drops the landings that every attempt stands on, or was overtaken by.
func (d *decider) forgetLanded() {
	over := func(l Landing) bool {
		return !slices.ContainsFunc(d.s.Items, func(it *Item) bool {
			return it.Buildset != nil && !it.Buildset.Overtaken && l.missedBy(it.Buildset)
		})
	}
	if slices.ContainsFunc(d.s.Landed, over) {
		d.s.Landed = slices.DeleteFunc(slices.Clone(d.s.Landed), over)
	}
	if len(d.s.Landed) == 0 {
		d.s.Landed = nil
	}
}

// lanePlace says where in its lane an item stands, and why behind whom.
func (v *view) lanePlace(i int) string {
	rank := v.lane.rank(i)
	if rank == 0 {
		return "nothing ahead can affect it"
	}
	text := fmt.Sprintf("%d of those ahead are in its lane", rank)
	it := v.s.Items[i]
	for _, other := range slices.Backward(v.s.Items[:i]) {
		if why := v.share(other, it); why != "" && !other.hidden() {
			return fmt.Sprintf("%s, the nearest %s: %s", text, names(other.Changes), why)
		}
	}
	return text
}
