package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/job"
)

// shelf is a package of the model: a name that is there in some version, what
// it needs (of each list one), and what it provides.
type shelf struct {
	name, version string
	needs         [][]string
	provides      []string
}

// digest as tested; signed is that of the published file.
func (p shelf) digest() job.Digest { return hash("tested", fmt.Sprint(p)) }
func (p shelf) signed() job.Digest { return hash("signed", fmt.Sprint(p)) }

func hash(words ...string) job.Digest {
	s := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return job.Digest(hex.EncodeToString(s[:8]))
}

// layer is one repository of the model, by name.
type layer struct {
	name   string
	kind   job.RepositoryKind
	signed bool
	away   bool
	has    map[string]shelf
}

// base is repositories in rising priority: a Base that looks everything up anew.
type base []layer

func (b base) top(name string) (*shelf, *layer) {
	for i := len(b) - 1; i >= 0; i-- {
		if p, ok := b[i].has[name]; ok && !b[i].away {
			return &p, &b[i]
		}
	}
	return nil, nil
}

func (b base) offered(name string) *Offered {
	p, l := b.top(name)
	if p == nil {
		return nil
	}
	o := &Offered{Name: name, Version: p.version, Digest: p.digest(), Tested: p.digest(), Mentions: func() []string { return slices.Concat(p.needs...) }}
	if l.signed {
		o.Digest = p.signed()
	}
	return o
}

func (b base) Offer(name string) Offer {
	o := Offer{Is: b.offered(name)}
	for _, n := range b.providers(name) {
		o.By = append(o.By, *b.offered(n))
	}
	return o
}

