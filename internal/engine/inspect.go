package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"sluice/internal/blob"
	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/git"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/record"
	"sluice/internal/release"
	"sluice/internal/source"
)

// inspect reads what a change's merged tree says and adds its subjects. Two
// changes of one branch are one package: the tree of the last counts.
func (p *preparation) inspect(ctx context.Context, ref gate.Ref) error {
	if last := on(ref.Branch, p.buildset.Changes); last[len(last)-1].ID != ref.ID {
		return nil
	}
	branch := p.base.Branch(ref.Branch)
	project, err := git.ParseProject(ref.Branch.Project)
	if err != nil {
		return err
	}
	rule, ok := p.engine.Site.Project(project.Gerrit, project.Name, ref.Branch.Branch)
	if !ok {
		return nil
	}
	problems, err := p.engine.Git.CheckTree(ctx, project, branch.Tree)
	if err != nil {
		return err
	}
	for _, x := range problems {
		p.findings = append(p.findings, job.Finding{Severity: "error", File: x.Path, Message: x.Message, Rule: "policy:" + string(x.Kind)})
	}
	info, findings, err := p.engine.readSource(ctx, project, branch.Tree, rule.Packaging)
	if err != nil {
		return err
	}
	if f := info.File; f != nil && len(f.Targets) == 0 && len(p.engine.Site.TargetsOf(project.Gerrit, project.Name, ref.Branch.Branch)) == 0 {
		return nil // gated, and builds nothing
	}
	p.findings = append(p.findings, findings...)
	if info.File == nil || len(findings) > 0 || len(problems) > 0 {
		return nil
	}
	effective, err := config.Merge(p.engine.Site, project.Gerrit, project.Name, ref.Branch.Branch, info.File)
	var bad *config.Error
	if errors.As(err, &bad) {
		for _, b := range bad.Problems {
			p.findings = append(p.findings, job.Finding{Severity: "error", File: config.PackageFile, Line: b.Pos.Line, Message: b.Message, Rule: "package-file"})
		}
		return nil
	}
	if err != nil {
		return err
	}
	return p.addSubjects(ctx, ref, *branch, info, effective)
}

// addSubjects adds one subject per target that the package has packaging for.
func (p *preparation) addSubjects(ctx context.Context, ref gate.Ref, branch record.BranchBase, info source.Info, eff *config.Effective) error {
	e := p.engine
	change, err := e.Store.Change(ctx, ref.ID)
	if err != nil {
		return err
	}
	project, err := git.ParseProject(ref.Branch.Project)
	if err != nil {
		return err
	}
	archive, err := e.archive(ctx, project, branch.Tree)
	if err != nil {
		return err
	}
	src := job.Source{
		Archive: archive, Tree: branch.Tree, Project: ref.Branch.Project, Packaging: eff.Packaging,
		Date: change.AuthorDate.UTC().Truncate(time.Second), Maintainer: change.Author, Message: change.Message,
	}
	found := false
	for _, t := range eff.Targets {
		d, _ := e.Site.Dist(t.Dist)
		pk := info.For(d.Format)
		found = found || pk != nil
		if pk == nil || !t.Supported(e.Now()) {
			continue
		}
		s := plan.Subject{
			Subject: record.Subject{
				Package: pk.Name, Project: ref.Branch.Project, Target: t.Name(), Format: d.Format,
				Binaries: pk.Binaries, Asks: pk.Asks,
			},
			Target: target(t, d), Architectures: architectures(d, pk.Exclusive), Source: src,
			InstallTests: eff.Install, UpgradeTests: append(slices.Clone(eff.Install), eff.Upgrade...),
		}
		if d.Format == job.RPM {
			s.Source.Spec = pk.Path
		}
		if err := p.version(ctx, &s, pk, eff.Declared, d); err != nil {
			return err
		}
		if err := p.scenarios(ctx, &s, branch, project, eff); err != nil {
			return err
		}
		p.subjects = append(p.subjects, s)
		p.declares[pk.Name+" "+string(d.Format)] = pk.Declares
	}
	if !found && p.fatal() == nil {
		p.findings = append(p.findings, job.Finding{Severity: "error", Rule: "packaging", Message: fmt.Sprintf(
			"%s has no packaging for any of its targets (%s): debian/ is for deb, a .spec for rpm", ref.Branch.Project, targetNames(eff.Targets))})
	}
	return nil
}

func targetNames(ts []config.Target) string {
	var names []string
	for _, t := range ts {
		names = append(names, t.Name())
	}
	return strings.Join(names, ", ")
}

