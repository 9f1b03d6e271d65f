package gate

import (
	"fmt"
	"slices"
)

// check decides a queue of its own for one change: each patch set is tested once
// on the tips and its own unmerged needs (G6), and again when one of those has a
// new patch set.
func (d *decider) check() {
	c, ok := d.f.Changes[d.s.Change]
	if !ok {
		return
	}
	ahead := d.unmerged(&c)
	if d.restrictedNeed(&c, ahead) {
		if len(d.s.Items) > 0 {
			d.leave([]exit{{d.s.Items[0], Report{Kind: ReportDequeued, Reason: needsRestricted}}})
		}
		return
	}
	if len(d.s.Items) > 0 && len(d.s.Items[0].Changes) > 0 && !d.keepCheck(d.s.Items[0], &c, ahead) {
		return
	}
	if len(d.s.Items) == 0 {
		if !d.wantsCheck(&c, ahead) {
			return
		}
		it := d.admit([]Ref{refOf(c)})
		it.Ahead, it.Recheck = ahead, !d.untested(&c, ahead)
	}
	it := d.s.Items[0]
	if it.Buildset != nil && d.f.Buildsets[it.Buildset.ID].Moved && !d.verdict(it).ended {
		it = d.edit(d.drop(it)) // what it waits for will not come: it begins anew on what is there now
		it.Ahead = ahead
	}
	if it.Buildset == nil {
		if d.s.Paused == nil {
			it = d.edit(it)
			it.Retest = c.Retest
			d.prepare(it, nil)
		}
		return
	}
	d.attempt(d.lanes(), 0, nil, true)
	d.concludeCheck(it)
}

// restrictedNeed says that a public change would be checked on top of a restricted
// one: it waits until that has merged (G25).
func (d *decider) restrictedNeed(c *Change, ahead []Ref) bool {
	return !c.Restricted && slices.ContainsFunc(ahead, func(r Ref) bool { return d.f.Changes[r.ID].Restricted })
}

// keepCheck ends a check that has nothing to say any more, and moves one onto
// its needs' new patch sets. It says whether the item still stands.
func (d *decider) keepCheck(it *Item, c *Change, ahead []Ref) bool {
	why := ""
	r := it.Changes[0]
	held, out := d.held(c)
	switch {
	case c.Status == Merged:
		why = "has merged"
	case c.Status == Abandoned:
		why = "was abandoned"
	case c.Status != Open:
		why = "is gone"
	case c.PatchSet != r.PatchSet, c.Revision != r.Revision, c.Branch != r.Branch:
		why = fmt.Sprintf("has a new patch set (%d)", c.PatchSet)
	case out:
		why = "was taken out by " + held.by()
	}
	if why != "" {
		d.leave([]exit{{it, Report{Kind: ReportDequeued, Reason: why}}})
		return d.changed && c.Status == Open
	}
	if reshaped(it.Ahead, ahead) {
		it = d.edit(d.drop(it))
		it.Ahead, it.Recheck = ahead, false
	}
	return true
}

// wantsCheck says that the change, as it is, has not been checked, or not on
// what has merged since (R66). However much merges while a check runs, one more follows.
func (d *decider) wantsCheck(c *Change, ahead []Ref) bool {
	if _, held := d.held(c); c.Status != Open || held {
		return false
	}
	return d.untested(c, ahead) || c.Retest > d.s.Done[c.ID].Retest
}

// untested says that the change has no report of a check as it is, or that a
// person wants another one.
func (d *decider) untested(c *Change, ahead []Ref) bool {
	done, ok := d.s.Done[c.ID]
	return !ok || done.Again || done.PatchSet != c.PatchSet || reshaped(done.Ahead, ahead)
}

// reshaped says that a need that stood under a check has another patch set now.
// One that has merged, or was abandoned, does not make the check run again.
func reshaped(was, is []Ref) bool {
	return slices.ContainsFunc(is, func(r Ref) bool {
		i := slices.IndexFunc(was, func(w Ref) bool { return w.ID == r.ID })
		return i < 0 || was[i].PatchSet != r.PatchSet
	})
}

// concludeCheck tells the result once all jobs have ended, the non-voting too.
// Of a re-check people are told only what is new; one without a verdict, or that
// fails as the branch itself does, takes nothing back.
func (d *decider) concludeCheck(it *Item) {
	v := d.verdict(it)
	if !v.ended || v.outcome == testing {
		return
	}
	r, over := Report{Kind: ReportPassed}, true
	if v.outcome != passed {
		if r, over = d.conclude(it, v); !over {
			return
		}
	}
	was := d.s.Done[d.s.Change]
	none := it.Recheck && (r.Kind == ReportError || r.Kind == ReportRed)
	r.Same = none || it.Recheck && r.Kind == was.Result
	d.leave([]exit{{it, r}})
	done := d.s.Done[d.s.Change]
	done.Lacks = v.lacks
	if none {
		done.Result, done.Reason, done.Lacks = was.Result, was.Reason, was.Lacks
	}
	done.Ahead, done.Retest = it.Ahead, it.Retest
	d.finish(d.s.Change, done)
}

// unmerged lists the change's own open needs, each after those that it needs
// itself, whatever queue they are of. A parent that has a newer patch set than
// the change stands on is left out: the change brings the older one along.
func (d *decider) unmerged(root *Change) []Ref {
	var refs []Ref
	seen := map[ChangeID]bool{root.ID: true}
	var walk func(c *Change)
	walk = func(c *Change) {
		for _, n := range d.needs(c) {
			on, ok := d.f.Changes[n.ID]
			if !ok || seen[n.ID] || on.Status != Open || d.need(c, n) == needOutdated || n.Kind == TopicMate && d.above(&on, root.ID) {
				continue
			}
			seen[n.ID] = true
			walk(&on)
			refs = append(refs, refOf(on))
		}
	}
	walk(root)
	return refs
}

// above says that a change stands on another by its commits: of one topic they
// need each other, and still it is no base for a check of the lower one.
func (d *decider) above(c *Change, low ChangeID) bool {
	seen := map[ChangeID]bool{}
	var walk func(c *Change) bool
	walk = func(c *Change) bool {
		if seen[c.ID] {
			return false
		}
		seen[c.ID] = true
		return slices.ContainsFunc(c.Needs, func(n Need) bool {
			return n.Kind == Parent && (n.ID == low || walk(new(d.f.Changes[n.ID])))
		})
	}
	return walk(c)
}
