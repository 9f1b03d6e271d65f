package engine

import (
	"context"
	"fmt"
	"sync"

	"sluice/internal/gate"
	"sluice/internal/history"
	"sluice/internal/record"
)

// recorder makes the records of a gate's queue (a check's are whole, each: they are small).
type recorder struct {
	mu sync.Mutex // guards what follows
	history.Recorder
}

// catchUp is how many decisions of another replica are read, rather than
// recorded whole what they came to.
const catchUp = 100

// commit stores a decision with its record. A record that cannot be made holds
// up no decision.
func (e *Engine) commit(ctx context.Context, q record.Queue, f gate.Facts, state gate.State, effects []gate.Effect) error {
	r := &recorder{}
	if q.Kind == gate.Dependent {
		known, _ := e.recorders.LoadOrStore(q.Name, r)
		r = known.(*recorder)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := e.follow(ctx, q, r); err != nil {
		return err
	}
	d, err := r.Record(q.Version, q.State, f, state, effects)
	if err != nil {
		e.Log.Error("a decision cannot be recorded", "queue", q.Name, "error", err)
		r.Recorder = history.Recorder{}
		return e.Store.Commit(ctx, q, state, effects, record.Decided{})
	}
	if err := e.Store.Commit(ctx, q, state, effects, d); err != nil {
		return err
	}
	r.Committed(d, f)
	return nil
}

// follow tells a recorder what other replicas have recorded since its last decision.
func (e *Engine) follow(ctx context.Context, q record.Queue, r *recorder) error {
	missed := q.Version - r.Version()
	if r.Version() == 0 || missed <= 0 || missed > catchUp {
		return nil
	}
	rows, err := e.Store.History(ctx, q.Name, r.Version(), int(missed))
	if err != nil {
		return fmt.Errorf("history of queue %s: %w", q.Name, err)
	}
	for _, row := range rows {
		if row.Version > q.Version {
			break
		}
		if err := r.Follow(row); err != nil {
			e.Log.Warn("the history cannot be followed; the next decision is recorded whole", "queue", q.Name, "error", err)
			r.Recorder = history.Recorder{}
			return nil
		}
	}
	return nil
}
