package solve

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Package is one version of a binary package.
type Package struct {
	Name    string
	Version string // full
	// Kind sets apart packages of one name that can be installed together: an RPM's architecture.
	Kind string
	// Source names the source package that it is made from.
	Source string
	// Origin says to people where it is: "bookworm main", "released", "this change".
	Origin string
	// Digest is that of its file, "" if it has none yet.
	Digest   string
	Provides []Provide
	// Open packages are not built yet: they may provide more than they say, as
	// far as MayProvide holds.
	Open       bool
	MayProvide func(name string) bool
	// AnyVersion: the version is not known before it is built.
	AnyVersion bool
	// Odd: its version is not that of its source package.
	Odd bool
	// Parallel: several versions can be installed at once (an RPM kernel).
	Parallel bool

	// Raw is what its maker keeps of it.
	Raw any
	// Read gives what it needs and refuses; it is called once, when it is first wanted.
	Read func() Relations
	read atomic.Pointer[Relations]
}

// Provide is a name that a package satisfies besides its own.
type Provide struct {
	Name    string
	Op      string // "" no version, "=", or a range: "<", "<=", ">=", ">"
	Version string
}

// Relations are what a package needs and refuses.
type Relations struct {
	Needs   []Need
	Refuses []Refusal
}

// Relations gives what the package needs and refuses.
func (p *Package) Relations() *Relations {
	if r := p.read.Load(); r != nil {
		return r
	}
	r := &Relations{}
	if p.Read != nil {
		*r = p.Read()
	}
	p.read.Store(r)
	return r
}

// Drop leaves out a need or a refusal that has been told, so that what else is
// wrong can be found. Only whoever made the package may call it.
func (p *Package) Drop(c Cause) {
	before := p.Relations()
	r := &Relations{}
	for _, n := range before.Needs {
		if n.Text != c.Text || n.Line != c.Line {
			r.Needs = append(r.Needs, n)
		}
	}
	for _, f := range before.Refuses {
		if f.Text != c.Text || f.Line != c.Line {
			r.Refuses = append(r.Refuses, f)
		}
	}
	p.read.Store(r)
}

// Restore undoes every Drop.
func (p *Package) Restore() { p.read.Store(nil) }

// Atom is a name with a condition on its version.
type Atom struct {
	Name    string
	Op      string // "", "<", "<=", "=", ">=", ">"
	Version string
	// Real: only the package of that name counts, nothing that provides it (RPM's Obsoletes).
	Real bool
}

// Need is one entry of Depends or Requires, as a formula of atoms.
type Need struct {
	Formula Formula
	Text    string // as people write it: "libfoo (>= 2)"
	Field   string // "Depends", "BuildRequires"
	Line    int    // in the file that declares it; 0: an index
}

// Refusal is one entry of Conflicts, Breaks or Obsoletes.
type Refusal struct {
	Atom  Atom
	Text  string
	Field string
	Line  int
}

// Index is a set of packages by the names that they provide. It does not
// change; many universes share it.
type Index struct {
	Packages []*Package
	names    map[string][]int32 // name → packages that are called so or provide it, ascending
	open     []*Package
	askers   func() map[string][]int32
}

// NewIndex makes an index. mentions gives the names that a package's relations
// mention, or more; nil: they are read for it.
func NewIndex(packages []*Package, mentions func(*Package) []string) *Index {
	x := &Index{Packages: packages, names: make(map[string][]int32, len(packages))}
	for i, p := range packages {
		if p.Open {
			x.open = append(x.open, p)
		}
		x.name(p.Name, int32(i))
		for _, v := range p.Provides {
			x.name(v.Name, int32(i))
		}
	}
	if mentions == nil {
		mentions = mentioned
	}
	x.askers = sync.OnceValue(func() map[string][]int32 {
		m := map[string][]int32{}
		for i, p := range packages {
			for _, n := range mentions(p) {
				if l := m[n]; len(l) == 0 || l[len(l)-1] != int32(i) {
					m[n] = append(l, int32(i))
				}
			}
		}
		return m
	})
	return x
}

func (x *Index) name(n string, i int32) {
	if l := x.names[n]; len(l) == 0 || l[len(l)-1] != i {
		x.names[n] = append(l, i)
	}
}

func mentioned(p *Package) []string {
	var out []string
	r := p.Relations()
	for _, n := range r.Needs {
		out = n.Formula.names(out)
	}
	for _, n := range r.Refuses {
		out = append(out, n.Atom.Name)
	}
	return out
}

