package plantest

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"sluice/internal/job"
)

// Builder says whether a change passes on a base, in a root that has some
// packages already: by running it, or by a result that it knows. Nothing that
// it knows counts when it is asked to run it again.
type Builder interface {
	Build(c Change, root []string, b Base, again bool) (passed bool)
}

// Forgetful runs everything.
type Forgetful struct{}

// Build runs the change.
func (Forgetful) Build(c Change, root []string, b Base, _ bool) bool { return Run(c, root, b).Passed }

// World is a small gate: changes in a line, each built on those ahead.
type World struct {
	Builder Builder
	Merged  []string
	Blamed  []string

	root     []string
	upstream Layer
	released Layer
	queue    []Change
	present  map[int]attempt // by the change
}

// attempt is what a change was last tested on, and what came of it.
type attempt struct {
	base   string
	passed bool
}

func (w *World) tips() Base { return Base{w.upstream, w.released} }

// test has a change tested on a base, if it is not the one that it was tested on.
func (w *World) test(c Change, b Base) bool {
	at := fmt.Sprint(w.root, b)
	if was, ok := w.present[c.ID]; ok && was.base == at {
		return was.passed
	}
	passed := w.Builder.Build(c, w.root, b, false)
	w.present[c.ID] = attempt{at, passed}
	return passed
}

// settle tests the queue's items, each on those ahead that pass.
func (w *World) settle() {
	b := w.tips()
	for _, c := range w.queue {
		if w.test(c, b) {
			ahead := Layer{Name: fmt.Sprintf("ahead-%d", c.ID), Kind: job.Ahead, Change: c.ID, Has: map[string]Shelf{c.Made.Name: c.Made}}
			b = append(slices.Clone(b), ahead)
		}
	}
}

// propose checks a change on the tips, and puts it into the queue.
func (w *World) propose(c Change) {
	w.Builder.Build(c, w.root, w.tips(), false)
	w.queue = append(w.queue, c)
}

// land merges the head if it passes on what is there, or blames it.
func (w *World) land() {
	if len(w.queue) == 0 {
		return
	}
	c := w.queue[0]
	w.queue = w.queue[1:]
	if !w.test(c, w.tips()) {
		w.Blamed = append(w.Blamed, fmt.Sprint(c.ID))
		return
	}
	w.Merged = append(w.Merged, fmt.Sprint(c.ID, c.Made))
	w.released.Has = maps.Clone(w.released.Has)
	w.released.Has[c.Made.Name] = c.Made
}

// retry tests a change once more: somebody does not believe it.
func (w *World) retry(i int) { w.Builder.Build(w.queue[i], w.root, w.tips(), true) }

// change alters a repository that others write.
func change(l *Layer, f func(has map[string]Shelf)) {
	l.Has = maps.Clone(l.Has)
	f(l.Has)
}

var names = []string{"a", "b", "c", "d", "v", "w"}

func needs(t *rapid.T) [][]string {
	var out [][]string
	for range rapid.IntRange(0, 2).Draw(t, "needs") {
		out = append(out, rapid.SliceOfN(rapid.SampledFrom(names), 1, 2).Draw(t, "alternatives"))
	}
	return out
}

func shelf(t *rapid.T) Shelf {
	return Shelf{rapid.SampledFrom(names[:4]).Draw(t, "name"), fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "version")), needs(t),
		rapid.SliceOfN(rapid.SampledFrom(names[4:]), 0, 1).Draw(t, "provides")}
}

// Play draws a history of some steps and plays it in all worlds, until their
// queues are empty: changes come, are checked and land; packages come, change
// and go in the base distribution and in the released repository; roots are
// made anew; people ask for another run. What was published is signed, if that
// changes its bytes. It fails where two worlds end differently.
func Play(t *rapid.T, steps int, signed bool, worlds ...*World) {
	began := map[string]Shelf{}
	for _, name := range names[:4] {
		if p := shelf(t); rapid.IntRange(0, 3).Draw(t, "there") > 0 {
			p.Name = name
			began[name] = p
		}
	}
	for _, w := range worlds {
		w.present = map[int]attempt{}
		w.upstream = Layer{Name: "debian", Kind: job.Upstream, Has: maps.Clone(began)}
		w.released = Layer{Name: "released", Kind: job.Released, Signed: signed, Has: map[string]Shelf{}}
	}
	each := func(f func(*World)) {
		for _, w := range worlds {
			f(w)
		}
	}
	for id := range steps {
		step(t, id, each, len(worlds[0].queue))
		each((*World).settle)
	}
	for len(worlds[0].queue) > 0 {
		each((*World).land)
		each((*World).settle)
	}
	for _, w := range worlds[1:] {
		if !slices.Equal(w.Merged, worlds[0].Merged) || !slices.Equal(w.Blamed, worlds[0].Blamed) {
			t.Fatalf("merged %v and %v, blamed %v and %v", worlds[0].Merged, w.Merged, worlds[0].Blamed, w.Blamed)
		}
	}
}

func step(t *rapid.T, id int, each func(func(*World)), waiting int) {
	switch rapid.IntRange(0, 8).Draw(t, "step") {
	case 0, 1, 2:
		c := Change{id + 1, shelf(t), needs(t)}
		each(func(w *World) { w.propose(c) })
	case 3:
		p := shelf(t)
		each(func(w *World) { change(&w.upstream, func(has map[string]Shelf) { has[p.Name] = p }) })
	case 4:
		n := rapid.SampledFrom(names).Draw(t, "gone")
		each(func(w *World) { change(&w.upstream, func(has map[string]Shelf) { delete(has, n) }) })
	case 5:
		n := rapid.SampledFrom(names).Draw(t, "recalled")
		each(func(w *World) { change(&w.released, func(has map[string]Shelf) { delete(has, n) }) })
	case 6:
		each((*World).land)
	case 7:
		if waiting > 0 {
			i := rapid.IntRange(0, waiting-1).Draw(t, "retried")
			each(func(w *World) { w.retry(i) })
		}
	case 8:
		root := rapid.SliceOfN(rapid.SampledFrom(names), 0, 2).Draw(t, "root")
		each(func(w *World) { w.root = root })
	}
}