func target(t config.Target, d config.Dist) job.Target {
	return job.Target{Name: t.Name(), Release: t.Release, Dist: t.Dist, Format: d.Format, Codename: d.Codename, Macros: macros(d)}
}

func architectureNames(d config.Dist) []string {
	var names []string
	for _, a := range d.Architectures {
		names = append(names, a.Name)
	}
	return names
}

func macros(d config.Dist) map[string]string {
	if d.Format != job.RPM {
		return nil
	}
	m := map[string]string{}
	for k, v := range d.Macros {
		m[k] = v
	}
	if _, set := m["dist"]; !set && d.Suffix != "" {
		m["dist"] = d.Suffix
	}
	return m
}

func architectures(d config.Dist, exclusive []string) []plan.Architecture {
	var out []plan.Architecture
	for _, a := range d.Architectures {
		if len(exclusive) > 0 && !slices.Contains(exclusive, a.Name) && !slices.Contains(exclusive, "noarch") {
			continue
		}
		out = append(out, plan.Architecture{Name: a.Name, Voting: a.Voting, Primary: a.Name == d.Primary})
	}
	if len(out) == 0 { // the build says itself that it is not applicable
		for _, a := range d.Architectures {
			out = append(out, plan.Architecture{Name: a.Name, Voting: a.Voting, Primary: a.Name == d.Primary})
		}
	}
	return out
}

// version derives or checks the version, from what has landed and what stands ahead.
func (p *preparation) version(ctx context.Context, s *plan.Subject, pk *source.Packaging, declared bool, d config.Dist) error {
	repo := p.engine.firstChannel(s.Subject.Target)
	packages, err := p.engine.pinnedPackages(ctx, p.base, repo)
	if err != nil {
		return err
	}
	s.Released = map[string]string{}
	released := ""
	for _, k := range packages {
		if k.Kind == job.BinaryPackage && k.Source == s.Package && slices.Contains(pk.Binaries, k.Name) {
			s.Released[k.Name], released = k.Version, k.SourceVersion
			if d.Format == job.RPM {
				released = k.Version // the source RPM's name says no epoch
			}
		}
	}
	versions, err := p.engine.Store.SourceVersions(ctx, repo, s.Package)
	if err != nil {
		return err
	}
	format, cmp := release.Format(d.Format), source.Compare(d.Format)
	for _, b := range slices.Concat(p.ahead, p.beside) {
		for _, a := range b.Packages {
			if a.Package == s.Package && a.Target == s.Subject.Target {
				versions = append(versions, a.Version)
			}
		}
	}
	if declared {
		s.Version = job.Version{Declared: true, Full: pk.Version}
		for _, v := range append(versions, released) {
			if v == "" {
				continue
			}
			if err := release.CheckDeclared(s.Package, pk.Version, withoutDist(v, d), cmp); err != nil {
				p.findings = append(p.findings, job.Finding{Severity: "error", File: versionFile(pk, d.Format), Line: 1, Message: err.Error(), Rule: "version"})
				break
			}
		}
	} else {
		for i := range versions {
			versions[i] = comparable(versions[i], d)
		}
		derived, err := release.DeriveVersion(release.Derivation{
			Format: format, Tree: pk.Version, Count: release.NextCount(format, comparable(pk.Version, d), versions), Suffix: strings.TrimLeft(d.Suffix, "~."),
		})
		if err != nil {
			p.findings = append(p.findings, job.Finding{Severity: "error", File: versionFile(pk, d.Format), Line: 1, Message: err.Error(), Rule: "version"})
			return nil
		}
		s.Version = job.Version{Full: derived.Full, Release: derived.Release}
	}
	s.Subject.Version, s.Subject.Upstream = s.Version.Full, pk.Version
	return nil
}

// withoutDist takes the dist tag off an RPM version.
func withoutDist(v string, d config.Dist) string {
	if d.Format == job.RPM {
		return strings.TrimSuffix(v, macros(d)["dist"])
	}
	return v
}

// comparable takes off an RPM version what a source RPM's name does not say or
// the tree does not have: epoch and dist tag.
func comparable(v string, d config.Dist) string {
	if d.Format != job.RPM {
		return v
	}
	if _, rest, found := strings.Cut(v, ":"); found {
		v = rest
	}
	return withoutDist(v, d)
}

func versionFile(pk *source.Packaging, f job.Format) string {
	if f == job.RPM {
		return pk.Path
	}
	return path.Join(pk.Path, "changelog")
}

