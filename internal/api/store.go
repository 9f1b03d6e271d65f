package api

import (
	"context"
	"time"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// Store is the database, as this package uses it.
type Store interface {
	Queues
	Changes
	Buildsets
	Jobs
	Repositories
	Measures
	Restrictions
}

// Restrictions tell what not everybody may see (G25).
type Restrictions interface {
	Hidden(ctx context.Context, of record.Named) ([]string, error)
	HiddenQueues(ctx context.Context) ([]string, error)
}

// Queues are the queues and what operators tell them.
type Queues interface {
	GateQueues(ctx context.Context) ([]record.Queue, error)
	Queue(ctx context.Context, name string) (record.Queue, error)
	Command(ctx context.Context, queue, verb string, change gate.ChangeID, who, why string) (int64, error)
	Answer(ctx context.Context, id int64) (answer string, done bool, err error)
	History(ctx context.Context, queue string, after int64, limit int) ([]record.Decided, error)
	HistoryStart(ctx context.Context, queue string, from time.Time) (after int64, err error)
	RestrictedChanges(ctx context.Context, queue string) ([]string, error)
	NoteCommand(ctx context.Context, c record.Command) (int64, error)
	CommandsOf(ctx context.Context, change gate.ChangeID, limit int) ([]record.Command, error)
}

// Changes are the changes as they were last read, and their way through the queues.
type Changes interface {
	Change(ctx context.Context, id gate.ChangeID) (record.Change, error)
	Changes(ctx context.Context, ids []string) ([]record.Change, error)
	RecentChanges(ctx context.Context, f record.ChangeFilter) ([]record.Change, error)
	LastItems(ctx context.Context, changes []string) ([]record.LastItem, error)
	ItemsOf(ctx context.Context, change gate.ChangeID, limit int) ([]record.ItemView, error)
}

// Buildsets are the attempts at testing items.
type Buildsets interface {
	Item(ctx context.Context, id int64) (record.ItemView, error)
	Buildset(ctx context.Context, id int64) (record.Buildset, error)
	BuildsetsOf(ctx context.Context, items []int64) ([]record.Buildset, error)
	ItemBuildsets(ctx context.Context, queue string, items []int64) ([]record.Buildset, error)
	TestRepositories(ctx context.Context, buildsets ...int64) ([]record.TestRepository, error)
	TestRepository(ctx context.Context, buildset int64, target string) (record.TestRepository, error)
}

// Jobs are the jobs, their attempts, logs and artifacts.
type Jobs interface {
	Job(ctx context.Context, id int64) (record.Job, error)
	JobViews(ctx context.Context, buildsets []int64) ([]record.JobView, error)
	Needs(ctx context.Context, id int64) ([]record.Needed, error)
	Attempts(ctx context.Context, jobID int64) ([]record.Attempt, error)
	Artifacts(ctx context.Context, jobs ...int64) ([]record.Artifact, error)
	ReadLog(ctx context.Context, attempt, from, limit int64) (data []byte, done bool, err error)
	RetryJob(ctx context.Context, id int64) error
	// ArtifactShown reports whether a blob may be shown, with all: to those who may read everything.
	ArtifactShown(ctx context.Context, digest string, all bool) (bool, error)
	// LeaseReads reports whether the job under a lease was told to read the repository at a path.
	LeaseReads(ctx context.Context, lease, path string) (bool, error)
}

// Repositories are the released repositories.
type Repositories interface {
	Repositories(ctx context.Context) ([]record.Repository, error)
	Repository(ctx context.Context, name string) (record.Repository, error)
	Publication(ctx context.Context, id int64) (record.Publication, error)
	Publications(ctx context.Context, repository string, limit int) ([]record.Publication, error)
	Packages(ctx context.Context, repository string, serial int) ([]record.Package, error)
}

// Measures are what health and metrics are made of.
type Measures interface {
	Ping(ctx context.Context) error
	SchemaCurrent(ctx context.Context) (bool, error)
	JobCounts(ctx context.Context) (record.JobCounts, error)
	Workers(ctx context.Context) ([]record.WorkerView, error)
	StageCounts(ctx context.Context) ([]record.StageCount, error)
	JobSpans(ctx context.Context) ([]record.Span, error)
	GateSpans(ctx context.Context) ([]record.Span, error)
	Reconciled(ctx context.Context) ([]record.Reconciled, error)
}

// Feed tells what has changed, as "kind id"; an empty text: anything may have.
type Feed interface {
	Feed() (changes <-chan string, stop func())
}
