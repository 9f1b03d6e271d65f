package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/git"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/record"
	"sluice/internal/source"
)

// prepareQueue merges and plans what a decision asked for, one buildset after
// the other in their order: each builds on the merge of the one that it stands
// behind, so that its cost does not grow with its position (G8).
//
// Of the tasks that ask for it at once, one does the work of all: another one
// in this process only asks it to look again, rather than wait with a worker
// and a connection in its hands.
func (e *Engine) prepareQueue(ctx context.Context, queue string) error {
	again := &atomic.Bool{}
	if running, busy := e.preparing.LoadOrStore(queue, again); busy {
		running.(*atomic.Bool).Store(true)
		if now, still := e.preparing.Load(queue); still && now == running {
			return nil
		}
		return record.Later{After: time.Second, Why: "it has just ended"}
	}
	for {
		if err := e.prepareAll(ctx, queue); err != nil {
			e.preparing.Delete(queue)
			return err
		}
		if again.Swap(false) {
			continue
		}
		e.preparing.Delete(queue)
		if !again.Load() {
			return nil
		}
		if _, busy := e.preparing.LoadOrStore(queue, again); busy {
			return nil
		}
	}
}

func (e *Engine) prepareAll(ctx context.Context, queue string) error {
	return e.Store.Locked(ctx, "prepare "+queue, func(ctx context.Context) error {
		for {
			todo, err := e.Store.Unprepared(ctx, queue)
			if err != nil || len(todo) == 0 {
				return err
			}
			q, err := e.Store.Queue(ctx, queue)
			if err != nil {
				return err
			}
			inOrder(todo, q.State)
			waits := waitForSubmits(q.State)
			waiting := 0
			for _, b := range todo {
				if waits[b.Serial] {
					waiting++
					continue
				}
				err := e.prepare(ctx, b)
				if err != nil && !errors.Is(err, record.ErrStale) {
					return fmt.Errorf("prepare buildset %d: %w", b.ID, err)
				}
			}
			if waiting == len(todo) {
				return record.Later{After: time.Second, Why: "a submit of the same project is under way"}
			}
		}
	})
}

// inOrder puts buildsets in the order of their items: one that had to wait may have
// been decided before that of an item ahead.
func inOrder(todo []record.Buildset, s gate.State) {
	place := map[gate.BuildsetID]int{}
	for i, it := range s.Items {
		if it.Buildset != nil {
			place[it.Buildset.ID] = i
		}
	}
	slices.SortStableFunc(todo, func(a, b record.Buildset) int { return cmp.Compare(place[a.Serial], place[b.Serial]) })
}

// waitForSubmits gives the buildsets of what merged past the gate while the submit
// of another change of its project was under way already. If that lands, it lands
// with the version that it was tested as, and these count up after it.
func waitForSubmits(s gate.State) map[gate.BuildsetID]bool {
	submitted := map[string]bool{}
	for _, it := range s.Items {
		for _, r := range it.Changes {
			submitted[r.Branch.Project] = submitted[r.Branch.Project] || it.Submit != nil
		}
	}
	wait := map[gate.BuildsetID]bool{}
	for _, it := range s.Items {
		if it.Verify && it.Buildset != nil {
			wait[it.Buildset.ID] = slices.ContainsFunc(it.Changes, func(r gate.Ref) bool { return submitted[r.Branch.Project] })
		}
	}
	return wait
}

// preparation is what is gathered on the way to a plan.
type preparation struct {
	engine   *Engine
	buildset record.Buildset
	below    []record.Buildset // of the items that it stands behind, in order
	untold   bool              // it is not known what packages some of these make
	ahead    []record.Buildset // those of base.Ahead
	beside   []record.Buildset // of what has merged past the gate and is tested ahead of it: their versions are taken
	base     record.Base
	subjects []plan.Subject
	declares map[string]source.Declares // "package format" → what its packaging says
	findings []job.Finding
}