// Mentions gives the names in what the package needs and refuses.
func (p *Package) Mentions() []string { return mentioned(p) }

// Called gives the packages of a name and those that provide it.
func (x *Index) Called(name string) []*Package {
	var out []*Package
	for _, i := range x.names[name] {
		out = append(out, x.Packages[i])
	}
	return out
}

// Layer is an index as one part of a universe.
type Layer struct {
	Index *Index
	// Hides reports whether a package of it is not there: one that a later layer replaces. nil: all are.
	Hides func(*Package) bool
}

// Universe is all that there is to choose from. It is used by one goroutine.
type Universe struct {
	// Name is what people call it: "juno/deb-12".
	Name    string
	Compare func(a, b string) int
	// Unversioned: what provides a name without a version satisfies a need with
	// one (RPM is not of one mind about it, dpkg says no).
	Unversioned bool
	// Part reports whether a version is only the first part of one, which stands
	// for all that begin so: RPM's without a release. nil: none is.
	Part   func(version string) bool
	layers []Layer
	open   []*Package
	found  map[Atom][]*Package
}

// NewUniverse puts layers together.
func NewUniverse(name string, compare func(a, b string) int, layers ...Layer) *Universe {
	u := &Universe{Name: name, Compare: compare, layers: layers, found: map[Atom][]*Package{}}
	for _, l := range layers {
		for _, p := range l.Index.open {
			if l.Hides == nil || !l.Hides(p) {
				u.open = append(u.open, p)
			}
		}
	}
	return u
}

// Called gives the packages of a name and those that provide it.
func (u *Universe) Called(name string) []*Package {
	var out []*Package
	for _, l := range u.layers {
		for _, i := range l.Index.names[name] {
			if p := l.Index.Packages[i]; l.Hides == nil || !l.Hides(p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// Askers gives the packages whose relations may mention a name.
func (u *Universe) Askers(name string) []*Package {
	var out []*Package
	for _, l := range u.layers {
		for _, i := range l.Index.askers()[name] {
			if p := l.Index.Packages[i]; l.Hides == nil || !l.Hides(p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// Candidates gives the packages that satisfy an atom, or may.
func (u *Universe) Candidates(a Atom) []*Package {
	if found, ok := u.found[a]; ok {
		return found
	}
	var out []*Package
	real := false
	for _, p := range u.Called(a.Name) {
		real = real || p.Name == a.Name
		if u.satisfies(p, a, u.Unversioned) {
			out = append(out, p)
		}
	}
	if !real { // of a package that is there, it is known what it provides
		for _, p := range u.open {
			if (p.MayProvide == nil || p.MayProvide(a.Name)) && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	u.found[a] = out
	return out
}

// Refused gives the packages that a refusal is surely about.
func (u *Universe) Refused(a Atom) []*Package {
	var out []*Package
	for _, p := range u.Called(a.Name) {
		if (a.Op == "" || !p.AnyVersion) && u.satisfies(p, a, false) {
			out = append(out, p)
		}
	}
	return out
}

func (u *Universe) satisfies(p *Package, a Atom, unversioned bool) bool {
	if p.Name == a.Name && (a.Op == "" || p.AnyVersion || u.overlap("=", p.Version, a.Op, a.Version)) {
		return true
	}
	if a.Real {
		return false
	}
	return slices.ContainsFunc(p.Provides, func(v Provide) bool {
		switch {
		case v.Name != a.Name:
			return false
		case a.Op == "":
			return true
		case v.Op == "":
			return unversioned
		}
		return p.AnyVersion && v.Version == p.Version || u.overlap(v.Op, v.Version, a.Op, a.Version)
	})
}

// overlap reports whether two ranges of versions have one in common.
func (u *Universe) overlap(op1, v1, op2, v2 string) bool {
	less1, less2 := strings.HasPrefix(op1, "<"), strings.HasPrefix(op2, "<")
	more1, more2 := strings.HasPrefix(op1, ">"), strings.HasPrefix(op2, ">")
	if less1 && less2 || more1 && more2 {
		return true
	}
	equal1, equal2 := strings.HasSuffix(op1, "="), strings.HasSuffix(op2, "=")
	switch c := u.Compare(v1, v2); {
	case c < 0:
		return more1 || less2
	case c > 0:
		return less1 || more2
	}
	if u.Part != nil && u.Part(v1) != u.Part(v2) { // as in rpm: the one that is whole is among those that the other one stands for
		return u.Part(v1) && equal1 || u.Part(v2) && equal2
	}
	return equal1 && equal2
}
