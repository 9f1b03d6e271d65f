// Package postgres is every line of SQL: the store behind the engine and the
// API, the leases of jobs, River's clients, the migrations, and the embedded
// server of the zero-configuration default.
//
// The protocol between replicas is small. A queue's row carries a version; who
// loses the compare-and-swap gets ErrStale and decides again (G23). Facts are
// written by whoever learns them, and each write notifies the channel
// "sluice_decide" with the queue's name, inside its own transaction, so that a
// decision never misses a fact. A lease is a row whose end is counted by the
// database's clock; everything a worker says is fenced by its lease id.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"sluice/internal/record"
	"sluice/migrations"
)

var (
	// ErrStale and ErrNotFound are the record's own.
	ErrStale    = record.ErrStale
	ErrNotFound = record.ErrNotFound
)

// Store is the database. It is safe for use by several goroutines.
type Store struct {
	pool   *pgxpool.Pool
	dsn    string
	work   *work
	states states
}

// Open connects to the database at dsn (a URL or key=value words) and checks
// that it answers.
func Open(ctx context.Context, dsn string) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	cfg.MaxConns = max(cfg.MaxConns, 30) // a task that holds a lock holds a connection
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var refused error // the last reason; that time ran out says little
	for err = pool.Ping(ctx); err != nil && starting(err) && ctx.Err() == nil; err = pool.Ping(ctx) {
		refused = err
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err != nil {
		pool.Close()
		if refused != nil && ctx.Err() != nil && !starting(err) {
			err = fmt.Errorf("%w: %w", err, refused)
		}
		return nil, fmt.Errorf("reach the database: %w", err)
	}
	return &Store{pool: pool, dsn: dsn}, nil
}

// starting reports whether a database cannot be reached because it is not up,
// or not yet: both may be started at once, or again after a crash.
func starting(err error) bool {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		return refusal.Code == "57P03" // cannot_connect_now
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// Close ends all connections; Stop is to be called before.
func (s *Store) Close() { s.pool.Close() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Migrate brings the schema to the newest version. Replicas that start at once
// wait for one another by a session lock.
func (s *Store) Migrate(ctx context.Context) error {
	return s.goose(ctx, func(p *goose.Provider) error {
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrate the database: %w", err)
		}
		m, err := rivermigrate.New(riverpgxv5.New(s.pool), nil)
		if err != nil {
			return fmt.Errorf("migrate River: %w", err)
		}
		if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
			return fmt.Errorf("migrate River: %w", err)
		}
		return nil
	})
}

// MigrateDown takes the last migration back.
func (s *Store) MigrateDown(ctx context.Context) error {
	return s.goose(ctx, func(p *goose.Provider) error {
		_, err := p.Down(ctx)
		return err
	})
}

// SchemaVersion is the number of the last migration that was applied.
func (s *Store) SchemaVersion(ctx context.Context) (version int64, err error) {
	err = s.goose(ctx, func(p *goose.Provider) error {
		version, err = p.GetDBVersion(ctx)
		return err
	})
	return version, err
}

func (s *Store) goose(ctx context.Context, f func(*goose.Provider) error) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 120))
	if err != nil {
		return err
	}
	var db *sql.DB = stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	return f(p)
}

// querier is what a pool, a connection and a transaction share.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// collect runs a query and maps its rows by column name.
func collect[T any](ctx context.Context, q querier, query string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

// one is collect for exactly one row; no row is ErrNotFound.
func one[T any](ctx context.Context, q querier, query string, args ...any) (T, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		var zero T
		return zero, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return v, err
}

// scalars is collect for a single column.
func scalars[T any](ctx context.Context, q querier, query string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

func (s *Store) inTx(ctx context.Context, f func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, f)
}

// decide asks, within tx, for a new decision on a queue.
func decide(ctx context.Context, tx pgx.Tx, queue string) error {
	_, err := tx.Exec(ctx, `SELECT pg_notify('sluice_decide', $1)`, queue)
	return err
}
