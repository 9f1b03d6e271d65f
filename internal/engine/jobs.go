package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"sluice/internal/blob"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/record"
	"sluice/internal/universe"
)

// startJobs lets those jobs of a buildset run that wait for nothing any more.
// Each gets its inputs now: the root, the repositories, the packages that
// earlier stages made. A job whose result is known already is given that.
func (e *Engine) startJobs(ctx context.Context, buildset int64) error {
	b, err := e.Store.Buildset(ctx, buildset)
	if err != nil {
		return err
	}
	if b.State != "testing" {
		return nil
	}
	if anew, err := e.lookBelow(ctx, b); anew || err != nil {
		return err
	}
	jobs, err := e.Store.Startable(ctx, buildset)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := e.startJob(ctx, b, j); err != nil {
			return fmt.Errorf("start %s of buildset %d: %w", j.Name, buildset, err)
		}
	}
	return e.Store.CancelUnwanted(ctx)
}

func (e *Engine) startJob(ctx context.Context, b record.Buildset, j record.Job) error {
	spec, err := e.compose(ctx, b, j)
	if err != nil {
		return err
	}
	if j.Stage == job.StagePublish {
		return e.Store.StartJob(ctx, j, spec, "")
	}
	key, err := plan.StaticKey(spec)
	if err != nil {
		return err
	}
	if from, ok, err := e.reusable(ctx, b, j, spec, key); err != nil {
		return err
	} else if ok {
		if err := e.widenReused(ctx, b, j, from); err != nil {
			return err
		}
		e.Log.Info("reused", "job", j.ID, "name", j.Name, "from", from.ID)
		return e.Store.Reuse(ctx, j.ID, spec, key, from)
	}
	return e.Store.StartJob(ctx, j, spec, key)
}

// reusable finds a result that would come about again on this base. The newest
// whose trace holds decides: a failure, or a run that somebody asked for once
// more, takes an earlier pass back.
func (e *Engine) reusable(ctx context.Context, b record.Buildset, j record.Job, spec job.Spec, key string) (record.Job, bool, error) {
	if j.Again {
		return record.Job{}, false, nil
	}
	candidates, err := e.Store.Reusable(ctx, b.ID, key)
	if err != nil || len(candidates) == 0 {
		return record.Job{}, false, err
	}
	bases, err := e.bases(ctx, spec)
	if err != nil {
		e.Log.Info("nothing is reused, as it is not known what there is", "job", j.ID, "name", j.Name, "error", err)
		return record.Job{}, false, ctx.Err()
	}
	for _, c := range candidates {
		if c.Result == nil || c.ID == j.ID {
			continue
		}
		ok, why := plan.Holds(c.Result.Trace, bases...)
		if ok && c.State == "failed" {
			return record.Job{}, false, nil
		}
		if ok && e.artifactsThere(ctx, c) {
			return c, true, nil
		}
		e.Log.Debug("not reused", "job", j.ID, "name", j.Name, "from", c.ID, "why", why)
	}
	return record.Job{}, false, nil
}

// Indices answers what repositories offer.
type Indices interface {
	View(ctx context.Context, repositories []job.Repository, architecture string, tested map[string]string) (*universe.View, error)
	State(ctx context.Context, repository job.Repository, architecture string) string
}

// bases are what a job reads, by name: all of its repositories, and for an
// upgrade the world that it begins in.
func (e *Engine) bases(ctx context.Context, spec job.Spec) ([]plan.Base, error) {
	tested, err := e.tested(ctx, spec)
	if err != nil {
		return nil, err
	}
	all, err := e.Indices.View(ctx, spec.Repositories, spec.Target.Architecture, tested)
	if err != nil || spec.Stage != job.StageUpgrade {
		return []plan.Base{all}, err
	}
	var before []job.Repository
	for _, r := range spec.Repositories {
		if r.Kind == job.Upstream || r.Kind == job.Released {
			before = append(before, r)
		}
	}
	begin, err := e.Indices.View(ctx, before, spec.Target.Architecture, tested)
	return []plan.Base{all, begin}, err
}

