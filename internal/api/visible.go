package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// visible is the store as one who asks may see it: what is made from a change
// that the viewer may not read is not found (G25). The handlers have no other
// store, and so cannot show by mistake what they are not given.
//
// What is made from a change is what names it, what was tested with it, and
// what stood on it. What is read by the number of an attempt (ReadLog) and what
// counts only is not looked at here; attempts are found by their job.
type visible struct{ Store }

// known are the changes of a list that the viewer may read, by their id.
type known map[gate.ChangeID]record.Change

// hides reports whether one of the changes may not be shown.
func (k known) hides(refs ...[]gate.Ref) bool {
	for _, some := range refs {
		for _, r := range some {
			if _, shown := k[r.ID]; !shown {
				return true
			}
		}
	}
	return false
}

// knowing reads the changes that some refs name, as far as they may be shown.
func knowing(ctx context.Context, s Store, refs ...[]gate.Ref) (known, error) {
	var ids []string
	for _, some := range refs {
		for _, r := range some {
			if !slices.Contains(ids, string(r.ID)) {
				ids = append(ids, string(r.ID))
			}
		}
	}
	return knowingIDs(ctx, s, ids)
}

func knowingIDs(ctx context.Context, s Store, ids []string) (known, error) {
	k := known{}
	if len(ids) == 0 {
		return k, nil
	}
	changes, err := s.Changes(ctx, ids)
	for _, c := range changes {
		k[c.ID] = c
	}
	return k, err
}

// Change gives a change that may be shown.
func (s visible) Change(ctx context.Context, id gate.ChangeID) (record.Change, error) {
	c, err := s.Store.Change(ctx, id)
	if err == nil && !viewing(ctx).mayRead(&c.Facts) {
		return record.Change{}, record.ErrNotFound
	}
	return c, err
}

// Changes gives those of the changes that may be shown.
func (s visible) Changes(ctx context.Context, ids []string) ([]record.Change, error) {
	all, err := s.Store.Changes(ctx, ids)
	v := viewing(ctx)
	return slices.DeleteFunc(all, func(c record.Change) bool { return !v.mayRead(&c.Facts) }), err
}

// RecentChanges lists those that may be shown.
func (s visible) RecentChanges(ctx context.Context, f record.ChangeFilter) ([]record.Change, error) {
	f.Restricted = viewing(ctx).restricted
	return s.Store.RecentChanges(ctx, f)
}

// LastItems says of an item that is not shown only how it ended.
func (s visible) LastItems(ctx context.Context, changes []string) ([]record.LastItem, error) {
	all, err := s.Store.LastItems(ctx, changes)
	for i := range all {
		if all[i].Restricted && !viewing(ctx).restricted {
			all[i].Reason, all[i].Buildset = "", nil
		}
	}
	return all, err
}

// ItemsOf leaves out the items of which one change is not shown.
func (s visible) ItemsOf(ctx context.Context, change gate.ChangeID, limit int) ([]record.ItemView, error) {
	all, err := s.Store.ItemsOf(ctx, change, limit)
	if err != nil {
		return nil, err
	}
	return shownOnly(ctx, s, all, func(i record.ItemView) [][]gate.Ref { return [][]gate.Ref{i.Changes} })
}

// CommandsOf gives the commands about a change that may be shown.
func (s visible) CommandsOf(ctx context.Context, change gate.ChangeID, limit int) ([]record.Command, error) {
	if _, err := s.Change(ctx, change); err != nil {
		return nil, err
	}
	return s.Store.CommandsOf(ctx, change, limit)
}

// History gives the history of a queue in which nothing is that may not be shown.
func (s visible) History(ctx context.Context, queue string, after int64, limit int) ([]record.Decided, error) {
	if !viewing(ctx).restricted {
		if hidden, err := s.RestrictedChanges(ctx, queue); err != nil || len(hidden) > 0 {
			return nil, errors.Join(err, record.ErrNotFound)
		}
	}
	return s.Store.History(ctx, queue, after, limit)
}

// shownOnly keeps the rows of which every change may be shown.
func shownOnly[T any](ctx context.Context, s Store, rows []T, made func(T) [][]gate.Ref) ([]T, error) {
	var refs [][]gate.Ref
	for _, r := range rows {
		refs = append(refs, made(r)...)
	}
	k, err := knowing(ctx, s, refs...)
	return slices.DeleteFunc(rows, func(r T) bool { return k.hides(made(r)...) }), err
}

func madeWith(b record.Buildset) [][]gate.Ref { return [][]gate.Ref{b.Changes, b.Stack} }

// Item gives an item that may be shown.
func (s visible) Item(ctx context.Context, id int64) (record.ItemView, error) {
	i, err := s.Store.Item(ctx, id)
	if err != nil {
		return i, err
	}
	return onlyOne(shownOnly(ctx, s, []record.ItemView{i}, func(i record.ItemView) [][]gate.Ref { return [][]gate.Ref{i.Changes} }))
}

