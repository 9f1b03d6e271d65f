package postgres_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/postgres"
	"sluice/internal/record"
)

// moving is an item of the queue main whose base moves.
type moving struct {
	t *testing.T
	s *postgres.Store
	b record.Buildset // its present one
}

// running makes an item whose build runs under the key "same",
// claimed by a worker.
func running(t *testing.T, s *postgres.Store) (m *moving, build int64) {
	t.Helper()
	m = &moving{t, s, planned(t, s, newJob(job.StageBuild))}
	m.start("same")
	if claim(t, s, "first") == nil {
		t.Fatal("nothing to claim")
	}
	return m, m.jobs()[0].ID
}

func (m *moving) commit(effects ...gate.Effect) {
	m.t.Helper()
	q := get[record.Queue](m.t)(m.s.Queue(context.Background(), "main"))
	must(m.t, m.s.Commit(context.Background(), q, q.State, effects, record.Decided{}))
}

// moves drops the item's attempt and begins another one.
func (m *moving) moves() {
	m.t.Helper()
	m.commit(m.cancel(), m.prepare(m.b.Serial+1))
	m.b = get[record.Buildset](m.t)(m.s.ItemBuildset(context.Background(), "main", m.b.Serial+1))
}

func (m *moving) cancel() gate.Effect {
	return gate.Effect{Kind: gate.Cancel, Item: 1, Buildset: m.b.Serial}
}

func (m *moving) prepare(serial gate.BuildsetID) gate.Effect {
	return gate.Effect{Kind: gate.Prepare, Item: 1, Buildset: serial, Changes: m.b.Changes}
}

func (m *moving) plan(jobs ...record.NewJob) {
	m.t.Helper()
	must(m.t, m.s.SavePrepared(context.Background(), m.b.ID, record.Base{}, nil, nil, jobs))
}

func (m *moving) jobs() []record.Job {
	m.t.Helper()
	return get[[]record.Job](m.t)(m.s.BuildsetJobs(context.Background(), m.b.ID))
}

// start does what is done when a buildset is released: each job that can start
// does, under this key, and what nobody wants is stopped.
func (m *moving) start(key string) {
	m.t.Helper()
	for _, j := range get[[]record.Job](m.t)(m.s.Startable(context.Background(), m.b.ID)) {
		must(m.t, m.s.StartJob(context.Background(), j, j.Spec, key))
	}
	m.sweep()
}

func (m *moving) sweep() {
	m.t.Helper()
	must(m.t, m.s.CancelUnwanted(context.Background()))
}

// is checks the state of a job, and that its worker was told if it is cancelled.
func (m *moving) is(id int64, want, when string) {
	m.t.Helper()
	j := get[record.Job](m.t)(m.s.Job(context.Background(), id))
	if j.State != want {
		m.t.Errorf("%s: job %s is %s, want %s", when, j.Name, j.State, want)
	}
	for _, a := range get[[]record.Attempt](m.t)(m.s.Attempts(context.Background(), id)) {
		if a.Cancel != (want == "cancelled") {
			m.t.Errorf("%s: the worker of %s was told to stop: %v", when, j.Name, a.Cancel)
		}
	}
}

// G10: a job is not begun again because its item got another place. What runs
// goes on until it is known that the next buildset does not do the same.
func TestWhatRunsIsKeptForTheNextBase(t *testing.T) {
	s, _ := open(t)
	m, build := running(t, s)
	m.moves()
	m.is(build, "running", "the next buildset is prepared")
	m.moves()
	m.sweep() // another buildset starts its jobs now, or this one's last look comes late
	m.is(build, "running", "the base moved twice")
	m.plan(newJob(job.StageBuild))
	m.sweep()
	m.is(build, "running", "planned, and not looked at yet")
	m.start("same")
	m.is(build, "running", "joined")
	if j := m.jobs()[0]; j.State != "waiting" {
		t.Errorf("the new build is %s", j.State)
	}
	m.moves()
	m.plan(newJob(job.StageBuild))
	m.start("same")
	m.is(build, "running", "joined once more")
	must(t, s.Finish(context.Background(), "first", job.Result{Outcome: job.Passed}, nil))
	m.is(build, "passed", "its worker has finished it")
}

// What the next buildset does otherwise is stopped when that begins.
func TestWhatIsOtherOnTheNextBaseIsStopped(t *testing.T) {
	s, _ := open(t)
	m, build := running(t, s)
	m.moves()
	m.plan(newJob(job.StageBuild))
	m.start("other")
	m.is(build, "cancelled", "another build")
	if err := s.Finish(context.Background(), "first", job.Result{Outcome: job.Passed}, nil); err != nil {
		t.Errorf("the worker's last word: %v", err)
	}
	m.is(build, "cancelled", "its worker has stopped")
}

