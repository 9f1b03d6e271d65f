package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/git"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/record"
	"sluice/internal/source"
	"sluice/internal/universe"
)

// Solver says what of an item's dependencies cannot be satisfied.
type Solver interface {
	Check(ctx context.Context, q universe.Question) ([]job.Finding, error)
	// Warm reads an index before it is asked for.
	Warm(ctx context.Context, r job.Repository, architecture string) error
	// Asks gives, by each name that a repository's packages are called by, the
	// names that their relations mention.
	Asks(ctx context.Context, r job.Repository, architecture string) (map[string][]string, error)
}

// WarmIndices reads the base distributions' indices, so that no change waits for them.
func (e *Engine) WarmIndices(ctx context.Context) {
	if e.Solver == nil || !e.Site.Stages.Solve.Enabled {
		return
	}
	for _, d := range e.Site.Dists {
		for _, a := range d.Architectures {
			repos, err := e.upstreams(d, a.Name)
			for i := 0; i < len(repos) && err == nil; i++ {
				err = e.Solver.Warm(ctx, repos[i], a.Name)
			}
			if err != nil && ctx.Err() == nil {
				e.Log.Info("the indices of a base distribution are out of reach: dependencies are not checked before a build", "dist", d.Name, "error", err)
			}
		}
	}
}

// solve checks, before anything is built, that what the item's packages need
// is there: in the base distribution, in the released repository at the pinned
// publication, in what stands ahead, and in the item itself. Where something
// that it has to know is out of reach, it is silent, and the stages decide.
func (p *preparation) solve(ctx context.Context) error {
	e := p.engine
	rules := e.Site.Stages.Solve
	if e.Solver == nil || !rules.Enabled || p.fatal() != nil || !slices.Contains(p.pipeline().Stages, job.StageBuild) {
		return nil
	}
	if p.untold {
		return nil // they may bring what is missing
	}
	within, cancel := context.WithTimeout(ctx, rules.Timeout.D())
	defer cancel()
	begun := time.Now()
	for _, q := range p.questions() {
		found, err := p.ask(within, q)
		if err == nil {
			err = p.excuse(within, q, found)
		}
		if err != nil {
			e.Log.Info("dependencies are not checked before the build", "buildset", p.buildset.ID, "target", q.target.Name, "architecture", q.architecture, "error", err)
			continue
		}
		for _, f := range found {
			if !rules.Voting || !q.voting {
				f.Severity = "warning"
			}
			if !slices.ContainsFunc(p.findings, func(g job.Finding) bool { return g.String() == f.String() }) {
				p.findings = append(p.findings, f)
			}
		}
	}
	e.Log.Debug("dependencies checked", "buildset", p.buildset.ID, "findings", len(p.findings), "elapsed", time.Since(begun))
	return ctx.Err()
}

// question is a target and an architecture of an item.
type question struct {
	target       job.Target
	architecture string
	primary      bool
	voting       bool
}

func (p *preparation) questions() []question {
	var out []question
	for _, s := range p.subjects {
		for _, a := range s.Architectures {
			q := question{s.Target, a.Name, a.Primary, a.Voting}
			if !slices.ContainsFunc(out, func(o question) bool { return o.target.Name == q.target.Name && o.architecture == q.architecture }) {
				out = append(out, q)
			}
		}
	}
	return out
}

// ask puts together what there is for one target and architecture.
func (p *preparation) ask(ctx context.Context, q question) ([]job.Finding, error) {
	e := p.engine
	d, _ := e.Site.Dist(q.target.Dist)
	for _, r := range []config.Root{d.Roots.Build, d.Roots.Install} {
		if r.Method == "script" {
			return nil, errors.New("a root of the dist is made by a script, so nobody knows what is in it")
		}
	}
	u := universe.Question{Target: q.target}
	u.Target.Architecture, u.Target.Primary = q.architecture, q.primary
	var err error
	if u.Upstream, err = e.upstreams(d, q.architecture); err != nil {
		return nil, err
	}
	if id, ok := p.base.Publications[e.firstChannel(q.target.Name)]; ok {
		r := e.repository(d.Format, d.Codename, job.Released, "released", fmt.Sprintf("/publication/%d/", id), "")
		u.Released = &r
	}
	for _, id := range p.base.Ahead {
		parts, err := e.partsAhead(ctx, id, q.target.Name, d)
		if err != nil {
			return nil, err
		}
		u.Ahead = append(u.Ahead, parts...)
	}
	for _, s := range p.subjects {
		if s.Target.Name == q.target.Name && slices.ContainsFunc(s.Architectures, func(a plan.Architecture) bool { return a.Name == q.architecture }) {
			u.Own = append(u.Own, universe.Part{
				Source: s.Package, Version: built(s.Version.Full, d), Origin: "this change", Declares: p.declares[s.Package+" "+string(d.Format)],
			})
		}
	}
	return e.Solver.Check(ctx, u)
}

