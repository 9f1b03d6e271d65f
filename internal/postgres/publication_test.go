package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/postgres"
	"sluice/internal/postgres/embedded"
	"sluice/internal/record"
)

func cancelOf(b record.Buildset) []gate.Effect {
	return []gate.Effect{{Kind: gate.Cancel, Item: 1, Buildset: b.Serial}}
}

// Ten publishers add a package each to one repository at the same time: none is
// lost, and each publication follows the one before.
func TestConcurrentPublishers(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	b := planned(t, s)
	name := "juno/debian-12/updates"
	must(t, s.EnsureRepository(ctx, record.Repository{Name: name, Target: "juno/debian-12", Channel: "updates", Format: job.DEB}))
	var publishers sync.WaitGroup
	for i := range 10 {
		publishers.Go(func() {
			for {
				r, err := s.Repository(ctx, name)
				if err != nil {
					t.Error(err)
					return
				}
				serial, from := 1, int64(0)
				if r.Publication != nil {
					p, err := s.Publication(ctx, *r.Publication)
					if err != nil {
						t.Error(err)
						return
					}
					serial, from = p.Serial+1, p.ID
				}
				_, err = s.Publish(ctx, record.Publication{Repository: name, Serial: serial, Manifest: "m", Packages: serial, Who: "t", Why: "t"}, from,
					[]record.Package{{Name: fmt.Sprintf("p%d", i), Version: "1", Architecture: "all", Source: "p", SourceVersion: "1", Kind: job.BinaryPackage, Buildset: b.ID}}, nil)
				if err == nil {
					return
				}
				if !errors.Is(err, postgres.ErrStale) {
					t.Error(err)
					return
				}
			}
		})
	}
	publishers.Wait()
	if now := get[[]record.Package](t)(s.Packages(ctx, name, 0)); len(now) != 10 {
		t.Errorf("%d packages", len(now))
	}
	if then := get[[]record.Package](t)(s.Packages(ctx, name, 4)); len(then) != 4 {
		t.Errorf("%d packages at serial 4", len(then))
	}
	p := get[[]record.Publication](t)(s.Publications(ctx, name, 99))
	if len(p) != 10 || p[0].Serial != 10 {
		t.Errorf("%d publications, the last is %d", len(p), p[0].Serial)
	}
}

// Locked lets one in at a time, among replicas.
func TestLocked(t *testing.T) {
	s, dsn := open(t)
	replicas := []*postgres.Store{s, reopen(t, dsn)}
	var inside, passed atomic.Int64
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			err := replicas[i%2].Locked(context.Background(), "it", func(context.Context) error {
				if inside.Add(1) != 1 {
					t.Error("two hold the lock")
				}
				passed.Add(1)
				inside.Add(-1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if passed.Load() != 12 {
		t.Errorf("%d passed", passed.Load())
	}
}

// A lock that is lost with its connection ends what is done under it.
func TestLostLockEndsTheWork(t *testing.T) {
	s, dsn := open(t)
	err := s.Locked(context.Background(), "it", func(ctx context.Context) error {
		exec(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()`)
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the work ended with %v", err)
	}
}

// Tasks of a process that is gone are done again at once by another (G22).
func TestTasksOfADeadProcessAreRescued(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	must(t, s.Enqueue(ctx, record.Task{Kind: record.TaskTell, ID: 42}))
	exec(t, dsn, `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = ARRAY['a-process-that-is-gone']`)
	done := make(chan record.Task, 1)
	must(t, s.StartWork(ctx, quiet, func(_ context.Context, task record.Task) error {
		done <- task
		return nil
	}, nil))
	if task := <-done; task.ID != 42 {
		t.Errorf("done is %+v", task)
	}
	must(t, s.StopWork(ctx))
}

// Nobody takes away what a living process works on.
func TestTasksOfALivingProcessAreLeft(t *testing.T) {
	s, dsn := open(t)
	other := reopen(t, dsn)
	ctx := context.Background()
	begun, end := make(chan struct{}), make(chan struct{})
	must(t, s.StartWork(ctx, quiet, func(context.Context, record.Task) error {
		close(begun) // twice is a panic
		<-end
		return nil
	}, nil))
	must(t, s.Enqueue(ctx, record.Task{Kind: record.TaskTell, ID: 1}))
	<-begun
	for _, store := range []*postgres.Store{s, other} {
		if n := get[int](t)(store.RescueTasks(ctx)); n != 0 {
			t.Errorf("%d tasks were taken away", n)
		}
	}
	close(end)
	must(t, s.StopWork(ctx))
}

// The embedded server starts on an empty folder, keeps what was stored when it
// is killed, starts again by itself, and once more on the same folder.
func TestEmbedded(t *testing.T) {
	dir := embeddedFolder(t)
	ctx := context.Background()
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "closed"), 0o700))
	if _, err := embedded.Start(ctx, filepath.Join(dir, "closed/pg"), quiet); err == nil || !strings.Contains(err.Error(), "may not enter "+filepath.Join(dir, "closed")+": chmod o+x it") {
		t.Errorf("in a folder that its user may not enter: %v", err)
	}
	dir = filepath.Join(dir, "not/there/yet")
	p, err := embedded.Start(ctx, dir, quiet)
	must(t, err)
	s, err := postgres.Open(ctx, p.DSN())
	must(t, err)
	must(t, s.Migrate(ctx))
	must(t, s.Set(ctx, "kept", 1))
	killPostmaster(t, filepath.Join(dir, "data"))
	await(t, func(ctx context.Context) error { return s.Set(ctx, "kept", kept(t, s, 1)+1) })
	s.Close()
	p.Stop()
	if embedded.Runs(dir) {
		t.Error("it runs after its stop")
	}
	p, err = embedded.Start(ctx, dir, quiet)
	must(t, err)
	defer p.Stop()
	s = reopen(t, p.DSN())
	kept(t, s, 2)
	s.Close()
}
