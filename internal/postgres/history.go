package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/record"
)

// addHistory stores the record of a decision, if there is one.
func addHistory(ctx context.Context, tx pgx.Tx, queue string, d record.Decided) error {
	if d.Data == nil {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO history (queue, version, at, whole, data)
		VALUES ($1, $2, $3, $4, $5)`, queue, d.Version, d.At, d.Whole, d.Data)
	return err
}

// History gives the records of a queue's decisions after a version, in order.
func (s *Store) History(ctx context.Context, queue string, after int64, limit int) ([]record.Decided, error) {
	return collect[record.Decided](ctx, s.pool, `
		SELECT version, at, whole, data FROM history
		WHERE queue = $1 AND version > $2
		ORDER BY version LIMIT $3`, queue, after, limit)
}

// HistoryStart gives the version after which the records of a queue begin that a
// replay from a time on needs: those from the last whole one before, or else the first.
func (s *Store) HistoryStart(ctx context.Context, queue string, from time.Time) (after int64, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT coalesce(
			(SELECT max(version) FROM history WHERE queue = $1 AND whole AND at <= $2),
			(SELECT min(version) FROM history WHERE queue = $1 AND whole), 1) - 1`, queue, from).Scan(&after)
	return after, err
}