// scenarios adds the system tests of a subject, with the text of their scripts.
func (p *preparation) scenarios(ctx context.Context, s *plan.Subject, branch record.BranchBase, project git.Project, eff *config.Effective) error {
	for _, c := range eff.ScenariosOn(s.Subject.Target, s.Package) {
		var text []byte
		var err error
		switch {
		case c.Own:
			text, err = p.engine.Git.ReadFile(ctx, project, branch.Tree, c.Script, 1<<20)
		case c.Project != "":
			text, err = p.siteScript(ctx, project.Gerrit, c)
		default:
			text, err = os.ReadFile(c.Script)
		}
		if errors.Is(err, git.ErrNotFound) {
			p.findings = append(p.findings, job.Finding{Severity: "error", File: config.PackageFile, Rule: "package-file",
				Message: fmt.Sprintf("the script %s of the scenario %s is not there", c.Script, c.Name)})
			continue
		}
		if err != nil {
			return fmt.Errorf("script of the scenario %s: %w", c.Name, err)
		}
		if c.Own {
			s.Own = append(s.Own, c.Name)
		}
		s.Scenarios = append(s.Scenarios, job.Scenario{Name: c.Name, Nodes: c.Nodes, Script: string(text), Path: c.Script})
	}
	return nil
}

func (p *preparation) siteScript(ctx context.Context, gerritName string, c config.EffectiveScenario) ([]byte, error) {
	project := git.Project{Gerrit: gerritName, Name: c.Project}
	tip, err := p.engine.fetchBranch(ctx, project, gate.Branch{Project: project.String(), Branch: c.Branch})
	if err != nil {
		return nil, err
	}
	return p.engine.Git.ReadFile(ctx, project, tip, c.Script, 1<<20)
}

// archive stores a tree as a deterministic tar, once.
func (e *Engine) archive(ctx context.Context, project git.Project, tree string) (job.Digest, error) {
	if d, ok := e.archives.Load(tree); ok {
		if _, err := e.Blobs.Stat(ctx, blob.Digest(d.(job.Digest))); err == nil {
			return d.(job.Digest), nil
		}
	}
	r, err := e.Git.Archive(ctx, project, tree, "", time.Unix(0, 0))
	if err != nil {
		return "", fmt.Errorf("archive of %s: %w", project, err)
	}
	defer r.Close()
	d, _, err := e.Blobs.Put(ctx, r, "")
	if err != nil {
		return "", fmt.Errorf("store the source of %s: %w", project, err)
	}
	e.archives.Store(tree, job.Digest(d))
	return job.Digest(d), nil
}

// gitTree shows a tree of the mirror to package source.
type gitTree struct {
	git     Git
	project git.Project
	tree    string
}

// ReadFile gives a file of the tree.
func (t gitTree) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, err := t.git.ReadFile(ctx, t.project, t.tree, name, limit)
	if errors.Is(err, git.ErrNotFound) {
		return nil, source.ErrNoFile
	}
	return b, err
}

// List names the entries of a folder: git lists all that is below it.
func (t gitTree) List(ctx context.Context, folder string) ([]string, error) {
	files, err := t.git.ListFiles(ctx, t.project, t.tree, folder)
	if errors.Is(err, git.ErrNotFound) {
		return nil, nil
	}
	prefix := folder + "/"
	if folder == "." || folder == "" {
		prefix = ""
	}
	var names []string
	for _, f := range files {
		name, below, deeper := strings.Cut(strings.TrimPrefix(f.Path, prefix), "/")
		if deeper && below != "" || f.Mode == git.ModeTree {
			name += "/"
		}
		if len(names) == 0 || names[len(names)-1] != name { // git's order puts what is below one folder together
			names = append(names, name)
		}
	}
	return names, err
}

// firstChannel names the repository into which the gate publishes.
func (e *Engine) firstChannel(target string) string { return target + "/" + e.Site.Channels[0].Name }

// pinnedPackages gives what a base's publication of a repository holds: a
// later one, which may be there by now, is not what the jobs will read (G6).
func (e *Engine) pinnedPackages(ctx context.Context, base record.Base, repo string) ([]record.Package, error) {
	id, ok := base.Publications[repo]
	if !ok {
		return nil, nil
	}
	publication, err := e.Store.Publication(ctx, id)
	if err != nil {
		return nil, err
	}
	return e.Store.Packages(ctx, repo, publication.Serial)
}
