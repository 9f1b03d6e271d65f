package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"sluice/internal/record"
)

// AppendLog adds to the log of the attempt under a lease. start is the byte
// offset of data; what is there already is skipped, so that a chunk may be sent
// twice; a gap is an error. A lease that is over is ErrStale. It gives the size
// that the log has now.
func (s *Store) AppendLog(ctx context.Context, lease string, start int64, data []byte) (size int64, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var attempt, jobID int64
		err := tx.QueryRow(ctx, `
			SELECT id, job, log_size FROM attempts WHERE lease = $1 AND state = 'running' FOR UPDATE`, lease).Scan(&attempt, &jobID, &size)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrStale
		}
		if err != nil {
			return err
		}
		if start > size {
			return fmt.Errorf("%w: it starts at byte %d, and the log has %d bytes", record.ErrGap, start, size)
		}
		if skip := size - start; skip >= int64(len(data)) {
			return nil
		} else if skip > 0 {
			start, data = size, data[skip:]
		}
		if _, err := tx.Exec(ctx, `INSERT INTO log_chunks (attempt, start, data) VALUES ($1, $2, $3)`, attempt, start, data); err != nil {
			return err
		}
		size += int64(len(data))
		if _, err := tx.Exec(ctx, `UPDATE attempts SET log_size = $2 WHERE id = $1`, attempt, size); err != nil {
			return err
		}
		return feed(ctx, tx, "log", fmt.Sprint(jobID))
	})
	return size, err
}

// ReadLog gives the log of an attempt from a byte offset on, at most limit
// bytes; done says that the attempt has ended and nothing will follow.
func (s *Store) ReadLog(ctx context.Context, attempt, from, limit int64) (data []byte, done bool, err error) {
	rows, err := s.pool.Query(ctx, `
		SELECT start, data FROM log_chunks
		WHERE attempt = $1 AND start + length(data) > $2 AND start - $3 < $2
		ORDER BY start`, attempt, from, limit)
	if err != nil {
		return nil, false, err
	}
	var start int64
	var chunk []byte
	_, err = pgx.ForEachRow(rows, []any{&start, &chunk}, func() error {
		if start < from {
			chunk = chunk[from-start:]
		}
		data = append(data, chunk...)
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	if int64(len(data)) > limit {
		data = data[:limit]
	}
	var size int64
	err = s.pool.QueryRow(ctx, `SELECT log_size, state <> 'running' FROM attempts WHERE id = $1`, attempt).Scan(&size, &done)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, false, ErrNotFound
	}
	return data, done && from+int64(len(data)) >= size, err
}
