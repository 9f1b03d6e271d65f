// Package plan decides, purely, which jobs a buildset is made of, in which
// order they can run, and when a result that is there already can stand for a
// job (reuse by what was read).
//
// A subject is one package on one target. Its stages follow one another as
//
//	build ─► lint
//	build ─► publish ─► install, upgrade, systest (in parallel)
//
// where publish and systest are one job per target for all packages of the
// item, since they are tested together (R23), and the others are one per
// package and architecture.
package plan

import (
	"fmt"
	"slices"
	"sort"

	"sluice/internal/job"
	"sluice/internal/record"
)

// Rules are what a site sets for a stage.
type Rules struct {
	Voting      bool
	MaxAttempts int
	Limits      job.Limits
}

// Architecture is one that a target is built for.
type Architecture struct {
	Name    string
	Voting  bool
	Primary bool
}

// Subject is one package on one target, with all that its jobs are told.
type Subject struct {
	record.Subject
	Target        job.Target // Architecture and Primary are filled in per job
	Architectures []Architecture
	Source        job.Source
	Version       job.Version
	InstallTests  []string
	UpgradeTests  []string
	Scenarios     []job.Scenario
	// Own are the names of those scenarios that are the package's own: another
	// package's of the same name is another scenario.
	Own []string
	// Released maps the names of its binary packages to the version released now.
	Released map[string]string
	// NeedsAhead are the publish jobs of buildsets ahead that its build may read (G10).
	NeedsAhead []int64
}

// Request is what is to be planned.
type Request struct {
	Subjects []Subject
	Stages   []job.Stage
	// Deferred are the stages that run once per batch: their jobs are planned as such.
	Deferred []job.Stage
	Rules    map[job.Stage]Rules
	Priority int
	// Roots gives the job that makes a root: kind is "build", "install" or "node".
	Roots func(target job.Target, kind string) int64
}

// Jobs plans the jobs of a buildset. A job stands after all that it needs.
func Jobs(r Request) []record.NewJob {
	p := planner{Request: r}
	for _, target := range p.targets() {
		p.target(target)
	}
	return p.jobs
}

type planner struct {
	Request
	jobs []record.NewJob
}

func (p *planner) has(s job.Stage) bool { return slices.Contains(p.Stages, s) }

// targets groups the subjects by target, in the order of their first mention.
func (p *planner) targets() [][]Subject {
	var names []string
	groups := map[string][]Subject{}
	for _, s := range p.Subjects {
		if _, seen := groups[s.Target.Name]; !seen {
			names = append(names, s.Target.Name)
		}
		groups[s.Target.Name] = append(groups[s.Target.Name], s)
	}
	var out [][]Subject
	for _, n := range names {
		out = append(out, groups[n])
	}
	return out
}

func (p *planner) target(subjects []Subject) {
	if !p.has(job.StageBuild) {
		return
	}
	var builds []string
	var ahead []int64
	for _, s := range subjects {
		for _, a := range s.Architectures {
			b := p.build(s, a)
			builds = append(builds, b)
			if p.has(job.StageLint) && a.Primary {
				p.lint(s, a, b)
			}
		}
		ahead = append(ahead, s.NeedsAhead...)
	}
	if !p.has(job.StagePublish) {
		return
	}
	publish := p.publish(subjects[0], builds)
	for _, s := range subjects {
		for _, a := range s.Architectures {
			p.installs(s, a, publish)
		}
	}
	p.systests(subjects, publish, ahead)
}

// add plans one job and gives its name, which is unique in the buildset.
func (p *planner) add(stage job.Stage, subject string, s Subject, a Architecture, change func(*record.NewJob)) string {
	rules := p.Rules[stage]
	target := s.Target
	target.Architecture, target.Primary = a.Name, a.Primary
	j := record.NewJob{
		Name:         fmt.Sprintf("%s %s %s %s", stage, subject, target.Name, a.Name),
		Stage:        stage,
		Package:      subject,
		Target:       target.Name,
		Architecture: a.Name,
		Voting:       rules.Voting && a.Voting,
		Priority:     p.Priority,
		MaxAttempts:  rules.MaxAttempts,
		Labels:       []string{string(target.Format)},
		Deferred:     slices.Contains(p.Deferred, stage),
	}
	j.Spec = job.Spec{Stage: stage, Name: j.Name, Package: subject, Target: target, Limits: rules.Limits}
	change(&j)
	p.jobs = append(p.jobs, j)
	return j.Name
}

func (p *planner) build(s Subject, a Architecture) string {
	return p.add(job.StageBuild, s.Package, s, a, func(j *record.NewJob) {
		source, version := s.Source, s.Version
		j.Spec.Source, j.Spec.Version = &source, &version
		j.NeedsAhead = s.NeedsAhead
		j.NeedsRoots = []int64{p.Roots(j.Spec.Target, "build")}
	})
}

func (p *planner) lint(s Subject, a Architecture, build string) {
	p.add(job.StageLint, s.Package, s, a, func(j *record.NewJob) {
		source := s.Source
		j.Spec.Source = &source
		j.Needs = []string{build}
		j.NeedsRoots = []int64{p.Roots(j.Spec.Target, "build")}
	})
}

// publish is one job per target: the test repository of all its packages.
func (p *planner) publish(s Subject, builds []string) string {
	primary := s.Architectures[0]
	for _, a := range s.Architectures {
		if a.Primary {
			primary = a
		}
	}
	return p.add(job.StagePublish, "all", s, primary, func(j *record.NewJob) { j.Needs = builds })
}

func (p *planner) installs(s Subject, a Architecture, publish string) {
	plan := func(stage job.Stage, tests []string) {
		p.add(stage, s.Package, s, a, func(j *record.NewJob) {
			source := s.Source
			j.Spec.Source, j.Spec.Scripts, j.Spec.Released = &source, tests, s.Released
			j.Needs = []string{publish}
			j.NeedsAhead = s.NeedsAhead
			j.NeedsRoots = []int64{p.Roots(j.Spec.Target, "install")}
		})
	}
	if p.has(job.StageInstall) {
		plan(job.StageInstall, s.InstallTests)
	}
	if p.has(job.StageUpgrade) && len(s.Released) > 0 {
		plan(job.StageUpgrade, s.UpgradeTests)
	}
}

// systests are one job per scenario and target, on all packages of the item.
func (p *planner) systests(subjects []Subject, publish string, ahead []int64) {
	if !p.has(job.StageSystest) {
		return
	}
	seen := map[string]bool{}
	for _, s := range subjects {
		for _, scenario := range s.Scenarios {
			name := scenario.Name
			if slices.Contains(s.Own, name) {
				name = s.Package + "/" + name
			}
			if seen[name] {
				continue
			}
			seen[name] = true
			p.systest(name, s, scenario, publish, ahead)
		}
	}
}

func (p *planner) systest(name string, s Subject, scenario job.Scenario, publish string, ahead []int64) {
	primary := s.Architectures[0]
	for _, a := range s.Architectures {
		if a.Primary {
			primary = a
		}
	}
	p.add(job.StageSystest, name, s, primary, func(j *record.NewJob) {
		source := s.Source
		j.Spec.Source, j.Spec.Scenario = &source, &scenario
		j.Labels = append(j.Labels, "nspawn")
		j.Needs = []string{publish}
		j.NeedsAhead = slices.Compact(sorted(ahead))
		j.NeedsRoots = []int64{p.Roots(j.Spec.Target, "node")}
	})
}

func sorted(ids []int64) []int64 {
	out := slices.Clone(ids)
	sort.Slice(out, func(i, k int) bool { return out[i] < out[k] })
	return out
}
