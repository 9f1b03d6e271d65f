// Package plantest is a small gate in a small world of packages, to hold the
// reuse of results to its rule: with it and without it the same changes land,
// and the same are blamed. A history is drawn and played in several worlds at
// once, which differ in nothing but their Builder: one that remembers nothing,
// one that keeps results in a list, the real engine on its database.
//
// The world is Run: what a package manager would install for a build, and
// whether that works. It knows nothing of keys and traces.
package plantest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"sluice/internal/job"
	"sluice/internal/plan"
)

// Shelf is a package: a name that is there in some version, what it needs (of
// each list one), and what it provides.
type Shelf struct {
	Name, Version string
	Needs         [][]string
	Provides      []string
}

// Digest is that of the package as it was tested.
func (p Shelf) Digest() job.Digest { return Hash("tested", fmt.Sprint(p)) }

// Signed is that of the published package, where publishing signs it.
func (p Shelf) Signed() job.Digest { return Hash("signed", fmt.Sprint(p)) }

// Hash is a digest of words.
func Hash(words ...string) job.Digest {
	s := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return job.Digest(hex.EncodeToString(s[:]))
}

// Layer is one repository.
type Layer struct {
	Name   string
	Kind   job.RepositoryKind
	Signed bool // its packages were signed when they were published
	Away   bool
	Change int // of one ahead: whose packages it has
	Has    map[string]Shelf
}

// Base is repositories in rising priority: a plan.Base that looks everything up anew.
type Base []Layer

func (b Base) top(name string) (*Shelf, *Layer) {
	for i := len(b) - 1; i >= 0; i-- {
		if p, ok := b[i].Has[name]; ok && !b[i].Away {
			return &p, &b[i]
		}
	}
	return nil, nil
}

func (b Base) offered(name string) *plan.Offered {
	p, l := b.top(name)
	if p == nil {
		return nil
	}
	o := &plan.Offered{Name: name, Version: p.Version, Digest: p.Digest(), Tested: p.Digest(), Mentions: func() []string { return slices.Concat(p.Needs...) }}
	if l.Signed {
		o.Digest = p.Signed()
	}
	return o
}

// Offer is what there is under a name.
func (b Base) Offer(name string) plan.Offer {
	o := plan.Offer{Is: b.offered(name)}
	for _, n := range b.providers(name) {
		o.By = append(o.By, *b.offered(n))
	}
	return o
}

func (b Base) providers(name string) []string {
	var out []string
	for _, l := range b {
		for n := range l.Has {
			if p, _ := b.top(n); p != nil && n != name && slices.Contains(p.Provides, name) && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Away reports whether a repository of this name could not be looked at.
func (b Base) Away(repository string) bool {
	return slices.ContainsFunc(b, func(l Layer) bool { return l.Name == repository && l.Away })
}

// Install is the world's package manager: of each need the first alternative
// that is there, or that something provides, with all that it needs. What the
// root has already is not fetched.
func (b Base) Install(root []string, needs [][]string) (job.Trace, bool) {
	t := job.Trace{Served: map[string]job.Served{}, Asked: slices.Concat(needs...)}
	ok := true
	for todo := slices.Clone(needs); len(todo) > 0; todo = todo[1:] {
		chosen, installed := b.choose(root, todo[0])
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
		t.Served[chosen] = job.Served{Version: p.Version, Digest: b.offered(chosen).Digest, Repository: l.Name}
		todo = append(todo, p.Needs...)
	}
	return t, ok
}

// choose takes one of a need's alternatives, "" for none.
func (b Base) choose(root, need []string) (chosen string, installed bool) {
	for _, name := range need {
		if slices.Contains(root, name) {
			return "", true
		}
		if p, _ := b.top(name); p != nil {
			return name, false
		}
		if by := b.providers(name); len(by) > 0 {
			return by[0], false
		}
	}
	return "", false
}

// contents is what was really installed, whether it was signed or not: a
// result depends on nothing else.
func (b Base) contents(t job.Trace) string {
	var out []string
	for name := range t.Served {
		p, _ := b.top(name)
		out = append(out, string(p.Digest()))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// Change is a package's new tree.
type Change struct {
	ID    int
	Made  Shelf
	Build [][]string // its build dependencies
}

// Tree names the tree: another one asks for something else, or makes it.
func (c Change) Tree() string { return fmt.Sprint(c.Made, c.Build) }

// Ran is what came of a run.
type Ran struct {
	Passed bool
	Made   string // what it would be found to be made of
	Trace  job.Trace
}

// Run builds a change on a base: some combinations of trees and packages do not work.
func Run(c Change, root []string, b Base) Ran {
	trace, ok := b.Install(root, c.Build)
	made := fmt.Sprint(ok, b.contents(trace))
	return Ran{ok && Hash(fmt.Sprint(c.Made), made)[0]%5 != 0, made, trace}
}
