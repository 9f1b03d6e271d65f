package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
)

// Blame with evidence: what is known of a job on a base, and the runs that find
// it out.

// at is a time that may be missing; the zero time then.
func at(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// prove has the evidence for a buildset's failures looked for.
func (c *commit) prove(ctx context.Context, e gate.Effect) error {
	ids, err := scalars[int64](ctx, c.tx, `SELECT id FROM buildsets WHERE queue = $1 AND serial = $2`, c.queue, e.Buildset)
	for _, id := range ids {
		err = c.s.enqueue(ctx, c.tx, record.Task{Kind: record.TaskProve, ID: id})
	}
	return err
}

// BaseResults gives what is known of a job on a tree and a buildset may be told,
// the newest first: results that passed, and runs for evidence with any result
// or none yet.
func (s *Store) BaseResults(ctx context.Context, buildset int64, name, tree string) ([]record.Job, error) {
	return collect[record.Job](ctx, s.pool, `
		SELECT `+jobColumns+` FROM jobs
		WHERE name = $1 AND spec -> 'source' ->> 'tree' = $3 AND (state = 'passed' OR base_of IS NOT NULL)
		  AND reused_from IS NULL AND `+sameCircle+`
		ORDER BY id DESC LIMIT 10`, name, buildset, tree)
}

// StartBaseRun begins a run of a job on its base, as evidence for one that failed.
func (s *Store) StartBaseRun(ctx context.Context, failed record.Job, n record.NewJob, spec job.Spec, staticKey string) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var id int64
		err := tx.QueryRow(ctx, `
			INSERT INTO jobs (name, stage, package, target, architecture, voting, labels, priority, max_attempts, spec, static_key,
				state, base_of)
			VALUES ($1, $2, $3, $4, $5, false, $6, $7, $8, $9, $10, 'queued', $11) RETURNING id`,
			n.Name, n.Stage, n.Package, n.Target, n.Architecture, emptyStrings(n.Labels), failed.Priority, max(n.MaxAttempts, 1),
			spec, staticKey, failed.Buildset).Scan(&id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_notify('sluice_jobs', '')`); err != nil {
			return err
		}
		return prove(ctx, tx, failed, gate.EvidenceRunning, &id)
	})
}

// Prove records the evidence for a failed job, and whose result it is.
func (s *Store) Prove(ctx context.Context, failed record.Job, evidence gate.Evidence, by *int64) error {
	return s.inTx(ctx, func(tx pgx.Tx) error { return prove(ctx, tx, failed, evidence, by) })
}

// projectOf is the project that a job is about: scenarios of two projects may
// have one name.
func projectOf(j record.Job) string {
	if j.Spec.Source == nil {
		return ""
	}
	return j.Spec.Source.Project
}

func prove(ctx context.Context, tx pgx.Tx, failed record.Job, evidence gate.Evidence, by *int64) error {
	_, err := tx.Exec(ctx, `UPDATE jobs SET evidence = $2, evidence_job = $3 WHERE id = $1 AND state = 'failed'`, failed.ID, evidence, by)
	if err == nil && evidence == gate.EvidenceRed {
		// Red since the first run on a base that failed after the last that passed there, or that landed.
		_, err = tx.Exec(ctx, `
			WITH good AS (
				SELECT max(p.ended_at) AS at FROM jobs p
				WHERE p.name = $2 AND p.spec #>> '{source,project}' = $4 AND p.state = 'passed' AND (p.base_of IS NOT NULL OR EXISTS (
					SELECT FROM buildsets b WHERE b.id = p.buildset AND b.landed_at IS NOT NULL))),
			bad AS (
				SELECT min(f.ended_at) AS at FROM jobs f, good
				WHERE f.name = $2 AND f.spec #>> '{source,project}' = $4 AND f.base_of IS NOT NULL AND f.state = 'failed' AND f.ended_at > coalesce(good.at, '-infinity'))
			UPDATE jobs SET last_passed = good.at, red_since = coalesce(bad.at, (SELECT ended_at FROM jobs WHERE id = $3), now())
			FROM good, bad WHERE jobs.id = $1`, failed.ID, failed.Name, by, projectOf(failed))
	}
	if err != nil {
		return fmt.Errorf("evidence for job %d: %w", failed.ID, err)
	}
	if _, err := tx.Exec(ctx, `
		SELECT pg_notify('sluice_decide', queue) FROM buildsets WHERE id = $1`, failed.Buildset); err != nil {
		return err
	}
	return jobChanged(ctx, tx, failed)
}

// tellAccused has those look again whose evidence a run on a base was.
func (s *Store) tellAccused(ctx context.Context, tx pgx.Tx, run int64) error {
	buildsets, err := scalars[int64](ctx, tx, `
		SELECT DISTINCT buildset FROM jobs WHERE evidence_job = $1 AND evidence = 'running' AND buildset IS NOT NULL`, run)
	if err != nil {
		return err
	}
	for _, b := range buildsets {
		if err := s.enqueue(ctx, tx, record.Task{Kind: record.TaskProve, ID: b}); err != nil {
			return err
		}
	}
	return nil
}

// cancelBaseRuns stops the runs for evidence that only this buildset asked for.
func (s *Store) cancelBaseRuns(ctx context.Context, tx pgx.Tx, buildset int64) error {
	asked, err := scalars[int64](ctx, tx, `
		WITH mine AS (
			UPDATE jobs SET evidence = '', evidence_job = NULL
			FROM (SELECT id, evidence_job FROM jobs WHERE buildset = $1 AND evidence = 'running') AS was
			WHERE jobs.id = was.id RETURNING was.evidence_job)
		SELECT DISTINCT evidence_job FROM mine WHERE evidence_job IS NOT NULL`, buildset)
	if err != nil || len(asked) == 0 {
		return err
	}
	ids, err := scalars[int64](ctx, tx, `
		UPDATE jobs SET state = 'cancelled', ended_at = now(), cause = 'cancelled: not needed any more'
		WHERE id = ANY($1) AND state IN ('waiting', 'queued', 'running')
		  AND NOT EXISTS (SELECT FROM jobs o WHERE o.evidence_job = jobs.id AND o.evidence = 'running' AND o.buildset <> $2)
		  AND NOT EXISTS (
			SELECT FROM job_needs n JOIN jobs w ON w.id = n.job WHERE n.needs = jobs.id AND n.joined AND w.state = 'waiting')
		RETURNING id`, asked, buildset)
	if err != nil || len(ids) == 0 {
		return err
	}
	return s.stopAttempts(ctx, tx, ids)
}

// RedBuildsets gives the present buildsets of the items that wait with a red
// base, and of which it is not known yet that something has moved under them.
func (s *Store) RedBuildsets(ctx context.Context) ([]record.Buildset, error) {
	return collect[record.Buildset](ctx, s.pool, `
		SELECT `+buildsetColumns+` FROM queues q
		CROSS JOIN LATERAL jsonb_array_elements(q.state -> 'items') AS i
		JOIN buildsets b ON b.queue = q.name AND b.serial = (i -> 'buildset' ->> 'id')::bigint
		WHERE NOT q.closed AND q.state ? 'red' AND jsonb_array_length(coalesce(i -> 'red', '[]')) > 0
		  AND NOT b.moved
		ORDER BY b.id`)
}

// BaseMoved notes that what a buildset was tested on is not what is there now.
func (s *Store) BaseMoved(ctx context.Context, buildset int64) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			WITH moved AS (UPDATE buildsets SET moved = true WHERE id = $1 RETURNING queue)
			SELECT pg_notify('sluice_decide', queue) FROM moved`, buildset)
		return err
	})
}
