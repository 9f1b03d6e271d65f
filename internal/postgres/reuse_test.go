package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"sluice/internal/job"
	"sluice/internal/postgres"
	"sluice/internal/record"
)

// build runs the build of a new buildset under a static key to an outcome.
func build(t *testing.T, s *postgres.Store, key string, outcome job.Outcome) record.Job {
	t.Helper()
	ctx := context.Background()
	only := newJob(job.StageBuild)
	only.MaxAttempts = 1
	b := planned(t, s, only)
	run(t, s, b.ID, key, outcome)
	return get[[]record.Job](t)(s.BuildsetJobs(ctx, b.ID))[0]
}

var leases int

func run(t *testing.T, s *postgres.Store, buildset int64, key string, outcome job.Outcome) {
	t.Helper()
	ctx := context.Background()
	for _, j := range get[[]record.Job](t)(s.Startable(ctx, buildset)) {
		must(t, s.StartJob(ctx, j, j.Spec, key))
	}
	leases++
	lease := fmt.Sprint("lease", leases)
	if claim(t, s, lease) == nil {
		t.Fatal("nothing to run")
	}
	must(t, s.Finish(ctx, lease, job.Result{Outcome: outcome}, nil))
}

func reusable(t *testing.T, s *postgres.Store, buildset int64, key string) []int64 {
	t.Helper()
	var ids []int64
	for _, j := range get[[]record.Job](t)(s.Reusable(context.Background(), buildset, key)) {
		ids = append(ids, j.ID)
	}
	return ids
}

// What can stand for a job: the newest first, failures too since they take an
// earlier pass back, and never what failed for a reason outside the change.
func TestReusable(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	passed := build(t, s, "k", job.Passed)
	build(t, s, "k", job.Error)
	build(t, s, "other", job.Passed)
	failed := build(t, s, "k", job.Failed)
	if got := reusable(t, s, *failed.Buildset, "k"); !slices.Equal(got, []int64{failed.ID, passed.ID}) {
		t.Errorf("reusable %v, not %v", got, []int64{failed.ID, passed.ID})
	}

	// Run once more it has no result; then its newer one comes first.
	must(t, s.RetryJob(ctx, passed.ID))
	if got := reusable(t, s, *failed.Buildset, "k"); !slices.Equal(got, []int64{failed.ID}) {
		t.Errorf("while it runs again: %v", got)
	}
	again := get[[]record.Job](t)(s.Startable(ctx, *passed.Buildset))
	if len(again) != 1 || !again[0].Again {
		t.Fatalf("to be run again: %+v", again)
	}
	run(t, s, *passed.Buildset, "k", job.Passed)
	if got := reusable(t, s, *failed.Buildset, "k"); !slices.Equal(got, []int64{passed.ID, failed.ID}) {
		t.Errorf("after it: %v", got)
	}
	if j := get[record.Job](t)(s.Job(ctx, passed.ID)); j.Again {
		t.Error("once more was once")
	}
}