// What runs was given the packages of a change ahead. If that is released by the time
// that the base moves, the next buildset has them too, and its job is the same; if
// it is not there any more, it is another one.
func TestWhatWasGivenIsReleasedMeanwhile(t *testing.T) {
	for published, want := range map[string]string{"now()": "running", "NULL": "cancelled"} {
		s, dsn := open(t)
		ctx := context.Background()
		m, build := running(t, s)
		conn := get[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
		defer conn.Close(ctx)
		get[pgconn.CommandTag](t)(conn.Exec(ctx, `
			WITH ahead AS (
				INSERT INTO buildsets (queue, serial, item, changes, stack, stack_items, published_at)
				SELECT queue, 1000, item, '[]', '[]', '{}', `+published+` FROM buildsets WHERE id = $1 RETURNING id),
			jobs_ahead AS (
				INSERT INTO jobs (buildset, name, stage, package, target, architecture, voting, labels, priority, max_attempts, spec, state, static_key)
				SELECT ahead.id, kind, kind, 'lib', target, architecture, true, '{}', 0, 1, '{}', 'passed', 'lib'
				FROM ahead, jobs, unnest('{build, publish}'::text[]) kind WHERE jobs.id = $2 RETURNING id, stage)
			INSERT INTO job_needs (job, needs, ahead) SELECT $2, id, true FROM jobs_ahead WHERE stage = 'publish'`, m.b.ID, build))
		m.moves()
		m.plan(newJob(job.StageBuild))
		m.start("same")
		m.is(build, want, "released: "+published)
	}
}

// Where there is no next buildset, or one that has nothing to run, it is stopped.
func TestWhatHasNoNextIsStopped(t *testing.T) {
	for name, next := range map[string]func(*moving){
		"left":                          func(m *moving) { m.commit(m.cancel()) },
		"left as the next was prepared": func(m *moving) { m.moves(); m.commit(m.cancel()) },
		"nothing to run":                func(m *moving) { m.moves(); m.plan() },
		"a conflict": func(m *moving) {
			m.moves()
			must(m.t, m.s.Refuse(context.Background(), m.b.ID, &gate.Conflict{Files: []string{"a"}}, "", nil))
		},
		"no build in it": func(m *moving) { m.moves(); m.plan(newJob(job.StageLint)); m.sweep() },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t)
			m, build := running(t, s)
			next(m)
			m.is(build, "cancelled", name)
		})
	}
}

// A later stage's job waits in the next buildset for what comes before it: while
// that is only looked up, the running one may still be the same; when it is made
// anew, it cannot be.
func TestALaterStageIsKeptWhileItMayBeTheSame(t *testing.T) {
	for name, anew := range map[string]bool{"what it needs is reused": false, "what it needs is built anew": true} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t)
			stages := []record.NewJob{newJob(job.StageBuild), newJob(job.StagePublish, "build"), newJob(job.StageInstall, "publish")}
			m := &moving{t, s, planned(t, s, stages...)}
			m.start("build")
			claim(t, s, "first")
			ctx := context.Background()
			must(t, s.Finish(ctx, "first", job.Result{Outcome: job.Passed}, nil))
			m.start("")
			old := m.jobs()
			must(t, s.FinishPublish(ctx, old[1].ID, job.Result{Outcome: job.Passed}, nil))
			m.start("install")
			if claim(t, s, "second") == nil {
				t.Fatal("no install to claim")
			}
			m.moves()
			m.plan(stages...)
			m.sweep()
			install := old[2].ID
			m.is(install, "running", "planned")
			now := m.jobs()
			if anew {
				m.start("other build")
				m.is(install, "cancelled", "its package is built anew")
				return
			}
			must(t, s.Reuse(ctx, now[0].ID, now[0].Spec, "build", get[record.Job](t)(s.Job(ctx, old[0].ID))))
			m.start("")
			m.is(install, "running", "its package is published")
			must(t, s.FinishPublish(ctx, now[1].ID, job.Result{Outcome: job.Passed}, nil))
			m.start("install")
			m.is(install, "running", "joined")
		})
	}
}

// What a job of another queue has joined goes on for that when its own change
// is gone, and is stopped when that one goes, too.
func TestWhatAnotherHasJoinedGoesOn(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	m, build := running(t, s)
	get[bool](t)(s.SaveChange(ctx, change(1, 1)))
	must(t, s.EnsureQueue(ctx, "check/main~1", gate.Independent, "main~1", 1))
	q := get[record.Queue](t)(s.Queue(ctx, "check/main~1"))
	must(t, s.Commit(ctx, q, q.State, []gate.Effect{
		{Kind: gate.Enter, Item: 1, Changes: m.b.Changes}, m.prepare(1),
	}, record.Decided{}))
	check := &moving{t, s, get[record.Buildset](t)(s.ItemBuildset(ctx, "check/main~1", 1))}
	check.plan(newJob(job.StageBuild))
	check.start("same")
	m.commit(m.cancel())
	m.is(build, "running", "its own item has left")
	q = get[record.Queue](t)(s.Queue(ctx, "check/main~1"))
	must(t, s.Commit(ctx, q, q.State, []gate.Effect{check.cancel()}, record.Decided{}))
	m.is(build, "cancelled", "nobody waits for it")
}

