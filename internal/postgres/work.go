package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"sluice/internal/record"
)

// TaskTimeout is how long one try at a task may take. River rescues by elapsed
// time and has no heartbeat, so whatever is long is a job under a lease instead.
const TaskTimeout = 10 * time.Minute

// taskArgs is a task as River stores it.
type taskArgs struct {
	record.Task
}

// Kind is the name of the tasks in River's table.
func (taskArgs) Kind() string { return "sluice_task" }

// taskWorker hands a task to the service.
type taskWorker struct {
	river.WorkerDefaults[taskArgs]
	do    func(context.Context, record.Task) error
	alive *alive
}

// Work carries out one task.
func (w *taskWorker) Work(ctx context.Context, j *river.Job[taskArgs]) error {
	w.alive.begins(j.ID)
	defer w.alive.ends(j.ID)
	err := w.do(ctx, j.Args.Task)
	var later record.Later
	if errors.As(err, &later) {
		return river.JobSnooze(later.After)
	}
	return err
}

// NextRetry keeps retries close together at first: a Gerrit that restarts is back within a minute.
func (w *taskWorker) NextRetry(j *river.Job[taskArgs]) time.Time {
	return time.Now().Add(min(5*time.Minute, time.Second<<min(j.Attempt, 9)))
}

// Timeout bounds one try.
func (w *taskWorker) Timeout(*river.Job[taskArgs]) time.Duration { return TaskTimeout }

// Periodic is a task that is enqueued again and again, by one replica at a time.
type Periodic struct {
	Every time.Duration
	Task  record.Task
}

// work is the River client of this process.
type work struct {
	client *river.Client[pgx.Tx]
	alive  *alive
}

// StartWork begins to carry out tasks with do, which may be called from several
// goroutines and must be idempotent. Without it the store only enqueues.
func (s *Store) StartWork(ctx context.Context, log *slog.Logger, do func(context.Context, record.Task) error, periodic []Periodic) error {
	if s.work != nil {
		return errors.New("start the work on effects: it runs already")
	}
	alive, err := s.signOfLife(ctx)
	if err != nil {
		return fmt.Errorf("start the work on effects: %w", err)
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &taskWorker{do: do, alive: alive})
	var jobs []*river.PeriodicJob
	for _, p := range periodic {
		jobs = append(jobs, river.NewPeriodicJob(river.PeriodicInterval(p.Every), func() (river.JobArgs, *river.InsertOpts) {
			p.Task.Once = true
			return taskArgs{p.Task}, urgency(p.Task)
		}, &river.PeriodicJobOpts{RunOnStart: true}))
	}
	client, err := river.NewClient(riverpgxv5.New(s.pool), &river.Config{
		ID:                   alive.name,
		Logger:               slog.New(quiet{log.Handler()}),
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 16}},
		Workers:              workers,
		PeriodicJobs:         jobs,
		JobTimeout:           TaskTimeout,
		RescueStuckJobsAfter: TaskTimeout + time.Minute,
		FetchCooldown:        5 * time.Millisecond,
		FetchPollInterval:    time.Second,
		MaxAttempts:          1000,
	})
	if err != nil {
		alive.stop()
		return fmt.Errorf("start the work on effects: %w", err)
	}
	s.work = &work{client: client, alive: alive}
	if _, err := s.RescueTasks(ctx); err != nil {
		return err
	}
	return client.Start(ctx)
}

var pendingStates = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
	rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// StopWork lets the tasks that run come to their end, until ctx is over.
func (s *Store) StopWork(ctx context.Context) error {
	if s.work == nil {
		return nil
	}
	err := s.work.client.StopAndCancel(ctx)
	s.work.alive.stop()
	<-s.work.alive.ended
	return err
}

// enqueue adds a task within tx.
func (s *Store) enqueue(ctx context.Context, tx pgx.Tx, t record.Task) error {
	if s.work == nil {
		client, err := river.NewClient(riverpgxv5.New(s.pool), &river.Config{})
		if err != nil {
			return err
		}
		_, err = client.InsertTx(ctx, tx, taskArgs{t}, urgency(t))
		return err
	}
	_, err := s.work.client.InsertTx(ctx, tx, taskArgs{t}, urgency(t))
	return err
}

// urgency puts what nobody waits for last: River's priorities are 1 to 4.
func urgency(t record.Task) *river.InsertOpts {
	o := &river.InsertOpts{}
	if t.Last {
		o.Priority = 4
	}
	if t.Once {
		o.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: pendingStates}
	}
	if t.After > 0 {
		o.ScheduledAt = time.Now().Add(t.After)
	}
	return o
}

// Enqueue adds a task.
func (s *Store) Enqueue(ctx context.Context, t record.Task) error {
	return s.inTx(ctx, func(tx pgx.Tx) error { return s.enqueue(ctx, tx, t) })
}

// Locked runs f while this process holds the named lock among all replicas; it
// waits for it. Should the lock be lost, with its connection, f's context ends.
func (s *Store) Locked(ctx context.Context, name string, f func(context.Context) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended($1, 0))`, name); err != nil {
		return fmt.Errorf("lock %s: %w", name, err)
	}
	defer func() {
		if _, err := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtextextended($1, 0))`, name); err != nil {
			_ = conn.Conn().Close(context.WithoutCancel(ctx)) // the lock goes with the connection
		}
	}()
	holding, lost := context.WithCancel(ctx)
	watching, enough := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if _, err := conn.Conn().WaitForNotification(watching); err != nil && watching.Err() == nil {
			lost()
		}
	})
	defer func() { enough(); watch.Wait(); lost() }()
	return f(holding)
}

// quiet lets only warnings and errors of River through: what it says of its own
// working is nobody's concern.
type quiet struct{ slog.Handler }

// Enabled is for warnings and errors.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.Handler.Enabled(ctx, l)
}

// WithAttrs keeps quiet.
func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a)} }

// WithGroup keeps quiet.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
