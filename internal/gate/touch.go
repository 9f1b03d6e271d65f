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

// numbers calls the names of closures by numbers from 0: a number is found sooner
// than a name.
type numbers struct {
	of    map[string]int
	all   []int // what numbered closures are cut from
	marks []int // of a number, the last list that it was put in
	lists int
}

// numbered is what some changes make and read, in numbers, of one change each once;
// unknown, where of one of them nothing is known.
type numbered struct {
	provides, needs []int
	unknown         bool
}

// numbered gives the closures of some changes in numbers.
func (d *decider) numbered(refs []Ref) (c numbered) {
	if len(refs) == 1 {
		names, known := d.closure(refs[0])
		return numbered{d.numbers.list(names.Provides), d.numbers.list(names.Needs), !known}
	}
	for _, r := range refs {
		one := d.numbered([]Ref{r})
		c.provides, c.needs = slices.Concat(c.provides, one.provides), slices.Concat(c.needs, one.needs)
		c.unknown = c.unknown || one.unknown
	}
	return c
}

func (n *numbers) list(names []string) []int {
	if n.of == nil {
		n.of = map[string]int{}
	}
	n.lists++
	first := len(n.all)
	for _, name := range names {
		k, known := n.of[name]
		if !known {
			k = len(n.of)
			n.of[name], n.marks = k, append(n.marks, 0)
		}
		if n.marks[k] != n.lists {
			n.marks[k] = n.lists
			n.all = append(n.all, k)
		}
	}
	return n.all[first:len(n.all):len(n.all)]
}

// touching finds, of some sets of changes that are called by numbers from 0,
// those that a change touches: that it needs, that are on its branch, make what it
// makes or may read, or may read what it makes; and, where one of the two is not
// known, all.
type touching struct {
	d               *decider
	provides, needs [][]int // by the number of a name
	branches        map[Branch][]int
	changes         map[ChangeID]int // nil where who needs whom is found otherwise
	unknown, all    []int
	marks           []int // of a set, the last question that it was found for
	asked           int
	found           []int // the last answer
}

func newTouching(d *decider) *touching {
	return &touching{d: d, branches: map[Branch][]int{}, changes: map[ChangeID]int{}}
}

// add has a set, with its closures in numbers.
func (t *touching) add(k int, refs []Ref, c numbered) {
	t.all, t.marks = append(t.all, k), grown(t.marks, k)
	for _, r := range refs {
		t.branches[r.Branch] = append(t.branches[r.Branch], k)
		if t.changes != nil {
			t.changes[r.ID] = k
		}
	}
	note := func(by [][]int, names []int) [][]int {
		for _, n := range names {
			by = grown(by, n)
			if last := len(by[n]) - 1; last < 0 || by[n][last] != k {
				by[n] = append(by[n], k)
			}
		}
		return by
	}
	t.provides, t.needs = note(t.provides, c.provides), note(t.needs, c.needs)
	if c.unknown {
		t.unknown = append(t.unknown, k)
	}
}

// grown makes a list long enough to have a place i.
func grown[E any](list []E, i int) []E {
	if more := i + 1 - len(list); more > 0 {
		list = append(list, make([]E, more)...)
	}
	return list
}

// of lists the sets that some changes, with these closures, touch: each once, in
// no order. The list is good until the next question.
func (t *touching) of(refs []Ref, c numbered) []int {
	t.found = t.found[:0]
	if c.unknown {
		t.found = append(t.found, t.all...)
		return t.found
	}
	t.asked++
	take := func(sets []int) {
		for _, k := range sets {
			if t.marks[k] != t.asked {
				t.marks[k] = t.asked
				t.found = append(t.found, k)
			}
		}
	}
	named := func(by [][]int, n int) {
		if n < len(by) {
			take(by[n])
		}
	}
	take(t.unknown)
	for _, r := range refs {
		take(t.branches[r.Branch])
		if t.changes != nil {
			t.needed(r.ID, take)
		}
	}
	for _, n := range c.provides {
		named(t.provides, n)
		named(t.needs, n)
	}
	for _, n := range c.needs {
		named(t.provides, n)
	}
	return t.found
}

// needed takes the sets that a change needs.
func (t *touching) needed(id ChangeID, take func([]int)) {
	for _, n := range t.d.needs(new(t.d.f.Changes[id])) {
		if k, in := t.changes[n.ID]; in {
			take([]int{k})
		}
	}
}

func (t *touching) any(refs []Ref) bool { return len(t.of(refs, t.d.numbered(refs))) > 0 }

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
