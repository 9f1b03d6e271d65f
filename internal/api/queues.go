package api

import (
	"context"

	contract "sluice/api"
	"sluice/internal/gate"
	"sluice/internal/record"
)

// GetStatus tells how the service is.
func (s *server) GetStatus(ctx context.Context, _ contract.GetStatusRequestObject) (contract.GetStatusResponseObject, error) {
	queues, err := s.Store.GateQueues(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := s.Store.Workers(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := s.Store.JobCounts(ctx)
	if err != nil {
		return nil, err
	}
	return contract.GetStatus200JSONResponse{
		Version: s.Version, Now: s.Now(), Queues: s.queueSummaries(ctx, queues), Streams: s.streams(),
		Workers: each(workers, func(w record.WorkerView) contract.Worker {
			return contract.Worker{
				Name: w.Name, Labels: listed(w.Labels), Architectures: listed(w.Architectures), Version: w.Version,
				SeenAt: w.SeenAt, Running: w.Running,
			}
		}),
		Jobs: contract.JobCounts{Waiting: counts.Waiting, Queued: counts.Queued, Running: counts.Running, Checks: counts.Checks},
	}, nil
}

// streams tells of each of the site's Gerrits whether its events are heard.
func (s *server) streams() []contract.Stream {
	states := map[string]StreamState{}
	if s.Streams != nil {
		for _, st := range s.Streams() {
			states[st.Gerrit] = st
		}
	}
	out := []contract.Stream{}
	for _, g := range s.Site.Gerrit {
		st, heard := states[g.Name]
		one := contract.Stream{Gerrit: g.Name, URL: g.URL, Connected: st.Connected, Error: st.Err, Since: optional(st.Since)}
		if !heard && g.SSH == "" {
			one.Error = "the site file has no ssh for it: changes are noticed by webhooks and reconciling"
		}
		out = append(out, one)
	}
	return out
}

// queueSummaries shows queues; last is when the last that stands there is expected to merge.
func (s *server) queueSummaries(ctx context.Context, queues []record.Queue) []contract.QueueSummary {
	return each(queues, func(q record.Queue) contract.QueueSummary {
		out := contract.QueueSummary{
			Name: q.Name, Items: len(q.State.Items), Active: min(len(q.State.Items), q.State.Window), Window: q.State.Window,
			Paused: note(q.State.Paused),
		}
		if site, _ := s.Site.QueueNamed(q.Name); site.Lanes {
			s.addLanes(ctx, &out)
		}
		estimate := s.estimates(ctx, q.Name)
		for i := len(q.State.Items) - 1; i >= 0 && out.Last == nil; i-- {
			if changes := q.State.Items[i].Changes; len(changes) > 0 {
				out.Last = estimate(changes[0].ID)
			}
		}
		return out
	})
}

// ListQueues gives the gate's queues.
func (s *server) ListQueues(ctx context.Context, _ contract.ListQueuesRequestObject) (contract.ListQueuesResponseObject, error) {
	queues, err := s.Store.GateQueues(ctx)
	if err != nil {
		return nil, err
	}
	return contract.ListQueues200JSONResponse(s.queueSummaries(ctx, queues)), nil
}

// GetQueue gives a queue with its items.
func (s *server) GetQueue(ctx context.Context, r contract.GetQueueRequestObject) (contract.GetQueueResponseObject, error) {
	state, facts, err := s.Facts(ctx, r.Name)
	if err != nil {
		return nil, none(err, "no such queue", "/api/v1/queues lists the gate's queues; a check's is check/GERRIT~NUMBER")
	}
	items, err := s.items(ctx, state, facts)
	if err != nil {
		return nil, err
	}
	return contract.GetQueue200JSONResponse{
		Name: r.Name, Kind: contract.QueueKind(state.Kind), Window: state.Window, Paused: note(state.Paused), Items: items,
		Lanes: lanesOf(gate.Order(state, facts), state.Window),
	}, nil
}

// items shows the items of a queue in order.
func (s *server) items(ctx context.Context, state gate.State, facts gate.Facts) ([]contract.Item, error) {
	var serials []int64
	var changes [][]gate.Ref
	where := map[gate.ChangeID]int64{}
	for _, it := range state.Items {
		serials = append(serials, int64(it.ID))
		changes = append(changes, it.Changes)
		for _, c := range it.Changes {
			where[c.ID] = int64(it.ID)
		}
	}
	k, err := knowing(ctx, s.Store, changes...)
	if err != nil {
		return nil, err
	}
	buildsets, err := s.present(ctx, state.Queue, serials)
	if err != nil {
		return nil, err
	}
	estimate, explain := s.estimates(ctx, state.Queue), gate.Explainer(state, facts)
	out := []contract.Item{}
	for i, p := range gate.Order(state, facts) {
		it := contract.Item{
			ID: int64(p.Item), Place: p.Position, State: contract.PlaceState(p.State), Word: p.Word, Active: p.Active,
			Changes: []contract.ChangeRef{}, Behind: []int64{}, Done: p.Done, Total: p.Jobs, EnteredAt: state.Items[i].Entered,
		}
		if p.Lane != 0 {
			lane := int64(p.Lane)
			it.Lane = &lane
		}
		for _, c := range p.Behind {
			if id, ok := where[c.ID]; ok && (len(it.Behind) == 0 || it.Behind[len(it.Behind)-1] != id) {
				it.Behind = append(it.Behind, id)
			}
		}
		if it.Restricted = k.hides(p.Changes); it.Restricted {
			it.Word, it.Behind, it.Lane, it.Done, it.Total = "a restricted item", []int64{}, nil, 0, 0
			out = append(out, it)
			continue
		}
		it.Changes = k.refs(p.Changes)
		it.Estimate = estimate(p.Changes[0].ID)
		why := reason(explain(p.Changes[0].ID))
		it.Reason = &why
		if b := buildsets[gate.BuildsetID(p.Buildset)]; b != nil && p.Buildset != 0 {
			it.Buildset = b
		}
		out = append(out, it)
	}
	return out, nil
}

// present gives the newest buildset of each of the items, by its number in the queue.
func (s *server) present(ctx context.Context, queue string, items []int64) (map[gate.BuildsetID]*contract.BuildsetSummary, error) {
	buildsets, err := s.Store.ItemBuildsets(ctx, queue, items)
	if err != nil {
		return nil, err
	}
	jobs, err := s.jobsOf(ctx, buildsets)
	if err != nil {
		return nil, err
	}
	out := map[gate.BuildsetID]*contract.BuildsetSummary{}
	for _, b := range buildsets {
		out[b.Serial] = s.buildset(b, jobs[b.ID])
	}
	return out, nil
}

// jobsOf gives the jobs of some buildsets, by the buildset.
func (s *server) jobsOf(ctx context.Context, buildsets []record.Buildset) (map[int64][]record.JobView, error) {
	ids := each(buildsets, func(b record.Buildset) int64 { return b.ID })
	views, err := s.Store.JobViews(ctx, ids)
	out := map[int64][]record.JobView{}
	for _, v := range views {
		out[*v.Buildset] = append(out[*v.Buildset], v)
	}
	return out, err
}
