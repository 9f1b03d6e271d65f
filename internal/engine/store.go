package engine

import (
	"context"
	"io"
	"time"

	"sluice/internal/gate"
	"sluice/internal/git"
	"sluice/internal/job"
	"sluice/internal/record"
)

// Store is the database, as the engine uses it.
type Store interface {
	Facts
	Comments
	Moves
	Decisions
	Buildsets
	Jobs
	Evidence
	Publications
	Measures
}

// Facts are what Gerrit said.
type Facts interface {
	SaveEvent(ctx context.Context, e record.Event) (isNew bool, err error)
	SaveHandled(ctx context.Context, e record.Event) (isNew bool, err error)
	SaveEcho(ctx context.Context, e record.Event) (isNew bool, err error)
	Echoes(ctx context.Context, types []string, waited time.Duration, but []int64, limit int) ([]record.Event, error)
	Unhandled(ctx context.Context, ids []int64) ([]int64, error)
	EventsHandled(ctx context.Context, ids []int64) error
	Event(ctx context.Context, id int64) (record.Event, error)
	EventHandled(ctx context.Context, id int64, cause string) error
	NextRead(ctx context.Context) (serial int64, at time.Time, err error)
	SaveChange(ctx context.Context, c record.Change) (stale bool, err error)
	Change(ctx context.Context, id gate.ChangeID) (record.Change, error)
	Unrestricted(ctx context.Context, ids []gate.ChangeID) (n int, err error)
	OpenChanges(ctx context.Context, gerrit string) ([]record.Change, error)
	Widen(ctx context.Context, change gate.ChangeID, patchSet int, provides, needs []string) error
	ClosureRevisions(ctx context.Context, changes []string) ([]record.Closure, error)
	Closures(ctx context.Context, revisions []int64) ([]record.Closure, error)
	Dependants(ctx context.Context, changeKey string, number int) ([]gate.ChangeID, error)
	Enqueue(ctx context.Context, t record.Task) error
}

// Comments are the commands in review comments.
type Comments interface {
	Hear(ctx context.Context, comments []record.Comment) error
	Comment(ctx context.Context, id int64) (record.Comment, error)
	CommentBegins(ctx context.Context, id int64) (first bool, err error)
	CommentAnswered(ctx context.Context, id int64, answer string) error
	CommentCommand(ctx context.Context, c record.Comment, queue, verb, why string) (command int64, err error)
	Answer(ctx context.Context, command int64) (answer string, done bool, err error)
	WasGated(ctx context.Context, change gate.ChangeID, patchSet int) (bool, error)
}

// Moves are what has moved under the open changes.
type Moves interface {
	BranchMoved(ctx context.Context, gerrit, project, branch string) error
	SaveHeads(ctx context.Context, gerrit, project string, heads map[string]string) error
	Retest(ctx context.Context, calm, patience time.Duration, approved, none bool) (int, error)
}

// Decisions are the queues and what was decided on them.
type Decisions interface {
	EnsureQueue(ctx context.Context, name string, kind gate.Kind, change gate.ChangeID, start int) error
	CloseQueue(ctx context.Context, name string, closed bool) error
	Queues(ctx context.Context, idle bool) ([]string, error)
	Queue(ctx context.Context, name string) (record.Queue, error)
	Facts(ctx context.Context, q record.Queue) (gate.Facts, error)
	Commit(ctx context.Context, q record.Queue, st gate.State, effects []gate.Effect, d record.Decided) error
	Effect(ctx context.Context, id int64) (record.Effect, error)
	EffectBegins(ctx context.Context, id int64) (first bool, err error)
	Outdated(ctx context.Context, id int64, ref gate.Ref) (bool, error)
	VoteBegins(ctx context.Context, buildset int64) (begun bool, err error)
	Voted(ctx context.Context, buildset int64) error
	EarlyVote(ctx context.Context, buildset int64) (record.EarlyVote, error)
	SubmitBegins(ctx context.Context, sub record.Submission) (first bool, err error)
	EffectDone(ctx context.Context, id int64, message, cause string) error
	Submission(ctx context.Context, queue string, item gate.ItemID, serial int) (record.Submission, error)
	Submitted(ctx context.Context, sub record.Submission, out gate.SubmitOutcome) error
	History(ctx context.Context, queue string, after int64, limit int) ([]record.Decided, error)
	Touch(ctx context.Context, queue string) error
}

// Buildsets are the attempts at testing items.
type Buildsets interface {
	Locked(ctx context.Context, name string, f func(context.Context) error) error
	Unprepared(ctx context.Context, queue string) ([]record.Buildset, error)
	Buildset(ctx context.Context, id int64) (record.Buildset, error)
	ItemBuildset(ctx context.Context, queue string, serial gate.BuildsetID) (record.Buildset, error)
	Deferred(ctx context.Context, id int64) (members [][]record.NewJob, err error)
	PlanDeferred(ctx context.Context, id int64, jobs []record.NewJob) error
	ItemBuildsets(ctx context.Context, queue string, items []int64) ([]record.Buildset, error)
	BuildsetsBelow(ctx context.Context, queue string, items []int64) ([]record.Buildset, error)
	CheckBuildset(ctx context.Context, ref gate.Ref) (record.Buildset, error)
	Unpublished(ctx context.Context) ([]record.Buildset, error)
	Refuse(ctx context.Context, id int64, conflict *gate.Conflict, broken string, findings []job.Finding) error
	SavePrepared(ctx context.Context, id int64, base record.Base, packages []record.Subject, findings []job.Finding, jobs []record.NewJob) error
	EnsureRoot(ctx context.Context, r record.Root, j record.NewJob, freshSeconds float64) (record.Root, error)
	RootOf(ctx context.Context, jobID int64) (record.Root, error)
}

