package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/postgres"
	"sluice/internal/record"
)

// asked gives the serial of the last request for a new check of each change.
func asked(t *testing.T, s *postgres.Store, numbers ...int) (serials []int64) {
	t.Helper()
	for _, n := range numbers {
		c := get[record.Change](t)(s.Change(context.Background(), gate.ChangeID(fmt.Sprintf("main~%d", n))))
		serials = append(serials, c.Facts.Retest)
	}
	return serials
}

// A merge asks for one new check of the open changes of its branch, once it is
// calm; a published package for one of those whose last check was given it, or
// asked for it. What stands in a gate is left to it.
func TestRetest(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	for n := 1; n <= 6; n++ {
		c := change(n, int64(n))
		switch n {
		case 3, 4:
			c.Project = "user"
		case 5:
			c.Branch = "stable"
		case 6:
			c.Facts.Ready = true
		}
		get[bool](t)(s.SaveChange(ctx, c))
	}
	merged := change(1, 10)
	merged.Status, merged.Facts.Status = gate.Merged, gate.Merged
	get[bool](t)(s.SaveChange(ctx, merged))
	get[bool](t)(s.SaveChange(ctx, merged)) // read once more: it has merged once

	if n := get[int](t)(s.Retest(ctx, time.Hour, time.Hour, false, false)); n != 0 {
		t.Errorf("%d asked while it moves", n)
	}
	if n := get[int](t)(s.Retest(ctx, time.Hour, 0, false, false)); n != 2 {
		t.Errorf("%d asked when it has moved for long enough", n)
	}
	if got := asked(t, s, 2, 6, 3, 5); got[0] == 0 || got[1] == 0 || got[2] != 0 || got[3] != 0 {
		t.Errorf("asked: %v", got)
	}
	was := asked(t, s, 2)[0]
	get[bool](t)(s.SaveChange(ctx, change(2, 20)))
	if got := asked(t, s, 2)[0]; got != was {
		t.Errorf("a read makes it %d, was %d", got, was)
	}
	if n := get[int](t)(s.Retest(ctx, 0, 0, false, false)); n != 0 {
		t.Errorf("%d asked again", n)
	}

	must(t, s.BranchMoved(ctx, "main", "hello", "main"))
	if n := get[int](t)(s.Retest(ctx, 0, 0, true, false)); n != 1 {
		t.Errorf("%d of the approved asked", n)
	}
	must(t, s.BranchMoved(ctx, "main", "hello", "main"))
	if n := get[int](t)(s.Retest(ctx, 0, 0, false, true)); n != 0 {
		t.Errorf("%d asked where none is to be", n)
	}
	must(t, s.SaveHeads(ctx, "main", "hello", map[string]string{"main": "1", "stable": "1"}))
	must(t, s.SaveHeads(ctx, "main", "hello", map[string]string{"main": "1", "stable": "2"}))
	if n := get[int](t)(s.Retest(ctx, 0, 0, false, false)); n != 1 || asked(t, s, 5)[0] == 0 {
		t.Errorf("%d asked for a branch that moved while nobody listened", n)
	}
	planned(t, s) // change 1; then 2 stands in the gate
	planned(t, s)
	must(t, s.BranchMoved(ctx, "main", "hello", "main"))
	if n := get[int](t)(s.Retest(ctx, 0, 0, false, false)); n != 1 {
		t.Errorf("%d asked, and one of the two stands in the gate", n)
	}
}

// A check whose jobs were given a package, or asked for it, is made again when
// that is published.
func TestRetestByPackage(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	traces := map[int]job.Trace{
		1: {Served: map[string]job.Served{"libhello": {Version: "1"}}}, 2: {Asked: []string{"libhello"}}, 3: {Asked: []string{"other"}},
	}
	for n, trace := range traces {
		get[bool](t)(s.SaveChange(ctx, change(n, int64(n))))
		name := fmt.Sprintf("check/main~%d", n)
		must(t, s.EnsureQueue(ctx, name, gate.Independent, gate.ChangeID(fmt.Sprintf("main~%d", n)), 1))
		q := get[record.Queue](t)(s.Queue(ctx, name))
		must(t, s.Commit(ctx, q, q.State, []gate.Effect{
			{Kind: gate.Enter, Item: 1, Changes: []gate.Ref{ref(n)}},
			{Kind: gate.Prepare, Item: 1, Buildset: 1, Changes: []gate.Ref{ref(n)}},
		}, record.Decided{}))
		b := get[record.Buildset](t)(s.ItemBuildset(ctx, name, 1))
		must(t, s.SavePrepared(ctx, b.ID, record.Base{}, nil, nil, []record.NewJob{newJob(job.StageBuild)}))
		begin(t, s, b.ID)
		lease := fmt.Sprintf("lease-%d", n)
		if claim(t, s, lease) == nil {
			t.Fatal("no job")
		}
		must(t, s.Finish(ctx, lease, job.Result{Outcome: job.Passed, Trace: trace}, nil))
	}
	exec(t, dsn, `INSERT INTO moved (kind, place, name) VALUES ('package', 'juno/debian-12', 'libhello'), ('package', 'juno/el-9', 'other')`)
	if n := get[int](t)(s.Retest(ctx, 0, 0, false, false)); n != 2 {
		t.Errorf("%d asked", n)
	}
	if got := asked(t, s, 1, 2, 3); got[0] == 0 || got[1] == 0 || got[2] != 0 {
		t.Errorf("asked: %v", got)
	}
}

// A command in a comment is stored once, whoever finds it; what was written before
// this service is nobody's.
func TestCommentsAreHeardOnce(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	get[bool](t)(s.SaveChange(ctx, change(1, 1)))
	c := record.Comment{Change: "main~1", Message: "m1", Verb: "recheck", Reason: "why not", Who: "ada", Allowed: true, WrittenAt: time.Now().Add(time.Second)}
	old := c
	old.Message, old.WrittenAt = "m0", time.Now().Add(-time.Hour)
	for range 2 {
		must(t, s.Hear(ctx, []record.Comment{c, old}))
	}
	got := get[record.Comment](t)(s.Comment(ctx, 1))
	if got.Message != "m1" || got.Who != "ada" || got.AnsweredAt != nil {
		t.Errorf("%+v", got)
	}
	if n := count(t, dsn, `SELECT count(*) FROM comments`); n != 1 {
		t.Errorf("%d comments", n)
	}
	if n := count(t, dsn, `SELECT count(*) FROM river_job WHERE args->>'kind' = 'comment'`); n != 1 {
		t.Errorf("%d tasks", n)
	}
	one := get[int64](t)(s.CommentCommand(ctx, got, "main", "retry", "a review comment"))
	two := get[int64](t)(s.CommentCommand(ctx, got, "main", "retry", "a review comment"))
	if n := count(t, dsn, `SELECT count(*) FROM commands`); one != two || n != 1 {
		t.Errorf("commands %d and %d, %d in all", one, two, n)
	}
	first, again := get[bool](t)(s.CommentBegins(ctx, got.ID)), get[bool](t)(s.CommentBegins(ctx, got.ID))
	if !first || again {
		t.Errorf("begun: %v, then %v", first, again)
	}
	must(t, s.CommentAnswered(ctx, got.ID, "done"))
	if got := get[record.Comment](t)(s.Comment(ctx, 1)); got.AnsweredAt == nil || got.Answer != "done" {
		t.Errorf("%+v", got)
	}
}

func count(t *testing.T, dsn, query string) (n int) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	must(t, err)
	defer conn.Close(ctx)
	must(t, conn.QueryRow(ctx, query).Scan(&n))
	return n
}
