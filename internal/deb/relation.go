package deb

import (
	"slices"
	"strings"

	"pault.ag/go/debian/dependency"
)

// Relations is a relations field (Depends, Build-Depends, …): all of them have
// to be satisfied.
type Relations []Relation

// Relation is satisfied when one of its alternatives is.
type Relation struct{ Alternatives []Alternative }

// Alternative is one package, with its conditions.
type Alternative struct {
	Name      string
	Qualifier string // "any", "native", an architecture; "" none
	Operator  string // "<<", "<=", "=", ">=", ">>"; "" any version
	Version   string
	// Only and Not are the architectures of [amd64 arm64] and [!amd64].
	Only, Not []string
	// Profiles are the groups of <!nocheck> <stage1 cross>: it holds when all
	// terms of one group do.
	Profiles [][]string
	// Substvar: it is a ${…} that the build fills in.
	Substvar bool
}

// ParseRelations reads a relations field.
func ParseRelations(text string) (Relations, error) {
	if len(text) > maxRelationText || strings.ContainsRune(text, 0) {
		return nil, bad("a relations field of %d bytes, or with a NUL", len(text))
	}
	// Comments are gone, lines are of no meaning, and the parser wants no empty ends.
	text = strings.Trim(strings.Join(strings.Fields(text), " "), ", ")
	if text == "" {
		return nil, nil
	}
	parsed, err := dependency.Parse(text)
	if err != nil {
		return nil, bad("%.120q: %v", text, err)
	}
	var out Relations
	for _, r := range parsed.Relations {
		var relation Relation
		for _, p := range r.Possibilities {
			a, err := alternative(p)
			if err != nil {
				return nil, err
			}
			relation.Alternatives = append(relation.Alternatives, a)
		}
		if len(relation.Alternatives) > 0 {
			out = append(out, relation)
		}
	}
	return out, nil
}

func alternative(p dependency.Possibility) (Alternative, error) {
	a := Alternative{Name: p.Name, Substvar: p.Substvar}
	if p.Arch != nil {
		a.Qualifier = p.Arch.String()
	}
	if !a.Substvar && !packageName.MatchString(a.Name) {
		return a, bad("%.80q is not a package's name", a.Name)
	}
	if p.Version != nil {
		a.Operator, a.Version = p.Version.Operator, p.Version.Number
		switch a.Operator {
		case "<":
			a.Operator = "<="
		case ">":
			a.Operator = ">="
		}
	}
	if p.Architectures != nil {
		for _, arch := range p.Architectures.Architectures {
			if p.Architectures.Not {
				a.Not = append(a.Not, arch.String())
			} else {
				a.Only = append(a.Only, arch.String())
			}
		}
	}
	for _, set := range p.StageSets {
		var group []string
		for _, s := range set.Stages {
			name := s.Name
			if s.Not {
				name = "!" + name
			}
			group = append(group, name)
		}
		a.Profiles = append(a.Profiles, group)
	}
	return a, nil
}

// relationsParse holds the fields that APT reads to their syntax: one package
// with a broken one breaks the index for everybody.
func relationsParse(c Paragraph) error {
	for _, f := range []string{"Pre-Depends", "Depends", "Recommends", "Suggests", "Enhances", "Breaks", "Conflicts", "Replaces", "Provides"} {
		if _, err := ParseRelations(c.Get(f)); err != nil {
			return bad("control: %s: %v", f, err)
		}
	}
	return nil
}

// Applies reports whether the alternative counts on an architecture and with
// the build profiles that are active.
func (a Alternative) Applies(arch string, profiles []string) bool {
	matches := func(list []string) bool {
		want, err := dependency.ParseArch(arch)
		if err != nil {
			return slices.Contains(list, arch)
		}
		for _, l := range list {
			if have, err := dependency.ParseArch(l); l == arch || err == nil && want.Is(have) {
				return true
			}
		}
		return false
	}
	if len(a.Only) > 0 && !matches(a.Only) || len(a.Not) > 0 && matches(a.Not) {
		return false
	}
	return len(a.Profiles) == 0 || slices.ContainsFunc(a.Profiles, func(group []string) bool {
		return !slices.ContainsFunc(group, func(term string) bool {
			name, not := strings.CutPrefix(term, "!")
			return slices.Contains(profiles, name) == not
		})
	})
}

// Provider is a binary package that may satisfy relations.
type Provider struct {
	Name         string
	Version      string
	Architecture string
	MultiArch    string // "", "same", "foreign", "allowed"
	// Provides maps virtual packages' names to their versions ("": none).
	Provides map[string]string
}

// Provider is the package as one that may satisfy relations.
func (p Package) Provider() Provider {
	out := Provider{Name: p.Name, Version: p.Version, Architecture: p.Architecture,
		MultiArch: p.Control.Get("Multi-Arch"), Provides: map[string]string{}}
	provides, _ := ParseRelations(p.Control.Get("Provides")) // checked when it was read
	for _, r := range provides {
		out.Provides[r.Alternatives[0].Name] = r.Alternatives[0].Version
	}
	return out
}

// SatisfiedBy reports whether p satisfies the alternative on the native
// architecture arch.
func (a Alternative) SatisfiedBy(p Provider, arch string) bool {
	version := p.Version
	if a.Name != p.Name {
		provided, ok := p.Provides[a.Name]
		if !ok {
			return false
		}
		version = provided
	}
	if p.Architecture != arch && p.Architecture != "all" && p.MultiArch != "foreign" &&
		!(a.Qualifier == "any" && p.MultiArch == "allowed") && a.Qualifier != p.Architecture {
		return false
	}
	if a.Qualifier == "any" && p.MultiArch != "allowed" && p.MultiArch != "foreign" {
		return false
	}
	if a.Operator == "" {
		return true
	}
	if version == "" {
		return false // an unversioned Provides satisfies no versioned relation
	}
	c := Compare(version, a.Version)
	switch a.Operator {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	case ">>":
		return c > 0
	}
	return false
}

// SatisfiedBy reports whether p satisfies one of the relation's alternatives
// that apply on arch with the given profiles.
func (r Relation) SatisfiedBy(p Provider, arch string, profiles []string) bool {
	return slices.ContainsFunc(r.Alternatives, func(a Alternative) bool {
		return a.Applies(arch, profiles) && a.SatisfiedBy(p, arch)
	})
}

// Names are the names of all packages in the relations that apply, sorted.
func (rs Relations) Names(arch string, profiles []string) []string {
	var out []string
	for _, r := range rs {
		for _, a := range r.Alternatives {
			if !a.Substvar && a.Applies(arch, profiles) {
				out = append(out, a.Name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
