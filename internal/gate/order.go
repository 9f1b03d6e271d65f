package gate

import "fmt"

// Place is an item as a page shows it.
type Place struct {
	Item ItemID `json:"item"`
	// Position in the queue, from 1.
	Position int   `json:"position"`
	Changes  []Ref `json:"changes"`
	// Behind are the changes that its present attempt stands behind, in order;
	// those that have landed since are left out.
	Behind   []Ref      `json:"behind,omitempty"`
	Buildset BuildsetID `json:"buildset,omitempty"`
	// Active: within the window (G7).
	Active bool `json:"active"`
	// Lane is, where the queue has lanes, the first item of its lane, those behind
	// included that have joined it; Ahead how many of its lane stood ahead of it when
	// it came. An item that is not shown is not named.
	Lane  ItemID `json:"lane,omitempty"`
	Ahead int    `json:"ahead,omitempty"`
	// State is a word that a page can give a colour to.
	State PlaceState `json:"state"`
	// Word is a short clause for people: "testing 3/7", "failing: build failed".
	Word string `json:"word"`
	// Done and Jobs count the jobs that have ended, and all.
	Done int `json:"done"`
	Jobs int `json:"jobs"`
}

// PlaceState is what an item is doing.
type PlaceState string

// The states of a place.
const (
	PlaceWaiting    PlaceState = "waiting"    // outside the window, or kept from starting
	PlaceMerging    PlaceState = "merging"    // its speculative merge is being made
	PlaceTesting    PlaceState = "testing"    // its jobs run
	PlacePassed     PlaceState = "passed"     // waits for its turn
	PlaceFailing    PlaceState = "failing"    // a voting job failed
	PlaceConflict   PlaceState = "conflict"   // does not merge
	PlaceError      PlaceState = "error"      // no verdict, and none of its fault
	PlaceRed        PlaceState = "red"        // fails as its base does, and waits for that to be mended
	PlaceHeld       PlaceState = "held"       // with a failing item that it needs (G11)
	PlaceSubmitting PlaceState = "submitting" // Gerrit has been asked
	PlaceVerifying  PlaceState = "verifying"  // merged past what was tested (G16)
)

// Order lists the items of a queue with what each is doing, first to last.
func Order(state State, facts Facts) []Place {
	v := newView(state, facts)
	places := make([]Place, len(v.s.Items))
	for i, it := range v.s.Items {
		places[i] = v.place(i, it)
	}
	return places
}

// view answers questions about a queue without deciding anything.
type view struct {
	*decider
	bad  map[ItemID]bool
	lane lanes
	// heads are, by the place that a lane begins with, the first item of it that is shown.
	heads map[int]ItemID
}

func newView(state State, facts Facts) *view {
	v := &view{decider: newDecider(state, facts), bad: map[ItemID]bool{}}
	v.lane, v.heads = v.lanes(), map[int]ItemID{}
	for i, it := range v.s.Items {
		if first := v.lane.joined(i); v.heads[first] == 0 && !it.hidden() {
			v.heads[first] = it.ID
		}
		if it.Submit == nil && !it.Verify && (v.heldBy(it, v.bad) != 0 || !it.trusted(v.verdict(it))) {
			v.bad[it.ID] = true
		}
	}
	return v
}

func (v *view) place(i int, it *Item) Place {
	p := Place{Item: it.ID, Position: i + 1, Changes: it.Changes, Buildset: it.attempt(), Active: v.lane.short(i) == 0}
	if v.inLanes() {
		p.Ahead, p.Lane = v.lane.rank(i), v.heads[v.lane.joined(i)]
	}
	for _, on := range v.under(it) {
		p.Behind = append(p.Behind, on.Changes...)
	}
	p.Behind = append(p.Behind, it.Ahead...)
	for _, j := range v.jobs(it) {
		p.Jobs++
		if j.State.final() {
			p.Done++
		}
	}
	p.State, p.Word = v.word(i, it, p)
	return p
}

func (v *view) word(i int, it *Item, p Place) (PlaceState, string) {
	told := v.verdict(it)
	switch {
	case it.Submit != nil:
		return PlaceSubmitting, "submitting"
	case it.Part != nil:
		return PlaceVerifying, fmt.Sprintf("merged without the rest of its batch, verifying %d/%d", p.Done, p.Jobs)
	case it.Verify:
		return PlaceVerifying, fmt.Sprintf("merged past the gate, verifying %d/%d", p.Done, p.Jobs)
	case told.outcome == conflict:
		return PlaceConflict, "conflict: " + told.why
	case len(it.Red) > 0 && v.waitsRed(it):
		return PlaceRed, "waits: " + v.redWord(it)
	case told.outcome == failing && v.asking(it, told):
		return PlaceFailing, "failing: " + told.why + "; whether it fails on the branch itself is being found out"
	case told.outcome == failing:
		return PlaceFailing, "failing: " + told.why
	case told.outcome == errored:
		return PlaceError, "no verdict: " + told.why
	case v.heldBy(it, v.bad) != 0:
		return PlaceHeld, "held with " + names(v.item(v.heldBy(it, v.bad)).Changes) + ", which it needs"
	case it.Buildset == nil && v.s.Paused != nil:
		return PlaceWaiting, "waiting: the queue is paused"
	case it.Buildset == nil && v.lane.verifying(i) != nil:
		return PlaceWaiting, "waiting for " + names(v.lane.verifying(i).Changes) + " to be verified"
	case it.Buildset == nil && !p.Active:
		return PlaceWaiting, "waiting outside the window"
	case it.Buildset == nil:
		return PlaceWaiting, "waiting"
	case v.covered(it) && (told.ended || v.s.Kind == Dependent):
		return PlacePassed, v.turn(i, it)
	case !v.f.Buildsets[it.Buildset.ID].Prepared:
		return PlaceMerging, "merging"
	}
	if word, ok := v.inBatch(it, told); ok {
		return PlaceTesting, word
	}
	return PlaceTesting, fmt.Sprintf("testing %d/%d", p.Done, p.Jobs)
}

// turn says what an item that has passed waits for.
func (v *view) turn(i int, it *Item) string {
	if on := v.awaits(i, it); on != nil {
		return v.shared(it) + ", waits for " + names(on.Changes) + " ahead"
	}
	switch {
	case v.f.Policy.Observe:
		return v.shared(it)
	case v.s.Paused != nil:
		return v.shared(it) + ", waits: the queue is paused"
	}
	return v.shared(it) + ", about to be submitted"
}

// awaits returns the item that one that has passed waits for, nil when none.
func (v *view) awaits(i int, it *Item) *Item {
	if under := v.under(it); len(under) > 0 {
		return under[len(under)-1]
	}
	if v.s.Kind == Independent {
		return nil
	}
	for at, other := range v.s.Items {
		if v.lane.stops(at, i) {
			return other
		}
	}
	return nil
}

// under are the items of the present attempt's stack that have not landed.
func (v *view) under(it *Item) []*Item {
	if it.Buildset == nil {
		return nil
	}
	var items []*Item
	for _, id := range it.Buildset.Stack {
		if on := v.item(id); on != nil {
			items = append(items, on)
		}
	}
	return items
}

func (v *view) jobs(it *Item) []Job {
	if it.Buildset == nil {
		return nil
	}
	return v.f.Buildsets[it.Buildset.ID].Jobs
}
