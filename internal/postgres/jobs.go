package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/job"
	"sluice/internal/record"
)

// LeaseTime is how long a lease lasts without being renewed.
const LeaseTime = 60 * time.Second

const jobColumns = `id, buildset, name, stage, package, target, architecture, voting, state, waits_for, labels, priority, spec,
	static_key, result, cause, reused_from, attempts, max_attempts, again, not_before, created_at, started_at, ended_at,
	base_of, evidence, evidence_job, red_since, last_passed`

// Job gives a job.
func (s *Store) Job(ctx context.Context, id int64) (record.Job, error) {
	return one[record.Job](ctx, s.pool, `SELECT `+jobColumns+` FROM jobs WHERE id = $1`, id)
}

// Needs gives what a job waits for.
func (s *Store) Needs(ctx context.Context, id int64) ([]record.Needed, error) {
	return collect[record.Needed](ctx, s.pool, `
		SELECT j.id, j.name, j.state, j.stage, n.ahead, j.buildset FROM job_needs n
		JOIN jobs j ON j.id = n.needs WHERE n.job = $1 ORDER BY j.id`, id)
}

// Startable gives the waiting jobs of a buildset of which all needs have passed.
func (s *Store) Startable(ctx context.Context, buildset int64) ([]record.Job, error) {
	return collect[record.Job](ctx, s.pool, `
		SELECT `+jobColumns+` FROM jobs j
		WHERE j.buildset = $1 AND j.state = 'waiting' AND NOT EXISTS (
			SELECT 1 FROM job_needs n JOIN jobs d ON d.id = n.needs
			WHERE n.job = j.id AND d.state NOT IN ('passed', 'not_applicable'))
		ORDER BY j.id`, buildset)
}

// StartJob lets a waiting job run: a worker may claim it, or for a publish the
// service itself begins. The spec may have been completed meanwhile. Where the
// same work is under way already, for a check of the same tree say, the job
// waits for that instead, and looks again when it has ended.
func (s *Store) StartJob(ctx context.Context, j record.Job, spec job.Spec, staticKey string) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if !j.Again {
			if joined, err := s.join(ctx, tx, j, staticKey); joined || err != nil {
				return err
			}
		}
		state := "queued"
		if j.Stage == job.StagePublish {
			state = "running"
		}
		tag, err := tx.Exec(ctx, `
			UPDATE jobs SET state = $2, spec = $3, static_key = $4, waits_for = '', again = false,
				started_at = CASE WHEN $2 = 'running' THEN now() END
			WHERE id = $1 AND state = 'waiting'`, j.ID, state, spec, staticKey)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if j.Stage == job.StagePublish {
			return s.enqueue(ctx, tx, record.Task{Kind: record.TaskPublishTest, ID: j.ID})
		}
		if _, err := tx.Exec(ctx, `SELECT pg_notify('sluice_jobs', '')`); err != nil {
			return err
		}
		return feed(ctx, tx, "job", fmt.Sprint(j.ID))
	})
}

