package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
)

const (
	expectAge   = 5 * time.Second // how old what is expected may be before it is reckoned anew
	expectShare = 20              // and so many times as long as reckoning takes
	expectItems = 100             // how many items are played; those behind are extrapolated
	measuredAge = time.Minute     // how old what was measured of jobs may be
)

// Expected is what is expected of the changes in a queue.
type Expected struct {
	At      time.Time // that the outlooks count from
	Changes map[gate.ChangeID]gate.Outlook
}

// expectation is a queue's, and who reckons it.
type expectation struct {
	mu   sync.Mutex // guards what follows
	last *Expected
	due  time.Time
	busy bool
}

// Expect says when the changes of a gate's queue are expected to merge, as it
// was reckoned a few seconds ago. Who asks first waits for it.
func (e *Engine) Expect(ctx context.Context, queue string) (Expected, error) {
	held, _ := e.expected.LoadOrStore(queue, &expectation{})
	x := held.(*expectation)
	x.mu.Lock()
	defer x.mu.Unlock()
	now := e.Now()
	if x.last != nil && now.Sub(x.last.At) < time.Minute {
		if now.After(x.due) && !x.busy {
			x.busy = true
			go func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
				defer cancel()
				out, due, err := e.reckon(ctx, queue)
				x.mu.Lock()
				defer x.mu.Unlock()
				if x.busy = false; err != nil {
					e.Log.Warn("what is expected of a queue cannot be reckoned", "queue", queue, "error", err)
					return
				}
				x.last, x.due = &out, due
			}()
		}
		return *x.last, nil
	}
	out, due, err := e.reckon(ctx, queue)
	if err != nil {
		return out, err
	}
	x.last, x.due = &out, due
	return out, nil
}

// reckon simulates a queue from now on, and says when to do so again.
func (e *Engine) reckon(ctx context.Context, queue string) (Expected, time.Time, error) {
	began := e.Now()
	out := Expected{At: began}
	state, facts, err := e.Facts(ctx, queue)
	if err != nil {
		return out, began, err
	}
	if state.Kind == gate.Dependent && !facts.Policy.Observe && state.Paused == nil && len(state.Items) > 0 {
		m, known, err := e.Model(ctx, state)
		if err != nil || !known {
			return out, began.Add(expectAge), err
		}
		limit := min(max(state.Window, 20), expectItems)
		forecast := gate.Simulate(gate.Simulation{State: state, Facts: facts, Model: m, Limit: limit, Runs: min(max(1000/limit, 10), 30), Seed: 1})
		out.Changes = forecast.Changes
	}
	took := e.Now().Sub(began)
	return out, e.Now().Add(max(expectAge, expectShare*took)), nil
}

// Model is what was measured of the world, for a simulation of the queue. It is
// known once a buildset of the queue was planned, and a voting job of each of its
// stages has ended.
func (e *Engine) Model(ctx context.Context, state gate.State) (m gate.Model, known bool, err error) {
	q, err := e.Store.QueueTimes(ctx, state.Queue)
	if err != nil {
		return m, false, err
	}
	m.Prepare, m.Submit = lengths(q.Prepare), lengths(q.Submit)
	m.Fails = float64(q.Failed+1) / float64(q.Failed+q.Merged+10) // one of ten, until more is known
	m.Reused, m.Again = share(q.FirstReused, q.First), share(q.LaterReused, q.Later)
	counts, err := e.Store.JobCounts(ctx)
	if err != nil {
		return m, false, err
	}
	if counts.Queued > 0 { // so the workers are all busy
		m.Slots = max(counts.Running, 1)
	}
	times, err := e.jobTimes(ctx)
	if err != nil {
		return m, false, err
	}
	var items []int64
	for _, it := range state.Items[:min(len(state.Items), expectItems)] {
		items = append(items, int64(it.ID))
	}
	jobs, err := e.Store.PlannedJobs(ctx, state.Queue, items)
	if err != nil {
		return m, false, err
	}
	m.Tasks, m.Usual = tasks(jobs, times, e.batchOf(state.Queue).Stages)
	return m, len(m.Usual) > 0 && !slices.ContainsFunc(jobs, func(j record.PlannedJob) bool {
		return j.Voting && j.Stage != job.StagePublish && len(times[measured{j.Stage, ""}]) == 0
	}), nil
}

// tasks are the planned jobs by item, and those that are examples by buildset;
// those of some stages run once for a batch, where the queue has these.
func tasks(jobs []record.PlannedJob, times map[measured]gate.Times, perBatch []job.Stage) (map[gate.ItemID][]gate.Task, [][]gate.Task) {
	byItem := map[gate.ItemID][]gate.Task{}
	var usual [][]gate.Task
	last := int64(0)
	for _, j := range jobs {
		if j.Item == 0 && j.Buildset != last {
			usual, last = append(usual, nil), j.Buildset
		}
		if j.Item != 0 && byItem[j.Item] == nil {
			byItem[j.Item] = []gate.Task{}
		}
		if j.Name == "" || j.Item == 0 && j.Others {
			continue
		}
		t := gate.Task{
			Name: j.Name, Voting: j.Voting, Rank: rank(j.Stage), Ran: length(j.Ran), Batch: slices.Contains(perBatch, j.Stage),
		}
		if t.Takes = times[measured{j.Stage, j.Package}]; len(t.Takes) == 0 {
			t.Takes = times[measured{j.Stage, ""}]
		}
		if j.Item == 0 {
			t.Ran = 0
			usual[len(usual)-1] = append(usual[len(usual)-1], t)
		} else {
			byItem[j.Item] = append(byItem[j.Item], t)
		}
	}
	return byItem, usual
}

// rank orders the stages of a buildset as internal/plan does, but that a lint
// waits for the test repository too.
func rank(s job.Stage) int {
	switch s {
	case job.StageBuild:
		return 0
	case job.StagePublish:
		return 1
	}
	return 2
}

// measured names what job times are of; an empty package: of the stage.
type measured struct {
	stage job.Stage
	pkg   string
}

// jobTimesCache is what was measured of jobs last.
type jobTimesCache struct {
	mu    sync.Mutex // guards what follows
	at    time.Time
	times map[measured]gate.Times
}

func (e *Engine) jobTimes(ctx context.Context) (map[measured]gate.Times, error) {
	c := &e.measured
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.times != nil && e.Now().Sub(c.at) < measuredAge {
		return c.times, nil
	}
	rows, err := e.Store.JobTimes(ctx)
	if err != nil {
		return nil, err
	}
	times := make(map[measured]gate.Times, len(rows))
	for _, r := range rows {
		times[measured{r.Stage, r.Package}] = lengths(r.Quantiles)
	}
	c.at, c.times = e.Now(), times
	return times, nil
}

func length(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func lengths(seconds []float64) gate.Times {
	var out gate.Times
	for _, s := range seconds {
		out = append(out, max(length(s), 0))
	}
	return out
}

func share(part, all int) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}