// tested maps the digests of released packages to those that they had when
// they were tested; only RPMs are changed by being signed.
func (e *Engine) tested(ctx context.Context, spec job.Spec) (map[string]string, error) {
	out := map[string]string{}
	for _, r := range spec.Repositories {
		var id int64
		if _, err := fmt.Sscanf(r.Path, "/publication/%d/", &id); r.Kind != job.Released || r.Format != job.RPM || err != nil {
			continue
		}
		p, err := e.Store.Publication(ctx, id)
		if err != nil {
			return nil, err
		}
		packages, err := e.Store.Packages(ctx, p.Repository, p.Serial)
		if err != nil {
			return nil, err
		}
		for _, k := range packages {
			out[k.Digest] = k.Tested
		}
	}
	return out, nil
}

// settle notes around a trace what there was to choose from. A base
// distribution that is in another state now than when the job was started may
// have been read in either.
func (e *Engine) settle(ctx context.Context, spec job.Spec, t *job.Trace) {
	t.Around, t.Unsure = "", false
	for _, r := range spec.Repositories {
		if r.Kind == job.Upstream && e.Indices.State(ctx, r, spec.Target.Architecture) != r.State {
			t.Unsure = true
			return
		}
	}
	bases, err := e.bases(ctx, spec)
	if err != nil {
		e.Log.Info("a result will not be reused, as it is not known what there was", "job", spec.Job, "name", spec.Name, "error", err)
		t.Unsure = true
		return
	}
	t.Around = plan.Around(*t, bases...)
}

func (e *Engine) artifactsThere(ctx context.Context, j record.Job) bool {
	for _, a := range j.Result.Artifacts {
		if _, err := e.Blobs.Stat(ctx, blob.Digest(a.Digest)); err != nil {
			return false
		}
	}
	return true
}

// testFiles gives what the builds of a buildset made for a target, as far as it is wanted.
func (e *Engine) testFiles(ctx context.Context, buildset int64, target string, wanted func(record.Artifact) bool) ([]record.Artifact, error) {
	jobs, err := e.Store.BuildsetJobs(ctx, buildset)
	if err != nil {
		return nil, err
	}
	var builds []int64
	published := false
	for _, j := range jobs {
		if j.Target != target {
			continue
		}
		published = published || j.Stage == job.StagePublish && (j.State == "passed" || j.State == "running" || j.State == "waiting")
		if j.Stage == job.StageBuild && j.State == "passed" {
			builds = append(builds, j.ID)
		}
	}
	if !published || len(builds) == 0 {
		return nil, nil
	}
	all, err := e.Store.Artifacts(ctx, builds...)
	var out []record.Artifact
	for _, a := range all {
		if wanted(a) {
			out = append(out, a)
		}
	}
	return out, err
}

// compose completes what a job was told at planning.
func (e *Engine) compose(ctx context.Context, b record.Buildset, j record.Job) (job.Spec, error) {
	spec := j.Spec
	spec.Job, spec.Buildset = j.ID, b.ID
	needs, err := e.Store.Needs(ctx, j.ID)
	if err != nil {
		return spec, err
	}
	for _, n := range needs {
		if n.Stage != string(job.StageRoot) {
			continue
		}
		r, err := e.Store.RootOf(ctx, n.ID)
		if err != nil {
			return spec, err
		}
		spec.Root = &job.Root{Name: r.Dist + " " + r.Kind, Archive: job.Digest(r.Archive), Digest: job.Digest(r.Digest)}
	}
	if spec.Packages, err = e.packages(ctx, j); err != nil {
		return spec, err
	}
	if j.Stage == job.StageLint {
		if spec.Known, err = e.known(ctx, j); err != nil {
			return spec, err
		}
	}
	if j.Stage != job.StagePublish {
		spec.Repositories, err = e.repositories(ctx, b, j)
	}
	return spec, err
}

// known gives what lint found in the released version, as far as it names a
// fault and not a place in a log.
func (e *Engine) known(ctx context.Context, j record.Job) ([]job.Finding, error) {
	found, err := e.Store.ReleasedFindings(ctx, e.firstChannel(j.Target), j.Package, j.Target)
	for i := range found {
		found[i].LogLine, found[i].Excerpt = 0, nil
	}
	return found, err
}

