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

// touching finds, of some sets of changes that are called by a number, those
// that a change touches: that are on its branch, make what it makes or may read,
// or may read what it makes; and, where one of the two is not known, all.
type touching struct {
	d               *decider
	provides, needs map[string][]int
	branches        map[Branch][]int
	unknown, all    []int
}

func newTouching(d *decider) *touching {
	return &touching{d: d, provides: map[string][]int{}, needs: map[string][]int{}, branches: map[Branch][]int{}}
}

func (t *touching) add(k int, refs []Ref) {
	t.all = append(t.all, k)
	unknown := false
	for _, r := range refs {
		t.branches[r.Branch] = append(t.branches[r.Branch], k)
		c, known := t.d.closure(r)
		unknown = unknown || !known
		for _, n := range c.Provides {
			t.provides[n] = append(t.provides[n], k)
		}
		for _, n := range c.Needs {
			t.needs[n] = append(t.needs[n], k)
		}
	}
	if unknown {
		t.unknown = append(t.unknown, k)
	}
}

// of lists the sets that some changes touch, the newest first, each once.
func (t *touching) of(refs []Ref) []int {
	found := slices.Clone(t.unknown)
	for _, r := range refs {
		c, known := t.d.closure(r)
		if !known {
			found = slices.Clone(t.all)
			break
		}
		found = append(found, t.branches[r.Branch]...)
		for _, n := range c.Provides {
			found = append(append(found, t.provides[n]...), t.needs[n]...)
		}
		for _, n := range c.Needs {
			found = append(found, t.provides[n]...)
		}
	}
	slices.SortFunc(found, func(a, b int) int { return b - a })
	return slices.Compact(found)
}

func (t *touching) any(refs []Ref) bool { return len(t.of(refs)) > 0 }

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
