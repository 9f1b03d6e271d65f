package api

import (
	"context"
	"errors"

	contract "sluice/api"
	"sluice/internal/gate"
	"sluice/internal/record"
)

// historyLimit bounds how many items of a change are shown.
const historyLimit = 50

// ListChanges gives the changes that moved last.
func (s *server) ListChanges(ctx context.Context, r contract.ListChangesRequestObject) (contract.ListChangesResponseObject, error) {
	f := record.ChangeFilter{Open: r.Params.Open, Limit: 50}
	if r.Params.Project != nil {
		f.Project = *r.Params.Project
	}
	if r.Params.Limit != nil {
		f.Limit = *r.Params.Limit
	}
	changes, err := s.Store.RecentChanges(ctx, f)
	if err != nil {
		return nil, err
	}
	all, err := s.summaries(ctx, changes)
	if err != nil {
		return nil, err
	}
	return contract.ListChanges200JSONResponse(all), nil
}

// summaries shows changes with what became of them last.
func (s *server) summaries(ctx context.Context, changes []record.Change) ([]contract.ChangeSummary, error) {
	last, err := s.Store.LastItems(ctx, each(changes, func(c record.Change) string { return string(c.ID) }))
	if err != nil {
		return nil, err
	}
	type key struct {
		id   gate.ChangeID
		kind gate.Kind
	}
	outcomes := map[key]*contract.Outcome{}
	for _, l := range last {
		outcomes[key{l.Change, l.Kind}] = &contract.Outcome{
			Item: int64(l.Serial), Buildset: l.Buildset, Present: l.LeftAt == nil, Result: l.Result, Reason: l.Reason,
			EnteredAt: l.EnteredAt, LeftAt: l.LeftAt,
		}
	}
	return each(changes, func(c record.Change) contract.ChangeSummary {
		return contract.ChangeSummary{
			ID: string(c.ID), Gerrit: c.Gerrit, Number: c.Number, PatchSet: c.PatchSet, Revision: c.Revision,
			Project: c.Project, Branch: c.Branch, Subject: c.Subject, Owner: c.Owner, URL: c.URL,
			Status: contract.ChangeStatus(c.Status), Topic: c.Topic, Queue: c.Queue, Checked: c.Checked,
			UpdatedAt: c.UpdatedAt, Check: outcomes[key{c.ID, gate.Independent}], Gate: outcomes[key{c.ID, gate.Dependent}],
		}
	}), nil
}

// GetChange gives a change and all that was done with it.
func (s *server) GetChange(ctx context.Context, r contract.GetChangeRequestObject) (contract.GetChangeResponseObject, error) {
	c, err := s.changeShown(ctx, r.Gerrit, r.Number)
	if err != nil {
		return nil, err
	}
	summary, err := s.summaries(ctx, []record.Change{c})
	if err != nil {
		return nil, err
	}
	why, err := s.why(ctx, c)
	if err != nil {
		return nil, err
	}
	history, err := s.history(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	needs, err := s.needs(ctx, c)
	if err != nil {
		return nil, err
	}
	commands, err := s.Store.CommandsOf(ctx, c.ID, historyLimit)
	if err != nil {
		return nil, err
	}
	return contract.GetChange200JSONResponse{
		Change: summary[0], Message: c.Message, Author: c.Author, Ready: c.Facts.Ready, NotReady: listed(c.Facts.NotReady),
		Needs: needs, Why: why, History: history,
		Commands: each(commands, func(c record.Command) contract.Command {
			return contract.Command{
				ID: c.ID, Queue: c.Queue, Verb: c.Verb, Who: c.Who, Why: c.Why, At: c.At, Answer: c.Answer, Done: c.AnsweredAt != nil,
			}
		}),
	}, nil
}

// needs shows the direct dependencies of a change.
func (s *server) needs(ctx context.Context, c record.Change) ([]contract.Need, error) {
	k, err := knowingIDs(ctx, s.Store, each(c.Facts.Needs, func(n gate.Need) string { return string(n.ID) }))
	return each(c.Facts.Needs, func(n gate.Need) contract.Need {
		out := contract.Need{Kind: contract.NeedKind(n.Kind), Text: n.Text}
		if on, ok := k[n.ID]; ok {
			f := on.Facts
			out.ID = string(n.ID)
			out.Change = &k.refs([]gate.Ref{{ID: f.ID, Number: f.Number, Branch: f.Branch, PatchSet: f.PatchSet, Revision: f.Revision}})[0]
		}
		return out
	}), err
}

// history shows the items that a change was ever part of.
func (s *server) history(ctx context.Context, id gate.ChangeID) ([]contract.ItemHistory, error) {
	items, err := s.Store.ItemsOf(ctx, id, historyLimit)
	if err != nil {
		return nil, err
	}
	buildsets, err := s.Store.BuildsetsOf(ctx, each(items, func(i record.ItemView) int64 { return i.ID }))
	if err != nil {
		return nil, err
	}
	jobs, err := s.jobsOf(ctx, buildsets)
	if err != nil {
		return nil, err
	}
	k, err := knowing(ctx, s.Store, each(items, func(i record.ItemView) []gate.Ref { return i.Changes })...)
	if err != nil {
		return nil, err
	}
	byItem := map[int64][]contract.BuildsetSummary{}
	for _, b := range buildsets {
		byItem[b.Item] = append(byItem[b.Item], *s.buildset(b, jobs[b.ID]))
	}
	out := []contract.ItemHistory{}
	for _, i := range items {
		out = append(out, contract.ItemHistory{
			Item: int64(i.Serial), Queue: i.Queue, Pipeline: contract.ItemHistoryPipeline(pipeline(i.Queue)), Changes: k.refs(i.Changes),
			Result: i.Result, Reason: i.Reason, EnteredAt: i.EnteredAt, LeftAt: i.LeftAt, Buildsets: listed(byItem[i.ID]),
		})
	}
	return out, nil
}

// GetWhy explains where a change is.
func (s *server) GetWhy(ctx context.Context, r contract.GetWhyRequestObject) (contract.GetWhyResponseObject, error) {
	c, err := s.changeShown(ctx, r.Gerrit, r.Number)
	if err != nil {
		return nil, err
	}
	summary, err := s.summaries(ctx, []record.Change{c})
	if err != nil {
		return nil, err
	}
	why, err := s.why(ctx, c)
	if err != nil {
		return nil, err
	}
	return contract.GetWhy200JSONResponse{Change: summary[0], Pipelines: why}, nil
}

// why explains a change in its gate's queue and in its check. There is always an answer.
func (s *server) why(ctx context.Context, c record.Change) ([]contract.PipelineReason, error) {
	out := []contract.PipelineReason{}
	for _, queue := range []string{c.Queue, checkQueue(c.ID)} {
		if queue == "" {
			continue
		}
		state, facts, err := s.Facts(ctx, queue)
		if errors.Is(err, record.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, ok := facts.Changes[c.ID]; !ok { // closed, and not in the queue
			facts.Changes[c.ID] = c.Facts
		}
		out = append(out, contract.PipelineReason{
			Pipeline: contract.PipelineReasonPipeline(pipeline(queue)), Queue: queue, Reason: reason(gate.Explain(state, facts, c.ID)),
			Estimate: s.estimates(ctx, queue)(c.ID),
		})
	}
	if len(out) == 0 {
		out = append(out, contract.PipelineReason{
			Pipeline: contract.PipelineReasonPipeline(pipeline("")), Reason: reason(gate.ExplainUnwatched(c.Facts)),
		})
	}
	return out, nil
}
