package solve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func compare(a, b string) int { return cmp.Compare(a, b) }

// pkg makes a package from words: "needs a | b >= 2", "refuses c < 2", "provides v = 1".
func pkg(name, version string, words ...string) *Package {
	p := &Package{Name: name, Version: version, Origin: "main"}
	var r Relations
	for _, w := range words {
		verb, text, _ := strings.Cut(w, " ")
		switch verb {
		case "provides":
			a := atom(text)
			p.Provides = append(p.Provides, Provide{a.Name, a.Op, a.Version})
		case "needs":
			var f []Atom
			for _, t := range strings.Split(text, " | ") {
				f = append(f, atom(t))
			}
			r.Needs = append(r.Needs, Need{Formula: OneOf(f...), Text: text, Field: "Depends", Line: len(r.Needs) + 1})
		case "refuses":
			r.Refuses = append(r.Refuses, Refusal{Atom: atom(text), Text: text, Field: "Conflicts"})
		}
	}
	p.Read = func() Relations { return r }
	return p
}

func atom(t string) Atom {
	f := strings.Fields(t)
	if len(f) == 3 {
		return Atom{Name: f[0], Op: f[1], Version: f[2]}
	}
	return Atom{Name: f[0]}
}

func universe(packages ...*Package) *Universe {
	return NewUniverse("juno/deb-12", compare, Layer{Index: NewIndex(packages, nil)})
}

// What people are told.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		packages []*Package
		want     string
	}{
		{[]*Package{pkg("hello", "1", "needs libfoo >= 2"), pkg("libfoo", "1.4")},
			"hello needs libfoo >= 2, and juno/deb-12 has libfoo 1.4 (main)"},
		{[]*Package{pkg("hello", "1", "needs libfoo")}, "hello needs libfoo, and juno/deb-12 has no libfoo"},
		{[]*Package{pkg("hello", "1", "needs a", "needs libbar"), pkg("a", "1"), pkg("libbar", "1", "needs libbaz"), pkg("libbaz", "1", "needs libfoo >= 2"), pkg("libfoo", "1")},
			"hello needs libbar, which needs libbaz, which needs libfoo >= 2, and juno/deb-12 has libfoo 1 (main)"},
		{[]*Package{pkg("hello", "1", "needs mail"), pkg("exim", "1", "provides mail", "needs x")},
			"hello needs mail (exim), which needs x, and juno/deb-12 has no x"},
		{[]*Package{pkg("hello", "1", "needs a", "needs b"), pkg("a", "1", "refuses b < 3"), pkg("b", "2")},
			"hello needs a, which conflicts with b < 3, and hello needs b: that is b 2 (main)"},
		{[]*Package{pkg("hello", "1", "refuses b", "needs a"), pkg("a", "1", "needs b"), pkg("b", "2")},
			"hello conflicts with b, and hello needs a, which needs b: that is b 2 (main)"},
		{[]*Package{pkg("hello", "1", "needs a < 2", "needs b"), pkg("a", "1"), pkg("a", "2"), pkg("b", "1", "needs a >= 2")},
			"hello needs a < 2, and hello needs b, which needs a >= 2: no version of a is both, and juno/deb-12 has a 2 (main), a 1 (main)"},
	} {
		why, ok := universe(c.packages...).Solve(c.packages[0])
		if ok || why.String() != c.want {
			t.Errorf("%v %v\nwant %s", ok, why, c.want)
		}
	}
}

// A package that is not built yet may provide what nobody has; not what
// somebody has in another version.
func TestOpen(t *testing.T) {
	hello, open := pkg("hello", "1", "needs abi"), pkg("lib", "1")
	open.Open = true
	if why, ok := universe(hello, open).Solve(hello); !ok {
		t.Error(why)
	}
	if _, ok := universe(hello, open, pkg("abi", "1", "needs lib > 5")).Solve(hello); ok {
		t.Error("abi is a package, and cannot be installed")
	}
	open.MayProvide = func(n string) bool { return strings.Contains(n, "(") }
	if _, ok := universe(hello, open).Solve(hello); ok {
		t.Error("abi is no name that a build finds")
	}
}

