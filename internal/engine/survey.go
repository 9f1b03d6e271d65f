package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/git"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/record"
	"sluice/internal/source"
)

// inLanes reports whether a queue has lanes.
func (e *Engine) inLanes(queue string) bool {
	q, _ := e.Site.QueueNamed(queue)
	return q.Lanes
}

// survey finds out what a change of a queue with lanes makes and reads, from the
// tree of its patch set, once. What cannot be read stays unknown, and touches
// everything; its merge is looked at again.
func (e *Engine) survey(ctx context.Context, c record.Change) {
	if c.Status != gate.Open || !e.inLanes(c.Queue) {
		return
	}
	err := func() error {
		known, err := e.Store.ClosureRevisions(ctx, []string{string(c.ID)})
		if err != nil || len(known) > 0 && known[0].PatchSet == c.PatchSet {
			return err
		}
		project := git.Project{Gerrit: c.Gerrit, Name: c.Project}
		if err := e.have(ctx, project, c.Branch, c.FetchRef, c.Revision); err != nil {
			return err
		}
		tree, err := e.tree(ctx, project, c.Revision)
		if err != nil {
			return err
		}
		return e.surveyTree(ctx, gate.Ref{ID: c.ID, PatchSet: c.PatchSet, Branch: c.Facts.Branch}, tree)
	}()
	if err != nil && ctx.Err() == nil {
		e.Log.Warn("what a change can affect is not known yet: it stands in every lane", "change", c.ID, "error", err)
	}
}

// survey looks at the merged trees of a buildset's changes: a merge may ask for more.
func (p *preparation) survey(ctx context.Context) error {
	if !p.engine.inLanes(p.buildset.Queue) {
		return nil
	}
	for _, r := range p.buildset.Changes {
		if b := p.base.Branch(r.Branch); b != nil {
			if err := p.engine.surveyTree(ctx, r, b.Tree); err != nil {
				return err
			}
		}
	}
	return nil
}

// surveyTree notes what a tree says.
func (e *Engine) surveyTree(ctx context.Context, ref gate.Ref, tree string) error {
	project, err := git.ParseProject(ref.Branch.Project)
	if err != nil {
		return err
	}
	n := closureNames{}
	for _, s := range e.Site.Scenarios {
		if s.Project == project.Name && s.Branch == ref.Branch.Branch {
			n.makes("scenario " + s.Name)
		}
	}
	rule, ok := e.Site.Project(project.Gerrit, project.Name, ref.Branch.Branch)
	if !ok {
		return e.Store.Widen(ctx, ref.ID, ref.PatchSet, n.provides(), n.needs())
	}
	info, findings, err := e.readSource(ctx, project, tree, rule.Packaging)
	if err != nil {
		return err
	}
	if f := info.File; f != nil && len(f.Targets) == 0 && len(e.Site.TargetsOf(project.Gerrit, project.Name, ref.Branch.Branch)) == 0 {
		return e.Store.Widen(ctx, ref.ID, ref.PatchSet, n.provides(), n.needs()) // gated, and builds nothing
	}
	if info.File == nil || len(findings) > 0 {
		return nil
	}
	eff, err := config.Merge(e.Site, project.Gerrit, project.Name, ref.Branch.Branch, info.File)
	var bad *config.Error
	if errors.As(err, &bad) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, t := range eff.Targets {
		d, _ := e.Site.Dist(t.Dist)
		pk := info.For(d.Format)
		if pk == nil || !t.Supported(e.Now()) {
			continue
		}
		n.packaging(t.Name(), *pk)
		n.reads("root " + d.Name)
		if err := e.surveyScenarios(ctx, n, t.Name(), pk.Name, inTree{project, tree}, eff); err != nil {
			return err
		}
	}
	return e.Store.Widen(ctx, ref.ID, ref.PatchSet, n.provides(), n.needs())
}

