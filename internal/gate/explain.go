package gate

import (
	"fmt"
	"slices"
)

// Those who can do something about a wait.
const (
	byGate   = "the gate"
	byAuthor = "the author"
	byReview = "a reviewer"
	byAdmin  = "an administrator"
	byGerrit = "Gerrit"
	byWorker = "a worker"
)

// Explain answers "why" for any change at any moment, in the queue or not: where
// it is, what it waits for, on whose account, and what happens next. It is total.
func Explain(state State, facts Facts, id ChangeID) Reason {
	return Explainer(state, facts)(id)
}

// Explainer is Explain for many changes of one queue.
func Explainer(state State, facts Facts) func(ChangeID) Reason {
	v := newView(state, facts)
	return func(id ChangeID) Reason { return explainer{v, map[ChangeID]bool{}}.change(id) }
}

// ExplainUnwatched answers "why" for a change that no queue of the site is about: it is
// known because others need it.
func ExplainUnwatched(c Change) Reason {
	n := name(c.Number)
	r := Reason{Change: c.ID, Who: byAdmin, Next: "nothing here; what needs it is told when it has merged"}
	switch c.Status {
	case Merged:
		r.Who, r.Text, r.Next = byGate, n+" has merged", "nothing"
	case Open:
		r.Text = fmt.Sprintf("%s is neither checked nor gated: the site has no rule for %s of %s", n, c.Branch.Branch, c.Branch.Project)
	default:
		r.Who, r.Text, r.Next = byAuthor, n+" is "+string(c.Status), "nothing, until it is restored"
	}
	return r
}

type explainer struct {
	*view
	told map[ChangeID]bool // ends the answer for those that need each other
}

func (e explainer) change(id ChangeID) Reason {
	c, ok := e.f.Changes[id]
	if !ok {
		return Reason{
			Change: id, Who: byGerrit, Text: fmt.Sprintf("nothing is known of the change %s in the queue %s", id, e.s.Queue),
			Next: "it is read from Gerrit if it is there and may be seen",
		}
	}
	if e.told[id] {
		return Reason{Change: id, Who: byGate, Text: name(c.Number) + " is explained above"}
	}
	e.told[id] = true
	var r Reason
	if it := e.standing(id); it != nil {
		r = e.item(it, &c)
	} else {
		r = e.outside(&c)
	}
	r.Change = id
	return r
}

// item explains a change that stands in the queue.
func (e explainer) item(it *Item, c *Change) Reason {
	i := e.at(it.ID)
	p := e.place(i, it)
	r := Reason{Who: byGate, Text: fmt.Sprintf("%s is number %d of %d in the queue %s: %s", name(c.Number), i+1, len(e.s.Items), e.s.Queue, p.Word)}
	if e.inLanes() {
		r.Text += "; " + e.lanePlace(i)
	}
	if e.s.Kind == Independent {
		again := ""
		if it.Recheck {
			again = " again, on what has merged since"
		}
		r.Text = fmt.Sprintf("patch set %d of %s is being checked%s: %s", it.Changes[0].PatchSet, name(c.Number), again, p.Word)
	}
	switch p.State {
	case PlaceSubmitting:
		r.Who, r.Next = byGerrit, "once Gerrit has merged it, its packages are published; if Gerrit refuses, it leaves the queue with Gerrit's words"
	case PlaceVerifying:
		r.Next = "its packages are published if the merged tree passes; until then nothing else merges"
		if it.Part != nil {
			r.Next = "nothing else merges until it is known whether it passes by itself; its packages are published"
		}
		r.Children = e.openJobs(it)
	case PlaceFailing, PlaceConflict, PlaceError:
		r = e.failing(it, r)
	case PlaceRed:
		r = e.red(it, r)
	case PlaceHeld:
		on := e.decider.item(e.heldBy(it, e.bad))
		r.Next = "if that is tested again, so is this; if it leaves, so does this"
		r.Children = []Reason{e.change(on.Changes[0].ID)}
	case PlaceWaiting:
		r = e.waiting(i, r)
	case PlaceMerging:
		r.Next = "its jobs are planned and start"
	case PlacePassed:
		r = e.passed(i, it, r)
	case PlaceTesting:
		if _, ok := e.inBatch(it, e.verdict(it)); ok {
			return e.explainBatch(it, r)
		}
		r.Who, r.Next = byWorker, "it merges when all voting jobs have passed and nothing unmerged is under it"
		if e.s.Kind == Independent {
			r.Next = "the result is reported when all jobs have ended"
		}
		r.Children = e.openJobs(it)
	}
	return r
}