// drawUniverse draws a small world.
func drawUniverse(t *rapid.T) []*Package {
	names := []string{"a", "b", "c", "d", "e"}
	name := rapid.SampledFrom(append([]string{"v", "w"}, names...))
	version := rapid.SampledFrom([]string{"1", "2", "3"})
	entry := func(label string) string {
		a := name.Draw(t, label)
		if rapid.Bool().Draw(t, label+" versioned") {
			a += " " + rapid.SampledFrom([]string{"<", "<=", "=", ">=", ">"}).Draw(t, "op") + " " + version.Draw(t, "v")
		}
		return a
	}
	seen := map[string]bool{}
	var out []*Package
	for range rapid.IntRange(1, 8).Draw(t, "packages") {
		n, v := rapid.SampledFrom(names).Draw(t, "name"), version.Draw(t, "version")
		if seen[n+v] {
			continue
		}
		seen[n+v] = true
		var words []string
		for range rapid.IntRange(0, 3).Draw(t, "relations") {
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				words = append(words, "provides "+rapid.SampledFrom([]string{"v", "w", "v = 1", "v = 2", "a = 2"}).Draw(t, "provided"))
			case 1:
				words = append(words, "refuses "+entry("refused"))
			default:
				w := "needs " + entry("needed")
				if rapid.Bool().Draw(t, "alternative") {
					w += " | " + entry("or")
				}
				words = append(words, w)
			}
		}
		out = append(out, pkg(n, v, words...))
	}
	return out
}

// brute tries every set of packages.
func brute(u *Universe, all []*Package, goal *Package) bool {
	for set := range 1 << len(all) {
		in := func(p *Package) bool { return set>>slices.Index(all, p)&1 == 1 }
		if in(goal) && consistent(u, all, in) {
			return true
		}
	}
	return false
}

// slow is when a package satisfies an atom, written a second time.
func slow(p *Package, a Atom) bool {
	holds := func(v string) bool {
		c := compare(v, a.Version)
		return map[string]bool{"": true, "<": c < 0, "<=": c <= 0, "=": c == 0, ">=": c >= 0, ">": c > 0}[a.Op]
	}
	if p.Name == a.Name && holds(p.Version) {
		return true
	}
	for _, v := range p.Provides {
		if v.Name == a.Name && (a.Op == "" || v.Version != "" && holds(v.Version)) {
			return true
		}
	}
	return false
}

func consistent(u *Universe, all []*Package, in func(*Package) bool) bool {
	for _, p := range all {
		if !in(p) {
			continue
		}
		for _, n := range p.Relations().Needs {
			if !slices.ContainsFunc(all, func(q *Package) bool {
				return in(q) && slices.ContainsFunc(n.Formula.Of, func(f Formula) bool { return slow(q, f.Atom) })
			}) {
				return false
			}
		}
		for _, q := range all {
			if q == p || !in(q) {
				continue
			}
			if q.Name == p.Name {
				return false
			}
			for _, r := range p.Relations().Refuses {
				if slow(q, r.Atom) {
					return false
				}
			}
		}
	}
	return true
}

// The solver and every set of packages agree, and each part of a contradiction counts.
func TestSolveAgainstEverySet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawUniverse(t)
		goal := all[0]
		u := universe(all...)
		why, ok := u.Solve(goal)
		if want := brute(u, all, goal); ok != want {
			t.Fatalf("installable: %v, of every set: %v\n%v", ok, want, why)
		}
		if ok {
			return
		}
		if len(why.constraints) == 0 || !slices.Contains(why.Members(), goal) || strings.Contains(why.String(), "cannot be installed in") {
			t.Fatalf("%d constraints: %s", len(why.constraints), why)
		}
		for left := range why.constraints {
			if !satisfiable(all, goal, why.constraints, left) {
				t.Fatalf("constraint %d of %v is of no account", left, why)
			}
		}
		if satisfiable(all, goal, why.constraints, -1) {
			t.Fatalf("no contradiction: %v", why)
		}
	})
}

