package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// hiddenPrefix begins the name that Redact gives to a change that is not shown.
// No Gerrit's name holds a space.
const hiddenPrefix = "a restricted change "

// Hidden says that Redact gave a change this name.
func Hidden(id ChangeID) bool { return strings.HasPrefix(string(id), hiddenPrefix) }

// Redact gives state and facts as they may be shown to one who may not read the
// changes that hides names (G25): of these nothing is left but that something
// stands at a place, and what the others wait for. What Order and Explain say of
// the result says nothing of them either. It takes nothing from its arguments.
func Redact(s State, f Facts, hides func(*Change) bool) (State, Facts) {
	r := redaction{as: map[ChangeID]ChangeID{}}
	for _, id := range slices.Sorted(maps.Keys(f.Changes)) {
		if hides(new(f.Changes[id])) {
			r.as[id] = ChangeID(fmt.Sprint(hiddenPrefix, len(r.as)+1))
		}
	}
	if len(r.as) == 0 {
		return s, f
	}
	hiddenItems := map[ItemID]bool{}
	hiddenBuildsets := map[BuildsetID]bool{}
	items := make([]*Item, len(s.Items))
	for i, it := range s.Items {
		items[i] = r.item(it)
		if r.some(it.Changes) || r.some(it.Ahead) {
			hiddenItems[it.ID] = true
			hiddenBuildsets[it.attempt()] = true
			items[i].Red = r.jobs(it.Red)
		}
	}
	s.Red = redOf(s.Red, items)
	s.Change, s.Items = r.id(s.Change), items
	s.Held, s.Forced, s.Done = r.notes(s.Held), r.notes(s.Forced), r.done(s.Done)
	f.Changes = r.changes(f.Changes)
	f.Commands = slices.DeleteFunc(slices.Clone(f.Commands), func(c Command) bool { return r.hides(c.Change) })
	f.Buildsets = r.buildsets(f.Buildsets, hiddenBuildsets)
	f.Submits = r.submits(f.Submits, hiddenItems)
	f.Closures = r.closures(f.Closures)
	s.Landed = slices.Clone(s.Landed)
	for i := range s.Landed {
		s.Landed[i].Changes = r.refs(s.Landed[i].Changes)
	}
	s.Owed = slices.Clone(s.Owed)
	for i := range s.Owed {
		s.Owed[i].Changes, s.Owed[i].Before = r.refs(s.Owed[i].Changes), r.refs(s.Owed[i].Before)
	}
	return s, f
}

// hidden says that Redact hides a change of the item.
func (it *Item) hidden() bool {
	return slices.ContainsFunc(it.Changes, func(r Ref) bool { return Hidden(r.ID) })
}

// closures leaves of what is not shown the names that something shown has, too.
func (r redaction) closures(m map[ChangeID]Closure) map[ChangeID]Closure {
	shown := map[string]bool{}
	for id, c := range m {
		for _, n := range append(slices.Clone(c.Provides), c.Needs...) {
			shown[n] = shown[n] || !r.hides(id)
		}
	}
	some := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !shown[n] })
	}
	out := make(map[ChangeID]Closure, len(m))
	for id, c := range m {
		if r.hides(id) {
			c = Closure{Provides: some(c.Provides), Needs: some(c.Needs)}
		}
		out[r.id(id)] = c
	}
	return out
}

// redaction knows the changes that are not shown, and the names that they have instead.
type redaction struct{ as map[ChangeID]ChangeID }

func (r redaction) hides(id ChangeID) bool { return r.as[id] != "" }

func (r redaction) id(id ChangeID) ChangeID {
	if as := r.as[id]; as != "" {
		return as
	}
	return id
}

func (r redaction) some(refs []Ref) bool {
	return slices.ContainsFunc(refs, func(x Ref) bool { return r.hides(x.ID) })
}

func (r redaction) refs(refs []Ref) []Ref {
	out := slices.Clone(refs)
	for i := range out {
		if r.hides(out[i].ID) {
			out[i] = Ref{ID: r.id(out[i].ID)}
		}
	}
	return out
}

func (r redaction) item(it *Item) *Item {
	c := *it
	c.Changes, c.Ahead, c.Before = r.refs(it.Changes), r.refs(it.Ahead), r.refs(it.Before)
	return &c
}

// jobs keeps no more of the jobs that an item waits for than that there are some.
func (r redaction) jobs(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	return []string{"a restricted job"}
}

// redOf keeps the notes of those jobs that an item is shown to wait for.
func redOf(red map[string]Red, items []*Item) map[string]Red {
	shown := map[string]Red{}
	for _, it := range items {
		for _, name := range it.Red {
			if r, ok := red[name]; ok {
				shown[name] = r
			}
		}
	}
	return shown
}

// notes leaves out why something was done with a change that is not shown, and by whom.
func (r redaction) notes(m map[ChangeID]Note) map[ChangeID]Note {
	out := make(map[ChangeID]Note, len(m))
	for id, n := range m {
		if r.hides(id) {
			n = Note{At: n.At}
		}
		out[r.id(id)] = n
	}
	return out
}

func (r redaction) done(m map[ChangeID]Done) map[ChangeID]Done {
	out := make(map[ChangeID]Done, len(m))
	for id, n := range m {
		if r.hides(id) {
			n = Done{At: n.At, Result: n.Result}
		} else if r.some(n.Ahead) {
			n.Reason = ""
		}
		n.Ahead = r.refs(n.Ahead)
		out[r.id(id)] = n
	}
	return out
}

func (r redaction) changes(m map[ChangeID]Change) map[ChangeID]Change {
	shown := map[string]bool{} // topics
	for id, c := range m {
		if !r.hides(id) {
			shown[c.Topic] = true
		}
	}
	out := make(map[ChangeID]Change, len(m))
	for id, c := range m {
		if r.hides(id) {
			known := c
			c = Change{ID: r.id(id), Status: c.Status, Ready: c.Ready, ReadyAt: c.ReadyAt, Needs: c.Needs, Restricted: true, Queue: c.Queue}
			if shown[known.Topic] {
				c.Topic = known.Topic
			}
		}
		c.Needs = r.needs(c.Needs, r.hides(id))
		out[c.ID] = c
	}
	return out
}

// needs renames those that are not shown; of one that is not, no word stays either.
func (r redaction) needs(needs []Need, of bool) []Need {
	out := slices.Clone(needs)
	for i, n := range out {
		if of || r.hides(n.ID) {
			out[i] = Need{Kind: n.Kind, ID: r.id(n.ID)}
		}
	}
	return out
}

func (r redaction) buildsets(m map[BuildsetID]BuildsetFacts, hidden map[BuildsetID]bool) map[BuildsetID]BuildsetFacts {
	out := maps.Clone(m)
	for id, b := range out {
		switch {
		case hidden[id]:
			delete(out, id)
		case b.Conflict != nil && r.hides(b.Conflict.With):
			b.Conflict = &Conflict{With: r.id(b.Conflict.With)}
			out[id] = b
		}
	}
	return out
}

func (r redaction) submits(m map[ItemID]SubmitOutcome, hidden map[ItemID]bool) map[ItemID]SubmitOutcome {
	out := maps.Clone(m)
	for id, o := range out {
		if !hidden[id] && !slices.ContainsFunc(o.Landed, r.hides) { // an item may have left, and its outcome be known still
			continue
		}
		o.Text, o.Landed = "", slices.Clone(o.Landed)
		for i := range o.Landed {
			o.Landed[i] = r.id(o.Landed[i])
		}
		out[id] = o
	}
	return out
}
