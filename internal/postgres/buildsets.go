package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
)

const buildsetColumns = `b.id, b.queue, b.serial, b.item, b.changes, b.stack, b.stack_items, b.state, b.conflict, b.broken,
	b.findings, b.base, b.packages, b.created_at, b.prepared_at, b.ended_at, b.landed_at, b.published_at, b.moved, b.recheck, b.deferred`

// Buildset gives a buildset.
func (s *Store) Buildset(ctx context.Context, id int64) (record.Buildset, error) {
	return one[record.Buildset](ctx, s.pool, `SELECT `+buildsetColumns+` FROM buildsets b WHERE b.id = $1`, id)
}

// Unprepared gives the buildsets of a queue that wait to be merged and planned, in order.
func (s *Store) Unprepared(ctx context.Context, queue string) ([]record.Buildset, error) {
	return collect[record.Buildset](ctx, s.pool, `
		SELECT `+buildsetColumns+` FROM buildsets b
		WHERE b.queue = $1 AND b.state = 'preparing' ORDER BY b.serial`, queue)
}

// ItemBuildsets gives the newest buildset of each of the items of a queue, in the items' order.
func (s *Store) ItemBuildsets(ctx context.Context, queue string, items []int64) ([]record.Buildset, error) {
	return collect[record.Buildset](ctx, s.pool, `SELECT `+buildsetColumns+newestOf, queue, items)
}

// BuildsetsBelow is ItemBuildsets for one that stands on them: without what they
// stand on themselves, and their findings. Each would list all before it.
func (s *Store) BuildsetsBelow(ctx context.Context, queue string, items []int64) ([]record.Buildset, error) {
	return collect[record.Buildset](ctx, s.pool, `
		SELECT b.id, b.queue, b.serial, b.item, b.changes, '[]'::jsonb AS stack, '{}'::bigint[] AS stack_items, b.state, b.conflict,
			b.broken, '[]'::jsonb AS findings, b.base - 'ahead' AS base, b.packages, b.created_at, b.prepared_at, b.ended_at,
			b.landed_at, b.published_at, b.moved, b.recheck, b.deferred`+newestOf, queue, items)
}

const newestOf = `
	FROM unnest($2::bigint[]) WITH ORDINALITY AS wanted (serial, place)
	JOIN items i ON i.queue = $1 AND i.serial = wanted.serial
	JOIN LATERAL (SELECT * FROM buildsets x WHERE x.item = i.id ORDER BY x.id DESC LIMIT 1) b ON true
	ORDER BY wanted.place`

// CheckBuildset gives the newest buildset that checks the change at this patch
// set; a re-check that goes on is not waited for where there is an older one.
func (s *Store) CheckBuildset(ctx context.Context, ref gate.Ref) (record.Buildset, error) {
	return one[record.Buildset](ctx, s.pool, `
		SELECT `+buildsetColumns+` FROM buildsets b
		JOIN queues q ON q.name = b.queue
		WHERE q.change = $1 AND b.changes @> $2
		ORDER BY b.recheck AND b.state IN ('preparing', 'testing'), b.id DESC LIMIT 1`, string(ref.ID), []map[string]any{{"id": ref.ID, "patch_set": ref.PatchSet}})
}

// Unpublished gives the buildsets that have landed and are not yet published,
// in order: they count as released in every later base (G15).
func (s *Store) Unpublished(ctx context.Context) ([]record.Buildset, error) {
	return collect[record.Buildset](ctx, s.pool, `
		SELECT `+buildsetColumns+` FROM buildsets b
		WHERE b.landed_at IS NOT NULL AND b.published_at IS NULL ORDER BY b.landed_at, b.id`)
}

// BuildsetJobs gives the jobs of a buildset in the order of their planning.
func (s *Store) BuildsetJobs(ctx context.Context, buildset int64) ([]record.Job, error) {
	return collect[record.Job](ctx, s.pool, `SELECT `+jobColumns+` FROM jobs WHERE buildset = $1 ORDER BY id`, buildset)
}