func (e *Engine) prepare(ctx context.Context, b record.Buildset) error {
	p := &preparation{engine: e, buildset: b, declares: map[string]source.Declares{}}
	if err := p.findBelow(ctx); err != nil {
		return err
	}
	conflict, err := p.merge(ctx)
	if err != nil {
		return err
	}
	if conflict != nil {
		return e.Store.Refuse(ctx, b.ID, conflict, "", nil)
	}
	if err := p.pinBase(ctx); err != nil {
		return err
	}
	if p.base.Noop = len(p.pipeline().Stages) == 0; !p.base.Noop {
		for _, ref := range b.Changes {
			if err := p.inspect(ctx, ref); err != nil {
				return err
			}
		}
		p.base.Noop = len(p.subjects) == 0
		if err := p.solve(ctx); err != nil {
			return err
		}
	}
	if f := p.fatal(); f != nil {
		return e.Store.Refuse(ctx, b.ID, nil, f.String(), p.findings)
	}
	if err := p.survey(ctx); err != nil {
		return err
	}
	jobs, err := p.jobs(ctx)
	if err != nil {
		return err
	}
	subjects := make([]record.Subject, len(p.subjects))
	for i, s := range p.subjects {
		subjects[i] = s.Subject
	}
	if err := e.Store.SavePrepared(ctx, b.ID, p.base, subjects, p.findings, jobs); err != nil {
		return err
	}
	if err := e.startJobs(ctx, b.ID); err != nil { // rather than wait for the task that does it, should this process die
		e.Log.Warn("start jobs", "buildset", b.ID, "error", err)
	}
	return nil
}

func (p *preparation) fatal() *job.Finding {
	for i := range p.findings {
		if p.findings[i].Severity == "error" {
			return &p.findings[i]
		}
	}
	return nil
}

// findBelow loads the buildsets that this one stands on: those of the items
// ahead in a gate, the checks of the changes that it needs in a check.
func (p *preparation) findBelow(ctx context.Context) error {
	var err error
	if !isCheck(p.buildset.Queue) {
		if p.beside, err = p.engine.verifiedAhead(ctx, p.buildset); err != nil {
			return err
		}
	}
	if len(p.buildset.StackItems) > 0 {
		p.below, err = p.engine.Store.BuildsetsBelow(ctx, p.buildset.Queue, p.buildset.StackItems)
		return err
	}
	for _, ref := range p.buildset.Stack {
		b, err := p.engine.Store.CheckBuildset(ctx, ref)
		if errors.Is(err, record.ErrNotFound) {
			p.untold = true
			continue
		}
		if err != nil {
			return err
		}
		if b.State == "preparing" && p.engine.Now().Sub(p.buildset.CreatedAt) < belowWait {
			return record.Later{After: belowWait / 20, Why: fmt.Sprintf("the check of change %d, which this one needs, is being prepared", ref.Number)}
		}
		p.untold = p.untold || b.State == "preparing" || b.Conflict != nil || b.Broken != ""
		p.below = append(p.below, b)
	}
	return nil
}

// verifiedAhead gives the buildsets of those items ahead that have merged past what
// was tested, and that nothing stands on: each is tested by itself.
func (e *Engine) verifiedAhead(ctx context.Context, b record.Buildset) ([]record.Buildset, error) {
	q, err := e.Store.Queue(ctx, b.Queue)
	if err != nil {
		return nil, err
	}
	var ahead []int64
	for _, it := range q.State.Items {
		if it.Buildset != nil && it.Buildset.ID == b.Serial {
			break
		}
		if it.Verify {
			ahead = append(ahead, int64(it.ID))
		}
	}
	if len(ahead) == 0 {
		return nil, nil
	}
	return e.Store.BuildsetsBelow(ctx, b.Queue, ahead)
}

// belowWait is how long a check waits for those of the changes that it needs to
// be prepared, so that it is built with their packages. Changes that need each
// other would wait for ever.
const belowWait = 5 * time.Second

// merge makes the speculative commit of each branch that the item changes.
func (p *preparation) merge(ctx context.Context) (*gate.Conflict, error) {
	for _, branch := range branches(p.buildset.Changes) {
		conflict, err := p.mergeBranch(ctx, branch)
		if conflict != nil || err != nil {
			return conflict, err
		}
	}
	return nil, nil
}

func branches(refs []gate.Ref) []gate.Branch {
	var out []gate.Branch
	for _, r := range refs {
		if !slices.Contains(out, r.Branch) {
			out = append(out, r.Branch)
		}
	}
	return out
}