// surveyScenarios notes a package's scenarios, what their nodes install, and
// what their scripts mention: a word that is no package's name joins nothing.
func (e *Engine) surveyScenarios(ctx context.Context, n closureNames, target, pkg string, in inTree, eff *config.Effective) error {
	s := plan.Subject{Subject: record.Subject{Package: pkg, Target: target}}
	p := &preparation{engine: e}
	if err := p.scenarios(ctx, &s, record.BranchBase{Tree: in.tree}, in.project, eff); err != nil {
		return err
	}
	for _, c := range s.Scenarios {
		n.reads("scenario " + c.Name)
		for _, node := range c.Nodes {
			n.readsOf(target, node.Install)
		}
		n.readsOf(target, packageWord.FindAllString(c.Script, -1))
	}
	return nil
}

var packageWord = regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9+._-]*[A-Za-z0-9+]`)

// widen notes what a job was served and has built.
func (e *Engine) widen(ctx context.Context, j record.Job, res job.Result, packages map[string]*record.PackageInfo) error {
	if j.Buildset == nil {
		return nil
	}
	b, err := e.Store.Buildset(ctx, *j.Buildset)
	if err != nil || !e.inLanes(b.Queue) {
		return err
	}
	n := closureNames{}
	n.readsOf(j.Target, slices.Collect(maps.Keys(res.Trace.Served)))
	n.readsOf(j.Target, res.Trace.Asked)
	for _, k := range packages {
		n.makesOf(j.Target, append(k.Provides, k.Name))
		n.readsOf(j.Target, k.Asks)
	}
	for _, r := range b.Changes {
		if err := e.Store.Widen(ctx, r.ID, r.PatchSet, n.provides(), n.needs()); err != nil {
			return err
		}
	}
	return nil
}

// widenReused is the same for a result that stands for a job.
func (e *Engine) widenReused(ctx context.Context, b record.Buildset, j record.Job, from record.Job) error {
	if !e.inLanes(b.Queue) {
		return nil
	}
	artifacts, err := e.Store.Artifacts(ctx, from.ID)
	if err != nil {
		return err
	}
	packages := map[string]*record.PackageInfo{}
	for _, a := range artifacts {
		if a.Package != nil {
			packages[a.Name] = a.Package
		}
	}
	return e.widen(ctx, j, *from.Result, packages)
}

// closureNames gathers the names of a closure: true for what is made.
type closureNames map[string]bool

func (n closureNames) makes(name string) { n[name] = true }

func (n closureNames) reads(name string) {
	if !n[name] {
		n[name] = false
	}
}

func (n closureNames) makesOf(target string, names []string) {
	for _, name := range names {
		n.makes(target + " " + name)
	}
}

func (n closureNames) readsOf(target string, names []string) {
	for _, name := range names {
		n.reads(target + " " + name)
	}
}

// packaging notes what a package's packaging declares. Of a relation all words
// are taken: one that names nothing joins nothing.
func (n closureNames) packaging(target string, pk source.Packaging) {
	n.makes(fmt.Sprintf("%s source %s", target, pk.Name))
	n.makesOf(target, pk.Binaries)
	n.readsOf(target, pk.Asks)
	entries := slices.Clone(pk.Declares.Build)
	for _, d := range pk.Declares.Packages {
		n.makes(target + " " + d.Name)
		entries = append(entries, d.Entries...)
	}
	for _, entry := range entries {
		for _, word := range strings.FieldsFunc(entry.Text, func(r rune) bool { return strings.ContainsRune(" \t\n,|", r) }) {
			name, _, _ := strings.Cut(word, ":")
			if entry.Field == "Provides" {
				n.makes(target + " " + name)
			} else {
				n.reads(target + " " + name)
			}
		}
	}
}

func (n closureNames) provides() []string { return n.list(true) }
func (n closureNames) needs() []string    { return n.list(false) }

func (n closureNames) list(made bool) []string {
	var out []string
	for name, m := range n {
		if m == made {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// inTree is a tree of a project.
type inTree struct {
	project git.Project
	tree    string
}