// Refuse ends the preparation of a buildset with a conflict, or with findings
// that leave nothing to run.
func (s *Store) Refuse(ctx context.Context, id int64, conflict *gate.Conflict, broken string, findings []job.Finding) error {
	if findings == nil {
		findings = []job.Finding{}
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		state := "broken"
		if conflict != nil {
			state = "conflict"
		}
		if err := prepared(ctx, tx, id, `
			UPDATE buildsets SET state = $2, conflict = $3, broken = $4, findings = $5, prepared_at = now(), ended_at = now()
			WHERE id = $1 AND state = 'preparing' RETURNING queue`, state, conflict, broken, findings); err != nil {
			return err
		}
		return s.cancelUnwanted(ctx, tx)
	})
}

// SavePrepared stores a buildset's base and jobs and lets those start that wait
// for nothing. ErrStale: the buildset was cancelled meanwhile.
func (s *Store) SavePrepared(ctx context.Context, id int64, base record.Base, packages []record.Subject, findings []job.Finding, jobs []record.NewJob) error {
	if packages == nil {
		packages = []record.Subject{}
	}
	if findings == nil {
		findings = []job.Finding{}
	}
	jobs, later := apart(jobs)
	return s.inTx(ctx, func(tx pgx.Tx) error {
		err := prepared(ctx, tx, id, `
			UPDATE buildsets SET state = CASE WHEN $5 THEN 'ended' ELSE 'testing' END, base = $2, packages = $3, findings = $4,
				prepared_at = now(), ended_at = CASE WHEN $5 THEN now() END, deferred = $6, later = $7
			WHERE id = $1 AND state = 'preparing' RETURNING queue`, base, packages, findings, len(jobs) == 0, len(later) > 0, later)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			return s.cancelUnwanted(ctx, tx)
		}
		if err := insertJobs(ctx, tx, &id, jobs, map[string]int64{}); err != nil {
			return err
		}
		return s.enqueue(ctx, tx, record.Task{Kind: record.TaskRelease, ID: id})
	})
}

func prepared(ctx context.Context, tx pgx.Tx, id int64, update string, args ...any) error {
	queues, err := scalars[string](ctx, tx, update, append([]any{id}, args...)...)
	if err != nil {
		return err
	}
	if len(queues) == 0 {
		return ErrStale
	}
	if err := decide(ctx, tx, queues[0]); err != nil {
		return err
	}
	return feed(ctx, tx, "buildset", fmt.Sprint(id))
}

