package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// Hear stores comments that hold a command, each once, and has them answered.
// What was written before this database heard any is left.
func (s *Store) Hear(ctx context.Context, comments []record.Comment) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		for _, c := range comments {
			ids, err := scalars[int64](ctx, tx, `
				INSERT INTO comments (change, message, verb, reason, who, allowed, written_at)
				SELECT $1, $2, $3, $4, $5, $6, $7
				WHERE date_trunc('second', (SELECT (value #>> '{}')::timestamptz FROM settings WHERE name = 'comments_since')) <= $7
				ON CONFLICT (change, message, verb) DO NOTHING
				RETURNING id`, c.Change, c.Message, c.Verb, c.Reason, c.Who, c.Allowed, c.WrittenAt)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := s.enqueue(ctx, tx, record.Task{Kind: record.TaskComment, ID: id}); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Comment gives a stored comment.
func (s *Store) Comment(ctx context.Context, id int64) (record.Comment, error) {
	return one[record.Comment](ctx, s.pool, `
		SELECT id, change, message, verb, reason, who, allowed, written_at, command, answered_at, answer FROM comments WHERE id = $1`, id)
}

// CommentBegins notes that a comment is being answered; first says that nobody
// has begun with it before.
func (s *Store) CommentBegins(ctx context.Context, id int64) (first bool, err error) {
	tag, err := s.pool.Exec(ctx, `UPDATE comments SET begun_at = now() WHERE id = $1 AND begun_at IS NULL`, id)
	return tag.RowsAffected() > 0, err
}

// CommentAnswered notes what was answered; "" where nothing was written.
func (s *Store) CommentAnswered(ctx context.Context, id int64, answer string) error {
	_, err := s.pool.Exec(ctx, `UPDATE comments SET answered_at = now(), answer = $2 WHERE id = $1`, id, answer)
	return err
}

// CommentCommand gives a comment's command to a queue, once, and the command's id.
func (s *Store) CommentCommand(ctx context.Context, c record.Comment, queue, verb, why string) (command int64, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var given *int64
		if err := tx.QueryRow(ctx, `SELECT command FROM comments WHERE id = $1 FOR UPDATE`, c.ID).Scan(&given); err != nil {
			return err
		}
		if given != nil {
			command = *given
			return nil
		}
		err := tx.QueryRow(ctx, `
			INSERT INTO commands (queue, verb, change, who, why)
			VALUES ($1, $2, $3, $4, $5) RETURNING id`, queue, verb, c.Change, c.Who, why).Scan(&command)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE comments SET command = $2 WHERE id = $1`, c.ID, command); err != nil {
			return err
		}
		return decide(ctx, tx, queue)
	})
	return command, err
}

// WasGated reports whether a change stands, or has stood, in a gate with this patch set.
func (s *Store) WasGated(ctx context.Context, change gate.ChangeID, patchSet int) (bool, error) {
	var was bool
	err := s.pool.QueryRow(ctx, `
		SELECT true FROM items i JOIN queues q ON q.name = i.queue
		WHERE q.kind = 'dependent' AND i.changes @> $1 LIMIT 1`,
		[]map[string]any{{"id": change, "patch_set": patchSet}}).Scan(&was)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return was, err
}
