package universe

import (
	"context"
	"fmt"
	"slices"

	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/rpm"
	"sluice/internal/solve"
	"sluice/internal/source"
)

// Question is what an item would change of a target on one architecture.
type Question struct {
	Target   job.Target // with the architecture
	Upstream []job.Repository
	Released *job.Repository // nil: nothing is released yet
	Ahead    []Part          // in order
	Own      []Part
}

// Part is one source package: as it is in a test repository already, or as its
// packaging declares it.
type Part struct {
	Source     string
	Version    string // full
	Origin     string // for people: "change 12, ahead"
	Repository *job.Repository
	Declares   source.Declares
}

// The rules that findings name.
const (
	RuleBuild   = "solve:build-depends"
	RuleDepends = "solve:depends"
	RuleBreaks  = "solve:breaks"
)

// Bounds of one check.
const (
	maxPerPackage = 5    // findings of one package
	maxBroken     = 5    // packages that an item breaks, as findings
	maxDependants = 300  // packages that are solved again because of an item
	maxWalked     = 5000 // packages that are looked at on the way to them
)

// Check solves the dependencies of an item's packages: those of their builds
// against what there is before the item, those of the packages themselves
// against what there is with it, and of what is released or ahead that which
// the item could break. It gives what is surely wrong.
func (r *Reader) Check(ctx context.Context, q Question) ([]job.Finding, error) {
	c := check{Question: q}
	if err := c.load(ctx, r); err != nil {
		return nil, err
	}
	before, after := c.universe(false), c.universe(true)
	for i, part := range q.Own {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c.builds(part) {
			c.goal(before, i, c.buildOf(part), RuleBuild)
		}
		for k, p := range c.own[i].Packages {
			if d := c.declared[i][k]; d.made && !d.Maybe {
				c.goal(after, i, p, RuleDepends)
			}
		}
	}
	for _, x := range c.own {
		for _, p := range x.Packages {
			p.Restore()
		}
	}
	if len(c.findings) > 0 {
		return c.findings, nil // what depends on them fails with them
	}
	return c.broken(ctx, before, after), ctx.Err()
}

type check struct {
	Question
	upstream []index
	released *solve.Index
	ahead    []*solve.Index
	own      []*solve.Index
	declared [][]declared // of own, beside its packages
	findings []job.Finding
}

type declared struct {
	source.Declared
	made bool // by this architecture's jobs
}

func (c *check) load(ctx context.Context, r *Reader) error {
	for _, u := range c.Upstream {
		x, err := r.read(ctx, u, c.Target.Architecture, "")
		if err != nil {
			return err
		}
		c.upstream = append(c.upstream, x)
	}
	c.released = solve.NewIndex(nil, nil)
	if c.Released != nil {
		x, err := r.read(ctx, *c.Released, c.Target.Architecture, "released")
		if err != nil {
			return err
		}
		c.released = x.Index
	}
	for _, part := range c.Ahead {
		if part.Repository == nil {
			x, _ := c.declares(part)
			c.ahead = append(c.ahead, x)
			continue
		}
		x, err := r.read(ctx, *part.Repository, c.Target.Architecture, part.Origin)
		if err != nil {
			return err
		}
		c.ahead = append(c.ahead, x.Index)
	}
	for _, part := range c.Own {
		x, d := c.declares(part)
		for _, p := range x.Packages {
			p.AnyVersion = p.AnyVersion || c.odd(p)
		}
		c.own, c.declared = append(c.own, x), append(c.declared, d)
	}
	return nil
}

// odd reports whether the package has, elsewhere, a version that is not its
// source package's.
func (c *check) odd(p *solve.Package) bool {
	u := c.universe(false)
	return slices.ContainsFunc(u.Called(p.Name), func(q *solve.Package) bool { return q.Name == p.Name && q.Odd })
}

// declares makes packages of what a packaging says.
func (c *check) declares(part Part) (*solve.Index, []declared) {
	var packages []*solve.Package
	var list []declared
	for _, d := range part.Declares.Packages {
		t := c.Target
		if t.Format == job.RPM {
			packages = append(packages, rpmDeclared(d, part.Source, part.Version, t.Architecture, part.Origin))
			list = append(list, declared{d, t.Primary || !slices.Contains(d.Architectures, "noarch")})
			continue
		}
		if there, made := debBuilt(d, t.Architecture, t.Primary); there {
			packages = append(packages, debDeclared(d, part.Source, part.Version, t.Architecture, part.Origin))
			list = append(list, declared{d, made})
		}
	}
	if part.Declares.Loose {
		packages = append(packages, &solve.Package{Name: "more of " + part.Source, Source: part.Source, Origin: part.Origin, Open: true})
		list = append(list, declared{})
	}
	return solve.NewIndex(packages, nil), list
}

func (c *check) builds(part Part) bool {
	return c.Target.Format == job.RPM || slices.ContainsFunc(part.Declares.Packages, func(d source.Declared) bool {
		_, made := debBuilt(d, c.Target.Architecture, c.Target.Primary)
		return made
	})
}

func (c *check) buildOf(part Part) *solve.Package {
	if c.Target.Format == job.RPM {
		return rpmBuild(part.Declares, part.Source)
	}
	return debBuild(part.Declares, part.Source, c.Target.Architecture, c.Target.Primary)
}