// A job ahead that ends while those who are to wait for it are planned: they are
// released, though neither transaction sees the other one's rows.
func TestWhoIsPlannedAsANeedEndsIsReleased(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	ahead := planned(t, s, newJob(job.StageBuild))
	need := get[[]record.Job](t)(s.BuildsetJobs(ctx, ahead.ID))[0].ID
	next := planned(t, s)
	conn := get[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
	defer conn.Close(ctx)
	tx := get[pgx.Tx](t)(conn.Begin(ctx))
	if _, err := tx.Exec(ctx, `UPDATE jobs SET state = 'passed' WHERE id = $1`, need); err != nil { // and it looks for who waits
		t.Fatal(err)
	}
	waits := newJob(job.StageBuild)
	waits.NeedsAhead = []int64{need}
	saved := make(chan error, 1)
	go func() { saved <- s.SavePrepared(ctx, next.ID, record.Base{}, nil, nil, []record.NewJob{waits}) }()
	other := get[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
	defer other.Close(ctx)
	for blocked := 0; blocked == 0; {
		select {
		case err := <-saved:
			t.Fatalf("it was planned on a state that is just changing: %v", err)
		default:
		}
		must(t, other.QueryRow(ctx, `SELECT count(*) FROM pg_locks WHERE NOT granted`).Scan(&blocked))
	}
	must(t, tx.Commit(ctx))
	must(t, <-saved)
	if n := len(get[[]record.Job](t)(s.Startable(ctx, next.ID))); n != 1 {
		t.Errorf("%d jobs can start", n)
	}
}

// What was told of a patch set takes the vote from what was to be told before.
func TestOutdated(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	b := planned(t, s)
	tell := func(serial int64, kind gate.ReportKind, same bool, of gate.Ref) {
		t.Helper()
		q := get[record.Queue](t)(s.Queue(ctx, "main"))
		must(t, s.Commit(ctx, q, q.State, []gate.Effect{{
			Kind: gate.Tell, Item: gate.ItemID(serial), Changes: []gate.Ref{of}, Report: gate.Report{Kind: kind, Same: same},
		}}, record.Decided{}))
	}
	outdated := func(id int64, want bool, when string) {
		t.Helper()
		if got := get[bool](t)(s.Outdated(ctx, id, b.Changes[0])); got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
	later := b.Changes[0]
	later.PatchSet++
	tell(1, gate.ReportPassed, false, b.Changes[0]) // effect 1
	outdated(1, false, "nothing else was told")
	tell(1, gate.ReportFailed, false, ref(99))
	tell(1, gate.ReportFailed, false, later)
	tell(1, gate.ReportPassed, true, b.Changes[0])
	outdated(1, false, "of others, of another patch set, and what is not said")
	tell(1, gate.ReportStarted, false, b.Changes[0]) // effect 5
	outdated(1, false, "the start may not be said")
	must(t, s.EffectDone(ctx, 5, "Starting.", ""))
	outdated(1, true, "the start was said")
	outdated(5, false, "the newest")
	tell(1, gate.ReportFailed, false, b.Changes[0])
	outdated(5, true, "a failure")
}

// A vote before the submit is given once, and not for what proves nothing any more;
// one that was given is taken back, unless a later buildset has one.
func TestEarlyVotes(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	m := &moving{t, s, planned(t, s, newJob(job.StageBuild))}
	begins := func(b record.Buildset, want bool, when string) {
		t.Helper()
		if got := get[bool](t)(s.VoteBegins(ctx, b.ID)); got != want {
			t.Errorf("%s: a vote begins: %v", when, got)
		}
	}
	withdrawals := func(want int, when string) {
		t.Helper()
		conn := get[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
		defer conn.Close(ctx)
		var n int
		must(t, conn.QueryRow(ctx, `SELECT count(*) FROM river_job WHERE args ->> 'kind' = 'withdraw'`).Scan(&n))
		if n != want {
			t.Errorf("%s: %d withdrawals, want %d", when, n, want)
		}
	}
	known := func(b record.Buildset, want record.EarlyVote) {
		t.Helper()
		if got := get[record.EarlyVote](t)(s.EarlyVote(ctx, b.ID)); got != want {
			t.Errorf("buildset %d: %+v, want %+v", b.Serial, got, want)
		}
	}
	first := m.b
	m.moves()
	withdrawals(0, "nobody had voted")
	begins(first, false, "dropped")
	known(first, record.EarlyVote{})
	second := m.b
	begins(second, true, "the present one")
	begins(second, false, "twice")
	known(second, record.EarlyVote{Begun: true})
	must(t, s.Voted(ctx, second.ID))
	known(second, record.EarlyVote{Begun: true, Given: true})
	m.moves()
	withdrawals(1, "voted on")
	known(second, record.EarlyVote{Begun: true, Given: true})
	begins(m.b, true, "the next one")
	known(second, record.EarlyVote{Begun: true, Given: true, Replaced: true})
	m.moves()
	withdrawals(2, "begun")
	m.commit(gate.Effect{Kind: gate.Leave, Item: 1})
	begins(m.b, false, "left")
	withdrawals(2, "it left: its report has a vote")
}
