package engine

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/record"
	"sluice/internal/source"
)

// again is how long an item waits with a red base of which nothing is seen to
// move: what no trace tells of (a mirror, a clock, a machine) may be mended.
const again = time.Hour

// prove finds out, for each failed voting job of a buildset, how it does on the
// base without the item: by a result that would come about again there, or by
// running it. It comes again when such a run has ended.
func (e *Engine) prove(ctx context.Context, buildset int64) error {
	b, err := e.Store.Buildset(ctx, buildset)
	if err != nil {
		return err
	}
	if wanted, err := e.proofWanted(ctx, b); err != nil || !wanted {
		return err
	}
	jobs, err := e.Store.BuildsetJobs(ctx, b.ID)
	if err != nil {
		return err
	}
	p := prover{engine: e, b: b}
	for _, j := range jobs {
		if j.Voting && j.State == "failed" && (j.Evidence == "" || j.Evidence == gate.EvidenceRunning) {
			if err := p.prove(ctx, j); err != nil {
				return fmt.Errorf("evidence for %s of buildset %d: %w", j.Name, b.ID, err)
			}
		}
	}
	return nil
}

// proofWanted reports whether a buildset is its item's present one still.
func (e *Engine) proofWanted(ctx context.Context, b record.Buildset) (bool, error) {
	q, err := e.Store.Queue(ctx, b.Queue)
	return slices.ContainsFunc(q.State.Items, func(it *gate.Item) bool {
		return it.Buildset != nil && it.Buildset.ID == b.Serial && it.Buildset.Proving
	}), err
}

// prover finds the evidence for one buildset.
type prover struct {
	engine *Engine
	b      record.Buildset
	plan   []record.NewJob // of the base, once it is asked for
}

func (p *prover) prove(ctx context.Context, j record.Job) error {
	e := p.engine
	if j.EvidenceJob != nil {
		run, err := e.Store.Job(ctx, *j.EvidenceJob)
		if err != nil {
			return err
		}
		if over, err := p.ended(ctx, j, run); over || err != nil {
			return err
		}
	}
	planned, err := p.planned(ctx, j.Stage, j.Name)
	if err != nil {
		return err
	}
	if planned == nil || planned.Spec.Source == nil {
		return e.Store.Prove(ctx, j, gate.EvidenceAbsent, nil)
	}
	// Two that ask at once for the same run it once.
	return e.Store.Locked(ctx, "evidence "+j.Name+" "+planned.Spec.Source.Tree, func(ctx context.Context) error {
		return p.find(ctx, j, *planned)
	})
}

// ended takes in the end of the run that was begun for a job, and says whether
// there is nothing more to be done for it now.
func (p *prover) ended(ctx context.Context, j, run record.Job) (bool, error) {
	evidence := map[string]gate.Evidence{
		"passed": gate.EvidenceGood, "failed": gate.EvidenceRed, "not_applicable": gate.EvidenceAbsent, "error": gate.EvidenceUnknown,
	}[run.State]
	switch {
	case run.State == "cancelled":
		return false, nil // by one that does not want it any more: begun anew
	case evidence == "":
		return true, nil // it runs
	case run.Stage != j.Stage && evidence == gate.EvidenceGood:
		return false, nil // the build that a lint needs
	case run.Stage != j.Stage && evidence == gate.EvidenceRed:
		evidence = gate.EvidenceAbsent // what does not build there cannot be compared
	}
	return true, p.engine.Store.Prove(ctx, j, evidence, &run.ID)
}

// planned gives the job of the base that has this name, nil where the base has
// no such job: it is planned as the item was, from the trees below it.
func (p *prover) planned(ctx context.Context, stage job.Stage, name string) (*record.NewJob, error) {
	if p.plan == nil {
		prep, err := p.engine.underneath(ctx, p.b, p.b.Base)
		if err != nil {
			return nil, err
		}
		p.plan = plan.Jobs(plan.Request{
			Subjects: prep.subjects, Stages: prep.pipeline().Stages, Rules: p.engine.rules(),
			Roots: func(job.Target, string) int64 { return 0 }, // its root is that of the job that failed
		})
	}
	for i := range p.plan {
		if p.plan[i].Name == name && p.plan[i].Stage == stage {
			return &p.plan[i], nil
		}
	}
	return nil, nil
}

