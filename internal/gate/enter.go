package gate

import (
	"cmp"
	"slices"
	"time"
)

// enter gives a place to each change that may have one: in the order in which
// they became ready, each after those that it needs (G1, G2, G4). Changes that
// need each other in a circle enter as one item (G3).
func (d *decider) enter() {
	var ready []*Change
	for _, id := range d.beyond() {
		c := d.f.Changes[id]
		if _, in := d.place[id]; !in && c.Status == Open && c.Queue == d.s.Queue && d.may(&c) {
			ready = append(ready, &c)
		}
	}
	slices.SortFunc(ready, func(a, b *Change) int {
		return cmp.Or(d.since(a).Compare(d.since(b)), cmp.Compare(a.Number, b.Number), cmp.Compare(a.ID, b.ID))
	})
	e := entrance{d: d, seen: map[ChangeID]*visit{}}
	for _, c := range ready {
		e.visit(*c)
	}
}

// beyond are the changes that stand outside: all of them at first, then those that
// stood there and those that have left since.
func (d *decider) beyond() []ChangeID {
	if d.enteredAll {
		return d.outside
	}
	d.enteredAll, d.outside = true, nil
	for id := range d.f.Changes {
		if _, in := d.place[id]; !in {
			d.outside = append(d.outside, id)
		}
	}
	return d.outside
}

// may says that the change itself may stand in the queue, whatever it needs.
func (d *decider) may(c *Change) bool {
	if _, done := d.finished(c); done {
		return false
	}
	return d.unfit(c) == ""
}

// since is the time that orders an entry: of its approval, or of the command.
func (d *decider) since(c *Change) time.Time {
	if c.Ready {
		return c.ReadyAt
	}
	return d.s.Forced[c.ID].At
}

// entrance finds the circles among those that want to enter and lets them in,
// needs first: Tarjan's strongly connected components come in just that order.
type entrance struct {
	d     *decider
	seen  map[ChangeID]*visit
	stack []*visit
}

type visit struct {
	change   Change
	n, low   int
	on       bool // the stack
	out      bool // does not enter
	parentOf []*visit
}

func (e *entrance) visit(c Change) *visit {
	if v := e.seen[c.ID]; v != nil {
		return v
	}
	v := &visit{change: c, n: len(e.seen), low: len(e.seen), on: true}
	e.seen[c.ID] = v
	e.stack = append(e.stack, v)
	v.out = !e.d.may(&c)
	for _, n := range e.d.needs(&c) {
		switch e.d.need(&c, n) {
		case needMet:
		case needHere:
			if _, in := e.d.place[n.ID]; in {
				continue
			}
			on := e.visit(e.d.f.Changes[n.ID])
			if on.on {
				v.low = min(v.low, on.low)
			} else if _, in := e.d.place[n.ID]; !in {
				v.out = true
			}
			if n.Kind == Parent {
				on.parentOf = append(on.parentOf, v)
			}
		default:
			v.out = true
		}
	}
	if v.low == v.n {
		e.close(v)
	}
	return v
}

// close takes the circle that v began from the stack and lets it in.
func (e *entrance) close(v *visit) {
	i := slices.Index(e.stack, v)
	circle := slices.Clone(e.stack[i:])
	e.stack = e.stack[:i]
	out := false
	for _, m := range circle {
		m.on = false
		out = out || m.out
	}
	if !out {
		e.d.admit(submitOrder(circle))
	}
}

// submitOrder puts parents before their children, and lower numbers first.
func submitOrder(circle []*visit) []Ref {
	slices.SortFunc(circle, func(a, b *visit) int {
		return cmp.Or(cmp.Compare(a.change.Number, b.change.Number), cmp.Compare(a.change.ID, b.change.ID))
	})
	below := map[*visit]int{}
	for _, m := range circle {
		for _, child := range m.parentOf {
			below[child]++
		}
	}
	var refs []Ref
	for len(circle) > 0 {
		i := max(0, slices.IndexFunc(circle, func(m *visit) bool { return below[m] <= 0 }))
		m := circle[i]
		circle = slices.Delete(circle, i, i+1)
		for _, child := range m.parentOf {
			below[child]--
		}
		refs = append(refs, refOf(m.change))
	}
	return refs
}

// admit makes an item at the end of the queue.
func (d *decider) admit(refs []Ref) *Item {
	it := &Item{ID: d.s.NextItem, Changes: refs, Entered: d.f.Now}
	for _, r := range refs {
		if n, ok := d.s.Done[r.ID]; ok && n.PatchSet == r.PatchSet && n.Result != ReportPassed && n.Result != ReportMerged {
			it.Retry = true // it was reported before: what failed then is run again
		}
	}
	d.s.NextItem++
	d.mine[it.ID] = true
	if !d.stale {
		d.index.put(it.ID, len(d.s.Items))
	}
	d.s.Items = append(d.s.Items, it)
	for _, r := range refs {
		d.place[r.ID] = it.ID
	}
	if d.ties != nil {
		d.bind(it.ID, d.read(nil, it))
	}
	d.emit(Effect{Kind: Enter, Item: it.ID, Changes: refs})
	return it
}
