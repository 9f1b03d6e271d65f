// Package engine turns facts into decisions and decisions into effects.
//
// Gerrit's state, the results of jobs and the commands of administrators are
// facts; they are rows in Postgres before anything is made of them. For each
// queue the engine loads state and facts, calls gate.Decide, and stores the new
// state together with the tasks that carry out its effects, in one transaction
// that fails if the queue has moved meanwhile (G23). Nothing outside is called
// within it. A stream event is only a hint to look sooner: Reconcile asks
// Gerrit what is true and ends in the same state (G21).
//
// Every task is carried out at least once and is idempotent: a comment carries
// an id that is looked for before it is sent again, a submit asks first what
// has merged, a publication is a compare-and-swap on its repository (G22).
//
//	read.go     Gerrit → facts          decide.go   facts → decision
//	prepare.go  merges, planning        jobs.go     starting, reuse, results
//	submit.go   submits (G15–G17)       publish.go  test and released repositories
//	tell.go     comments and votes      roots.go    roots and their recipes
//	evidence.go whose fault a failure is
//	survey.go   trees, results → closures   lanes.go  closures → facts
//	needs.go    dependencies            topics.go   topics that are submitted whole
//	mirror.go   what is fetched of the projects
//	lost.go     needs that do not build
//	comments.go commands in comments    retest.go   checks on what has merged since
package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/blob"
	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/git"
	"sluice/internal/record"
)

// Gerrit is one review server.
type Gerrit interface {
	Change(ctx context.Context, number int, more ...gerrit.Option) (*gerrit.Change, error)
	Query(ctx context.Context, query string, limit int, more ...gerrit.Option) ([]gerrit.Change, error)
	Related(ctx context.Context, number int, revision string) ([]gerrit.Related, error)
	Resolve(ctx context.Context, d gerrit.DependsOn) ([]gerrit.Change, error)
	SubmittedTogether(ctx context.Context, number int) (*gerrit.Together, error)
	Review(ctx context.Context, number int, revision string, in gerrit.ReviewInput) (*gerrit.ReviewResult, error)
	Posted(ctx context.Context, number int, effectID string) (bool, error)
	Submit(ctx context.Context, number int, revision string) (*gerrit.SubmitResult, error)
	Branch(ctx context.Context, project, branch string) (string, error)
	ProjectConfig(ctx context.Context, project string) (*gerrit.ProjectConfig, error)
	ServerVersion(ctx context.Context) (string, error)
	WholeTopics(ctx context.Context) (bool, error)
	Remarks(ctx context.Context, number int) ([]gerrit.Message, error)
	BranchHeads(ctx context.Context, project string) (map[string]string, error)
	BaseURL() string
}

// Blobs is the content-addressed store.
type Blobs interface {
	Put(ctx context.Context, r io.Reader, want blob.Digest) (blob.Digest, int64, error)
	Stat(ctx context.Context, d blob.Digest) (blob.Info, error)
}

// Notices are the database's notifications.
type Notices interface {
	// Decisions gives the names of queues that have to decide; "": all of them.
	Decisions() (queues <-chan string, stop func())
}

// Engine is the service's core. Make one with New, start it with Run.
type Engine struct {
	Site    *config.Site
	Store   Store
	Gerrits map[string]Gerrit
	// Readers tell who may read what, by the Gerrit's name; where there is none,
	// everybody may read what is not private.
	Readers   map[string]Reader
	Git       Git
	Blobs     Blobs
	Repos     Publisher
	Upstreams Upstreams
	Indices   Indices
	Solver    Solver // nil: dependencies are not checked before a build
	Notices   Notices
	// Remote says where a project is fetched from.
	Remote func(p git.Project) git.Remote
	Log    *slog.Logger
	Now    func() time.Time
	// Observe: everything is computed and shown, nothing is voted or submitted.
	Observe bool

	preparing sync.Map       // queue → *atomic.Bool: it is being prepared; true: look again
	asking    [64]sync.Mutex // by a change's number: whoever asks Gerrit about it, so that waiting takes no connection
	reads     sync.Map       // gate.ChangeID → when its last read by this process began, by the database's clock
	echoed    atomic.Int64   // when an event was put off last, in nanoseconds of Unix time
	mirror    mirror
	archives  sync.Map // git tree id → blob digest of its archive, so that a tree is archived once
	sources   sources  // what trees say of their packages
	branches  sync.Map // gate.Branch → readable
	lanes     laneBook // what was read of closures
	versions  sync.Map // Gerrit's name → its version, asked once
	recorders sync.Map // gate's queue → *recorder
	expected  sync.Map // gate's queue → *expectation
	measured  jobTimesCache
	settings  sync.Map // Gerrit's name → setting
}

// Init makes the rows that the site's configuration asks for: queues and repositories.
func (e *Engine) Init(ctx context.Context) error {
	for _, q := range e.Site.Queues {
		if q.PerBranch {
			continue // made when a change of the branch is read
		}
		if err := e.Store.EnsureQueue(ctx, q.Name, gate.Dependent, "", q.Window.Start); err != nil {
			return fmt.Errorf("queue %s: %w", q.Name, err)
		}
	}
	for _, t := range e.Site.Targets {
		d, ok := e.Site.Dist(t.Dist)
		if !ok {
			return fmt.Errorf("target %s: no dist %s", t.Name(), t.Dist)
		}
		for _, c := range e.Site.Channels {
			r := record.Repository{Name: t.Name() + "/" + c.Name, Target: t.Name(), Channel: c.Name, Format: d.Format}
			if err := e.Store.EnsureRepository(ctx, r); err != nil {
				return fmt.Errorf("repository %s: %w", r.Name, err)
			}
		}
	}
	return nil
}

// Do carries out one task. It is what the database's work queue calls.
func (e *Engine) Do(ctx context.Context, t record.Task) error {
	switch t.Kind {
	case record.TaskEvent:
		return e.handleEvent(ctx, t.ID)
	case record.TaskReadChange:
		return e.ReadChange(ctx, t.Gerrit, t.Number)
	case record.TaskReconcile:
		return e.Reconcile(ctx, t.Gerrit)
	case record.TaskPrepare:
		return e.prepareQueue(ctx, t.Queue)
	case record.TaskSubmit:
		return e.submit(ctx, t.Queue, t.Item, t.Serial)
	case record.TaskWithdraw:
		return e.withdraw(ctx, t.ID)
	case record.TaskTell:
		return e.tell(ctx, t.ID)
	case record.TaskComment:
		return e.answerComment(ctx, t.ID)
	case record.TaskBatch:
		return e.runBatch(ctx, t.ID)
	case record.TaskRelease:
		return e.startJobs(ctx, t.ID)
	case record.TaskProve:
		return e.prove(ctx, t.ID)
	case record.TaskReds:
		return e.lookAtReds(ctx)
	case record.TaskPublishTest:
		return e.publishTest(ctx, t.ID)
	case record.TaskPublish:
		return e.publish(ctx, t.ID)
	}
	return fmt.Errorf("no such task %q", t.Kind)
}

// id names a change of one Gerrit.
func id(gerritName string, number int) gate.ChangeID {
	return gate.ChangeID(fmt.Sprintf("%s~%d", gerritName, number))
}

// CheckQueue names the queue in which a change is checked.
func CheckQueue(c gate.ChangeID) string { return "check/" + string(c) }
