package solve

import (
	"fmt"
	"slices"
	"strings"
)

// Contradiction is why packages cannot be installed together.
type Contradiction struct {
	u           *Universe
	goals       []*Package
	constraints []constraint
}

// Cause is the need or the refusal of a goal that the contradiction begins with.
type Cause struct {
	Package *Package
	Text    string
	Field   string
	Line    int
}

// Cause gives what is to be looked at first: of the goals' own entries, the
// first in the contradiction.
func (c *Contradiction) Cause() Cause {
	for _, g := range c.goals {
		for _, k := range c.constraints {
			switch {
			case k.of == g && k.need != nil:
				return Cause{g, k.need.Text, k.need.Field, k.need.Line}
			case k.of == g && k.refusal != nil:
				return Cause{g, k.refusal.Text, k.refusal.Field, k.refusal.Line}
			}
		}
	}
	return Cause{Package: c.goals[0]}
}

// Members are the packages that have a part in the contradiction.
func (c *Contradiction) Members() []*Package {
	var out []*Package
	for _, k := range c.constraints {
		if !slices.Contains(out, k.of) {
			out = append(out, k.of)
		}
	}
	return out
}

// String tells it as a chain: "hello needs libbar, which needs libfoo (>= 2),
// and juno/deb-12 has libfoo 1.4 (bookworm main)".
func (c *Contradiction) String() string {
	for _, k := range c.constraints {
		if k.need != nil && len(k.terms) == 0 {
			return fmt.Sprintf("%s needs %s, and %s", c.way(k.of), k.need.Text, c.u.there(k.need.Formula))
		}
	}
	for _, k := range c.constraints { // a refusal of the goals' own first, as they are walked in order
		if k.refusal != nil {
			return c.clash(k)
		}
	}
	for _, k := range c.constraints {
		if k.other != nil {
			return c.versions(k)
		}
	}
	return fmt.Sprintf("%s cannot be installed in %s", c.goals[0].Name, c.u.Name)
}

// way is "hello", or "hello needs libbar, which": how a package is come by, up
// to the verb that is its own.
func (c *Contradiction) way(k *Package) string {
	path := c.path(k)
	if len(path) == 0 {
		return k.Name
	}
	out := path[0].of.Name
	for i, s := range path {
		next := k
		if i+1 < len(path) {
			next = path[i+1].of
		}
		if i > 0 {
			out += " which"
		}
		out += " needs " + s.need.Text
		if !slices.Contains(s.need.Formula.Names(), next.Name) {
			out += " (" + next.Name + ")"
		}
		out += ","
	}
	return out + " which"
}

// path finds the needs of the contradiction that lead from a goal to a package.
func (c *Contradiction) path(to *Package) []constraint {
	from := map[*Package]constraint{}
	queue := slices.Clone(c.goals)
	for len(queue) > 0 {
		k := queue[0]
		queue = queue[1:]
		if k == to {
			var out []constraint
			for !slices.Contains(c.goals, k) {
				s := from[k]
				out = append([]constraint{s}, out...)
				k = s.of
			}
			return out
		}
		for _, s := range c.constraints {
			if s.of != k || s.need == nil {
				continue
			}
			for _, t := range s.terms {
				if _, seen := from[t.is]; !seen && !t.not && !slices.Contains(c.goals, t.is) {
					from[t.is] = s
					queue = append(queue, t.is)
				}
			}
		}
	}
	return nil
}

func full(p *Package) string {
	out := p.Name
	if p.Version != "" && !p.AnyVersion {
		out += " " + p.Version
	}
	if p.Origin != "" {
		out += " (" + p.Origin + ")"
	}
	return out
}

// clash tells of a package that refuses another one.
func (c *Contradiction) clash(k constraint) string {
	verb := map[string]string{"Conflicts": "conflicts with", "Breaks": "breaks", "Obsoletes": "obsoletes", "Build-Conflicts": "conflicts with", "BuildConflicts": "conflicts with"}[k.refusal.Field]
	if verb == "" {
		verb = "conflicts with"
	}
	text := fmt.Sprintf("%s %s %s", c.way(k.of), verb, k.refusal.Text)
	if other := c.path(k.other); len(other) > 0 {
		return fmt.Sprintf("%s, and %s needs %s", text, c.way(other[len(other)-1].of), other[len(other)-1].need.Text) + c.is(k)
	}
	return text + c.is(k)
}

// is says which package a refusal is about, where its text does not.
func (c *Contradiction) is(k constraint) string {
	if k.refusal.Text == k.other.Name && k.other.Origin == "" {
		return ""
	}
	return fmt.Sprintf(": that is %s", full(k.other))
}

// versions tells of two versions of one package that are both needed.
func (c *Contradiction) versions(k constraint) string {
	var wants []string
	for _, s := range c.constraints {
		if s.need != nil && slices.ContainsFunc(s.terms, func(t term) bool { return t.is.Name == k.of.Name }) {
			wants = append(wants, fmt.Sprintf("%s needs %s", c.way(s.of), s.need.Text))
		}
	}
	if len(wants) == 0 {
		return fmt.Sprintf("%s and %s cannot be installed together", full(k.of), full(k.other))
	}
	return fmt.Sprintf("%s: no version of %s is both, and %s", strings.Join(wants, ", and "), k.of.Name, c.u.there(One(Atom{Name: k.of.Name})))
}

// shown bounds how many packages are named as being there instead.
const shown = 3

// there says what a universe has of the names in a formula.
func (u *Universe) there(f Formula) string {
	var has, not []string
	for _, n := range f.Names() {
		called := u.Called(n)
		slices.SortStableFunc(called, func(a, b *Package) int { return u.Compare(b.Version, a.Version) })
		if len(called) == 0 && !slices.Contains(not, "no "+n) {
			not = append(not, "no "+n)
		}
		for i, p := range called {
			text := full(p)
			if p.Name != n {
				text = fmt.Sprintf("%s of %s", n, text)
				for _, v := range p.Provides {
					if v.Name == n && v.Version != "" {
						text = fmt.Sprintf("%s %s of %s", n, v.Version, full(p))
					}
				}
			}
			if i < shown && !slices.Contains(has, text) {
				has = append(has, text)
			}
		}
	}
	return fmt.Sprintf("%s has %s", u.Name, strings.Join(append(has, not...), ", "))
}

// Names are the names that the needs and refusals in it mention.
func (c *Contradiction) Names() []string {
	var out []string
	for _, k := range c.constraints {
		switch {
		case k.need != nil:
			out = k.need.Formula.names(out)
		case k.refusal != nil:
			out = append(out, k.refusal.Atom.Name)
		}
		if k.other != nil {
			out = append(out, k.other.Name)
		}
	}
	return out
}