// Jobs are the jobs and their attempts.
type Jobs interface {
	Job(ctx context.Context, id int64) (record.Job, error)
	BuildsetJobs(ctx context.Context, buildset int64) ([]record.Job, error)
	Needs(ctx context.Context, id int64) ([]record.Needed, error)
	Startable(ctx context.Context, buildset int64) ([]record.Job, error)
	LostNeeds(ctx context.Context, buildset int64) ([]record.LostNeed, error)
	GiveUp(ctx context.Context, id int64, cause string) error
	StartJob(ctx context.Context, j record.Job, spec job.Spec, staticKey string) error
	CancelUnwanted(ctx context.Context) error
	Reusable(ctx context.Context, buildset int64, staticKey string) ([]record.Job, error)
	Reuse(ctx context.Context, id int64, spec job.Spec, staticKey string, from record.Job) error
	AddArtifact(ctx context.Context, buildset int64, target string, stage job.Stage, a job.Artifact) error
	Artifacts(ctx context.Context, jobs ...int64) ([]record.Artifact, error)
	Claim(ctx context.Context, w record.Worker, lease string) (*record.Job, *record.Attempt, error)
	Attempt(ctx context.Context, lease string) (record.Attempt, error)
	Finish(ctx context.Context, lease string, res job.Result, packages map[string]*record.PackageInfo) error
	FinishPublish(ctx context.Context, id int64, res job.Result, repositories []record.TestRepository) error
}

// Evidence is how jobs do on a base without the item that is tested on it.
type Evidence interface {
	BaseResults(ctx context.Context, buildset int64, name, tree string) ([]record.Job, error)
	StartBaseRun(ctx context.Context, failed record.Job, n record.NewJob, spec job.Spec, staticKey string) error
	Prove(ctx context.Context, failed record.Job, evidence gate.Evidence, by *int64) error
	RedBuildsets(ctx context.Context) ([]record.Buildset, error)
	BaseMoved(ctx context.Context, buildset int64) error
}

// Publications are the repositories and their states.
type Publications interface {
	EnsureRepository(ctx context.Context, r record.Repository) error
	Repositories(ctx context.Context) ([]record.Repository, error)
	Repository(ctx context.Context, name string) (record.Repository, error)
	Publication(ctx context.Context, id int64) (record.Publication, error)
	Publish(ctx context.Context, p record.Publication, from int64, added, removed []record.Package) (int64, error)
	Packages(ctx context.Context, repository string, serial int) ([]record.Package, error)
	SourceVersions(ctx context.Context, repository, source string) ([]string, error)
	ReleasedFindings(ctx context.Context, repository, source, target string) ([]job.Finding, error)
	Published(ctx context.Context, buildset int64) error
	TestRepository(ctx context.Context, buildset int64, target string) (record.TestRepository, error)
}

// Git is the mirrors of the projects.
type Git interface {
	FetchCommit(ctx context.Context, r git.Remote, ref, commit string, near ...string) error
	Foresee(ctx context.Context, p git.Project, commit string, l git.Landing) (made bool, err error)
	Tree(ctx context.Context, p git.Project, treeish string) (string, error)
	Merge(ctx context.Context, r git.MergeRequest) (git.MergeResult, error)
	CommitInfo(ctx context.Context, p git.Project, rev string) (git.Commit, error)
	ChangedPaths(ctx context.Context, p git.Project, from, to string) ([]string, error)
	Trees
}

// Trees reads the trees of commits.
type Trees interface {
	CheckTree(ctx context.Context, p git.Project, treeish string) ([]git.Problem, error)
	ReadFile(ctx context.Context, p git.Project, treeish, path string, limit int64) ([]byte, error)
	ListFiles(ctx context.Context, p git.Project, treeish, folder string) ([]git.File, error)
	Archive(ctx context.Context, p git.Project, treeish, prefix string, mtime time.Time) (io.ReadCloser, error)
}

// Upstreams are the base distributions.
type Upstreams interface {
	// Repositories gives an upstream's repositories for an architecture, with paths below the service's address.
	Repositories(name, architecture string) ([]job.Repository, error)
}

// Measures are what simulations are told of the world.
type Measures interface {
	JobTimes(ctx context.Context) ([]record.JobTimes, error)
	QueueTimes(ctx context.Context, queue string) (record.QueueTimes, error)
	PlannedJobs(ctx context.Context, queue string, items []int64) ([]record.PlannedJob, error)
	JobCounts(ctx context.Context) (record.JobCounts, error)
}