func (b base) providers(name string) []string {
	var out []string
	for _, l := range b {
		for n := range l.has {
			if p, _ := b.top(n); p != nil && n != name && slices.Contains(p.provides, name) && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}

func (b base) Away(repository string) bool {
	return slices.ContainsFunc(b, func(l layer) bool { return l.name == repository && l.away })
}

// install is the model's package manager: of each need the first alternative
// that is there, or that something provides, with all that it needs. What the
// root has already is not fetched.
func (b base) install(root []string, needs [][]string) (job.Trace, bool) {
	t := job.Trace{Served: map[string]job.Served{}, Asked: slices.Concat(needs...)}
	ok := true
	for todo := slices.Clone(needs); len(todo) > 0; todo = todo[1:] {
		chosen, installed := "", false
		for _, name := range todo[0] {
			if slices.Contains(root, name) {
				installed = true
				break
			}
			if p, _ := b.top(name); p != nil {
				chosen = name
				break
			}
			if by := b.providers(name); len(by) > 0 {
				chosen = by[0]
				break
			}
		}
		if installed {
			continue
		}
		if chosen == "" {
			ok = false
			continue
		}
		if _, again := t.Served[chosen]; again {
			continue
		}
		p, l := b.top(chosen)
		t.Served[chosen] = job.Served{Version: p.version, Digest: b.offered(chosen).Digest, Repository: l.name}
		todo = append(todo, p.needs...)
	}
	return t, ok
}

// contents is what was really installed, whether it was signed or not: a
// result depends on nothing else.
func (b base) contents(t job.Trace) string {
	var out []string
	for name := range t.Served {
		p, _ := b.top(name)
		out = append(out, string(p.digest()))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// change is one of the model's: a package's new tree.
type change struct {
	id    int
	made  shelf
	build [][]string
}

// ran is a result that is kept.
type ran struct {
	key    string
	passed bool
	made   string // what it would be found to be made of
	trace  job.Trace
}

// gateWorld is a small gate: changes in a line, each built on those ahead.
type gateWorld struct {
	reuse    bool
	root     []string
	upstream layer
	released layer
	queue    []change
	results  []ran
	merged   []string
	blamed   []string
	builds   int
	served   int // from what is kept
	wrong    string
}

// outcome of a run: some combinations of trees and packages do not work.
func outcome(c change, ok bool, made string) bool {
	return ok && hash(fmt.Sprint(c.made), made)[0]%5 != 0
}

func (w *gateWorld) spec(c change, b base) job.Spec {
	s := job.Spec{Stage: job.StageBuild, Name: c.made.name, Package: c.made.name, Source: &job.Source{Archive: c.made.digest(), Tree: fmt.Sprint(c.made, c.build)},
		Root: &job.Root{Digest: hash(w.root...)}, Job: int64(c.id), Buildset: int64(w.builds)}
	for _, l := range b {
		s.Repositories = append(s.Repositories, job.Repository{Name: l.name, Kind: l.kind})
	}
	return s
}

// build gives whether a change passes on a base.
func (w *gateWorld) build(c change, b base, fresh bool) bool {
	key, err := StaticKey(w.spec(c, b))
	if err != nil {
		panic(err)
	}
	trace, ok := b.install(w.root, c.build)
	made := fmt.Sprint(ok, b.contents(trace))
	passed := outcome(c, ok, made)
	if w.reuse && !fresh {
		for i := len(w.results) - 1; i >= 0; i-- { // the newest first, as the store gives them
			r := w.results[i]
			if r.key != key {
				continue
			}
			if holds, _ := Holds(r.trace, b); !holds {
				continue
			}
			if !r.passed {
				break
			}
			w.served++
			if r.made != made || !passed {
				w.wrong = fmt.Sprintf("change %d was given a result of %s; it would be of %s", c.id, r.made, made)
			}
			return r.passed
		}
	}
	w.builds++
	trace.Around = Around(trace, b)
	w.results = append(w.results, ran{key, passed, made, trace})
	return passed
}

// bases of the queue's items, while those ahead pass.
func (w *gateWorld) settle() {
	b := base{w.upstream, w.released}
	var left []change
	for _, c := range w.queue {
		passed := w.build(c, b, false)
		if passed {
			b = append(slices.Clone(b), layer{name: fmt.Sprintf("buildset-%d", w.builds), kind: job.Ahead, has: map[string]shelf{c.made.name: c.made}})
		}
		left = append(left, c)
	}
	w.queue = left
}

// land merges the head if it passes on what is there, or blames it.
func (w *gateWorld) land() {
	if len(w.queue) == 0 {
		return
	}
	c := w.queue[0]
	w.queue = w.queue[1:]
	if !w.build(c, base{w.upstream, w.released}, false) {
		w.blamed = append(w.blamed, fmt.Sprint(c.id))
		return
	}
	w.merged = append(w.merged, fmt.Sprint(c.id, c.made))
	w.released.has = maps.Clone(w.released.has)
	w.released.has[c.made.name] = c.made
}

// With reuse and without it the same changes land and the same are blamed, and
// what is reused is what would have come about: whatever comes, goes and
// changes ahead, in the released repository and in the base distribution.
func TestReuseChangesNothing(t *testing.T) {
	reused := 0
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "v", "w"}
		signed := rapid.Bool().Draw(t, "packages are signed when they are published")
		worlds := []*gateWorld{{reuse: true}, {}}
		for _, w := range worlds {
			w.upstream = layer{name: "debian", kind: job.Upstream, has: map[string]shelf{}}
			w.released = layer{name: "released", kind: job.Released, signed: signed, has: map[string]shelf{}}
		}
		each := func(f func(*gateWorld)) {
			for _, w := range worlds {
				f(w)
			}
		}
		needs := func() [][]string {
			var out [][]string
			for range rapid.IntRange(0, 2).Draw(t, "needs") {
				out = append(out, rapid.SliceOfN(rapid.SampledFrom(names), 1, 2).Draw(t, "alternatives"))
			}
			return out
		}
		draw := func() shelf {
			return shelf{rapid.SampledFrom(names[:4]).Draw(t, "name"), fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "version")), needs(),
				rapid.SliceOfN(rapid.SampledFrom(names[4:]), 0, 1).Draw(t, "provides")}
		}
		change0 := 0
		steps := rapid.IntRange(5, 40).Draw(t, "steps")
		for range steps {
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1, 2:
				change0++
				c := change{change0, draw(), needs()}
				each(func(w *gateWorld) { w.queue = append(w.queue, c) })
			case 3:
				p := draw()
				each(func(w *gateWorld) { w.upstream.has = maps.Clone(w.upstream.has); w.upstream.has[p.name] = p })
			case 4:
				n := rapid.SampledFrom(names).Draw(t, "gone")
				each(func(w *gateWorld) { w.upstream.has = maps.Clone(w.upstream.has); delete(w.upstream.has, n) })
			case 5:
				n := rapid.SampledFrom(names).Draw(t, "recalled")
				each(func(w *gateWorld) { w.released.has = maps.Clone(w.released.has); delete(w.released.has, n) })
			case 6:
				each((*gateWorld).land)
			case 7:
				if len(worlds[0].queue) > 0 { // somebody does not believe it
					i := rapid.IntRange(0, len(worlds[0].queue)-1).Draw(t, "retried")
					each(func(w *gateWorld) { w.build(w.queue[i], base{w.upstream, w.released}, true) })
				}
			case 8:
				root := rapid.SliceOfN(rapid.SampledFrom(names), 0, 2).Draw(t, "root")
				each(func(w *gateWorld) { w.root = root })
			}
			each((*gateWorld).settle)
		}
		for len(worlds[0].queue) > 0 {
			each((*gateWorld).land)
			each((*gateWorld).settle)
		}
		on, off := worlds[0], worlds[1]
		if on.wrong != "" {
			t.Fatal(on.wrong)
		}
		if !slices.Equal(on.merged, off.merged) || !slices.Equal(on.blamed, off.blamed) {
			t.Fatalf("merged %v and %v, blamed %v and %v", on.merged, off.merged, on.blamed, off.blamed)
		}
		reused += on.served
	})
	if reused == 0 {
		t.Error("nothing was ever reused")
	}
}

