package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"sluice/internal/api/apitest"
	"sluice/internal/gate"
	"sluice/internal/record"
)

func TestViewsOfChanges(t *testing.T) {
	w, ctx := apitest.New(t, nil), context.Background()
	s := w.Seed()
	last, err := w.Store.LastItems(ctx, []string{"main~1", "main~4", "main~99"})
	if err != nil || len(last) != 2 || last[0].Change != "main~1" || last[0].Kind != gate.Dependent || last[0].Buildset == nil || last[1].Kind != gate.Independent {
		t.Errorf("last items: %+v, %v", last, err)
	}
	items, err := w.Store.ItemsOf(ctx, "main~1", 10)
	if err != nil || len(items) != 1 || items[0].Kind != gate.Dependent {
		t.Fatalf("items: %+v, %v", items, err)
	}
	if i, err := w.Store.Item(ctx, items[0].ID); err != nil || i.Serial != items[0].Serial {
		t.Errorf("item: %+v, %v", i, err)
	}
	if _, err := w.Store.Item(ctx, 999); err != record.ErrNotFound {
		t.Errorf("no item: %v", err)
	}
	buildsets, err := w.Store.BuildsetsOf(ctx, []int64{items[0].ID})
	if err != nil || len(buildsets) != 1 || buildsets[0].ID != s.GoodBuildset.ID {
		t.Errorf("buildsets: %+v, %v", buildsets, err)
	}
	jobs, err := w.Store.JobViews(ctx, []int64{s.GoodBuildset.ID})
	if err != nil || len(jobs) != 4 || jobs[3].Finding == nil || jobs[3].Finding.Line != 7 || jobs[0].Finding != nil {
		t.Errorf("jobs: %+v, %v", jobs, err)
	}
	recent, err := w.Store.RecentChanges(ctx, record.ChangeFilter{Limit: 2})
	if err != nil || len(recent) != 2 || recent[0].ID != "main~4" || recent[1].ID != "main~2" { // not the restricted one
		t.Errorf("recent: %+v, %v", recent, err)
	}
}

func TestViewsOfRepositories(t *testing.T) {
	w, ctx := apitest.New(t, nil), context.Background()
	s := w.Seed()
	publication, err := w.Store.Publication(ctx, w.Release(apitest.Deb, s.GoodBuildset.ID, s.Deb))
	if err != nil {
		t.Fatal(err)
	}
	for digest, want := range map[string]bool{string(s.Deb.Digest): true, string(s.HiddenFile.Digest): false, publication.Manifest: false, strings.Repeat("0", 64): false} {
		if got, err := w.Store.ArtifactShown(ctx, digest, false); err != nil || got != want {
			t.Errorf("shown %s: %v, %v", digest, got, err)
		}
		want = want || digest == string(s.HiddenFile.Digest)
		if got, err := w.Store.ArtifactShown(ctx, digest, true); err != nil || got != want {
			t.Errorf("shown to who may read everything %s: %v, %v", digest, got, err)
		}
	}
}

func TestViewsOfMeasures(t *testing.T) {
	w, ctx := apitest.New(t, nil), context.Background()
	w.Seed()
	counts, err := w.Store.JobCounts(ctx)
	if err != nil || counts.Running != 1 || counts.Checks != 1 || counts.Waiting == 0 {
		t.Errorf("counts: %+v, %v", counts, err)
	}
	if spans, err := w.Store.JobSpans(ctx); err != nil || len(spans) != 3 || spans[0].Name != "build" || spans[0].Count != 2 || spans[0].P95 < spans[0].Median {
		t.Errorf("spans of jobs: %+v, %v", spans, err)
	}
	if spans, err := w.Store.GateSpans(ctx); err != nil || len(spans) != 1 || spans[0].Name != "first_job" || spans[0].Count != 2 {
		t.Errorf("spans of the gate: %+v, %v", spans, err)
	}
	if current, err := w.Store.SchemaCurrent(ctx); err != nil || !current {
		t.Errorf("the schema is current: %v, %v", current, err)
	}
	if all, err := w.Store.Reconciled(ctx); err != nil || len(all) != 0 {
		t.Errorf("reconciled: %+v, %v", all, err)
	}
	// What River holds of a finished comparison.
	w.SQL(`INSERT INTO river_job (kind, args, state, queue, max_attempts, attempt, attempted_at, finalized_at)
		VALUES ('sluice_task', '{"kind": "reconcile", "gerrit": "main"}', 'completed', 'default', 1, 1, now(), now())`)
	all, err := w.Store.Reconciled(ctx)
	if err != nil || len(all) != 1 || all[0].Gerrit != "main" || time.Since(all[0].At) > time.Hour {
		t.Errorf("reconciled: %+v, %v", all, err)
	}
}

func TestCommandsAreNoted(t *testing.T) {
	w, ctx := apitest.New(t, nil), context.Background()
	w.Seed()
	id, err := w.Store.NoteCommand(ctx, record.Command{Queue: "main", Verb: "retry", Change: "main~1", Who: "olga", Why: "again", Answer: "done"})
	if err != nil {
		t.Fatal(err)
	}
	open, err := w.Store.Command(ctx, "main", "promote", "main~1", "olga", "urgent")
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.Store.CommandsOf(ctx, "main~1", 10)
	if err != nil || len(all) != 2 || all[0].ID != open || all[0].AnsweredAt != nil || all[1].ID != id || all[1].AnsweredAt == nil {
		t.Errorf("commands: %+v, %v", all, err)
	}
	if err := w.Engine.Decide(ctx, "main"); err != nil {
		t.Fatal(err)
	}
	if answer, done, err := w.Store.Answer(ctx, open); err != nil || !done || answer == "" {
		t.Errorf("the open one is decided: %q %v %v", answer, done, err)
	}
}