// packages gives the files that a job works on: what the builds of its package
// made (lint, install, upgrade), or all builds of the target (publish, systest).
func (e *Engine) packages(ctx context.Context, j record.Job) ([]job.File, error) {
	if j.Stage == job.StageBuild {
		return nil, nil
	}
	jobs, err := e.Store.BuildsetJobs(ctx, *j.Buildset)
	if err != nil {
		return nil, err
	}
	var builds []int64
	for _, k := range jobs {
		whole := j.Stage == job.StagePublish || j.Stage == job.StageSystest
		if k.Stage != job.StageBuild || k.Target != j.Target || !whole && k.Package != j.Package {
			continue
		}
		if j.Stage == job.StageLint && k.Architecture != j.Architecture {
			continue
		}
		builds = append(builds, k.ID)
	}
	all, err := e.Store.Artifacts(ctx, builds...)
	if err != nil {
		return nil, err
	}
	var files []job.File
	for _, a := range all {
		if wanted(j, a) {
			files = append(files, job.File{Name: a.Name, Digest: a.Digest, Size: a.Size})
		}
	}
	sort.Slice(files, func(i, k int) bool { return files[i].Name < files[k].Name })
	return files, nil
}

func wanted(j record.Job, a record.Artifact) bool {
	if j.Stage == job.StageLint {
		return a.Kind == job.BinaryPackage || a.Kind == job.SourcePackage || strings.HasSuffix(a.Name, ".changes")
	}
	if a.Kind != job.BinaryPackage || a.Package == nil {
		return false
	}
	if j.Stage == job.StageInstall || j.Stage == job.StageUpgrade {
		arch := a.Package.Architecture
		return !a.Package.Debug && (arch == j.Architecture || arch == "all" || arch == "noarch")
	}
	return true
}

// repositories gives all that the sandbox of a job may fetch from, in the order
// of rising priority.
func (e *Engine) repositories(ctx context.Context, b record.Buildset, j record.Job) ([]job.Repository, error) {
	repos, err := e.baseRepositories(ctx, b, j)
	if err != nil || j.Stage != job.StageInstall && j.Stage != job.StageUpgrade && j.Stage != job.StageSystest {
		return repos, err
	}
	d, _ := e.Site.Dist(j.Spec.Target.Dist)
	_, test, err := e.Repos.PublicKeys()
	if err != nil {
		return nil, err
	}
	place := 0
	for _, r := range repos {
		if r.Kind == job.Ahead {
			place++
		}
	}
	r, err := e.testRepository(ctx, b.ID, j, d.Format, d.Codename, job.Test, test, place)
	if errors.Is(err, record.ErrNotFound) && j.Stage == job.StageSystest {
		return repos, nil // of a batch whose last member makes nothing for the target
	}
	if err != nil {
		return nil, fmt.Errorf("test repository of buildset %d: %w", b.ID, err)
	}
	return append(repos, r), nil
}