func (e explainer) failing(it *Item, r Reason) Reason {
	under := e.under(it)
	switch {
	case len(under) > 0:
		r.Next = "it keeps its place: if one of those under it leaves, it is tested again without that; if all merge, it is reported"
		for _, on := range under {
			r.Children = append(r.Children, e.brief(on))
		}
	case !e.verdict(it).ended:
		r.Who, r.Next = byWorker, "it is reported when its other jobs have ended"
		r.Children = e.openJobs(it)
	case e.asking(it, e.verdict(it)):
		r.Who, r.Next = byWorker, "it is reported if it passes there; if it fails there too, nobody is blamed and it waits"
	default:
		r.Who, r.Next = byGate, "it is reported now"
	}
	for _, j := range e.jobs(it) {
		if j.Voting && (j.State == JobFailed || j.State == JobError || j.Early) {
			who := byAuthor
			if j.State == JobError {
				who = byAdmin
			}
			r.Children = append(r.Children, Reason{Who: who, Job: j.Name, Text: fmt.Sprintf("the job %s: %s", j.Name, j.State)})
		}
	}
	return r
}

func (e explainer) waiting(i int, r Reason) Reason {
	switch {
	case e.s.Paused != nil:
		r.Who, r.Next = byAdmin, "it goes on when the queue is resumed"
		r.Children = []Reason{{Who: byAdmin, Text: "the queue was paused by " + e.s.Paused.by()}}
	case e.lane.verifying(i) != nil:
		r.Next = "it is tested on what is then on the branch"
		r.Children = []Reason{e.brief(e.lane.verifying(i))}
	case e.lane.short(i) > 0:
		r.Next = fmt.Sprintf("it starts when %d of those ahead have left; the window is %d", e.lane.short(i), e.s.Window)
		r.Children = []Reason{e.brief(e.lane.head(i))}
	default:
		r.Next = "it starts with the next decision"
	}
	return r
}

func (e explainer) passed(i int, it *Item, r Reason) Reason {
	r.Next = "it is submitted"
	if on := e.awaits(i, it); on != nil {
		r.Next = "it is submitted once what it stands behind has merged; if that fails, it is tested again without it"
		for _, u := range e.under(it) {
			r.Children = append(r.Children, e.brief(u))
		}
		if len(r.Children) == 0 {
			r.Children = []Reason{e.brief(on)}
		}
		return r
	}
	switch {
	case e.s.Paused != nil:
		r.Who, r.Next = byAdmin, "it is submitted when the queue is resumed"
		r.Children = []Reason{{Who: byAdmin, Text: "the queue was paused by " + e.s.Paused.by()}}
	case e.f.Policy.Observe:
		r.Who, r.Next = byReview, "nothing: this gate only observes, and whoever merges changes here merges it"
	case e.s.Kind == Independent:
		r.Next = "the result is reported"
	}
	return r
}

// brief is one line about an item ahead.
func (e explainer) brief(it *Item) Reason {
	p := e.place(e.at(it.ID), it)
	r := Reason{Who: byGate, Text: fmt.Sprintf("%s: %s", names(it.Changes), p.Word)}
	if len(it.Changes) > 0 {
		r.Change = it.Changes[0].ID
	}
	if p.State == PlaceTesting || p.State == PlaceVerifying {
		r.Who = byWorker
	}
	return r
}

// openJobs lists the jobs that have not ended.
func (e explainer) openJobs(it *Item) []Reason {
	var open []Reason
	for _, j := range e.jobs(it) {
		if j.State.final() {
			continue
		}
		r := Reason{Who: byWorker, Job: j.Name, Text: fmt.Sprintf("the job %s is %s", j.Name, j.State)}
		if !j.Voting {
			r.Text += " (it decides nothing)"
		}
		open = append(open, r)
	}
	return open
}

// outside explains a change that does not stand in the queue.
func (e explainer) outside(c *Change) Reason {
	n := name(c.Number)
	switch {
	case e.hasMerged(c.ID):
		return Reason{Who: byGate, Text: n + " has merged", Next: "nothing"}
	case c.Status == Abandoned:
		return Reason{Who: byAuthor, Text: n + " was abandoned", Next: "nothing, until it is restored"}
	case c.Status != Open:
		return Reason{Who: byAuthor, Text: n + " is gone from Gerrit, or was moved to another branch", Next: "nothing"}
	case e.s.Kind == Independent:
		return e.unchecked(c)
	case c.Queue == "":
		return Reason{Who: byAdmin, Text: fmt.Sprintf("%s belongs to no queue: the site gates nothing on %s of %s", n, c.Branch.Branch, c.Branch.Project), Next: "nothing"}
	case c.Queue != e.s.Queue:
		return Reason{Who: byGate, Text: fmt.Sprintf("%s belongs to the queue %s", n, c.Queue), Next: "that queue decides"}
	}
	if note, held := e.held(c); held {
		return Reason{Who: byAdmin, Text: n + " was taken out of the queue by " + note.by(), Next: "it stays out until it is enqueued or has a new patch set"}
	}
	if done, ok := e.finished(c); ok {
		return e.reported(c, done)
	}
	r := Reason{Who: byGate, Text: n + " waits outside the queue " + e.s.Queue, Next: "it enters by itself"}
	r.Children = append(e.notReady(c), e.needs(c)...)
	if len(r.Children) > 0 {
		r.Who = r.Children[0].Who
		r.Next = "it enters by itself once that is so"
	}
	return r
}