// underneath reads what the trees below a buildset's own changes say of their packages.
func (e *Engine) underneath(ctx context.Context, b record.Buildset, base record.Base) (*preparation, error) {
	p := &preparation{engine: e, buildset: b, base: base, declares: map[string]source.Declares{}}
	p.base.Branches = slices.Clone(base.Branches)
	for i := range p.base.Branches {
		l := &p.base.Branches[i]
		l.Commit, l.Tree = l.Under, l.UnderTree
	}
	for _, ref := range b.Changes {
		if err := p.inspect(ctx, ref); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// excuse makes warnings of those findings of the solver that it has of the
// branch itself too: the stages decide, and nobody is blamed for them.
func (p *preparation) excuse(ctx context.Context, q question, found []job.Finding) error {
	isError := func(f job.Finding) bool { return f.Severity == "error" }
	if !p.pipeline().Evidence || !slices.ContainsFunc(found, isError) {
		return nil
	}
	under, err := p.engine.underneath(ctx, p.buildset, p.base)
	if err != nil {
		return err
	}
	red, err := under.ask(ctx, q)
	for i := range found {
		if slices.ContainsFunc(red, func(f job.Finding) bool { return f.Rule == found[i].Rule && f.Message == found[i].Message }) {
			found[i].Severity = "warning"
		}
	}
	return err
}

// find uses what is known of a job on the base, or has it run there.
func (p *prover) find(ctx context.Context, j record.Job, n record.NewJob) error {
	e := p.engine
	spec, there, err := p.compose(ctx, j, n)
	if err != nil {
		return err
	}
	if !there {
		return e.Store.Prove(ctx, j, gate.EvidenceAbsent, nil)
	}
	known, evidence, err := p.known(ctx, n, spec)
	if err != nil {
		return err
	}
	if evidence != "" {
		return e.Store.Prove(ctx, j, evidence, &known.ID)
	}
	if j.Stage == job.StageLint && len(spec.Packages) == 0 {
		return p.buildFirst(ctx, j, n)
	}
	return p.run(ctx, j, n, spec)
}

func (p *prover) run(ctx context.Context, j record.Job, n record.NewJob, spec job.Spec) error {
	key, err := plan.StaticKey(spec)
	if err != nil {
		return err
	}
	p.engine.Log.Info("asks the base", "job", j.ID, "name", n.Name, "buildset", p.b.ID)
	return p.engine.Store.StartBaseRun(ctx, j, n, spec, key)
}

// known finds a result on the base that would come about again, or a run there
// that is under way. Red ones count for a while only: what made them so may be
// nothing that they read.
func (p *prover) known(ctx context.Context, n record.NewJob, spec job.Spec) (found record.Job, evidence gate.Evidence, err error) {
	e := p.engine
	results, err := e.Store.BaseResults(ctx, p.b.ID, n.Name, n.Spec.Source.Tree)
	if err != nil || len(results) == 0 {
		return record.Job{}, "", err
	}
	bases, err := e.bases(ctx, spec)
	if err != nil {
		e.Log.Info("nothing that is known counts, as it is not known what there is", "name", n.Name, "error", err)
		return record.Job{}, "", ctx.Err()
	}
	kin, err := plan.Kin(spec)
	if err != nil {
		return record.Job{}, "", err
	}
	for _, r := range results {
		if k, err := plan.Kin(r.Spec); err != nil || k != kin {
			continue
		}
		holds := false
		if r.Result != nil {
			holds, _ = plan.Holds(r.Result.Trace, bases...)
		}
		switch {
		case r.State == "queued" || r.State == "running":
			if sameRepositories(r.Spec, spec) {
				return r, gate.EvidenceRunning, nil
			}
		case r.State == "passed" && holds:
			return r, gate.EvidenceGood, nil
		case r.State == "failed" && r.BaseOf != nil && holds && e.Now().Sub(ended(r)) < again:
			return r, gate.EvidenceRed, nil
		}
	}
	return record.Job{}, "", nil
}

func ended(j record.Job) time.Time {
	if j.EndedAt == nil {
		return time.Time{}
	}
	return *j.EndedAt
}

// sameRepositories reports whether two jobs are given the same to read.
func sameRepositories(a, b job.Spec) bool {
	return slices.EqualFunc(a.Repositories, b.Repositories, func(x, y job.Repository) bool { return x.Path == y.Path })
}

// compose says what a job is told on the base: the trees, the root and the
// repositories below the item, and what is released in the place of what the
// item built. It is not there where the base has no such package.
func (p *prover) compose(ctx context.Context, j record.Job, n record.NewJob) (spec job.Spec, there bool, err error) {
	e := p.engine
	spec = n.Spec
	spec.Root = j.Spec.Root
	if spec.Repositories, err = e.baseRepositories(ctx, p.b, j); err != nil {
		return spec, false, err
	}
	var of []string
	switch j.Stage {
	case job.StageBuild:
		return spec, true, nil
	case job.StageLint:
		spec.Packages, err = p.built(ctx, j, n)
		if err == nil {
			spec.Known, err = e.known(ctx, j)
		}
		return spec, true, err
	case job.StageSystest:
		for _, s := range p.b.Packages {
			if s.Target == j.Target {
				of = append(of, s.Package)
			}
		}
	default:
		of = []string{j.Package}
	}
	for _, name := range of {
		files, err := p.released(ctx, j, name)
		if err != nil || len(files) == 0 {
			return spec, false, err
		}
		spec.Packages = append(spec.Packages, files...)
	}
	sort.Slice(spec.Packages, func(i, k int) bool { return spec.Packages[i].Name < spec.Packages[k].Name })
	return spec, len(spec.Packages) > 0, nil
}

// buildOf gives the planned build that a lint looks at.
func (p *prover) buildOf(n record.NewJob) *record.NewJob {
	i := slices.IndexFunc(p.plan, func(o record.NewJob) bool {
		return o.Stage == job.StageBuild && o.Package == n.Package && o.Target == n.Target && o.Architecture == n.Architecture
	})
	if i < 0 {
		return nil
	}
	return &p.plan[i]
}

// built gives what a build of the base's tree made, nothing where none is known.
func (p *prover) built(ctx context.Context, j record.Job, n record.NewJob) ([]job.File, error) {
	build := p.buildOf(n)
	if build == nil {
		return nil, nil
	}
	results, err := p.engine.Store.BaseResults(ctx, p.b.ID, build.Name, n.Spec.Source.Tree)
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		if r.State != "passed" || !p.engine.artifactsThere(ctx, r) {
			continue
		}
		files, err := p.files(ctx, j, r.ID)
		if err != nil || len(files) > 0 {
			return files, err
		}
	}
	return nil, nil
}

// buildFirst has the base's tree built, for a lint to look at.
func (p *prover) buildFirst(ctx context.Context, j record.Job, n record.NewJob) error {
	build := p.buildOf(n)
	if build == nil {
		return p.engine.Store.Prove(ctx, j, gate.EvidenceAbsent, nil)
	}
	spec, _, err := p.compose(ctx, record.Job{Stage: job.StageBuild, Target: j.Target, Architecture: j.Architecture, Spec: j.Spec}, *build)
	if err != nil {
		return err
	}
	return p.run(ctx, j, *build, spec)
}

// files gives those that some jobs made and that a job works on.
func (p *prover) files(ctx context.Context, j record.Job, of ...int64) ([]job.File, error) {
	all, err := p.engine.Store.Artifacts(ctx, of...)
	var files []job.File
	for _, a := range all {
		if wanted(j, a) {
			files = append(files, job.File{Name: a.Name, Digest: a.Digest, Size: a.Size})
		}
	}
	return files, err
}

// released gives the packages of a source that are in the base: of what has
// landed and is not yet published, or stands below a check; else the released ones.
func (p *prover) released(ctx context.Context, j record.Job, source string) ([]job.File, error) {
	e := p.engine
	for _, id := range slices.Backward(p.b.Base.Ahead) {
		jobs, err := e.Store.BuildsetJobs(ctx, id)
		if err != nil {
			return nil, err
		}
		var builds []int64
		for _, k := range jobs {
			if k.Stage == job.StageBuild && k.State == "passed" && k.Package == source && k.Target == j.Target {
				builds = append(builds, k.ID)
			}
		}
		if len(builds) > 0 {
			return p.files(ctx, j, builds...)
		}
	}
	packages, err := e.pinnedPackages(ctx, p.b.Base, e.firstChannel(j.Target))
	if err != nil {
		return nil, err
	}
	var files []job.File
	for _, k := range packages {
		a := record.Artifact{Name: path.Base(k.File), Kind: k.Kind, Package: &record.PackageInfo{
			Name: k.Name, Version: k.Version, Architecture: k.Architecture, Debug: isDebug(k.Name),
		}}
		if k.Kind == job.BinaryPackage && k.Source == source && wanted(j, a) {
			files = append(files, job.File{Name: a.Name, Digest: job.Digest(k.Digest), Size: k.Size})
		}
	}
	return files, nil
}

// isDebug reports whether a package holds debugging symbols only, by its name:
// a released package's row says no more.
func isDebug(name string) bool {
	return strings.HasSuffix(name, "-dbgsym") || strings.HasSuffix(name, "-debuginfo") || strings.HasSuffix(name, "-debugsource")
}

// lookAtReds finds those items that wait with a red base and under which
// something has moved that no landing of their queue tells of.
func (e *Engine) lookAtReds(ctx context.Context) error {
	all, err := e.Store.RedBuildsets(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		why, err := e.hasMoved(ctx, b)
		if err != nil {
			return fmt.Errorf("look under buildset %d: %w", b.ID, err)
		}
		if why == "" {
			continue
		}
		e.Log.Info("tested again", "buildset", b.ID, "queue", b.Queue, "why", why)
		if err := e.Store.BaseMoved(ctx, b.ID); err != nil {
			return err
		}
	}
	return nil
}

// hasMoved says what is not as it was under a buildset, "" for nothing: a
// branch, a root, a package that a failed job read; or that it is long ago.
func (e *Engine) hasMoved(ctx context.Context, b record.Buildset) (string, error) {
	if why, err := e.branchesMoved(ctx, b.Base, e.fetchBranch); err != nil || why != "" {
		return why, err
	}
	jobs, err := e.Store.BuildsetJobs(ctx, b.ID)
	if err != nil {
		return "", err
	}
	now := &preparation{engine: e, buildset: b}
	if err := now.pinBase(ctx); err != nil {
		return "", err
	}
	present := b
	present.Base.Publications, present.Base.Ahead = now.base.Publications, now.base.Ahead
	for _, j := range jobs {
		if !j.Voting || j.State != "failed" {
			continue
		}
		if e.Now().Sub(ended(j)) > again {
			return "it is long ago", nil
		}
		if why, err := e.readOtherwise(ctx, present, j); err != nil || why != "" {
			return why, err
		}
	}
	return "", nil
}

// readOtherwise says what a job would read now that it did not, "" for nothing.
func (e *Engine) readOtherwise(ctx context.Context, b record.Buildset, j record.Job) (string, error) {
	if j.Result != nil && !j.Result.Trace.Unsure {
		spec := j.Spec
		var err error
		if spec.Repositories, err = e.repositories(ctx, b, j); err != nil {
			return "", err
		}
		bases, err := e.bases(ctx, spec)
		if err != nil {
			e.Log.Info("it is not known what there is", "job", j.ID, "name", j.Name, "error", err)
			return "", ctx.Err()
		}
		if holds, why := plan.Holds(j.Result.Trace, bases...); !holds {
			return why, nil
		}
	}
	kind := map[job.Stage]string{
		job.StageBuild: "build", job.StageLint: "build", job.StageInstall: "install", job.StageUpgrade: "install", job.StageSystest: "node",
	}[j.Stage]
	if j.Spec.Root == nil || kind == "" {
		return "", nil
	}
	root, err := e.ensureRoot(ctx, j.Spec.Target, kind)
	if err == nil && root.Digest != "" && root.Digest != string(j.Spec.Root.Digest) {
		return "the root has been renewed", nil
	}
	return "", err
}
