package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"sluice/internal/job"
	"sluice/internal/postgres"
	"sluice/internal/record"
)

// expire makes a lease run out.
func expire(t *testing.T, dsn, lease string) {
	t.Helper()
	exec(t, dsn, `UPDATE attempts SET expires_at = now() - interval '1 second' WHERE lease = $1`, lease)
}

func exec(t *testing.T, dsn, statement string, args ...any) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	must(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement, args...)
	must(t, err)
}

// A lease is a fenced right: renewed, finished once, over when it ran out.
func TestLeases(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	b := planned(t, s, newJob(job.StageBuild))
	if j := claim(t, s, "before"); j != nil {
		t.Fatalf("claimed a job that waits: %+v", j)
	}
	begin(t, s, b.ID)
	if j, _, err := s.Claim(ctx, record.Worker{Name: "other", Labels: []string{"rpm"}, Architectures: []string{"amd64"}}, "x"); err != nil || j != nil {
		t.Fatalf("a worker without the label claimed %+v, %v", j, err)
	}
	if j := claim(t, s, "one"); j == nil || j.State != "running" || j.Attempts != 1 {
		t.Fatalf("claimed %+v", j)
	}
	if j := claim(t, s, "two"); j != nil {
		t.Fatal("one job was claimed twice")
	}
	if cancel := get[bool](t)(s.Renew(ctx, "one")); cancel {
		t.Error("cancelled")
	}
	expire(t, dsn, "one")
	if n := get[int](t)(s.Sweep(ctx)); n != 1 {
		t.Fatalf("%d leases ran out", n)
	}
	if _, err := s.Renew(ctx, "one"); !errors.Is(err, postgres.ErrStale) {
		t.Errorf("renew a lease that is over: %v", err)
	}
	if err := s.Finish(ctx, "one", job.Result{Outcome: job.Passed}, nil); !errors.Is(err, postgres.ErrStale) {
		t.Errorf("finish a lease that is over: %v", err)
	}
	if _, err := s.AppendLog(ctx, "one", 0, []byte("late")); !errors.Is(err, postgres.ErrStale) {
		t.Errorf("log under a lease that is over: %v", err)
	}
	if j := claim(t, s, "soon"); j != nil {
		t.Error("tried again without a pause")
	}
	exec(t, dsn, `UPDATE jobs SET not_before = now()`)
	if j := claim(t, s, "again"); j == nil || j.Attempts != 2 {
		t.Fatalf("tried again: %+v", j)
	}
	must(t, s.Finish(ctx, "again", job.Result{Outcome: job.Passed}, nil))
	if err := s.Finish(ctx, "again", job.Result{Outcome: job.Failed}, nil); !errors.Is(err, postgres.ErrStale) {
		t.Errorf("finish twice: %v", err)
	}
	if got := states(t, s, b.ID)["build"]; got != "passed" {
		t.Errorf("the job is %s", got)
	}
	if b = get[record.Buildset](t)(s.Buildset(ctx, b.ID)); b.State != "ended" {
		t.Errorf("the buildset is %s", b.State)
	}
}

// G12: an error that is not the change's is tried again up to the limit, and
// then is an error, never a failure; what needs it is not run, for that cause.
func TestRetriesAreUsedUp(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	b := planned(t, s, newJob(job.StageBuild), newJob(job.StagePublish, "build"), newJob(job.StageInstall, "publish"))
	begin(t, s, b.ID)
	for n, lease := range []string{"a", "b", "c"} {
		exec(t, dsn, `UPDATE jobs SET not_before = NULL`)
		if j := claim(t, s, lease); j == nil || j.Attempts != n+1 {
			t.Fatalf("attempt %d: %+v", n+1, j)
		}
		must(t, s.Finish(ctx, lease, job.Result{Outcome: job.Error, Cause: "disk full"}, nil))
	}
	got := states(t, s, b.ID)
	if got["build"] != "error" || got["publish"] != "error" || got["install"] != "error" {
		t.Errorf("states %v", got)
	}
	for _, j := range get[[]record.Job](t)(s.BuildsetJobs(ctx, b.ID)) {
		if j.Name == "install" && !strings.Contains(j.Cause, "build could not be done") {
			t.Errorf("install says %q: not what came first", j.Cause)
		}
	}
	// A person lets it run once more, and all that waits for it.
	build := get[[]record.Job](t)(s.BuildsetJobs(ctx, b.ID))[0]
	must(t, s.RetryJob(ctx, build.ID))
	begin(t, s, b.ID)
	if j := claim(t, s, "d"); j == nil || j.ID != build.ID {
		t.Fatalf("retried: %+v", j)
	}
	must(t, s.Finish(ctx, "d", job.Result{Outcome: job.Failed, Cause: "exit status 2"}, nil))
	got = states(t, s, b.ID)
	if got["build"] != "failed" || got["publish"] != "cancelled" || got["install"] != "cancelled" {
		t.Errorf("states %v", got)
	}
}

// A cancel is pushed to who waits for it, and the attempt ends without a result.
func TestCancelIsPushed(t *testing.T) {
	s, _ := open(t)
	ctx, stop := context.WithCancel(context.Background())
	hub := s.NewHub()
	done := make(chan struct{})
	go func() { hub.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	leases, unlisten := hub.Cancels()
	defer unlisten()
	<-leases // listening: the hub tells everybody that something may have been missed
	b := planned(t, s, newJob(job.StageBuild))
	begin(t, s, b.ID)
	claim(t, s, "one")
	q := get[record.Queue](t)(s.Queue(ctx, "main"))
	must(t, s.Commit(ctx, q, q.State, cancelOf(b), record.Decided{}))
	if lease := <-leases; lease != "one" {
		t.Errorf("cancelled is %q", lease)
	}
	if cancel := get[bool](t)(s.Renew(ctx, "one")); !cancel {
		t.Error("a renewal does not say so")
	}
	must(t, s.Finish(ctx, "one", job.Result{Outcome: job.Passed}, nil))
	if got := states(t, s, b.ID)["build"]; got != "cancelled" {
		t.Errorf("the job is %s", got)
	}
	if got := get[record.Attempt](t)(s.Attempt(ctx, "one")); got.State != "cancelled" {
		t.Errorf("the attempt is %s", got.State)
	}
}

// A chunk of a log may come twice, or overlap; a gap is refused.
func TestLogs(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	b := planned(t, s, newJob(job.StageBuild))
	begin(t, s, b.ID)
	claim(t, s, "one")
	for _, c := range []struct {
		start int64
		text  string
		size  int64
	}{{0, "one\n", 4}, {0, "one\n", 4}, {2, "e\ntwo\n", 8}, {8, "three\n", 14}, {0, "", 14}} {
		if size, err := s.AppendLog(ctx, "one", c.start, []byte(c.text)); err != nil || size != c.size {
			t.Errorf("append %q at %d: %d, %v", c.text, c.start, size, err)
		}
	}
	if _, err := s.AppendLog(ctx, "one", 99, []byte("gap")); err == nil {
		t.Error("a gap is taken")
	}
	a := get[record.Attempt](t)(s.Attempt(ctx, "one"))
	text, over, err := s.ReadLog(ctx, a.ID, 2, 100)
	if err != nil || string(text) != "e\ntwo\nthree\n" || over {
		t.Errorf("read %q, %v, %v", text, over, err)
	}
	must(t, s.Finish(ctx, "one", job.Result{Outcome: job.Passed}, nil))
	if _, over, _ := s.ReadLog(ctx, a.ID, 0, 100); !over {
		t.Error("the log is not over")
	}
}
