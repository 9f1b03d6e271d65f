package postgres_test

import (
	"context"
	"strings"
	"testing"

	"sluice/internal/api/apitest"
	"sluice/internal/job"
	"sluice/internal/record"
)

// What was made with a restricted change serves nobody who does not hold that
// change, too: neither its result nor, while it runs, its work (G25).
func TestResultsStayInTheirCircle(t *testing.T) {
	w, ctx := apitest.New(t, nil), context.Background()
	s := w.Seed() // the restricted change stands behind two public ones, and its build has passed
	key := strings.Repeat("a", 64)
	w.SQL(`UPDATE jobs SET static_key = $1 WHERE id = $2`, key, s.HiddenBuild.ID)
	reusable := func(buildset int64) bool {
		t.Helper()
		all, err := w.Store.Reusable(ctx, buildset, key)
		if err != nil {
			t.Fatal(err)
		}
		return len(all) == 1 && all[0].ID == s.HiddenBuild.ID
	}
	if reusable(s.GoodBuildset.ID) || reusable(s.CheckBuildset.ID) {
		t.Error("a public buildset may have the result of a restricted one")
	}
	if !reusable(s.HiddenBuildset.ID) {
		t.Error("the change itself may not have its result")
	}
	w.SQL(`UPDATE jobs SET state = 'running' WHERE id = $1`, s.HiddenBuild.ID)
	waiting := func(b record.Buildset) record.Job {
		t.Helper()
		jobs, err := w.Store.BuildsetJobs(ctx, b.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.State == "waiting" && j.Stage == job.StageLint {
				return j
			}
		}
		t.Fatalf("nothing waits in buildset %d: %+v", b.ID, jobs)
		return record.Job{}
	}
	starts := func(b record.Buildset, want string) {
		t.Helper()
		j := waiting(b)
		if err := w.Store.StartJob(ctx, j, j.Spec, key); err != nil {
			t.Fatal(err)
		}
		if now, err := w.Store.Job(ctx, j.ID); err != nil || now.State != want {
			t.Errorf("the job of buildset %d is %s, %v; wanted %s", b.ID, now.State, err, want)
		}
	}
	starts(s.HiddenBuildset, "waiting") // it has joined
	w.SQL(`UPDATE jobs SET state = 'running', static_key = $1 WHERE id = $2`, key, s.HiddenBuild.ID)
	starts(s.CheckBuildset, "queued")
	w.SQL(`UPDATE jobs SET state = 'passed' WHERE id = $1`, s.HiddenBuild.ID)
	s.Hidden.Facts.Restricted = false
	w.Change(s.Hidden)
	if !reusable(s.GoodBuildset.ID) {
		t.Error("once it is public, its result serves nobody else")
	}
}