func on(branch gate.Branch, refs []gate.Ref) []gate.Ref {
	var out []gate.Ref
	for _, r := range refs {
		if r.Branch == branch {
			out = append(out, r)
		}
	}
	return out
}

// mergeBranch merges the item's changes of a branch. Nobody is refused for what
// was known of the project a moment ago: it is read anew, and merged again.
func (p *preparation) mergeBranch(ctx context.Context, branch gate.Branch) (*gate.Conflict, error) {
	project, err := git.ParseProject(branch.Project)
	if err != nil {
		return nil, err
	}
	conflict, err := p.tryMerge(ctx, project, branch)
	if conflict == nil || err != nil {
		return conflict, err
	}
	p.engine.mirror.configs.Delete(project)
	if _, err := p.engine.fetchBranch(ctx, project, branch); err != nil && !gerrit.IsNotFound(err) {
		return nil, err
	}
	return p.tryMerge(ctx, project, branch)
}

func (p *preparation) tryMerge(ctx context.Context, project git.Project, branch gate.Branch) (*gate.Conflict, error) {
	e := p.engine
	own, stack := on(branch, p.buildset.Changes), on(branch, p.buildset.Stack)
	if ahead := p.nearest(branch); ahead != nil && len(stack) > 0 && len(p.buildset.StackItems) > 0 && !p.alreadyMerged(ctx, own) {
		// Where the branch is, the item ahead has asked, and its submit asks again.
		if err := e.fetchChanges(ctx, project, branch, own); err != nil {
			return nil, err
		}
		return p.mergeOwn(ctx, project, branch, ahead.Tip, ahead.Commit)
	}
	tip, err := e.fetchBranch(ctx, project, branch)
	if err == nil {
		err = e.fetchChanges(ctx, project, branch, append(slices.Clone(stack), own...))
	}
	if gerrit.IsNotFound(err) {
		return &gate.Conflict{Text: fmt.Sprintf("branch %s of %s is not there", branch.Branch, project.Name)}, nil
	}
	if err != nil {
		return nil, err
	}
	if p.alreadyMerged(ctx, own) { // a change that merged past what was tested: its tip is put through the jobs (G16)
		tree, err := e.tree(ctx, project, tip)
		p.base.Branches = append(p.base.Branches, record.BranchBase{Branch: branch, Tip: tip, Under: tip, UnderTree: tree, Commit: tip, Tree: tree})
		return nil, err
	}
	under := tip
	if len(stack) > 0 {
		if under, err = p.mergeOnto(ctx, project, tip, stack, nil); err != nil {
			return p.conflict(err, "a change that it depends on does not merge")
		}
	}
	return p.mergeOwn(ctx, project, branch, tip, under)
}

// mergeOwn merges the item's own changes of a branch onto under, and notes what
// came of it.
func (p *preparation) mergeOwn(ctx context.Context, project git.Project, branch gate.Branch, tip, under string) (*gate.Conflict, error) {
	e := p.engine
	own, stack := on(branch, p.buildset.Changes), on(branch, p.buildset.Stack)
	underTree, err := e.tree(ctx, project, under)
	if err != nil {
		return nil, err
	}
	commit, err := p.mergeOnto(ctx, project, under, own, stack)
	if err != nil {
		return p.conflict(err, "")
	}
	tree, err := e.tree(ctx, project, commit)
	p.base.Branches = append(p.base.Branches, record.BranchBase{Branch: branch, Tip: tip, Under: under, UnderTree: underTree, Commit: commit, Tree: tree})
	return nil, err
}

func (p *preparation) alreadyMerged(ctx context.Context, own []gate.Ref) bool {
	for _, r := range own {
		c, err := p.engine.Store.Change(ctx, r.ID)
		if err != nil || c.Status != gate.Merged {
			return false
		}
	}
	return true
}

// nearest gives the merge of the nearest item below that changes the branch.
func (p *preparation) nearest(branch gate.Branch) *record.BranchBase {
	for i := len(p.below) - 1; i >= 0; i-- {
		if l := p.below[i].Base.Branch(branch); l != nil && l.Commit != "" {
			return l
		}
	}
	return nil
}

// refused carries a conflict up as an error.
type refused struct{ conflict gate.Conflict }

func (r refused) Error() string { return r.conflict.Text }

