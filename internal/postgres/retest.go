package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
)

// moved notes within tx that a branch (place "GERRIT:PROJECT"), a package (place: the
// target) or what a change stands on (place: its id) is not what it was.
func moved(ctx context.Context, tx pgx.Tx, kind, place, name string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO moved (kind, place, name) VALUES ($1, $2, $3)
		ON CONFLICT (kind, place, name) DO UPDATE SET last_at = now()`, kind, place, name)
	return err
}

// leftGate notes that changes left a gate without having merged.
func leftGate(ctx context.Context, tx pgx.Tx, queue string, changes []gate.Ref) error {
	if strings.HasPrefix(queue, "check/") {
		return nil
	}
	for _, c := range changes {
		if err := moved(ctx, tx, "change", string(c.ID), ""); err != nil {
			return err
		}
	}
	return nil
}

// BranchMoved notes that a branch has moved, by a merge or past review.
func (s *Store) BranchMoved(ctx context.Context, gerrit, project, branch string) error {
	return s.inTx(ctx, func(tx pgx.Tx) error { return moved(ctx, tx, "branch", gerrit+":"+project, branch) })
}

// SaveHeads stores where the branches of a project are, and notes those that have
// moved since they were last asked for (G21).
func (s *Store) SaveHeads(ctx context.Context, gerrit, project string, heads map[string]string) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		for branch, head := range heads {
			other, err := scalars[string](ctx, tx, `
				SELECT head FROM heads WHERE gerrit = $1 AND project = $2 AND branch = $3 AND head <> $4`, gerrit, project, branch, head)
			if err != nil {
				return err
			}
			if len(other) > 0 {
				if err := moved(ctx, tx, "branch", gerrit+":"+project, branch); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, `
				INSERT INTO heads (gerrit, project, branch, head) VALUES ($1, $2, $3, $4)
				ON CONFLICT (gerrit, project, branch) DO UPDATE SET head = excluded.head`, gerrit, project, branch, head); err != nil {
				return err
			}
		}
		return nil
	})
}

// Retest asks for a new check of each open change that reads what has moved: its
// branch, a package that a job of its last check was given or asked for, or what
// it stood on in a gate (R55, R66). What moves on is left to come to rest for a
// while (calm), but not for ever (patience), so that a storm of merges asks once. Those
// that stand in a gate are tested there. approved: only those that are ready
// otherwise; none: nobody is asked. It gives how many were.
func (s *Store) Retest(ctx context.Context, calm, patience time.Duration, approved, none bool) (n int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		queues, err := scalars[string](ctx, tx, `
			WITH due AS (
				DELETE FROM moved
				WHERE last_at < now() - make_interval(secs => $1) OR first_at < now() - make_interval(secs => $2)
				RETURNING kind, place, name),
			read AS (
				SELECT c.id FROM changes c
				WHERE c.status = 'open' AND c.checked AND NOT $4 AND (NOT $3 OR (c.facts ->> 'ready')::boolean)
				  AND (
					EXISTS (
						SELECT FROM due d
						WHERE (d.kind = 'branch' AND d.place = c.gerrit || ':' || c.project AND d.name = c.branch)
						   OR (d.kind = 'change' AND d.place = c.id))
					OR EXISTS (
						SELECT FROM due d JOIN jobs j ON j.target = d.place
						WHERE d.kind = 'package'
						  AND (j.result -> 'trace' -> 'served' ? d.name OR j.result -> 'trace' -> 'asked' ? d.name)
						  AND j.buildset = (SELECT max(b.id) FROM buildsets b WHERE b.queue = 'check/' || c.id)))
				  AND NOT EXISTS (
					SELECT FROM items i JOIN queues q ON q.name = i.queue
					WHERE q.kind = 'dependent' AND i.left_at IS NULL
					  AND i.changes @> jsonb_build_array(jsonb_build_object('id', c.id))))
			UPDATE changes SET facts = jsonb_set(facts, '{retest}', to_jsonb(nextval('retest_serial')))
			WHERE id IN (SELECT id FROM read)
			RETURNING 'check/' || id`, calm.Seconds(), patience.Seconds(), approved, none)
		if err != nil {
			return err
		}
		n = len(queues)
		for _, q := range queues {
			if err := decide(ctx, tx, q); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