// insertJobs adds jobs; ids are those that the buildset has already, by name.
func insertJobs(ctx context.Context, tx pgx.Tx, buildset *int64, jobs []record.NewJob, ids map[string]int64) error {
	if err := holdNeeds(ctx, tx, jobs); err != nil {
		return err
	}
	for _, j := range jobs {
		var id int64
		err := tx.QueryRow(ctx, `
			INSERT INTO jobs (buildset, name, stage, package, target, architecture, voting, labels, priority, max_attempts, spec)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id`,
			buildset, j.Name, j.Stage, j.Package, j.Target, j.Architecture, j.Voting, emptyStrings(j.Labels), j.Priority,
			max(j.MaxAttempts, 1), j.Spec).Scan(&id)
		if err != nil {
			return fmt.Errorf("job %s: %w", j.Name, err)
		}
		ids[j.Name] = id
		for _, name := range j.Needs {
			need, ok := ids[name]
			if !ok {
				return fmt.Errorf("job %s needs %s, which is not planned before it", j.Name, name)
			}
			if err := insertNeed(ctx, tx, id, need, false); err != nil {
				return err
			}
		}
		for _, need := range append(append([]int64(nil), j.NeedsAhead...), j.NeedsRoots...) {
			if err := insertNeed(ctx, tx, id, need, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// holdNeeds keeps the jobs ahead that new ones are to wait for as they are until
// tx is over. One that ends at this moment has ended by then, or looks for those
// who wait only afterwards, and finds these too.
func holdNeeds(ctx context.Context, tx pgx.Tx, jobs []record.NewJob) error {
	var needs []int64
	for _, j := range jobs {
		needs = append(append(needs, j.NeedsAhead...), j.NeedsRoots...)
	}
	if len(needs) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `SELECT FROM jobs WHERE id = ANY($1) ORDER BY id FOR SHARE`, needs)
	return err
}

func insertNeed(ctx context.Context, tx pgx.Tx, id, need int64, ahead bool) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO job_needs (job, needs, ahead) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, id, need, ahead)
	return err
}

func emptyStrings(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// cancelJobs ends the jobs of a buildset that have not ended; stages narrows
// it. Their attempts are told by the workers' long poll within a second.
func (s *Store) cancelJobs(ctx context.Context, tx pgx.Tx, buildset int64, stages []job.Stage, states ...string) error {
	if len(states) == 0 {
		states = []string{"waiting", "queued", "running"}
	}
	ids, err := scalars[int64](ctx, tx, `
		UPDATE jobs SET state = 'cancelled', ended_at = now(), cause = 'cancelled: not needed any more'
		WHERE buildset = $1 AND state = ANY($3) AND ($2::text[] IS NULL OR stage = ANY($2))
		RETURNING id`, buildset, stages, states)
	if err != nil || len(ids) == 0 {
		return err
	}
	return s.stopAttempts(ctx, tx, ids)
}

// CancelUnwanted stops what buildsets of the past still run and nobody has a use
// for: their base has moved. What the item's next buildset may do as well goes on
// until that is known, and what another job has joined goes on for that (G10).
func (s *Store) CancelUnwanted(ctx context.Context) error {
	return s.inTx(ctx, func(tx pgx.Tx) error { return s.cancelUnwanted(ctx, tx) })
}

// It is not known yet while the next buildset is prepared, and while its job of
// the name waits and nothing that it waits for is made anew: whatever that gives
// is not what the running job was given.
func (s *Store) cancelUnwanted(ctx context.Context, tx pgx.Tx) error {
	ids, err := scalars[int64](ctx, tx, `
		UPDATE jobs SET state = 'cancelled', ended_at = now(), cause = 'cancelled: not needed any more'
		WHERE state = 'running' AND buildset IN (SELECT id FROM buildsets WHERE state = 'cancelled')
		  AND NOT EXISTS (
			SELECT FROM job_needs n JOIN jobs j ON j.id = n.job WHERE n.needs = jobs.id AND n.joined AND j.state = 'waiting')
		  AND NOT EXISTS (
			SELECT FROM buildsets past
			JOIN LATERAL (SELECT id, state FROM buildsets b WHERE b.item = past.item ORDER BY b.id DESC LIMIT 1) next ON true
			LEFT JOIN jobs w ON w.buildset = next.id AND w.name = jobs.name AND w.state = 'waiting' AND w.stage <> 'publish'
			WHERE past.id = jobs.buildset AND (next.state = 'preparing' OR w.id IS NOT NULL AND NOT EXISTS (
				WITH RECURSIVE chain AS (
					SELECT d.id, d.state, d.stage FROM job_needs n JOIN jobs d ON d.id = n.needs WHERE n.job = w.id
					UNION
					SELECT d.id, d.state, d.stage FROM chain JOIN job_needs n ON n.job = chain.id JOIN jobs d ON d.id = n.needs
					WHERE chain.state = 'waiting')
				SELECT FROM chain WHERE state IN ('queued', 'running') AND stage <> 'publish')))
		RETURNING id`)
	if err != nil || len(ids) == 0 {
		return err
	}
	return s.stopAttempts(ctx, tx, ids)
}

// stopAttempts tells the workers of cancelled jobs, and those that had joined them.
func (s *Store) stopAttempts(ctx context.Context, tx pgx.Tx, ids []int64) error {
	if err := s.releaseJoined(ctx, tx, ids); err != nil {
		return err
	}
	leases, err := scalars[string](ctx, tx, `
		UPDATE attempts SET cancel = true WHERE job = ANY($1) AND state = 'running' RETURNING lease`, ids)
	if err != nil {
		return err
	}
	for _, l := range leases {
		if _, err := tx.Exec(ctx, `SELECT pg_notify('sluice_cancel', $1)`, l); err != nil {
			return err
		}
	}
	changed, err := scalars[int64](ctx, tx, `
		SELECT DISTINCT coalesce(buildset, base_of) FROM jobs
		WHERE id = ANY($1) AND coalesce(buildset, base_of) IS NOT NULL ORDER BY 1`, ids)
	if err != nil {
		return err
	}
	for _, b := range changed {
		if err := feed(ctx, tx, "buildset", fmt.Sprint(b)); err != nil {
			return err
		}
	}
	return nil
}

// releaseJoined lets those look again that had joined jobs which are cancelled
// now, and the checks that wait for packages of theirs.
func (s *Store) releaseJoined(ctx context.Context, tx pgx.Tx, ids []int64) error {
	waiting, err := scalars[int64](ctx, tx, `
		WITH gone AS (DELETE FROM job_needs WHERE needs = ANY($1) AND joined RETURNING job)
		SELECT j.buildset FROM gone JOIN jobs j ON j.id = gone.job WHERE j.state = 'waiting'
		UNION SELECT j.buildset FROM job_needs n
		JOIN jobs j ON j.id = n.job JOIN buildsets b ON b.id = j.buildset JOIN queues q ON q.name = b.queue
		WHERE n.needs = ANY($1) AND n.ahead AND NOT n.joined AND j.state = 'waiting' AND q.kind = $2`, ids, gate.Independent)
	if err != nil {
		return err
	}
	for _, b := range waiting {
		if err := s.enqueue(ctx, tx, record.Task{Kind: record.TaskRelease, ID: b}); err != nil {
			return err
		}
	}
	return nil
}

// EnsureRoot gives the newest root made, or being made, by this recipe, and
// plans it where there is none. fresh is the longest age of a finished one;
// an older one is still given, and a new one is planned beside it.
func (s *Store) EnsureRoot(ctx context.Context, r record.Root, j record.NewJob, freshSeconds float64) (record.Root, error) {
	var out record.Root
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('root ' || $1 || $2 || $3))`,
			r.Dist, r.Kind, r.Architecture); err != nil {
			return err
		}
		type row struct {
			record.Root
			JobState string `db:"job_state"`
			Old      bool   `db:"old"`
		}
		known, err := collect[row](ctx, tx, `
			SELECT r.id, r.dist, r.kind, r.architecture, r.recipe, r.job, r.archive, r.digest, r.made_at,
				j.state AS job_state, coalesce(r.made_at < now() - make_interval(secs => $5), false) AS old
			FROM roots r JOIN jobs j ON j.id = r.job
			WHERE r.dist = $1 AND r.kind = $2 AND r.architecture = $3 AND r.recipe = $4
			ORDER BY r.id DESC LIMIT 8`, r.Dist, r.Kind, r.Architecture, r.Recipe, freshSeconds)
		if err != nil {
			return err
		}
		pending := false
		for _, k := range known {
			switch k.JobState {
			case "passed":
				if out.ID == 0 || out.Archive == "" {
					out = k.Root
				}
				pending = pending || !k.Old
			case "waiting", "queued", "running":
				if out.ID == 0 {
					out = k.Root
				}
				pending = true
			}
		}
		if pending {
			return nil
		}
		planned, err := insertRoot(ctx, tx, r, j)
		if out.ID == 0 {
			out = planned
		}
		return err
	})
	return out, err
}

func insertRoot(ctx context.Context, tx pgx.Tx, r record.Root, j record.NewJob) (record.Root, error) {
	var id int64
	err := tx.QueryRow(ctx, `
		INSERT INTO jobs (name, stage, target, architecture, labels, priority, max_attempts, spec, state)
		VALUES ($1, 'root', $2, $3, $4, $5, $6, $7, 'queued') RETURNING id`,
		j.Name, j.Target, j.Architecture, emptyStrings(j.Labels), j.Priority, max(j.MaxAttempts, 1), j.Spec).Scan(&id)
	if err != nil {
		return r, err
	}
	r.Job = id
	err = tx.QueryRow(ctx, `
		INSERT INTO roots (dist, kind, architecture, recipe, job) VALUES ($1, $2, $3, $4, $5) RETURNING id`,
		r.Dist, r.Kind, r.Architecture, r.Recipe, id).Scan(&r.ID)
	if err != nil {
		return r, err
	}
	_, err = tx.Exec(ctx, `SELECT pg_notify('sluice_jobs', '')`)
	return r, err
}

// RootOf gives the root that a root job made.
func (s *Store) RootOf(ctx context.Context, jobID int64) (record.Root, error) {
	return one[record.Root](ctx, s.pool, `
		SELECT id, dist, kind, architecture, recipe, job, archive, digest, made_at FROM roots WHERE job = $1`, jobID)
}

// ItemBuildset gives one buildset of a queue by its serial.
func (s *Store) ItemBuildset(ctx context.Context, queue string, serial gate.BuildsetID) (record.Buildset, error) {
	return one[record.Buildset](ctx, s.pool, `
		SELECT `+buildsetColumns+` FROM buildsets b WHERE b.queue = $1 AND b.serial = $2`, queue, serial)
}
