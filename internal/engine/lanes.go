package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
)

// laneBook keeps what was read of closures, for it is asked with each decision:
// a change's names until they widen, what they come to until something is
// published or a name is new. It can be lost.
type laneBook struct {
	mu       sync.Mutex // guards what follows
	rows     map[gate.ChangeID]record.Closure
	made     map[string]bool // names that a change or a released package is known to make
	changed  map[string]bool // those of them that a change makes
	released map[int64]map[string][]string
	closures map[gate.ChangeID]closed
	names    gate.Names // of all closures
}

// closed is a closure as it was made from a revision and a state of the repositories.
type closed struct {
	revision int64
	state    string
	gate.Closure
}

// closures gives what each change that stands in a queue with lanes, or may enter
// it, makes and reads, directly or not.
func (e *Engine) closures(ctx context.Context, q record.Queue, p gate.Policy, changes map[gate.ChangeID]gate.Change) (map[gate.ChangeID]gate.Closure, error) {
	if !p.Lanes || q.Kind != gate.Dependent {
		return nil, nil
	}
	wanted := map[gate.ChangeID]int{} // at this patch set, or a later one
	for id, c := range changes {
		if c.Status == gate.Open && c.Queue == q.Name {
			wanted[id] = c.PatchSet
		}
	}
	want := func(refs []gate.Ref) {
		for _, r := range refs {
			wanted[r.ID] = max(wanted[r.ID], r.PatchSet)
		}
	}
	for _, it := range q.State.Items {
		want(it.Changes)
		want(it.Before)
	}
	for _, o := range q.State.Owed {
		want(o.Changes)
		want(o.Before)
	}
	for _, l := range q.State.Landed {
		want(l.Changes)
	}
	b := &e.lanes
	b.mu.Lock()
	defer b.mu.Unlock()
	graph, state, err := e.graph(ctx)
	if err != nil {
		return nil, fmt.Errorf("closures of queue %s: %w", q.Name, err)
	}
	if err := e.readClosures(ctx, wanted); err != nil {
		return nil, fmt.Errorf("closures of queue %s: %w", q.Name, err)
	}
	state = fmt.Sprintf("%s %d %d", state, len(b.made), len(b.changed))
	out := make(map[gate.ChangeID]gate.Closure, len(wanted))
	for id, patchSet := range wanted {
		row, known := b.rows[id]
		if !known || row.PatchSet < patchSet {
			continue
		}
		c, same := b.closures[id]
		if !same || c.revision != row.Revision || c.state != state {
			c = closed{row.Revision, state, b.names.Closure(row.Provides, b.reach(row.Needs, row.Provides, graph))}
			b.closures[id] = c
		}
		out[id] = c.Closure
	}
	return out, nil
}

// readClosures brings the rows up to date.
func (e *Engine) readClosures(ctx context.Context, wanted map[gate.ChangeID]int) error {
	b := &e.lanes
	var ids []string
	for id := range wanted {
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	newest, err := e.Store.ClosureRevisions(ctx, ids)
	if err != nil {
		return err
	}
	var stale []int64
	for _, r := range newest {
		if b.rows[r.Change].Revision != r.Revision {
			stale = append(stale, r.Revision)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	rows, err := e.Store.Closures(ctx, stale)
	for _, r := range rows {
		b.rows[r.Change] = r
		for _, name := range r.Provides {
			b.made[name], b.changed[name] = true, true
		}
	}
	return err
}

// reach follows names to all that the packages of these names ask for, and
// keeps those that a change is known to make: no other joins anything.
func (b *laneBook) reach(needs, provides []string, graph []map[string][]string) []string {
	seen := map[string]bool{}
	var out []string
	todo := append(slices.Clone(needs), provides...)
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !b.made[name] || seen[name] {
			continue
		}
		seen[name] = true
		if b.changed[name] && !slices.Contains(provides, name) {
			out = append(out, name)
		}
		for _, g := range graph {
			todo = append(todo, g[name]...)
		}
	}
	slices.Sort(out)
	return out
}

// graph gives, by name, what is asked for by the packages that are released, and
// by those that have landed and are not yet published; and a name for its state.
func (e *Engine) graph(ctx context.Context) ([]map[string][]string, string, error) {
	b := &e.lanes
	if b.rows == nil {
		b.rows, b.made, b.changed, b.closures = map[gate.ChangeID]record.Closure{}, map[string]bool{}, map[string]bool{}, map[gate.ChangeID]closed{}
		b.released = map[int64]map[string][]string{}
	}
	unpublished, err := e.Store.Unpublished(ctx) // before the publications: what is published in between is then in both
	if err != nil {
		return nil, "", err
	}
	var graph []map[string][]string
	var state []string
	repositories, err := e.Store.Repositories(ctx)
	if err != nil {
		return nil, "", err
	}
	present := map[int64]map[string][]string{}
	for _, r := range repositories {
		if r.Publication == nil || r.Name != e.firstChannel(r.Target) {
			continue
		}
		g, known := b.released[*r.Publication]
		if !known {
			if g, err = e.asks(ctx, r); err != nil {
				return nil, "", err
			}
		}
		present[*r.Publication] = g
		graph, state = append(graph, g), append(state, fmt.Sprint("p", *r.Publication))
	}
	b.released = present // one that is no longer pointed at is not asked for again
	landed := map[gate.ChangeID]int{}
	for _, u := range unpublished {
		for _, r := range u.Changes {
			landed[r.ID] = r.PatchSet
		}
		state = append(state, fmt.Sprint("b", u.ID))
	}
	if len(landed) == 0 {
		return graph, strings.Join(state, " "), nil
	}
	if err := e.readClosures(ctx, landed); err != nil {
		return nil, "", err
	}
	g := map[string][]string{}
	for id := range landed {
		row := b.rows[id]
		for _, name := range row.Provides {
			g[name] = append(g[name], row.Needs...)
		}
		state = append(state, fmt.Sprint("r", row.Revision))
	}
	return append(graph, g), strings.Join(state, " "), nil
}

// asks reads what the packages of a released repository ask for.
func (e *Engine) asks(ctx context.Context, r record.Repository) (map[string][]string, error) {
	g := map[string][]string{}
	t, ok := e.Site.Target(r.Target)
	if !ok || e.Solver == nil {
		return g, nil
	}
	d, _ := e.Site.Dist(t.Dist)
	for _, a := range d.Architectures {
		at := e.repository(d.Format, d.Codename, job.Released, "released", fmt.Sprintf("/publication/%d/", *r.Publication), "")
		asked, err := e.Solver.Asks(ctx, at, a.Name)
		if err != nil {
			return nil, err
		}
		for name, asks := range asked {
			name = r.Target + " " + name
			e.lanes.made[name] = true
			for _, on := range asks {
				g[name] = append(g[name], r.Target+" "+on)
			}
		}
	}
	return g, nil
}