// join makes a job wait for another one that does the same work, which then is
// as urgent as this one. One that was given other packages of changes ahead is
// not the same: what it gives would not stand here. Those that are released since
// are there for both.
func (s *Store) join(ctx context.Context, tx pgx.Tx, j record.Job, staticKey string) (bool, error) {
	if staticKey == "" {
		return false, nil
	}
	same, err := scalars[int64](ctx, tx, `
		WITH given AS ( -- what the builds are whose packages a job was given, or will be
			SELECT n.job, array_agg(DISTINCT built.static_key ORDER BY built.static_key) AS keys FROM job_needs n
			JOIN jobs published ON published.id = n.needs
			JOIN jobs built ON built.buildset = published.buildset AND built.target = published.target AND built.stage = 'build'
			JOIN buildsets ahead ON ahead.id = published.buildset AND ahead.published_at IS NULL
			WHERE n.ahead AND NOT n.joined
				AND n.job IN (SELECT id FROM jobs WHERE id = $3 OR static_key = $1 AND state IN ('queued', 'running'))
			GROUP BY n.job)
		SELECT id FROM jobs LEFT JOIN given ON given.job = id LEFT JOIN given own ON own.job = $3
		WHERE static_key = $1 AND id <> $3 AND state IN ('queued', 'running') AND `+sameCircle+`
			AND given.keys IS NOT DISTINCT FROM own.keys
		ORDER BY id LIMIT 1`, staticKey, j.Buildset, j.ID)
	if err != nil || len(same) == 0 {
		return false, err
	}
	goesOn, err := tx.Exec(ctx, `
		UPDATE jobs SET priority = least(priority, $2) WHERE id = $1 AND state IN ('queued', 'running')`, same[0], j.Priority)
	if err != nil {
		return false, err
	}
	if goesOn.RowsAffected() == 0 { // it ended meanwhile: its result may do
		return j.Buildset != nil, s.lookAgain(ctx, tx, j)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO job_needs (job, needs, ahead, joined) VALUES ($1, $2, true, true) ON CONFLICT DO NOTHING`, j.ID, same[0])
	if err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, `
		UPDATE jobs SET waits_for = format('job %s, which does the same work', $2::bigint) WHERE id = $1 AND state = 'waiting'`, j.ID, same[0])
	return true, err
}

// lookAgain has the waiting jobs of a job's buildset looked at once more.
func (s *Store) lookAgain(ctx context.Context, tx pgx.Tx, j record.Job) error {
	if j.Buildset == nil {
		return nil
	}
	return s.enqueue(ctx, tx, record.Task{Kind: record.TaskRelease, ID: *j.Buildset})
}

// sameCircle holds for those jobs that the buildset $2 may profit from: what was
// made with a restricted change never leaves its circle (G25).
const sameCircle = `NOT EXISTS (
	SELECT FROM buildsets made JOIN buildsets asks ON asks.id = $2
	WHERE made.id = coalesce(jobs.buildset, jobs.base_of) AND NOT within_circle(made.changes || made.stack, asks.changes || asks.stack))`

// Reusable gives the results with this static key that a job of the buildset
// may have, the newest first: what a later run says counts before what an
// earlier one said. Failures are among them, as they take an earlier pass back;
// errors say nothing (G12).
func (s *Store) Reusable(ctx context.Context, buildset int64, staticKey string) ([]record.Job, error) {
	return collect[record.Job](ctx, s.pool, `
		SELECT `+jobColumns+` FROM jobs
		WHERE static_key = $1 AND state IN ('passed', 'failed', 'not_applicable') AND reused_from IS NULL AND `+sameCircle+`
		ORDER BY ended_at DESC, id DESC LIMIT 10`, staticKey, buildset)
}

// Reuse gives a waiting job the result and the artifacts of an earlier one.
func (s *Store) Reuse(ctx context.Context, id int64, spec job.Spec, staticKey string, from record.Job) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE jobs SET state = $2, result = $3, reused_from = $4, spec = $5, static_key = $6, waits_for = '',
				started_at = now(), ended_at = now()
			WHERE id = $1 AND state = 'waiting'`, id, from.State, from.Result, from.ID, spec, staticKey)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO artifacts (job, name, kind, digest, size, package)
			SELECT $1, name, kind, digest, size, package FROM artifacts WHERE job = $2
			ON CONFLICT DO NOTHING`, id, from.ID); err != nil {
			return err
		}
		return s.ended(ctx, tx, id)
	})
}

// Artifacts gives what a job made.
func (s *Store) Artifacts(ctx context.Context, jobs ...int64) ([]record.Artifact, error) {
	return collect[record.Artifact](ctx, s.pool, `
		SELECT id, job, name, kind, digest, size, package FROM artifacts WHERE job = ANY($1) ORDER BY job, name`, jobs)
}

// AddArtifact adds a file to the job of a buildset that did a stage for a target.
func (s *Store) AddArtifact(ctx context.Context, buildset int64, target string, stage job.Stage, a job.Artifact) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO artifacts (job, name, kind, digest, size)
		SELECT id, $4, $5, $6, $7 FROM jobs WHERE buildset = $1 AND target = $2 AND stage = $3
		ON CONFLICT (job, name) DO UPDATE SET digest = excluded.digest, size = excluded.size`,
		buildset, target, stage, a.Name, a.Kind, a.Digest, a.Size)
	return err
}