func (p *preparation) conflict(err error, prefix string) (*gate.Conflict, error) {
	var r refused
	if !errors.As(err, &r) {
		return nil, err
	}
	if prefix != "" {
		r.conflict.Text = prefix + ": " + r.conflict.Text
	}
	return &r.conflict, nil
}

// mergeOnto merges changes as Gerrit would submit them. ahead are the changes
// that under holds beyond the branch: one of them is named in a conflict.
func (p *preparation) mergeOnto(ctx context.Context, project git.Project, under string, refs, ahead []gate.Ref) (string, error) {
	cfg, err := p.engine.projectConfig(ctx, project)
	if err != nil {
		return "", fmt.Errorf("submit type of %s: %w", project, err)
	}
	version, err := p.engine.gerritVersion(ctx, project.Gerrit)
	if err != nil {
		return "", err
	}
	req := git.MergeRequest{
		Project: project, Base: under, SubmitType: git.SubmitType(cfg.SubmitType), ContentMerge: cfg.ContentMerge,
		RejectEmpty: cfg.RejectEmpty, RefuseBinaryAncestor: strings.HasPrefix(version, "3.10."),
		Committer: git.Identity{Name: "sluice", Email: "sluice@localhost"},
	}
	for _, r := range refs {
		req.Changes = append(req.Changes, git.ChangeRevision{Number: r.Number, Commit: r.Revision})
	}
	res, err := p.engine.Git.Merge(ctx, req)
	if err != nil && !errors.Is(err, git.ErrAlreadyMerged) {
		return "", fmt.Errorf("merge onto %s of %s: %w", under, project, err)
	}
	if errors.Is(err, git.ErrAlreadyMerged) {
		return under, nil
	}
	if res.Conflict != nil {
		c := gate.Conflict{}
		if res.Conflict.Reason != git.MissingDependency { // what is missing are commits
			c.Files = res.Conflict.Files
		}
		if len(refs) > 0 && len(ahead) > 0 {
			c.With = p.blame(ctx, project, res.Conflict, refs, ahead)
		}
		c.Text = clash(res.Conflict, c.With)
		return "", refused{c}
	}
	return res.Commit, nil
}

// clash says what a change does not merge with, or why not; the files follow. It
// names no change: who reads it may not be allowed to know of that one (G25).
func clash(c *git.Conflict, with gate.ChangeID) string {
	switch {
	case c.Reason == git.MissingDependency:
		return fmt.Sprintf("%s: %s", c.Reason, strings.Join(c.Files, ", "))
	case c.Reason != git.PathConflict || len(c.Files) == 0:
		return string(c.Reason)
	case with != "":
		return "with a change ahead"
	}
	return "with the branch"
}

// gerritVersion asks a Gerrit once what version it is.
func (e *Engine) gerritVersion(ctx context.Context, name string) (string, error) {
	if v, ok := e.versions.Load(name); ok {
		return v.(string), nil
	}
	v, err := e.Gerrits[name].ServerVersion(ctx)
	if err != nil {
		return "", fmt.Errorf("version of Gerrit %s: %w", name, err)
	}
	e.versions.Store(name, v)
	return v, nil
}

// blame names the change ahead that touches a conflicting file: the nearest one.
func (p *preparation) blame(ctx context.Context, project git.Project, c *git.Conflict, own, ahead []gate.Ref) gate.ChangeID {
	for i := len(ahead) - 1; i >= 0; i-- {
		if ahead[i].Branch != own[0].Branch {
			continue
		}
		commit, err := p.engine.Git.CommitInfo(ctx, project, ahead[i].Revision)
		if err != nil || len(commit.Parents) == 0 {
			continue
		}
		paths, err := p.engine.Git.ChangedPaths(ctx, project, commit.Parents[0], ahead[i].Revision)
		if err != nil {
			continue
		}
		for _, f := range c.Files {
			if slices.Contains(paths, f) {
				return ahead[i].ID
			}
		}
	}
	return ""
}

