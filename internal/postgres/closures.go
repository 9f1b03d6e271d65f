package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// Widen adds names to what a patch set is known to make and read; its queues
// decide again if that says anything new.
func (s *Store) Widen(ctx context.Context, change gate.ChangeID, patchSet int, provides, needs []string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			INSERT INTO closures AS c (change, patch_set, provides, needs) VALUES ($1, $2, $3, $4)
			ON CONFLICT (change, patch_set) DO UPDATE SET
				provides = ARRAY(SELECT unnest(c.provides) UNION SELECT unnest(excluded.provides)),
				needs = ARRAY(SELECT unnest(c.needs) UNION SELECT unnest(excluded.needs)),
				revision = nextval('closure_revision')
			WHERE NOT (c.provides @> excluded.provides AND c.needs @> excluded.needs)`,
			change, patchSet, emptyStrings(provides), emptyStrings(needs))
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		queues, err := scalars[string](ctx, tx, `SELECT queue FROM changes WHERE id = $1 AND queue <> ''`, change)
		for _, q := range queues {
			if err := decide(ctx, tx, q); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("closure of %s: %w", change, err)
	}
	return nil
}

// ClosureRevisions gives, of each of some changes, the newest patch set whose
// closure is known, without the names.
func (s *Store) ClosureRevisions(ctx context.Context, changes []string) ([]record.Closure, error) {
	return collect[record.Closure](ctx, s.pool, `
		SELECT DISTINCT ON (change) change, patch_set, revision, '{}'::text[] AS provides, '{}'::text[] AS needs
		FROM closures WHERE change = ANY($1)
		ORDER BY change, patch_set DESC`, emptyStrings(changes))
}

// Closures gives the closures of these revisions.
func (s *Store) Closures(ctx context.Context, revisions []int64) ([]record.Closure, error) {
	return collect[record.Closure](ctx, s.pool, `
		SELECT change, patch_set, revision, provides, needs FROM closures WHERE revision = ANY($1)`, revisions)
}
