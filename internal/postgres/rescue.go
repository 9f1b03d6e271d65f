package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// River rescues by elapsed time: a task that ran in a process which was killed
// would stay "running" for as long as a task may take. So each River client of
// ours has a name, and a connection of its own that holds a lock of that name
// for as long as the process lives. Whoever finds such a lock free knows that
// its owner is gone, and gives its tasks to others at once (G22).

// alive is a client's sign of life.
type alive struct {
	name  string
	stop  context.CancelFunc
	ended chan struct{}
	mu    sync.Mutex         // guards busy
	busy  map[int64]struct{} // tasks that run in this process now
}

// signOfLife holds the lock of a new name until it is stopped. It returns once
// the lock is held.
func (s *Store) signOfLife(ctx context.Context) (*alive, error) {
	host, _ := os.Hostname()
	word := make([]byte, 8)
	_, _ = rand.Read(word) // never fails (crypto/rand)
	a := &alive{
		name:  fmt.Sprintf("%.60s-%d-%s", host, os.Getpid(), hex.EncodeToString(word)),
		ended: make(chan struct{}), busy: map[int64]struct{}{},
	}
	conn, err := s.lockName(ctx, a.name)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	go func() {
		defer close(a.ended)
		for running.Err() == nil {
			if conn != nil {
				_, _ = conn.WaitForNotification(running) // until the connection is lost, or the end
				_ = conn.Close(context.WithoutCancel(running))
			}
			if running.Err() != nil {
				return
			}
			if conn, err = s.lockName(running, a.name); err != nil {
				conn = nil
				select {
				case <-running.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		}
	}()
	return a, nil
}

func (s *Store) lockName(ctx context.Context, name string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		return nil, fmt.Errorf("connect for the sign of life: %w", err)
	}
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended('river ' || $1, 0))`, name); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("sign of life: %w", err)
	}
	return conn, nil
}

func (a *alive) begins(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy[id] = struct{}{}
}

func (a *alive) ends(id int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.busy, id)
}

// RescueTasks lets those tasks be done again that no process works on: their
// process has died, or this one could not record that they ended. It gives how
// many. What this process works on has been begun by it, so it is asked last.
func (s *Store) RescueTasks(ctx context.Context) (int, error) {
	tag, err := s.pool.Exec(ctx, `
		WITH owners AS (
			SELECT DISTINCT attempted_by[array_upper(attempted_by, 1)] AS name
			FROM river_job WHERE state = 'running' AND kind = 'sluice_task'),
		dead AS (
			SELECT name FROM owners
			WHERE name IS NOT NULL AND pg_try_advisory_xact_lock(hashtextextended('river ' || name, 0)))
		UPDATE river_job SET state = 'available', scheduled_at = now()
		WHERE state = 'running' AND kind = 'sluice_task'
		  AND attempted_by[array_upper(attempted_by, 1)] IN (SELECT name FROM dead)`)
	if err != nil {
		return 0, fmt.Errorf("rescue the tasks of processes that died: %w", err)
	}
	n := int(tag.RowsAffected())
	if s.work == nil {
		return n, nil
	}
	a := s.work.alive
	a.mu.Lock()
	busy := make([]int64, 0, len(a.busy))
	for id := range a.busy {
		busy = append(busy, id)
	}
	a.mu.Unlock()
	tag, err = s.pool.Exec(ctx, `
		UPDATE river_job SET state = 'available', scheduled_at = now()
		WHERE state = 'running' AND kind = 'sluice_task' AND attempted_by[array_upper(attempted_by, 1)] = $1
		  AND attempted_at < now() - interval '15 seconds' AND NOT id = ANY($2)`, a.name, busy)
	if err != nil {
		return n, fmt.Errorf("rescue tasks whose end was not recorded: %w", err)
	}
	return n + int(tag.RowsAffected()), nil
}