// Buildset gives a buildset that may be shown.
func (s visible) Buildset(ctx context.Context, id int64) (record.Buildset, error) {
	b, err := s.Store.Buildset(ctx, id)
	if err != nil {
		return b, err
	}
	return onlyOne(shownOnly(ctx, s, []record.Buildset{b}, madeWith))
}

func onlyOne[T any](rows []T, err error) (T, error) {
	var none T
	if err == nil && len(rows) == 0 {
		err = record.ErrNotFound
	}
	if err != nil {
		return none, err
	}
	return rows[0], nil
}

// BuildsetsOf leaves out what is not shown.
func (s visible) BuildsetsOf(ctx context.Context, items []int64) ([]record.Buildset, error) {
	all, err := s.Store.BuildsetsOf(ctx, items)
	if err != nil {
		return nil, err
	}
	return shownOnly(ctx, s, all, madeWith)
}

// ItemBuildsets leaves out what is not shown.
func (s visible) ItemBuildsets(ctx context.Context, queue string, items []int64) ([]record.Buildset, error) {
	all, err := s.Store.ItemBuildsets(ctx, queue, items)
	if err != nil {
		return nil, err
	}
	return shownOnly(ctx, s, all, madeWith)
}

// TestRepositories leaves out what is not shown.
func (s visible) TestRepositories(ctx context.Context, buildsets ...int64) ([]record.TestRepository, error) {
	all, err := s.Store.TestRepositories(ctx, buildsets...)
	return slices.DeleteFunc(all, func(t record.TestRepository) bool { return t.Restricted && !viewing(ctx).restricted }), err
}

// TestRepository gives one that may be shown, or whose key is known.
func (s visible) TestRepository(ctx context.Context, buildset int64, target string) (record.TestRepository, error) {
	t, err := s.Store.TestRepository(ctx, buildset, target)
	if err == nil && t.Restricted && !viewing(ctx).restricted {
		return record.TestRepository{}, record.ErrNotFound
	}
	return t, err
}

// Job gives a job that may be shown.
func (s visible) Job(ctx context.Context, id int64) (record.Job, error) {
	j, err := s.Store.Job(ctx, id)
	if of := j.Of(); err == nil && of != nil {
		_, err = s.Buildset(ctx, *of)
	}
	if err != nil {
		return record.Job{}, err
	}
	return j, nil
}

// JobViews leaves out what is not shown.
func (s visible) JobViews(ctx context.Context, buildsets []int64) ([]record.JobView, error) {
	hidden, err := s.hidden(ctx, record.Named{Buildsets: buildsets})
	if err != nil {
		return nil, err
	}
	return s.Store.JobViews(ctx, slices.DeleteFunc(slices.Clone(buildsets), func(b int64) bool { return hidden[fmt.Sprint("buildset ", b)] }))
}

// Needs leaves out what is not shown.
func (s visible) Needs(ctx context.Context, id int64) ([]record.Needed, error) {
	all, err := s.Store.Needs(ctx, id)
	if err != nil {
		return nil, err
	}
	hidden, err := s.hidden(ctx, record.Named{Jobs: each(all, func(n record.Needed) int64 { return n.ID })})
	return slices.DeleteFunc(all, func(n record.Needed) bool { return hidden[fmt.Sprint("job ", n.ID)] }), err
}

// Attempts gives those of a job that may be shown.
func (s visible) Attempts(ctx context.Context, jobID int64) ([]record.Attempt, error) {
	if _, err := s.Job(ctx, jobID); err != nil {
		return nil, err
	}
	return s.Store.Attempts(ctx, jobID)
}

// Artifacts leaves out what is not shown.
func (s visible) Artifacts(ctx context.Context, jobs ...int64) ([]record.Artifact, error) {
	hidden, err := s.hidden(ctx, record.Named{Jobs: jobs})
	if err != nil {
		return nil, err
	}
	return s.Store.Artifacts(ctx, slices.DeleteFunc(slices.Clone(jobs), func(j int64) bool { return hidden[fmt.Sprint("job ", j)] })...)
}

// ArtifactShown reports whether the viewer may have a blob.
func (s visible) ArtifactShown(ctx context.Context, digest string, _ bool) (bool, error) {
	return s.Store.ArtifactShown(ctx, digest, viewing(ctx).restricted)
}

// Queue gives a queue that may be shown: a check's is its change's.
func (s visible) Queue(ctx context.Context, name string) (record.Queue, error) {
	q, err := s.Store.Queue(ctx, name)
	if err == nil && q.Change != nil {
		_, err = s.Change(ctx, gate.ChangeID(*q.Change))
	} else if err == nil {
		err = s.branchShown(ctx, name)
	}
	if err != nil {
		return record.Queue{}, err
	}
	return q, nil
}