// Claim gives a worker the next job that it can do, under a new lease, or nil.
func (s *Store) Claim(ctx context.Context, w record.Worker, lease string) (*record.Job, *record.Attempt, error) {
	var j record.Job
	var a record.Attempt
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var err error
		if _, err = tx.Exec(ctx, `
			INSERT INTO workers (name, labels, architectures, version) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, architectures = excluded.architectures,
				version = excluded.version, seen_at = now()`,
			w.Name, emptyStrings(w.Labels), emptyStrings(w.Architectures), w.Version); err != nil {
			return err
		}
		j, err = one[record.Job](ctx, tx, `
			UPDATE jobs SET state = 'running', attempts = attempts + 1, started_at = coalesce(started_at, now()), not_before = NULL
			WHERE id = (
				SELECT id FROM jobs
				WHERE state = 'queued' AND labels <@ $1 AND architecture = ANY($2)
				  AND (not_before IS NULL OR not_before <= now())
				ORDER BY priority, id LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING `+jobColumns, emptyStrings(w.Labels), emptyStrings(w.Architectures))
		if err != nil {
			return err
		}
		a, err = one[record.Attempt](ctx, tx, `
			INSERT INTO attempts (job, number, lease, worker, expires_at)
			VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))
			RETURNING `+attemptColumns, j.ID, j.Attempts, lease, w.Name, LeaseTime.Seconds())
		if err != nil {
			return err
		}
		return jobChanged(ctx, tx, j)
	})
	if errors.Is(err, ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("claim a job: %w", err)
	}
	return &j, &a, nil
}

const attemptColumns = `id, job, number, lease, worker, state, cancel, claimed_at, expires_at, ended_at, result, log_size, log_digest`

func jobChanged(ctx context.Context, tx pgx.Tx, j record.Job) error {
	if j.Buildset != nil {
		if err := feed(ctx, tx, "buildset", fmt.Sprint(*j.Buildset)); err != nil {
			return err
		}
	}
	return feed(ctx, tx, "job", fmt.Sprint(j.ID))
}

// Attempt gives the attempt under a lease.
func (s *Store) Attempt(ctx context.Context, lease string) (record.Attempt, error) {
	return one[record.Attempt](ctx, s.pool, `SELECT `+attemptColumns+` FROM attempts WHERE lease = $1`, lease)
}

// Attempts gives a job's attempts, oldest first.
func (s *Store) Attempts(ctx context.Context, jobID int64) ([]record.Attempt, error) {
	return collect[record.Attempt](ctx, s.pool, `SELECT `+attemptColumns+` FROM attempts WHERE job = $1 ORDER BY number`, jobID)
}

// Renew extends a lease and says whether its job is to be cancelled. A lease
// that is over is ErrStale: the worker kills what it runs.
func (s *Store) Renew(ctx context.Context, lease string) (cancel bool, err error) {
	err = s.pool.QueryRow(ctx, `
		WITH seen AS (
			UPDATE workers SET seen_at = now() WHERE name = (SELECT worker FROM attempts WHERE lease = $1))
		UPDATE attempts SET expires_at = now() + make_interval(secs => $2)
		WHERE lease = $1 AND state = 'running' RETURNING cancel`, lease, LeaseTime.Seconds()).Scan(&cancel)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, ErrStale
	}
	return cancel, err
}

// Finish records what became of an attempt, fenced by its lease: ErrStale when
// the lease is over. A cancelled attempt ends without a result. An error (G12)
// is tried again after a while until the attempts are used up.
func (s *Store) Finish(ctx context.Context, lease string, res job.Result, packages map[string]*record.PackageInfo) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		a, err := one[record.Attempt](ctx, tx, `
			UPDATE attempts SET state = CASE WHEN cancel THEN 'cancelled' ELSE 'finished' END, ended_at = now(), result = $2
			WHERE lease = $1 AND state = 'running' RETURNING `+attemptColumns, lease, res)
		if errors.Is(err, ErrNotFound) {
			return ErrStale
		}
		if err != nil {
			return err
		}
		if a.Cancel {
			return nil
		}
		return s.endJob(ctx, tx, a.Job, res, packages)
	})
}

// FinishPublish records what became of a publish, which the service does itself.
func (s *Store) FinishPublish(ctx context.Context, id int64, res job.Result, repositories []record.TestRepository) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		for _, r := range repositories {
			if _, err := tx.Exec(ctx, `
				INSERT INTO test_repositories (buildset, target, manifest) VALUES ($1, $2, $3)
				ON CONFLICT (buildset, target) DO UPDATE SET manifest = excluded.manifest, removed_at = NULL`,
				r.Buildset, r.Target, r.Manifest); err != nil {
				return err
			}
		}
		return s.endJob(ctx, tx, id, res, nil)
	})
}

