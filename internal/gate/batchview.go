package gate

import (
	"fmt"
	"slices"
)

// inBatch describes an item whose batch is not decided; ok is false for others.
func (v *view) inBatch(it *Item, told verdict) (word string, ok bool) {
	switch {
	case told.outcome == suspect:
		return "its batch failed, and it is not known yet through whom", true
	case told.outcome != built:
		return "", false
	}
	if on := v.sharedRun(it.ID); on != nil {
		return "built, and tested with its batch on " + names(on.Changes), true
	}
	return "built, waits for its batch", true
}

// sharedRun is the item on which the dear stages run for this one now.
func (v *view) sharedRun(id ItemID) *Item {
	for _, on := range v.runs {
		it := v.item(on)
		if !slices.Contains(it.attemptOr().Batch, id) {
			continue
		}
		if o := v.verdict(it).outcome; o == testing || o == built {
			return it
		}
	}
	return nil
}

// explainBatch says what the batch of an item waits for.
func (e explainer) explainBatch(it *Item, r Reason) Reason {
	r.Who, r.Next = byGate, "its batch is tested at once when all that belong to it are built and nothing unmerged is under the first; then they merge together"
	if e.verdict(it).outcome == suspect {
		r.Next = "shorter parts of the batch are tested, until the shortest that fails is known: its last change is to blame, and the others merge"
	}
	first := it
	if under := e.under(it); len(under) > 0 {
		first = under[0]
	}
	if on := e.sharedRun(it.ID); on != nil {
		r.Who, r.Next = byWorker, "if it passes, the whole batch merges; if not, shorter parts of it are tested, until it is known through whom"
		r.Children = e.openJobs(on)
		return r
	}
	if e.s.Paused != nil {
		r.Who, r.Next = byAdmin, "it goes on when the queue is resumed"
		r.Children = []Reason{{Who: byAdmin, Text: "the queue was paused by " + e.s.Paused.by()}}
		return r
	}
	batches := batches{decider: e.decider, lanes: e.lane}
	for _, on := range batches.chain(e.at(first.ID)) {
		if on.ID != it.ID && e.verdict(on).outcome == testing && len(r.Children) < e.batchSize() {
			r.Children = append(r.Children, e.brief(on))
		}
	}
	return r
}

// shared says on what the dear stages of a proven item ran.
func (v *view) shared(it *Item) string {
	if on := v.cover(it.ID); on != nil && on.ID != it.ID {
		return fmt.Sprintf("passed with its batch on %s", names(on.Changes))
	}
	return "passed"
}