// reported explains a patch set that had its final report.
func (e explainer) reported(c *Change, done Done) Reason {
	r := Reason{Who: byAuthor, Text: fmt.Sprintf("patch set %d of %s %s", done.PatchSet, name(c.Number), done.Result.past())}
	if done.Reason != "" {
		r.Text += ": " + done.Reason
	}
	r.Next = "it enters again with a new patch set, when it is approved anew, or with the command retry"
	if done.Result == ReportError && !done.Lacks {
		r.Who = byAdmin
	}
	return r
}

// notReady says what the change itself lacks.
func (e explainer) notReady(c *Change) []Reason {
	if c.Ready || e.forced(c) {
		return nil
	}
	if len(c.NotReady) == 0 {
		return []Reason{{Who: byReview, Change: c.ID, Text: name(c.Number) + " does not meet all submit requirements"}}
	}
	var out []Reason
	for _, text := range c.NotReady {
		out = append(out, Reason{Who: byReview, Change: c.ID, Text: name(c.Number) + " " + text})
	}
	return out
}

// needs says what keeps a change's dependencies from standing ahead of it.
func (e explainer) needs(c *Change) []Reason {
	var out []Reason
	for _, n := range e.decider.needs(c) {
		s := e.need(c, n)
		if text := e.refusal(n, s); text != "" {
			out = append(out, e.refused(c, n, s, text))
			continue
		}
		if s != needHere || e.standing(n.ID) != nil || e.told[n.ID] {
			continue
		}
		on := e.f.Changes[n.ID]
		r := e.change(on.ID)
		if done, ok := e.finished(&on); e.may(&on) && !ok && len(r.Children) == 0 && done.Result == "" {
			continue // it enters at once, and so does this
		}
		r.Text = "needs " + r.Text
		out = append(out, r)
	}
	return out
}

// refused explains a need that cannot stand ahead in this queue.
func (e explainer) refused(c *Change, n Need, s needState, text string) Reason {
	r := Reason{Change: n.ID, Text: name(c.Number) + " " + text}
	switch s {
	case needElsewhere, needRestricted:
		r.Who, r.Next = byGate, "it is waited for until it has merged"
		if e.reaches(n.ID, c.ID) {
			r.Who, r.Next = byAuthor, e.apart(e.f.Changes[n.ID].Queue)
		}
	default:
		r.Who, r.Next = byAuthor, "nothing, until the dependency is mended"
	}
	return r
}

// apart says why changes that need each other can never enter: another queue
// has one of them, or none has.
func (e explainer) apart(queue string) string {
	if queue == "" {
		return fmt.Sprintf("nothing: the two need each other, and only one of them is gated (queue %s); one dependency has to go", e.s.Queue)
	}
	return fmt.Sprintf("nothing: the two need each other, and the queues %s and %s never wait for each other; one dependency has to go", e.s.Queue, queue)
}

// reaches says that a change needs another, directly or not, by what is known.
func (e explainer) reaches(from, to ChangeID) bool {
	seen := map[ChangeID]bool{}
	var walk func(id ChangeID) bool
	walk = func(id ChangeID) bool {
		if id == to {
			return true
		}
		if seen[id] || id == "" || e.hasMerged(id) {
			return false
		}
		seen[id] = true
		return slices.ContainsFunc(e.decider.needs(new(e.f.Changes[id])), func(n Need) bool { return walk(n.ID) })
	}
	return walk(from)
}

// unchecked explains an open change whose check does not run.
func (e explainer) unchecked(c *Change) Reason {
	n := name(c.Number)
	if c.ID != e.s.Change {
		return Reason{Who: byGate, Text: n + " is checked in a queue of its own", Next: "that queue decides"}
	}
	if note, held := e.held(c); held {
		return Reason{Who: byAdmin, Text: n + " was taken out by " + note.by(), Next: "it is checked when it is enqueued or has a new patch set"}
	}
	if done, ok := e.s.Done[c.ID]; ok && done.PatchSet == c.PatchSet && !done.Again && c.Retest <= done.Retest {
		r := e.reported(c, done)
		r.Text += " (its check)"
		r.Next = "it is checked again with a new patch set, with a new patch set of what it needs, or with the command retry"
		if done.Lacks {
			r.Next = "it is checked again by itself with a new patch set of what it needs; should that build after all, with the command retry"
		}
		return r
	}
	if e.restrictedNeed(c, e.unmerged(c)) {
		return Reason{Who: byGate, Text: n + " " + needsRestricted, Next: "it is checked once that has merged"}
	}
	return Reason{Who: byGate, Text: n + " has not been checked", Next: "its check starts with the next decision"}
}