// endJob stores the result of a running job and what follows from it.
func (s *Store) endJob(ctx context.Context, tx pgx.Tx, id int64, res job.Result, packages map[string]*record.PackageInfo) error {
	if res.Outcome == job.Error || res.Outcome == job.Cancelled {
		tag, err := tx.Exec(ctx, `
			UPDATE jobs SET state = 'queued', cause = $2, result = $3, waits_for = 'to be tried again: ' || $2,
				not_before = now() + make_interval(secs => least(300, 5 * (4 ^ (attempts - 1))))
			WHERE id = $1 AND state = 'running' AND attempts < max_attempts AND stage <> 'publish'`, id, res.Cause, res)
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		res.Outcome = job.Error
	}
	tag, err := tx.Exec(ctx, `
		UPDATE jobs SET state = $2, result = $3, cause = $4, ended_at = now()
		WHERE id = $1 AND state = 'running'`, id, res.Outcome, res, res.Cause)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	for _, a := range res.Artifacts {
		if _, err := tx.Exec(ctx, `
			INSERT INTO artifacts (job, name, kind, digest, size, package) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (job, name) DO UPDATE SET kind = excluded.kind, digest = excluded.digest,
				size = excluded.size, package = excluded.package`,
			id, a.Name, a.Kind, a.Digest, a.Size, packages[a.Name]); err != nil {
			return err
		}
		if a.Kind == job.RootArchive && res.Outcome == job.Passed {
			if _, err := tx.Exec(ctx, `
				UPDATE roots SET archive = $2, digest = $3, made_at = now() WHERE job = $1`, id, a.Digest, res.RootDigest); err != nil {
				return err
			}
		}
	}
	return s.ended(ctx, tx, id)
}

// ended follows up on a job that has ended: what needs it starts or is
// cancelled, and the queues concerned decide again.
func (s *Store) ended(ctx context.Context, tx pgx.Tx, id int64) error {
	j, err := one[record.Job](ctx, tx, `SELECT `+jobColumns+` FROM jobs WHERE id = $1`, id)
	if err != nil {
		return err
	}
	if j.State != "passed" && j.State != "not_applicable" {
		if err := s.skipDependants(ctx, tx, j); err != nil {
			return err
		}
	}
	if j.State == "failed" && j.Stage == job.StageInstall && j.Buildset != nil { // R47
		if err := s.cancelJobs(ctx, tx, *j.Buildset, []job.Stage{job.StageSystest}); err != nil {
			return err
		}
	}
	return s.release(ctx, tx, j)
}

// release lets those look again that waited for a job that has ended.
func (s *Store) release(ctx context.Context, tx pgx.Tx, j record.Job) error {
	if j.BaseOf != nil {
		if err := s.tellAccused(ctx, tx, j.ID); err != nil {
			return err
		}
	}
	waiting, err := scalars[int64](ctx, tx, `
		SELECT DISTINCT d.buildset FROM job_needs n JOIN jobs d ON d.id = n.job
		WHERE n.needs = $1 AND d.state = 'waiting' AND d.buildset IS NOT NULL`, j.ID)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM job_needs WHERE needs = $1 AND joined`, j.ID); err != nil {
		return err
	}
	for _, b := range waiting {
		if err := s.enqueue(ctx, tx, record.Task{Kind: record.TaskRelease, ID: b}); err != nil {
			return err
		}
	}
	if j.Buildset != nil {
		if _, err := tx.Exec(ctx, `
			UPDATE buildsets SET ended_at = now(), state = 'ended' WHERE id = $1 AND state = 'testing' AND NOT EXISTS (
				SELECT 1 FROM jobs WHERE buildset = $1 AND state IN ('waiting', 'queued', 'running'))`, *j.Buildset); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			SELECT pg_notify('sluice_decide', queue) FROM buildsets WHERE id = $1`, *j.Buildset); err != nil {
			return err
		}
	}
	return jobChanged(ctx, tx, j)
}

