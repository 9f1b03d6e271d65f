package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// apart parts the jobs that run at once from those that run once per batch.
func apart(jobs []record.NewJob) (now, later []record.NewJob) {
	later = []record.NewJob{}
	for _, j := range jobs {
		if j.Deferred {
			later = append(later, j)
		} else {
			now = append(now, j)
		}
	}
	return now, later
}

// runDeferred notes which items share the run, and has it planned.
func (c *commit) runDeferred(ctx context.Context, e gate.Effect) error {
	members := make([]int64, len(e.StackItems))
	for i, id := range e.StackItems {
		members[i] = int64(id)
	}
	var id int64
	err := c.tx.QueryRow(ctx, `
		UPDATE buildsets SET batch = $3 WHERE queue = $1 AND serial = $2 RETURNING id`, c.queue, e.Buildset, members).Scan(&id)
	if err != nil {
		return err
	}
	return c.s.enqueue(ctx, c.tx, record.Task{Kind: record.TaskBatch, ID: id})
}

// Deferred gives what each member of the batch that runs on a buildset has planned
// for it, in order; ErrStale when that is planned already or not wanted any more.
func (s *Store) Deferred(ctx context.Context, id int64) ([][]record.NewJob, error) {
	members, err := scalars[[]record.NewJob](ctx, s.pool, `
		SELECT b.later FROM buildsets this
		JOIN LATERAL unnest(this.batch) WITH ORDINALITY AS m (serial, place) ON true
		JOIN items i ON i.queue = this.queue AND i.serial = m.serial
		JOIN LATERAL (SELECT x.later FROM buildsets x WHERE x.item = i.id ORDER BY x.id DESC LIMIT 1) b ON true
		WHERE this.id = $1 AND this.deferred
		ORDER BY m.place`, id)
	if err == nil && len(members) == 0 {
		err = ErrStale
	}
	return members, err
}

// PlanDeferred adds the jobs of a batch to the buildset that they run on, once.
func (s *Store) PlanDeferred(ctx context.Context, id int64, jobs []record.NewJob) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var queue string
		err := tx.QueryRow(ctx, `
			UPDATE buildsets SET deferred = false, state = CASE WHEN $2 THEN 'testing' ELSE state END,
				ended_at = CASE WHEN $2 THEN NULL ELSE ended_at END
			WHERE id = $1 AND deferred RETURNING queue`, id, len(jobs) > 0).Scan(&queue)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrStale
		}
		if err != nil {
			return err
		}
		type named struct {
			ID   int64  `db:"id"`
			Name string `db:"name"`
		}
		own, err := collect[named](ctx, tx, `SELECT id, name FROM jobs WHERE buildset = $1`, id)
		if err != nil {
			return err
		}
		ids := map[string]int64{}
		for _, j := range own {
			ids[j.Name] = j.ID
		}
		if err := insertJobs(ctx, tx, &id, jobs, ids); err != nil {
			return err
		}
		if err := decide(ctx, tx, queue); err != nil {
			return err
		}
		if err := feed(ctx, tx, "buildset", fmt.Sprint(id)); err != nil {
			return err
		}
		return s.enqueue(ctx, tx, record.Task{Kind: record.TaskRelease, ID: id})
	})
}