// built is a version as the packages have it: an RPM's release ends with the dist tag.
func built(version string, d config.Dist) string { return version + macros(d)["dist"] }

// partsAhead gives what a buildset ahead adds to a target: its test repository,
// or, before there is one, what its packaging declares.
func (e *Engine) partsAhead(ctx context.Context, id int64, target string, d config.Dist) ([]universe.Part, error) {
	b, err := e.Store.Buildset(ctx, id)
	if err != nil {
		return nil, err
	}
	origin := "ahead"
	if len(b.Changes) > 0 && !e.restricted(ctx, b.Changes[0]) {
		origin = fmt.Sprintf("change %d, ahead", b.Changes[0].Number)
	}
	var parts []universe.Part
	for _, s := range b.Packages {
		if s.Target == target {
			parts = append(parts, universe.Part{Source: s.Package, Version: built(s.Version, d), Origin: origin})
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	t, err := e.Store.TestRepository(ctx, id, target)
	if err == nil { // one repository of them all
		r := e.repository(d.Format, d.Codename, job.Ahead, fmt.Sprintf("buildset-%d", id), t.Path(), "")
		parts[0].Repository = &r
		return parts[:1], nil
	}
	if !errors.Is(err, record.ErrNotFound) {
		return nil, err
	}
	for i := range parts {
		if parts[i].Declares, err = e.declaresOf(ctx, b, parts[i].Source, d.Format); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// restricted: in doubt it is.
func (e *Engine) restricted(ctx context.Context, r gate.Ref) bool {
	c, err := e.Store.Change(ctx, r.ID)
	return err != nil || c.Facts.Restricted
}

// declaresOf reads what a package of a buildset declares, in its merged tree.
func (e *Engine) declaresOf(ctx context.Context, b record.Buildset, name string, f job.Format) (source.Declares, error) {
	for _, branch := range b.Base.Branches {
		project, err := git.ParseProject(branch.Branch.Project)
		if err != nil {
			return source.Declares{}, err
		}
		rule, ok := e.Site.Project(project.Gerrit, project.Name, branch.Branch.Branch)
		if !ok {
			continue
		}
		info, _, err := e.readSource(ctx, project, branch.Tree, rule.Packaging)
		if err != nil {
			return source.Declares{}, err
		}
		if pk := info.For(f); pk != nil && pk.Name == name {
			return pk.Declares, nil
		}
	}
	return source.Declares{}, fmt.Errorf("the packaging of %s in buildset %d is not found", name, b.ID)
}

// sources remembers what trees say: the next in a queue reads those ahead of it again.
type sources struct {
	mu   sync.Mutex // guards read
	read map[string]readSource
}

type readSource struct {
	info     source.Info
	findings []job.Finding
}

// maxSources is how many trees are remembered.
const maxSources = 256

// readSource reads what a tree says of its packages, once.
func (e *Engine) readSource(ctx context.Context, project git.Project, tree, folder string) (source.Info, []job.Finding, error) {
	key := project.String() + " " + tree + " " + folder
	s := &e.sources
	s.mu.Lock()
	known, ok := s.read[key]
	s.mu.Unlock()
	if ok {
		return known.info, known.findings, nil
	}
	info, findings, err := source.Read(ctx, gitTree{e.Git, project, tree}, folder)
	if err != nil {
		return info, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read == nil || len(s.read) >= maxSources {
		s.read = map[string]readSource{}
	}
	s.read[key] = readSource{info, slices.Clip(findings)}
	return info, findings, nil
}