// satisfiable tries every set against the constraints but one.
func satisfiable(all []*Package, goal *Package, cs []constraint, without int) bool {
	for set := range 1 << len(all) {
		in := func(p *Package) bool { return set>>slices.Index(all, p)&1 == 1 }
		holds := in(goal)
		for i, c := range cs {
			if i == without || !in(c.of) {
				continue
			}
			if c.other != nil {
				holds = holds && !in(c.other)
			} else {
				holds = holds && slices.ContainsFunc(c.terms, func(t term) bool { return in(t.is) != t.not })
			}
		}
		if holds {
			return true
		}
	}
	return false
}

// Boolean formulas, as RPM has them.
func TestFormulas(t *testing.T) {
	a, b, c := One(Atom{Name: "a"}), One(Atom{Name: "b"}), One(Atom{Name: "c"})
	not := func(f Formula) Formula { return Formula{How: Not, Of: []Formula{f}} }
	for _, k := range []struct {
		name string
		f    Formula
		with []*Package
		want bool
	}{
		{"and", Formula{How: All, Of: []Formula{a, b}}, []*Package{pkg("a", "1")}, false},
		{"and, both", Formula{How: All, Of: []Formula{a, b}}, []*Package{pkg("a", "1"), pkg("b", "1")}, true},
		{"a if b, no b needed", Formula{How: Any, Of: []Formula{a, not(b)}}, []*Package{pkg("b", "1")}, true},
		{"with", Formula{How: With, Of: []Formula{a, b}}, []*Package{pkg("a", "1"), pkg("b", "1")}, false},
		{"with, one", Formula{How: With, Of: []Formula{a, b}}, []*Package{pkg("x", "1", "provides a", "provides b")}, true},
		{"without", Formula{How: Without, Of: []Formula{a, b}}, []*Package{pkg("x", "1", "provides a", "provides b")}, false},
		{"nested", Formula{How: All, Of: []Formula{c, {How: Any, Of: []Formula{a, not(c)}}}}, []*Package{pkg("c", "1")}, false},
	} {
		goal := &Package{Name: "goal", Read: func() Relations { return Relations{Needs: []Need{{Formula: k.f, Text: k.name}}} }}
		if why, ok := universe(append(k.with, goal)...).Solve(goal); ok != k.want {
			t.Errorf("%s: %v %v", k.name, ok, why)
		}
	}
}

// A large universe costs what is chosen of it.
func BenchmarkSolve(b *testing.B) {
	var all []*Package
	for i := range 60000 {
		words := []string{fmt.Sprintf("needs p%d | p%d", i/2, i/3)}
		if i == 0 {
			words = nil
		}
		all = append(all, pkg(fmt.Sprintf("p%d", i), "1", words...))
	}
	x := NewIndex(all, nil)
	for b.Loop() {
		u := NewUniverse("u", compare, Layer{Index: x})
		if _, ok := u.Solve(all[59999]); !ok {
			b.Fatal("not installable")
		}
	}
}

// A version without its last part stands for all that begin so, where the side
// that has none says that it may be equal (rpm's rule).
func TestAPartOfAVersionStandsForAll(t *testing.T) {
	byPart := func(a, b string) int {
		a, la, _ := strings.Cut(a, "-")
		b, lb, _ := strings.Cut(b, "-")
		if la == "" || lb == "" {
			return compare(a, b)
		}
		return cmp.Or(compare(a, b), compare(la, lb))
	}
	for _, c := range []struct {
		op1, v1, op2, v2 string
		want             bool
	}{
		{"=", "1", ">", "1-1", true}, {"=", "1", "<", "1-1", true}, {">", "1", "<=", "1-1", false}, {">", "1-1", "=", "1", true},
		{"=", "1-1", "<", "1", false}, {"=", "1-1", ">=", "1", true}, {"=", "1", ">", "2-1", false}, {"=", "1-2", ">", "1-1", true},
	} {
		u := NewUniverse("u", byPart)
		u.Part = func(v string) bool { return !strings.Contains(v, "-") }
		if got := u.overlap(c.op1, c.v1, c.op2, c.v2); got != c.want {
			t.Errorf("provided %s %s, wanted %s %s: %v", c.op1, c.v1, c.op2, c.v2, got)
		}
	}
}