// skipDependants cancels what cannot run any more within the same buildset, and
// what waits for a root that could not be made.
func (s *Store) skipDependants(ctx context.Context, tx pgx.Tx, j record.Job) error {
	next := "cancelled"
	if j.State == "error" || j.Stage == job.StageRoot {
		next = "error" // nothing in the change: no verdict (G12)
	}
	ids, err := scalars[int64](ctx, tx, `
		UPDATE jobs SET state = $2, ended_at = now(), waits_for = '', cause = $3
		WHERE state = 'waiting' AND id IN (SELECT job FROM job_needs WHERE needs = $1 AND (NOT ahead OR $4))
		RETURNING id`, j.ID, next, skipped(j), j.Stage == job.StageRoot)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.ended(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// skipped says why a job that needs j was not run: because of the first in a
// chain, not of each between.
func skipped(j record.Job) string {
	if strings.HasPrefix(j.Cause, record.NotRun) {
		return j.Cause
	}
	if j.State == "error" {
		return fmt.Sprintf("%s%s could not be done", record.NotRun, j.Name)
	}
	return fmt.Sprintf("%s%s %s", record.NotRun, j.Name, j.State)
}

// LostNeeds gives the jobs of a check's buildset that wait for a job ahead which
// has ended and did not pass: nothing will come of it, however long they wait.
func (s *Store) LostNeeds(ctx context.Context, buildset int64) ([]record.LostNeed, error) {
	return collect[record.LostNeed](ctx, s.pool, `
		SELECT DISTINCT ON (w.id) w.id AS job, d.id AS need FROM jobs w
		JOIN job_needs n ON n.job = w.id AND n.ahead AND NOT n.joined
		JOIN jobs d ON d.id = n.needs
		WHERE w.buildset = $1 AND w.state = 'waiting' AND d.state IN ('failed', 'error', 'cancelled') AND d.stage = 'publish'
		ORDER BY w.id, d.id`, buildset)
}

// GiveUp ends a waiting job without a verdict, and what needs it.
func (s *Store) GiveUp(ctx context.Context, id int64, cause string) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE jobs SET state = 'error', cause = $2, waits_for = '', ended_at = now() WHERE id = $1 AND state = 'waiting'`, id, cause)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return s.ended(ctx, tx, id)
	})
}

// Sweep ends the leases that have run out: the attempts are lost, their jobs
// are tried again or end as errors (G12). It gives how many.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	n := 0
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		lost, err := collect[record.Attempt](ctx, tx, `
			UPDATE attempts SET state = CASE WHEN cancel THEN 'cancelled' ELSE 'lost' END, ended_at = now()
			WHERE id IN (SELECT id FROM attempts WHERE state = 'running' AND expires_at < now() FOR UPDATE SKIP LOCKED)
			RETURNING `+attemptColumns)
		if err != nil {
			return err
		}
		for _, a := range lost {
			if a.Cancel {
				continue
			}
			n++
			res := job.Result{Outcome: job.Error, Cause: fmt.Sprintf("the worker %s was lost: it did not renew its lease for %s", a.Worker, LeaseTime)}
			if err := s.endJob(ctx, tx, a.Job, res, nil); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// RetryJob lets a job that has ended run once more, and with it what was
// cancelled because of it (R73). Its buildset has to be current.
func (s *Store) RetryJob(ctx context.Context, id int64) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		j, err := one[record.Job](ctx, tx, `SELECT `+jobColumns+` FROM jobs WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return err
		}
		if j.Buildset == nil || (j.State != "failed" && j.State != "error" && j.State != "passed" && j.State != "cancelled") {
			return fmt.Errorf("job %d is %s: only a job that has ended can be run again", id, j.State)
		}
		var state, queue string
		if err := tx.QueryRow(ctx, `SELECT state, queue FROM buildsets WHERE id = $1 FOR UPDATE`, *j.Buildset).Scan(&state, &queue); err != nil {
			return err
		}
		if state != "testing" && state != "ended" {
			return fmt.Errorf("buildset %d is %s: its jobs do not matter any more", *j.Buildset, state)
		}
		_, err = tx.Exec(ctx, `
			WITH RECURSIVE again AS (
				SELECT id FROM jobs WHERE id = $1
				UNION SELECT n.job FROM job_needs n JOIN again a ON n.needs = a.id JOIN jobs d ON d.id = n.job
				WHERE NOT n.ahead)
			UPDATE jobs SET state = 'waiting', static_key = '', result = NULL, cause = '', ended_at = NULL, started_at = NULL,
				reused_from = NULL, evidence = '', evidence_job = NULL, max_attempts = attempts + 3, not_before = NULL, again = id = $1
			WHERE id IN (SELECT id FROM again)`, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE buildsets SET state = 'testing', ended_at = NULL WHERE id = $1`, *j.Buildset); err != nil {
			return err
		}
		if err := decide(ctx, tx, queue); err != nil {
			return err
		}
		return s.enqueue(ctx, tx, record.Task{Kind: record.TaskRelease, ID: *j.Buildset})
	})
}
