package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/postgres"
	"sluice/internal/record"
	"sluice/internal/testenv"
)

var quiet = slog.New(slog.DiscardHandler)

// open gives a migrated store on a fresh database.
func open(t *testing.T) (*postgres.Store, string) {
	t.Helper()
	dsn := testenv.Postgres(t)
	s := reopen(t, dsn)
	if err := s.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s, dsn
}

// reopen is one more replica.
func reopen(t *testing.T, dsn string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// change is one of the queue main as it was read with a serial.
func change(number int, read int64) record.Change {
	id := gate.ChangeID(fmt.Sprintf("main~%d", number))
	return record.Change{
		ID: id, Gerrit: "main", Number: number, Project: "hello", Branch: "main", ChangeKey: fmt.Sprintf("I%d", number),
		PatchSet: 1, Revision: "r1", Status: gate.Open, Queue: "main", Checked: true, ReadSerial: read, UpdatedAt: time.Unix(1, 0),
		Facts: gate.Change{ID: id, Number: number, PatchSet: 1, Status: gate.Open, Queue: "main", Read: read},
	}
}

func ref(number int) gate.Ref {
	return gate.Ref{ID: gate.ChangeID(fmt.Sprintf("main~%d", number)), Number: number, PatchSet: 1, Revision: "r1", Branch: gate.Branch{Project: "main:hello", Branch: "main"}}
}

// planned makes a queue with one item whose buildset has the jobs, and gives the buildset.
func planned(t *testing.T, s *postgres.Store, jobs ...record.NewJob) record.Buildset {
	t.Helper()
	ctx := context.Background()
	must(t, s.EnsureQueue(ctx, "main", gate.Dependent, "", 20))
	q := get[record.Queue](t)(s.Queue(ctx, "main"))
	st := q.State
	item, serial := st.NextItem, st.NextBuildset
	st.NextItem++
	st.NextBuildset++
	must(t, s.Commit(ctx, q, st, []gate.Effect{
		{Kind: gate.Enter, Item: item, Changes: []gate.Ref{ref(int(item))}},
		{Kind: gate.Prepare, Item: item, Buildset: serial, Changes: []gate.Ref{ref(int(item))}},
	}, record.Decided{}))
	b := get[record.Buildset](t)(s.ItemBuildset(ctx, "main", serial))
	if len(jobs) > 0 {
		must(t, s.SavePrepared(ctx, b.ID, record.Base{}, nil, nil, jobs))
	}
	return get[record.Buildset](t)(s.Buildset(ctx, b.ID))
}

func newJob(stage job.Stage, needs ...string) record.NewJob {
	return record.NewJob{
		Name: string(stage), Stage: stage, Package: "hello", Target: "juno/debian-12", Architecture: "amd64", Voting: true,
		Labels: []string{"deb"}, MaxAttempts: 3, Needs: needs, Spec: job.Spec{Stage: stage, Name: string(stage)},
	}
}

var machine = record.Worker{Name: "w1", Labels: []string{"deb", "rpm"}, Architectures: []string{"amd64"}}

// begin lets all startable jobs of a buildset be claimed.
func begin(t *testing.T, s *postgres.Store, buildset int64) {
	t.Helper()
	for _, j := range get[[]record.Job](t)(s.Startable(context.Background(), buildset)) {
		must(t, s.StartJob(context.Background(), j, j.Spec, ""))
	}
}

// claim gives the machine's next job, under the lease.
func claim(t *testing.T, s *postgres.Store, lease string) *record.Job {
	t.Helper()
	j, _, err := s.Claim(context.Background(), machine, lease)
	must(t, err)
	return j
}

func states(t *testing.T, s *postgres.Store, buildset int64) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, j := range get[[]record.Job](t)(s.BuildsetJobs(context.Background(), buildset)) {
		out[j.Name] = j.State
	}
	return out
}
