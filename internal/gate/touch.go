package gate

import (
	"fmt"
	"slices"
)

// closure is what is known of a change's packages; known is false where nothing
// is, and the change touches everything.
func (d *decider) closure(r Ref) (c Closure, known bool) {
	c, known = d.f.Closures[r.ID]
	return c, known
}

// touching finds, of some sets of changes that are called by numbers from 0,
// those that a change touches: that it needs, that are on its branch, make what it
// makes or may read, or may read what it makes; and, where one of the two is not
// known, all.
type touching struct {
	d                          *decider
	branches, provided, needed lists            // by the number of a branch, or of a name
	changes                    map[ChangeID]int // nil where who needs whom is found otherwise
	unknown, all               []int
	marks                      []int // of a set, the last question that it was found for
	asked                      int
	found                      []int // the last answer
}

func newTouching(d *decider) *touching {
	return &touching{d: d, changes: map[ChangeID]int{}}
}

// add has a set, with its footprints.
func (t *touching) add(k int, refs []Ref, feet []footprint) {
	t.all = append(t.all, k)
	grow(&t.marks, k)
	for _, f := range feet {
		t.branches.add(f.branch, k)
		for _, n := range f.provides() {
			t.provided.add(n, k)
		}
		for _, n := range f.needs() {
			t.needed.add(n, k)
		}
		if f.unknown() {
			t.unknown = append(t.unknown, k)
		}
	}
	if t.changes != nil {
		for _, r := range refs {
			t.changes[r.ID] = k
		}
	}
}

// cover leaves out the sets that make or read what is made here: whoever touches
// them by that touches the next one too.
func (t *touching) cover(feet []footprint) {
	for _, f := range feet {
		t.branches.clear(f.branch)
		for _, n := range f.provides() {
			t.provided.clear(n)
			t.needed.clear(n)
		}
	}
}

// of lists the sets that some changes, with these footprints, touch: each once, in
// no order. The list is good until the next question.
func (t *touching) of(refs []Ref, feet []footprint) []int {
	t.found = t.found[:0]
	t.asked++
	for _, k := range t.unknown {
		t.take(k)
	}
	for _, f := range feet {
		if f.unknown() {
			return append(t.found[:0], t.all...)
		}
		t.takeAll(&t.branches, f.branch)
		for _, n := range f.provides() {
			t.takeAll(&t.provided, n)
			t.takeAll(&t.needed, n)
		}
		for _, n := range f.needs() {
			t.takeAll(&t.provided, n)
		}
	}
	if t.changes != nil {
		for _, r := range refs {
			t.takeNeeded(r.ID)
		}
	}
	return t.found
}

func (t *touching) take(k int) {
	if t.marks[k] != t.asked {
		t.marks[k] = t.asked
		t.found = append(t.found, k)
	}
}

func (t *touching) takeAll(by *lists, n int32) {
	for k := range by.of(n) {
		t.take(k)
	}
}

// takeNeeded takes the sets that a change needs.
func (t *touching) takeNeeded(id ChangeID) {
	for _, n := range t.d.needs(new(t.d.f.Changes[id])) {
		if k, in := t.changes[n.ID]; in {
			t.take(k)
		}
	}
}

func (t *touching) any(refs []Ref) bool { return len(t.of(refs, t.d.footprints(nil, refs))) > 0 }

// share says in words why two items touch, "" when they do not.
func (d *decider) share(a, b *Item) string {
	for _, x := range a.Changes {
		for _, y := range b.Changes {
			if why := d.shareOf(x, y); why != "" {
				return why
			}
		}
	}
	return ""
}

func (d *decider) shareOf(a, b Ref) string {
	x, known := d.closure(a)
	y, too := d.closure(b)
	switch {
	case a.Branch == b.Branch && !Hidden(a.ID):
		return fmt.Sprintf("both change %s of %s", a.Branch.Branch, a.Branch.Project)
	case d.linked(a, b):
		return "they need each other, or one the other"
	case Hidden(a.ID) || Hidden(b.ID):
		if known && too && !x.touches(y) {
			return ""
		}
		return "the two can affect each other"
	case !known:
		return "what " + name(a.Number) + " can affect is not known yet"
	case !too:
		return "what " + name(b.Number) + " can affect is not known yet"
	}
	for _, n := range x.Provides {
		if slices.Contains(y.Provides, n) {
			return "both make " + n
		}
		if slices.Contains(y.Needs, n) {
			return name(b.Number) + " may read " + n
		}
	}
	for _, n := range x.Needs {
		if slices.Contains(y.Provides, n) {
			return name(a.Number) + " may read " + n
		}
	}
	return ""
}

// touches says that one makes what the other makes or may read.
func (c Closure) touches(o Closure) bool {
	makes := func(c, o Closure) bool {
		return slices.ContainsFunc(c.Provides, func(n string) bool { return slices.Contains(o.Provides, n) || slices.Contains(o.Needs, n) })
	}
	return makes(c, o) || makes(o, c)
}

// linked says that one of two changes needs the other.
func (d *decider) linked(a, b Ref) bool {
	to := func(id ChangeID) func(Need) bool { return func(n Need) bool { return n.ID == id } }
	return slices.ContainsFunc(d.needs(new(d.f.Changes[a.ID])), to(b.ID)) || slices.ContainsFunc(d.needs(new(d.f.Changes[b.ID])), to(a.ID))
}