// GateQueues leaves out the queues of branches whose very names are not shown.
func (s visible) GateQueues(ctx context.Context) ([]record.Queue, error) {
	all, err := s.Store.GateQueues(ctx)
	if err != nil || viewing(ctx).restricted {
		return all, err
	}
	hidden, err := s.HiddenQueues(ctx)
	return slices.DeleteFunc(all, func(q record.Queue) bool { return slices.Contains(hidden, q.Name) }), err
}

func (s visible) branchShown(ctx context.Context, queue string) error {
	if viewing(ctx).restricted || !strings.Contains(queue, "@") {
		return nil
	}
	hidden, err := s.HiddenQueues(ctx)
	if err == nil && slices.Contains(hidden, queue) {
		return record.ErrNotFound
	}
	return err
}

// hidden gives those of the named things that are not shown, as the feed names them.
func (s visible) hidden(ctx context.Context, of record.Named) (map[string]bool, error) {
	out := map[string]bool{}
	if viewing(ctx).restricted {
		return out, nil
	}
	all, err := s.Hidden(ctx, of)
	for _, h := range all {
		out[h] = true
	}
	return out, err
}

// facts gives state and facts of a queue as the viewer may see them.
func (s *server) facts(read func(context.Context, string) (gate.State, gate.Facts, error)) func(context.Context, string) (gate.State, gate.Facts, error) {
	return func(ctx context.Context, queue string) (gate.State, gate.Facts, error) {
		if _, err := s.Store.Queue(ctx, queue); err != nil {
			return gate.State{}, gate.Facts{}, err
		}
		state, facts, err := read(ctx, queue)
		v := viewing(ctx)
		state, facts = gate.Redact(state, facts, func(c *gate.Change) bool { return !v.mayRead(c) })
		return state, facts, err
	}
}

// shownBuildsets keeps the buildsets that may be shown.
func (s *server) shownBuildsets(ctx context.Context, ids []int64) ([]int64, error) {
	hidden, err := visible{s.all}.hidden(ctx, record.Named{Buildsets: ids})
	return slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return hidden[fmt.Sprint("buildset ", id)] }), err
}

// shownEvents leaves out of some events of the feed ("kind id") those about what
// is not shown.
func (s *server) shownEvents(ctx context.Context, events []string) ([]string, error) {
	if viewing(ctx).restricted {
		return events, nil
	}
	hidden, err := visible{s.all}.hidden(ctx, namedIn(events))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(events, func(e string) bool { return strings.HasPrefix(e, "queue ") && strings.Contains(e, "@") }) {
		queues, err := s.all.HiddenQueues(ctx)
		if err != nil {
			return nil, err
		}
		for _, q := range queues {
			hidden["queue "+q] = true
		}
	}
	return slices.DeleteFunc(events, func(e string) bool { return hidden[madeFrom(e)] }), nil
}

// madeFrom is the thing whose being shown decides about an event's.
func madeFrom(event string) string {
	kind, id, _ := strings.Cut(event, " ")
	switch change, isCheck := strings.CutPrefix(id, "check/"); {
	case kind == "queue" && isCheck:
		return "change " + change
	case kind == "log":
		return "job " + id
	}
	return event
}

// namedIn gathers what some events are about.
func namedIn(events []string) record.Named {
	var n record.Named
	for _, e := range events {
		kind, id, _ := strings.Cut(madeFrom(e), " ")
		number, err := strconv.ParseInt(id, 10, 64)
		switch {
		case kind == "change":
			n.Changes = append(n.Changes, id)
		case kind == "buildset" && err == nil:
			n.Buildsets = append(n.Buildsets, number)
		case kind == "job" && err == nil:
			n.Jobs = append(n.Jobs, number)
		}
	}
	return n
}

// buildsetShown gives a buildset that may be shown, with its changes.
func (s *server) buildsetShown(ctx context.Context, id int64) (record.Buildset, known, error) {
	b, err := s.Store.Buildset(ctx, id)
	if err != nil {
		return b, nil, none(err, "no such buildset", "no buildset has this number, or it is not shown")
	}
	k, err := knowing(ctx, s.Store, b.Changes, b.Stack)
	return b, k, err
}

// jobShown gives a job that may be shown, with its buildset (nil: it makes a
// root) and that one's changes.
func (s *server) jobShown(ctx context.Context, id int64) (record.Job, *record.Buildset, known, error) {
	j, err := s.Store.Job(ctx, id)
	if err != nil {
		return j, nil, nil, none(err, "no such job", "no job has this number, or it is not shown")
	}
	of := j.Of()
	if of == nil {
		return j, nil, known{}, nil
	}
	b, k, err := s.buildsetShown(ctx, *of)
	return j, &b, k, err
}

// changeShown gives a change that may be shown.
func (s *server) changeShown(ctx context.Context, gerrit string, number int) (record.Change, error) {
	c, err := s.Store.Change(ctx, changeID(gerrit, number))
	return c, none(err, "no such change", "this change is not known here, or it is not shown")
}