// Why a result does not hold, in words.
func TestHolds(t *testing.T) {
	lib := shelf{name: "liba", version: "1", needs: [][]string{{"x", "libc6"}}}
	libc := shelf{name: "libc6", version: "2"}
	world := func(change func(upstream, released, ahead *layer)) base {
		up := layer{name: "debian", kind: job.Upstream, has: map[string]shelf{"libc6": libc, "other": {name: "other"}}}
		rel := layer{name: "released", kind: job.Released, signed: true, has: map[string]shelf{"liba": lib}}
		ahead := layer{name: "buildset-7", kind: job.Ahead, has: map[string]shelf{}}
		change(&up, &rel, &ahead)
		return base{up, rel, ahead}
	}
	was := world(func(_, _, _ *layer) {})
	trace, _ := was.install(nil, [][]string{{"liba"}, {"libb", "liba"}})
	trace.Around = Around(trace, was)
	for _, c := range []struct {
		name   string
		change func(upstream, released, ahead *layer)
		why    string // "" holds
	}{
		{"the same", func(_, _, _ *layer) {}, ""},
		{"another package beside", func(_, r, _ *layer) { r.has["else"] = shelf{name: "else"} }, ""},
		{"upstream beside", func(u, _, _ *layer) { u.has["other"] = shelf{name: "other", version: "9"} }, ""},
		{"rebuilt", func(_, r, _ *layer) { r.has["liba"] = shelf{name: "liba", version: "1+b1"} }, "given liba 1, and would be given liba 1+b1"},
		{"gone", func(_, r, _ *layer) { delete(r.has, "liba") }, "given liba 1, which is not there now"},
		{"came", func(_, _, a *layer) { a.has["libb"] = shelf{name: "libb"} }, "something that it asks for"},
		{"what a dependency would rather have came", func(u, _, _ *layer) { u.has["x"] = shelf{name: "x"} }, "something that it asks for"},
		{"a provider came", func(u, _, _ *layer) { u.has["y"] = shelf{name: "y", provides: []string{"x"}} }, "something that it asks for"},
		{"upstream changed", func(u, _, _ *layer) { u.has["libc6"] = shelf{name: "libc6", version: "3"} }, "given libc6 2, and would be given libc6 3"},
		{"hidden by ours", func(_, _, a *layer) { a.has["libc6"] = shelf{name: "libc6", version: "9"} }, "libc6"},
		{"upstream is away", func(u, _, _ *layer) { u.away = true }, "something that it asks for"},
	} {
		ok, why := Holds(trace, world(c.change))
		if ok != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v %q", c.name, ok, why)
		}
	}
	// What stood ahead has landed, and was signed for that: the same package.
	ahead := world(func(_, r, a *layer) { delete(r.has, "liba"); a.has["liba"] = lib })
	early, _ := ahead.install(nil, [][]string{{"liba"}})
	early.Around = Around(early, ahead)
	if ok, why := Holds(early, was); !ok {
		t.Errorf("landed: %s", why)
	}
	early.Unsure = true
	if ok, _ := Holds(early, was); ok {
		t.Error("nobody knows what it read")
	}
}
