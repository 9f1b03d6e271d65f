package gate

import (
	"fmt"
	"slices"
	"strings"
)

// needState is how a dependency stands towards the change that needs it.
type needState int

const (
	needMet        needState = iota // it has merged
	needHere                        // open, of this queue: it must stand ahead (G2)
	needElsewhere                   // open, of another queue: wait until it has merged (G5)
	needRestricted                  // open and restricted under a public change: likewise (G25)
	needOutdated                    // the child was pushed on an older patch set of its parent
	needClosed                      // abandoned, deleted or moved: it will never merge as it is
	needUnknown                     // not found, or not read yet
)

// topics lists the open changes of each topic.
func topics(changes map[ChangeID]Change) map[string][]ChangeID {
	m := map[string][]ChangeID{}
	for id, c := range changes {
		if c.Topic != "" && c.Status == Open {
			m[c.Topic] = append(m[c.Topic], id)
		}
	}
	for _, ids := range m {
		slices.Sort(ids)
	}
	return m
}

// needs are a change's dependencies, its topic-mates too where whole topics are
// submitted: these need each other, and so are one item (G3).
func (d *decider) needs(c *Change) []Need {
	mates := d.topics[c.Topic]
	if len(mates) < 2 {
		return c.Needs
	}
	needs := slices.Clone(c.Needs)
	for _, id := range mates {
		if id != c.ID {
			needs = append(needs, Need{Kind: TopicMate, ID: id})
		}
	}
	return needs
}

// need looks at one dependency of a change.
func (d *decider) need(c *Change, n Need) needState {
	if n.ID == "" {
		return needUnknown
	}
	on, ok := d.f.Changes[n.ID]
	switch {
	case on.Status == Merged, d.s.Done[n.ID].Result == ReportMerged:
		return needMet
	case !ok:
		return needUnknown
	}
	s := d.openNeed(c, n, &on)
	if s == needHere {
		return s
	}
	if _, in := d.place[c.ID]; in {
		// It stands behind this need, whose submit is in flight: what that does to
		// the need is judged after its outcome (G18).
		if it := d.standing(n.ID); it != nil && it.Submit != nil {
			return needHere
		}
	}
	return s
}

// openNeed looks at a dependency that has not merged, as it was read.
func (d *decider) openNeed(c *Change, n Need, on *Change) needState {
	switch {
	case on.Status != Open:
		return needClosed
	case n.Kind == Parent && n.PatchSet != 0 && n.PatchSet != on.PatchSet:
		return needOutdated
	case on.Queue != d.s.Queue:
		return needElsewhere
	case on.Restricted && !c.Restricted:
		return needRestricted
	}
	return needHere
}

// hasMerged says that a change has merged, whether Gerrit was read since or not.
func (d *decider) hasMerged(id ChangeID) bool {
	return d.s.Done[id].Result == ReportMerged || d.f.Changes[id].Status == Merged
}

// needsRestricted is all that is said of what a public change waits for (G25).
const needsRestricted = "needs a restricted change that has not merged"

// refusal says why a need keeps the change outside the queue; "" where it does not
// or where that depends on whether the need stands ahead.
func (d *decider) refusal(n Need, s needState) string {
	on := d.f.Changes[n.ID]
	switch s {
	case needElsewhere:
		if on.Restricted {
			return needsRestricted
		}
		if on.Queue == "" {
			return fmt.Sprintf("needs %s, which no queue gates and which has not merged", d.call(n))
		}
		return fmt.Sprintf("needs %s, which is in another queue (%s) and has not merged", d.call(n), on.Queue)
	case needRestricted:
		return needsRestricted
	case needOutdated:
		if on.Restricted {
			return "stands on an older patch set of a restricted change: rebase it"
		}
		return fmt.Sprintf("stands on patch set %d of %s, which is at patch set %d: rebase it", n.PatchSet, d.call(n), on.PatchSet)
	case needClosed:
		if on.Status == Abandoned {
			return fmt.Sprintf("needs %s, which is abandoned", d.call(n))
		}
		return fmt.Sprintf("needs %s, which is gone", d.call(n))
	case needUnknown:
		return fmt.Sprintf("needs %s, which was not found", d.call(n))
	}
	return ""
}

// call names the change that a need means; not one that not everybody may read (G25).
func (d *decider) call(n Need) string {
	if c, ok := d.f.Changes[n.ID]; ok && c.Restricted {
		return name(0)
	} else if ok && c.Number != 0 {
		return name(c.Number)
	}
	if n.Text != "" {
		return n.Text
	}
	return string(n.ID)
}

// unfit says why a change may not stand in this queue, for what it is by itself
// (G1, G18); "" when it may.
func (d *decider) unfit(c *Change) string {
	switch {
	case c.Status == Merged:
		return "has merged"
	case c.Status == Abandoned:
		return "was abandoned"
	case c.Status != Open:
		return "is gone from Gerrit, or was moved to another branch"
	case c.Queue == "":
		return "belongs to no queue"
	case c.Queue != d.s.Queue:
		return "belongs to the queue " + c.Queue
	}
	if n, ok := d.held(c); ok {
		return "was taken out by " + n.by()
	}
	if !c.Ready && !d.forced(c) {
		if len(c.NotReady) == 0 {
			return "is not ready to be submitted"
		}
		return strings.Join(c.NotReady, "; ")
	}
	return ""
}

// held says who took this patch set out of the queue (G20).
func (d *decider) held(c *Change) (Note, bool) {
	n, ok := d.s.Held[c.ID]
	return n, ok && (n.PatchSet == 0 || n.PatchSet == c.PatchSet)
}

// forced says that an administrator enqueued this patch set (G20).
func (d *decider) forced(c *Change) bool {
	n, ok := d.s.Forced[c.ID]
	return ok && (n.PatchSet == 0 || n.PatchSet == c.PatchSet)
}

// finished says that this patch set had its final report, and nothing about its
// approval is newer.
func (d *decider) finished(c *Change) (Done, bool) {
	n, ok := d.s.Done[c.ID]
	if !ok {
		return n, false
	}
	return n, n.Result == ReportMerged || !n.Again && n.PatchSet == c.PatchSet && !c.ReadyAt.After(n.At)
}

func (n Note) by() string {
	s := n.Who
	if s == "" {
		s = "an administrator"
	}
	if n.Why != "" {
		s += " (" + n.Why + ")"
	}
	return s
}
