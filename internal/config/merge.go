package config

import (
	"fmt"
	"slices"

	"sluice/internal/job"
)

// Effective is what counts for one package on one branch of one project: what
// the site demands, and what the package file adds.
type Effective struct {
	Rule Project // the site's rule that matched
	// Package is the name that the package file says; "": it is read from
	// debian/control or the spec.
	Package   string
	Packaging string // folder that holds debian/ or the spec, "." at least
	Spec      string // path of the spec in the tree; "": the one in Packaging
	Declared  bool   // the version is the tree's own, and not derived
	// Targets are the site's, then those that the package file adds; disabled
	// ones are among them (see Target.Supported).
	Targets  []Target
	Install  []string // test scripts in the tree, run after an installation
	Upgrade  []string // test scripts in the tree, run after an upgrade
	Parallel int      // compilers at once; 0: as the worker has processors
	// Scenarios are the site's that name this package or all, then the package's own.
	Scenarios []EffectiveScenario
}

// EffectiveScenario is a system test and where its script comes from.
type EffectiveScenario struct {
	Name     string
	Targets  []string // globs
	Packages []string // globs of source packages; nil for a package's own
	Nodes    []job.Node
	// Script is a path: in the tree under test (Own), in Project at Branch, or
	// else on the service's machine.
	Script          string
	Own             bool
	Project, Branch string
}

// On reports whether the scenario runs for a source package on a target.
func (e EffectiveScenario) On(target, pkg string) bool {
	matches := func(name string) func(string) bool {
		return func(glob string) bool { return Glob(glob, name) }
	}
	return slices.ContainsFunc(e.Targets, matches(target)) && (e.Own || slices.ContainsFunc(e.Packages, matches(pkg)))
}

// ScenariosOn returns the scenarios that run for a source package on a target.
func (e *Effective) ScenariosOn(target, pkg string) []EffectiveScenario {
	var out []EffectiveScenario
	for _, s := range e.Scenarios {
		if s.On(target, pkg) {
			out = append(out, s)
		}
	}
	return out
}

// Merge adds a package file to what the site demands of a branch of a
// project; pkg is nil where there is no such file. A package file adds and
// never takes away: where it would replace something of the site's, or names
// what the site does not have, Merge fails with an *Error that names the
// file and the line. It fails with ErrNotGated where no rule matches.
func Merge(site *Site, gerrit, project, branch string, pkg *Package) (*Effective, error) {
	rule, ok := site.Project(gerrit, project, branch)
	if !ok {
		return nil, fmt.Errorf("project %s, branch %s on Gerrit %s: %w", project, branch, gerrit, ErrNotGated)
	}
	e := &Effective{Rule: rule, Packaging: rule.Packaging, Targets: site.TargetsOf(gerrit, project, branch)}
	for _, s := range site.Scenarios {
		e.Scenarios = append(e.Scenarios, EffectiveScenario{
			Name: s.Name, Targets: s.Targets, Packages: s.Packages, Nodes: nodes(s.Nodes),
			Script: s.Script, Project: s.Project, Branch: s.Branch,
		})
	}
	if pkg != nil {
		if err := e.add(site, pkg); err != nil {
			return nil, err
		}
	}
	if e.Packaging == "" {
		e.Packaging = "."
	}
	return e, nil
}

func (e *Effective) add(site *Site, pkg *Package) error {
	// The package was sound when it was read; what Merge finds is told apart.
	src := &source{name: pkg.source.name, lines: pkg.source.lines, at: pkg.source.at}
	e.Package, e.Spec, e.Declared = pkg.Package, pkg.Spec, pkg.Version == Declared
	e.Install, e.Upgrade, e.Parallel = pkg.Tests.Install, pkg.Tests.Upgrade, pkg.Build.Parallel
	if e.Packaging == "" {
		e.Packaging = pkg.Packaging
	} else if pkg.Packaging != "" && pkg.Packaging != e.Packaging {
		src.fail("packaging", "packaging is %q, but %s sets it to %q for this project; remove the line", pkg.Packaging, site.Name(), e.Packaging)
	}
	e.addTargets(site, pkg, src)
	e.addScenarios(site, pkg, src)
	return src.err()
}

func (e *Effective) addTargets(site *Site, pkg *Package, src *source) {
	var names []string
	for _, t := range site.Targets {
		names = append(names, t.Name())
	}
	for i, name := range pkg.Targets {
		t, ok := site.Target(name)
		if !ok {
			src.fail(fmt.Sprintf("targets[%d]", i), "there is no target %q in %s; %s", name, site.Name(), instead(name, names))
			continue
		}
		if !slices.ContainsFunc(e.Targets, func(have Target) bool { return have.Name() == name }) {
			e.Targets = append(e.Targets, t)
		}
	}
}

func (e *Effective) addScenarios(site *Site, pkg *Package, src *source) {
	for i, s := range pkg.Scenarios {
		path := fmt.Sprintf("scenarios[%d]", i)
		if slices.ContainsFunc(site.Scenarios, func(have Scenario) bool { return have.Name == s.Name }) {
			src.fail(path+".name", "%s has a scenario %q already, which a package file cannot replace; choose another name", site.Name(), s.Name)
			continue
		}
		for j, glob := range s.Targets {
			if !slices.ContainsFunc(e.Targets, func(t Target) bool { return Glob(glob, t.Name()) }) {
				var names []string
				for _, t := range e.Targets {
					names = append(names, t.Name())
				}
				src.fail(fmt.Sprintf("%s.targets[%d]", path, j), "no target of this package matches %q; %s", glob, instead(glob, names))
			}
		}
		e.Scenarios = append(e.Scenarios, EffectiveScenario{
			Name: s.Name, Targets: s.Targets, Nodes: nodes(s.Nodes), Script: s.Script, Own: true,
		})
	}
}

func nodes(list []Node) []job.Node {
	out := make([]job.Node, len(list))
	for i, n := range list {
		out[i] = job.Node{Name: n.Name, Install: n.Install}
	}
	return out
}
