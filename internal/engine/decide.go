package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// Run decides until ctx is over: on each notice for the queue that it names, and
// now and then for all queues, so that no lost notice is lost for long: often
// for those in which something stands.
func (e *Engine) Run(ctx context.Context) error {
	notices, stop := e.Notices.Decisions()
	defer stop()
	d := dispatcher{engine: e, busy: map[string]bool{}}
	defer d.wg.Wait()
	d.wg.Go(func() { e.fetchMoves(ctx) })
	d.wg.Go(func() { e.listen(ctx) })
	busy, idle := time.NewTicker(10*time.Second), time.NewTicker(time.Minute)
	defer busy.Stop()
	defer idle.Stop()
	d.all(ctx, true)
	for {
		select {
		case <-ctx.Done():
			return nil
		case queue := <-notices:
			if queue == "" { // the connection was made anew: anything may have been missed
				d.all(ctx, true)
				continue
			}
			d.queue(ctx, queue)
		case <-busy.C:
			d.all(ctx, false)
		case <-idle.C:
			d.all(ctx, true)
		}
	}
}

// dispatcher runs at most one decision per queue at a time in this process; a
// notice that comes meanwhile makes one more.
type dispatcher struct {
	engine *Engine
	wg     sync.WaitGroup
	mu     sync.Mutex      // guards busy
	busy   map[string]bool // present: being decided; true: asked for again meanwhile
}

func (d *dispatcher) all(ctx context.Context, idle bool) {
	queues, err := d.engine.Store.Queues(ctx, idle)
	if err != nil {
		if ctx.Err() == nil {
			d.engine.Log.Error("list the queues", "error", err)
		}
		return
	}
	for _, q := range queues {
		d.queue(ctx, q)
	}
}

func (d *dispatcher) queue(ctx context.Context, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, busy := d.busy[name]; busy {
		d.busy[name] = true
		return
	}
	d.busy[name] = false
	d.wg.Go(func() {
		for {
			err := d.engine.Decide(ctx, name)
			if errors.Is(err, record.ErrNotFound) {
				err = nil // there is no such queue
			}
			if err != nil && ctx.Err() == nil {
				d.engine.Log.Error("decide", "queue", name, "error", err)
				pause(ctx, anew)
			}
			d.mu.Lock()
			d.busy[name] = d.busy[name] || err != nil
			if !d.busy[name] || ctx.Err() != nil {
				delete(d.busy, name)
				d.mu.Unlock()
				return
			}
			d.busy[name] = false
			d.mu.Unlock()
		}
	})
}

// anew is how long after an error a decision is tried again.
const anew = 10 * time.Second

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Decide makes the decisions that a queue's facts ask for, and stores them.
func (e *Engine) Decide(ctx context.Context, name string) error {
	for {
		q, err := e.Store.Queue(ctx, name)
		if err != nil {
			return fmt.Errorf("queue %s: %w", name, err)
		}
		facts, err := e.Store.Facts(ctx, q)
		if err != nil {
			return err
		}
		facts.Now, facts.Policy = e.Now(), e.policy(q)
		if facts.Closures, err = e.closures(ctx, q, facts.Policy, facts.Changes); err != nil {
			return err
		}
		state, effects := gate.Decide(q.State, facts)
		if len(effects) == 0 && reflect.DeepEqual(state, q.State) {
			return e.closeCheck(ctx, q, facts)
		}
		err = e.commit(ctx, q, facts, state, effects)
		if errors.Is(err, record.ErrStale) {
			continue
		}
		if err != nil {
			return err
		}
		for _, f := range effects {
			e.Log.Info("decided", "queue", name, "effect", f.Kind, "item", f.Item, "buildset", f.Buildset, "report", f.Report.Kind, "reason", f.Report.Reason)
		}
		if q.Kind == gate.Dependent && !slices.ContainsFunc(effects, altersFacts) {
			return nil // a decision is a fixed point, and what is new meanwhile has a notice of its own
		}
	}
}

// altersFacts reports whether storing an effect may alter what the next decision
// sees: jobs that it cancels have ended, a command that it answers is none any more.
func altersFacts(f gate.Effect) bool {
	switch f.Kind {
	case gate.Enter, gate.Leave, gate.Prepare, gate.SubmitChanges, gate.Publish, gate.Tell:
		return false
	}
	return true
}

// Facts gives state and facts of a queue as a decision would see them now.
func (e *Engine) Facts(ctx context.Context, name string) (gate.State, gate.Facts, error) {
	q, err := e.Store.Queue(ctx, name)
	if err != nil {
		return gate.State{}, gate.Facts{}, err
	}
	facts, err := e.Store.Facts(ctx, q)
	if err != nil {
		return q.State, facts, err
	}
	facts.Now, facts.Policy = e.Now(), e.policy(q)
	facts.Closures, err = e.closures(ctx, q, facts.Policy, facts.Changes)
	return q.State, facts, err
}

// closeCheck puts a check aside once its change is closed and nothing is left of it.
func (e *Engine) closeCheck(ctx context.Context, q record.Queue, facts gate.Facts) error {
	if q.Kind != gate.Independent || q.Change == nil || len(q.State.Items) > 0 {
		return nil
	}
	if c, ok := facts.Changes[gate.ChangeID(*q.Change)]; ok && c.Status == gate.Open {
		return nil
	}
	return e.Store.CloseQueue(ctx, q.Name, true)
}

func (e *Engine) policy(q record.Queue) gate.Policy {
	// Which Gerrit submits topics at once is in the facts: a change has a topic only there.
	p := gate.Policy{
		Start: 20, Floor: 3, Ceiling: 100, FailFast: e.Site.Pipelines.Gate.FailFast, Observe: e.Observe,
		Evidence: e.Site.Pipelines.Gate.Evidence, WholeTopics: true,
	}
	if q.Kind == gate.Independent {
		return gate.Policy{
			Start: 1, Floor: 1, Ceiling: 1, FailFast: e.Site.Pipelines.Check.FailFast, Observe: e.Observe,
			Evidence: e.Site.Pipelines.Check.Evidence, WholeTopics: true,
		}
	}
	if c, known := e.Site.QueueNamed(q.Name); known {
		p.Start, p.Floor, p.Ceiling, p.Lanes, p.Batch = c.Window.Start, c.Window.Floor, c.Window.Ceiling, c.Lanes, c.Batch.Size
	}
	return p
}