// universe is what there is below the item, or with it. Of one source package
// the last in order counts, since it takes the place of the others when it lands.
func (c *check) universe(with bool) *solve.Universe {
	compare := deb.Compare
	if c.Target.Format == job.RPM {
		compare = rpm.Compare
	}
	later := map[string]bool{} // sources that are replaced
	first := names{}           // what comes before the base
	var layers []solve.Layer
	add := func(x *solve.Index, always bool) {
		gone := map[string]bool{}
		for s := range later {
			gone[s] = true
		}
		above := names{}
		for n, v := range first {
			if v.always {
				above[n] = v
			}
		}
		hides := func(p *solve.Package) bool {
			return gone[p.Source] || c.Target.Format == job.DEB && above.hides(p)
		}
		layers = append(layers, solve.Layer{Index: x, Hides: hides})
		for _, p := range x.Packages {
			if !hides(p) {
				first.add(p, always)
			}
		}
	}
	if with {
		for _, x := range c.own {
			add(x, true)
		}
		for _, part := range c.Own {
			later[part.Source] = true
		}
	}
	for i := len(c.ahead) - 1; i >= 0; i-- {
		add(c.ahead[i], true)
		later[c.Ahead[i].Source] = true
	}
	add(c.released, false)
	for _, x := range c.upstream {
		layer := solve.Layer{Index: x.Index}
		if c.Target.Format == job.DEB {
			layer.Hides = first.hides
		}
		layers = append(layers, layer)
	}
	u := solve.NewUniverse(c.Target.Name, compare, layers...)
	if c.Target.Format == job.RPM {
		u.Unversioned, u.Part = true, rpm.Part
	}
	return u
}

// goal finds what is wrong with installing one package, up to a few things.
func (c *check) goal(u *solve.Universe, own int, p *solve.Package, rule string) {
	for range maxPerPackage {
		why, ok := u.Solve(p)
		if ok {
			return
		}
		cause := why.Cause()
		f := job.Finding{Severity: "error", File: c.Own[own].Declares.File, Line: cause.Line, Message: why.String(), Rule: rule}
		if !slices.ContainsFunc(c.findings, func(g job.Finding) bool { return g.String() == f.String() }) {
			c.findings = append(c.findings, f)
		}
		if cause.Text == "" {
			return
		}
		p.Drop(cause)
	}
}

// broken finds what is installable before the item and not with it.
func (c *check) broken(ctx context.Context, before, after *solve.Universe) []job.Finding {
	var out []job.Finding
	for _, p := range c.dependants(before, after) {
		if ctx.Err() != nil || len(out) == maxBroken {
			return out
		}
		why, ok := after.Solve(p)
		if ok {
			continue
		}
		if _, was := before.Solve(p); !was {
			continue
		}
		part, line := c.blamed(why)
		out = append(out, job.Finding{Severity: "error", File: part.Declares.File, Line: line, Rule: RuleBreaks,
			Message: fmt.Sprintf("it breaks %s %s (%s): %s", p.Name, p.Version, p.Origin, why)})
	}
	return out
}

// blamed gives the place in the packaging that a broken package is about: of
// the source package that makes, or made, one of the names in it.
func (c *check) blamed(why *solve.Contradiction) (Part, int) {
	for _, name := range why.Names() {
		for i, part := range c.Own {
			for k, p := range c.own[i].Packages {
				if p.Name == name {
					return part, c.declared[i][k].Line
				}
			}
			for _, x := range append([]*solve.Index{c.released}, c.ahead...) {
				for _, p := range x.Called(name) {
					if p.Source == part.Source {
						return part, 1
					}
				}
			}
		}
	}
	return c.Own[0], 1
}

// dependants gives what is released or ahead and depends, over whatever steps,
// on a name that the item's source packages make or made: the nearest first.
func (c *check) dependants(before, after *solve.Universe) []*solve.Package {
	ours := map[*solve.Package]bool{}
	for _, x := range append([]*solve.Index{c.released}, c.ahead...) {
		for _, p := range x.Packages {
			ours[p] = true
		}
	}
	var queue []string
	asked := map[string]bool{}
	ask := func(p *solve.Package) {
		for _, n := range append([]string{p.Name}, provided(p)...) {
			if !asked[n] {
				asked[n] = true
				queue = append(queue, n)
			}
		}
	}
	own := map[string]bool{}
	for i, part := range c.Own {
		own[part.Source] = true
		for _, p := range c.own[i].Packages {
			ask(p)
		}
	}
	for _, x := range append([]*solve.Index{c.released}, c.ahead...) {
		for _, p := range x.Packages {
			if own[p.Source] {
				ask(p)
			}
		}
	}
	var out []*solve.Package
	seen := map[*solve.Package]bool{}
	for ; len(queue) > 0 && len(seen) < maxWalked && len(out) < maxDependants; queue = queue[1:] {
		for _, p := range after.Askers(queue[0]) {
			if seen[p] {
				continue
			}
			seen[p] = true
			if ours[p] {
				out = append(out, p)
			}
			ask(p)
		}
	}
	return out
}

func provided(p *solve.Package) []string {
	var out []string
	for _, v := range p.Provides {
		out = append(out, v.Name)
	}
	return out
}
