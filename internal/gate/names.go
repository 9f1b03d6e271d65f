package gate

import (
	"iter"
	"slices"
)

// Names calls the names of closures by numbers: a number is found sooner than a
// name. Who makes closures for many decisions keeps one Names for all of them, so
// that a name is looked up when its closure is made and not in each decision. It
// only grows. What is decided is the same for closures that were made without.
//
// One goroutine at a time may use it; its closures are for all.
type Names struct{ of map[string]int32 }

// Closure makes a closure of names, which are not to be changed after that.
func (n *Names) Closure(provides, needs []string) Closure {
	return Closure{Provides: provides, Needs: needs, by: n, numbers: n.numbers(provides, needs)}
}

// numbers are what names are called, one list of them after the other.
func (n *Names) numbers(lists ...[]string) (numbers []int32) {
	if n.of == nil {
		n.of = map[string]int32{}
	}
	for _, names := range lists {
		numbers = slices.Grow(numbers, len(names))
		for _, name := range names {
			k, known := n.of[name]
			if !known {
				k = int32(len(n.of))
				n.of[name] = k
			}
			numbers = append(numbers, k)
		}
	}
	return numbers
}

// footprint is that by which a change touches others: its branch and its closure,
// in numbers.
type footprint struct {
	branch  int32
	made    int32   // how many of numbers it provides; the others it needs
	numbers []int32 // of its closure
}

// unknown is the footprint of a change of whose closure nothing is known: it
// touches everything.
func (f footprint) unknown() bool     { return f.made < 0 }
func (f footprint) provides() []int32 { return f.numbers[:max(0, f.made)] }
func (f footprint) needs() []int32    { return f.numbers[max(0, f.made):] }

// footprints appends those of some changes.
func (d *decider) footprints(feet []footprint, refs []Ref) []footprint {
	for _, r := range refs {
		f := footprint{branch: d.branch(r.Branch), made: -1}
		if c, known := d.f.Closures[r.ID]; known {
			f.made, f.numbers = int32(len(c.Provides)), d.numbers(&c)
		}
		feet = append(feet, f)
	}
	return feet
}

// branch gives a branch a number.
func (d *decider) branch(b Branch) int32 {
	k, known := d.branches[b]
	if !known {
		if d.branches == nil {
			d.branches = map[Branch]int32{}
		}
		k = int32(len(d.branches))
		d.branches[b] = k
	}
	return k
}

// numbers gives a closure as its Names calls it, if that has made all closures of
// this decision; else as a Names of this decision does.
func (d *decider) numbers(c *Closure) []int32 {
	if d.numbering == nil {
		d.numbering, d.apart = &Names{}, d.madeApart()
	}
	if d.apart {
		return d.numbering.numbers(c.Provides, c.Needs)
	}
	return c.numbers
}

// madeApart says that not all closures were made by one Names, and are as it made them.
func (d *decider) madeApart() bool {
	var by *Names
	for _, c := range d.f.Closures {
		if c.by == nil || by != nil && by != c.by || len(c.numbers) != len(c.Provides)+len(c.Needs) {
			return true
		}
		by = c.by
	}
	return false
}

// lists are many short lists of small numbers, themselves called by numbers from
// 0, in one piece of memory.
type lists struct {
	last    []int32 // of a list, its last entry, counted from 1
	entries []entry
}

type entry struct{ value, before int32 }

func (l *lists) add(list int32, value int) {
	grow(&l.last, int(list))
	if len(l.entries) == cap(l.entries) {
		l.entries = slices.Grow(l.entries, max(64, len(l.entries)))
	}
	l.entries = append(l.entries, entry{int32(value), l.last[list]})
	l.last[list] = int32(len(l.entries))
}

// of gives a list, the last first.
func (l *lists) of(list int32) iter.Seq[int] {
	return func(yield func(int) bool) {
		if int(list) >= len(l.last) {
			return
		}
		for k := l.last[list]; k > 0; k = l.entries[k-1].before {
			if !yield(int(l.entries[k-1].value)) {
				return
			}
		}
	}
}

func (l *lists) clear(list int32) {
	if int(list) < len(l.last) {
		l.last[list] = 0
	}
}

// grow makes a list long enough to have a place i.
func grow[E any](list *[]E, i int) {
	if i >= len(*list) {
		*list = append(*list, make([]E, i+1-len(*list))...)
	}
}
