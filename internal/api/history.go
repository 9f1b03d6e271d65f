package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	contract "sluice/api"
	"sluice/internal/gate"
	"sluice/internal/history"
	"sluice/internal/record"
)

// Estimates say when the changes of a gate's queue are expected to merge,
// counted from a time, as they were reckoned a few seconds ago.
type Estimates func(ctx context.Context, queue string) (map[gate.ChangeID]gate.Outlook, time.Time, error)

// estimates gives the estimate of each change of a queue, nil where there is
// none. One that is late is due any moment now.
func (s *server) estimates(ctx context.Context, queue string) func(gate.ChangeID) *contract.Estimate {
	if s.Estimates == nil || pipeline(queue) != "gate" {
		return func(gate.ChangeID) *contract.Estimate { return nil }
	}
	outlooks, at, err := s.Estimates(ctx, queue)
	if err != nil {
		s.Log.Warn("no estimates", "queue", queue, "error", err)
	}
	now := s.Now()
	return func(id gate.ChangeID) *contract.Estimate {
		o, ok := outlooks[id]
		if !ok {
			return nil
		}
		then := func(d time.Duration) time.Time {
			if t := at.Add(d); t.After(now) {
				return t.UTC().Truncate(time.Second)
			}
			return now.UTC().Truncate(time.Second)
		}
		return &contract.Estimate{At: then(o.Median), From: then(o.Early), To: then(o.Late), Chance: o.Merges}
	}
}

// GetHistory gives what a queue decided, and what from, to operators.
func (s *server) GetHistory(ctx context.Context, r contract.GetHistoryRequestObject) (contract.GetHistoryResponseObject, error) {
	p := r.Params
	limit := 200
	if p.Limit != nil {
		limit = *p.Limit
	}
	open := p.Restricted != nil && *p.Restricted
	if open && !viewing(ctx).restricted {
		return nil, &problemError{http.StatusForbidden, "not shown", "restricted changes are shown to operators whom the site file lets read them"}
	}
	q, err := s.Store.Queue(ctx, r.Name)
	if err != nil {
		return nil, none(err, "no such queue", "/api/v1/queues lists the gate's queues; a check's is check/GERRIT~NUMBER")
	}
	restricted := func(gate.ChangeID) bool { return false }
	if !open {
		if restricted, err = s.restrictedChanges(ctx); err != nil {
			return nil, err
		}
	}
	out := contract.GetHistory200JSONResponse{Queue: r.Name, Decisions: []json.RawMessage{}}
	if p.After != nil {
		out.Next = *p.After
	} else {
		if out.Present, err = s.presentQueue(ctx, q, open, restricted); err != nil {
			return nil, err
		}
		var from time.Time
		if p.From != nil {
			from = *p.From
		}
		if out.Next, err = s.Store.HistoryStart(ctx, r.Name, from); err != nil {
			return nil, err
		}
	}
	rows, err := s.Store.History(ctx, r.Name, out.Next, limit+1)
	if err != nil {
		return nil, none(err, "no such history", "it holds what is made from restricted changes: an operator may read it whom the site file lets read these")
	}
	for _, row := range rows {
		if p.To != nil && row.At.After(*p.To) {
			break
		}
		if out.More = len(out.Decisions) == limit; out.More {
			break
		}
		text, err := decision(row, open, restricted)
		if err != nil {
			return nil, err
		}
		out.Decisions, out.Next = append(out.Decisions, text), row.Version
	}
	return out, nil
}

func decision(row record.Decided, open bool, restricted history.Restricted) (json.RawMessage, error) {
	d, err := history.Unpack(row)
	if err == nil && !open {
		d, err = history.Conceal(d, restricted)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(d)
}

func (s *server) restrictedChanges(ctx context.Context) (history.Restricted, error) {
	ids, err := s.Store.RestrictedChanges(ctx, "")
	set := map[gate.ChangeID]bool{}
	for _, id := range ids {
		set[gate.ChangeID(id)] = true
	}
	return func(id gate.ChangeID) bool { return set[id] }, err
}

// presentQueue is a gate's queue as it is now, for a simulation.
func (s *server) presentQueue(ctx context.Context, q record.Queue, open bool, restricted history.Restricted) (*json.RawMessage, error) {
	if s.Model == nil || q.Kind != gate.Dependent {
		return nil, nil
	}
	state, facts, err := s.Facts(ctx, q.Name)
	if err != nil {
		return nil, err
	}
	m, known, err := s.Model(ctx, state)
	if err != nil || !known {
		return nil, err
	}
	p := history.Present{State: state, Facts: facts, Model: m}
	if !open {
		p = history.ConcealPresent(p, restricted)
	}
	text, err := json.Marshal(p)
	return (*json.RawMessage)(&text), err
}