// baseRepositories are those of a buildset's base: upstream, released, ahead.
func (e *Engine) baseRepositories(ctx context.Context, b record.Buildset, j record.Job) ([]job.Repository, error) {
	d, _ := e.Site.Dist(j.Spec.Target.Dist)
	repos, err := e.upstreams(d, j.Architecture)
	if err != nil {
		return nil, err
	}
	for i := range repos {
		repos[i].State = e.Indices.State(ctx, repos[i], j.Architecture)
	}
	release, test, err := e.Repos.PublicKeys()
	if err != nil {
		return nil, err
	}
	name := e.firstChannel(j.Target)
	if id, ok := b.Base.Publications[name]; ok {
		r := e.repository(d.Format, d.Codename, job.Released, "released", fmt.Sprintf("/publication/%d/", id), release)
		r.Origin = e.Site.Repositories.Origin
		repos = append(repos, r)
	}
	ahead := b.Base.Ahead
	place := 0
	for _, id := range ahead {
		r, err := e.testRepository(ctx, id, j, d.Format, d.Codename, job.Ahead, test, place)
		if errors.Is(err, record.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		place++
		repos = append(repos, r)
	}
	return repos, nil
}

func (e *Engine) repository(f job.Format, codename string, kind job.RepositoryKind, name, path, key string) job.Repository {
	// What is released here comes before the base, whatever its version: Debian's
	// rebuild 3+b1 sorts above 3+sluice1. Below 1000, nothing is downgraded for it.
	r := job.Repository{Kind: kind, Name: name, Path: path, Format: f, Key: key, Priority: 990}
	if f == job.DEB {
		r.Suite, r.Components = codename, []string{"main"}
	} else {
		r.Priority = 50
	}
	return r
}

// testRepository gives a buildset's test repository, if it has one for the
// job's target. A later one has a higher priority.
func (e *Engine) testRepository(ctx context.Context, buildset int64, j record.Job, f job.Format, codename string, kind job.RepositoryKind, key string, place int) (job.Repository, error) {
	t, err := e.Store.TestRepository(ctx, buildset, j.Target)
	if err != nil {
		return job.Repository{}, err
	}
	r := e.repository(f, codename, kind, fmt.Sprintf("buildset-%d", buildset), t.Path(), key)
	r.Origin = TestOrigin(buildset)
	if f == job.DEB {
		r.Priority = 1001 + place
	} else {
		r.Priority = max(1, 40-place)
	}
	return r, nil
}

// TestOrigin is the Origin of a test repository, by which clients pin it.
func TestOrigin(buildset int64) string { return fmt.Sprintf("sluice-test-%d", buildset) }

// Claim gives a worker its next job, or nil.
func (e *Engine) Claim(ctx context.Context, w record.Worker, lease string) (*job.Spec, error) {
	j, a, err := e.Store.Claim(ctx, w, lease)
	if err != nil || j == nil {
		return nil, err
	}
	spec := j.Spec
	spec.Job, spec.Attempt, spec.Lease = j.ID, a.Number, a.Lease
	return &spec, nil
}

// Finish takes a worker's answer. What it says of its packages is not believed:
// each file is read here, and a corrupt one fails the job.
func (e *Engine) Finish(ctx context.Context, lease string, res job.Result) error {
	a, err := e.Store.Attempt(ctx, lease)
	if err != nil {
		return err
	}
	j, err := e.Store.Job(ctx, a.Job)
	if err != nil {
		return err
	}
	if !res.Outcome.Valid() {
		res = job.Result{Outcome: job.Error, Cause: fmt.Sprintf("the worker answered with an outcome that does not exist: %.40q", res.Outcome)}
	}
	if j.Stage == job.StageRoot && res.Outcome == job.Passed {
		if missing := missingOfRoot(res); missing != "" {
			res = job.Result{Outcome: job.Error, Cause: missing}
		}
	}
	packages := map[string]*record.PackageInfo{}
	for _, f := range res.Artifacts {
		size, err := e.Blobs.Stat(ctx, blob.Digest(f.Digest))
		if err != nil || size.Size != f.Size {
			res = job.Result{Outcome: job.Error, Cause: fmt.Sprintf("the worker did not upload %s", f.Name)}
			break
		}
		if f.Kind != job.BinaryPackage {
			continue
		}
		info, err := e.Repos.ReadPackage(ctx, j.Spec.Target.Format, f)
		if err != nil {
			res.Outcome, res.Cause = job.Failed, fmt.Sprintf("%s is not a package: %v", f.Name, err)
			res.Findings = append([]job.Finding{{Severity: "error", File: f.Name, Message: err.Error(), Rule: "package:corrupt"}}, res.Findings...)
			res.Artifacts = nil
			break
		}
		packages[f.Name] = info
	}
	res.Cause = shortened(res.Cause, maxCause)
	if j.Stage != job.StageRoot && (res.Outcome == job.Passed || res.Outcome == job.Failed || res.Outcome == job.NotApplicable) {
		e.settle(ctx, j.Spec, &res.Trace)
	}
	if err := e.widen(ctx, j, res, packages); err != nil { // before it has ended: what passes was in the right lane
		return err
	}
	return e.Store.Finish(ctx, lease, res, packages)
}

// missingOfRoot says what a worker left out of a root that it made. Roots are
// told apart by the digest of their packages, in static keys too: all that had
// none would be one and the same root. Whose digest is a lie is not found out;
// a worker that lies could as well put what it likes into the root.
func missingOfRoot(res job.Result) string {
	isRoot := func(a job.Artifact) bool { return a.Kind == job.RootArchive }
	switch {
	case !slices.ContainsFunc(res.Artifacts, isRoot):
		return "the worker did not upload the root"
	case !blob.Digest(res.RootDigest).Valid():
		return fmt.Sprintf("the worker did not say which packages the root holds: %.80q is no digest", res.RootDigest)
	}
	return ""
}

// maxCause bounds what is kept of a cause, in bytes.
const maxCause = 4 << 10

// shortened cuts a text to at most limit bytes, and no rune in two.
func shortened(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit]
}