// pinBase pins the publications that the jobs read, and adds what stands
// ahead: the test repositories of the stack and of what has merged and is not
// yet published (G6, G15).
func (p *preparation) pinBase(ctx context.Context) error {
	e := p.engine
	p.base.Publications = map[string]int64{}
	unpublished, err := e.Store.Unpublished(ctx) // before the publications: what is published in between is then in both
	if err != nil {
		return err
	}
	for _, b := range slices.Concat(unpublished, p.below) {
		if b.ID != p.buildset.ID && !slices.Contains(p.base.Ahead, b.ID) {
			p.ahead = append(p.ahead, b)
			p.base.Ahead = append(p.base.Ahead, b.ID)
		}
	}
	repositories, err := e.Store.Repositories(ctx)
	if err != nil {
		return err
	}
	for _, r := range repositories {
		if r.Publication != nil {
			p.base.Publications[r.Name] = *r.Publication
		}
	}
	return nil
}

func (p *preparation) pipeline() config.Pipeline {
	if isCheck(p.buildset.Queue) {
		return p.engine.Site.Pipelines.Check
	}
	return p.engine.Site.Pipelines.Gate
}

// jobs plans what runs.
func (p *preparation) jobs(ctx context.Context) ([]record.NewJob, error) {
	e := p.engine
	priority := 0
	if isCheck(p.buildset.Queue) {
		priority = 100
	}
	if p.buildset.Recheck {
		priority = 200
	}
	if err := p.waits(ctx); err != nil {
		return nil, err
	}
	var failed error
	jobs := plan.Jobs(plan.Request{
		Subjects: p.subjects, Stages: p.pipeline().Stages, Deferred: p.deferred(), Rules: e.rules(), Priority: priority,
		Roots: func(t job.Target, kind string) int64 {
			root, err := e.ensureRoot(ctx, t, kind)
			if err != nil {
				failed = err
			}
			return root.Job
		},
	})
	return jobs, failed
}

// waits finds, per subject, the publish jobs ahead that its build has to wait
// for: those of packages that it asks for (G10).
func (p *preparation) waits(ctx context.Context) error {
	for _, b := range p.ahead {
		if isCheck(p.buildset.Queue) && mutual(b, p.buildset) {
			continue // in a circle nobody waits
		}
		for i := range p.subjects {
			s := &p.subjects[i]
			for _, a := range b.Packages {
				if a.Target != s.Subject.Target || !overlaps(a, s.Subject) {
					continue
				}
				if err := p.waitsFor(ctx, s, b.ID); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// waitsFor has the build of a subject wait for what a buildset ahead publishes to its target.
func (p *preparation) waitsFor(ctx context.Context, s *plan.Subject, ahead int64) error {
	jobs, err := p.engine.Store.BuildsetJobs(ctx, ahead)
	for _, j := range jobs {
		if j.Stage == job.StagePublish && j.Target == s.Subject.Target && !slices.Contains(s.NeedsAhead, j.ID) {
			s.NeedsAhead = append(s.NeedsAhead, j.ID)
		}
	}
	return err
}

// mutual reports whether the buildset ahead stands on a change of this one.
func mutual(ahead, own record.Buildset) bool {
	return slices.ContainsFunc(ahead.Stack, func(r gate.Ref) bool {
		return slices.ContainsFunc(own.Changes, func(o gate.Ref) bool { return o.ID == r.ID })
	})
}

// overlaps reports whether what is ahead matters to a subject: its build asks
// for one of those packages, or it is the same package.
func overlaps(ahead, s record.Subject) bool {
	return ahead.Package == s.Package || slices.ContainsFunc(s.Asks, func(n string) bool { return slices.Contains(ahead.Binaries, n) })
}

func (e *Engine) rules() map[job.Stage]plan.Rules {
	s := e.Site.Stages
	rules := map[job.Stage]plan.Rules{}
	for stage, r := range map[job.Stage]config.StageRules{
		job.StageRoot: s.Root, job.StageBuild: s.Build, job.StageLint: s.Lint, job.StagePublish: s.Publish,
		job.StageInstall: s.Install, job.StageUpgrade: s.Upgrade, job.StageSystest: s.Systest,
	} {
		rules[stage] = plan.Rules{Voting: r.Voting, MaxAttempts: r.Retries + 1, Limits: job.Limits{
			Timeout: r.Timeout.D(), LogBytes: int64(e.Site.Limits.Log), Processes: r.Processes,
			Memory: int64(r.Memory), Disk: int64(r.Disk),
		}}
	}
	return rules
}
