package postgres

import (
	"context"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// VoteBegins notes that a buildset's change gets its vote before its submit is
// decided, once. begun is false where that was noted before, or nobody wants it
// any more.
func (s *Store) VoteBegins(ctx context.Context, buildset int64) (begun bool, err error) {
	tag, err := s.pool.Exec(ctx, `UPDATE buildsets SET vote = 'begun' WHERE id = $1 AND vote = ''`, buildset)
	return tag.RowsAffected() > 0, err
}

// Voted notes that Gerrit has the vote.
func (s *Store) Voted(ctx context.Context, buildset int64) error {
	_, err := s.pool.Exec(ctx, `UPDATE buildsets SET vote = 'given' WHERE id = $1 AND vote = 'begun'`, buildset)
	return err
}

// EarlyVote says what is known of a vote before the submit.
func (s *Store) EarlyVote(ctx context.Context, buildset int64) (record.EarlyVote, error) {
	return one[record.EarlyVote](ctx, s.pool, `
		SELECT vote IN ('begun', 'given') AS begun, vote = 'given' AS given, EXISTS (
			SELECT FROM buildsets n WHERE n.item = b.item AND n.id > b.id
			AND (n.vote IN ('begun', 'given') OR EXISTS (SELECT FROM submissions s WHERE s.buildset = n.id))) AS replaced
		FROM buildsets b WHERE id = $1`, buildset)
}

// noVote sees to it that a buildset that proves nothing any more gets no vote; one
// that it has got is taken back.
func (c *commit) noVote(ctx context.Context, buildset int64) error {
	tag, err := c.tx.Exec(ctx, `UPDATE buildsets SET vote = 'void' WHERE id = $1 AND vote IN ('', 'void')`, buildset)
	if err != nil || tag.RowsAffected() > 0 {
		return err
	}
	return c.s.enqueue(ctx, c.tx, record.Task{Kind: record.TaskWithdraw, ID: buildset})
}

// leave notes that an item is out of its queue. The vote that it gets is that of
// its report.
func (c *commit) leave(ctx context.Context, item gate.ItemID) error {
	_, err := c.tx.Exec(ctx, `
		WITH gone AS (
			UPDATE items SET left_at = coalesce(left_at, now()) WHERE queue = $1 AND serial = $2 RETURNING id)
		UPDATE buildsets SET vote = 'void' WHERE item IN (SELECT id FROM gone) AND vote = ''`, c.queue, item)
	return err
}
