package gate_test

import (
	"maps"
	"slices"
	"time"

	"sluice/internal/gate"
)

// This file judges decisions by the rules alone, slowly and obviously. It shares
// nothing with the package under test but its types.

// record holds each effect to the properties, in the order of their decision.
func (w *world) record(e gate.Effect) {
	w.log = append(w.log, e)
	w.tell("%s item=%d %v buildset=%d stack=%v %s %s %s", e.Kind, e.Item, numbers(e.Changes), e.Buildset, e.StackItems, e.Report.Kind, e.Report.Reason, e.Text)
	l := w.items[e.Item]
	if e.Kind != gate.Enter && e.Kind != gate.Answer && (l == nil || l.left) {
		w.fail("%s of an item that does not stand in the queue: %s", e.Kind, encode(e))
	}
	switch e.Kind {
	case gate.Answer:
		if w.answers[e.Command] != "" || e.Text == "" {
			w.fail("command %d answered %q after %q", e.Command, e.Text, w.answers[e.Command])
		}
		w.answers[e.Command] = e.Text
	case gate.Enter:
		w.recordEnter(e, l)
	case gate.Prepare:
		w.recordPrepare(e)
	case gate.SubmitChanges:
		w.recordSubmit(e)
	case gate.RunDeferred:
		w.recordRun(e)
	case gate.Publish:
		if b := w.builds[e.Buildset]; !b.passed() && !(b.submitted && b.built()) {
			w.fail("published what has not passed: %s", encode(e))
		}
		for _, r := range e.Changes {
			if w.out[r.ID] {
				w.fail("%d is published twice", r.Number)
			}
			w.out[r.ID] = true
		}
	case gate.Tell:
		w.recordTell(e, l)
	case gate.Leave:
		l.left = true
		if len(l.final) != 1 {
			w.fail("item %d left after %d final reports", e.Item, len(l.final))
		}
	}
}

func numbers(refs []gate.Ref) (ns []int) {
	for _, r := range refs {
		ns = append(ns, r.Number)
	}
	return ns
}

// recordEnter: a change stands in a queue at most once (G4), after its needs (G2).
func (w *world) recordEnter(e gate.Effect, l *life) {
	if l != nil {
		w.fail("item %d entered twice", e.Item)
	}
	for _, other := range w.items {
		for _, r := range e.Changes {
			if !other.left && slices.ContainsFunc(other.changes, func(o gate.Ref) bool { return o.ID == r.ID }) {
				w.fail("%d stands in the queue twice (G4)", r.Number)
			}
		}
	}
	w.items[e.Item] = &life{changes: e.Changes, in: true, again: w.owes(e.Changes) != nil}
}

// holdEntries: who enters at once does in the order of becoming ready, then by
// number; ahead of one that was ready before comes only what that one needs, or
// another that was ready before, be it that this one cannot enter itself (G2).
func (w *world) holdEntries(f gate.Facts, effects []gate.Effect) {
	o := w.oracle(f)
	var in []gate.Effect
	for _, e := range effects {
		switch {
		case e.Kind == gate.Leave: // who comes after that had to wait for it
			in = nil
		case e.Kind == gate.Enter && w.truth[e.Changes[0].ID].Status == gate.Open:
			for _, before := range in {
				if late := o.earliest(e); o.earlier(late, o.earliest(before)) && !o.called(before, late) {
					w.fail("%v enters ahead of %v, which was ready before (G2)", numbers(before.Changes), numbers(e.Changes))
				}
			}
			in = append(in, e)
		}
	}
}

// called says that an item came in for a change, or for one that was ready before that.
func (o oracle) called(e gate.Effect, by gate.ChangeID) bool {
	for id, c := range o.f.Changes {
		_, in := o.where[id]
		if (in || o.fit(c)) && (id == by || o.earlier(id, by)) && o.reaches(id, e, map[gate.ChangeID]bool{}) {
			return true
		}
	}
	return false
}

// reaches says that a change needs one of an item, directly or not.
func (o oracle) reaches(from gate.ChangeID, e gate.Effect, seen map[gate.ChangeID]bool) bool {
	if slices.ContainsFunc(e.Changes, func(r gate.Ref) bool { return r.ID == from }) {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	return slices.ContainsFunc(o.needs(o.f.Changes[from]), func(n gate.Need) bool { return o.reaches(n.ID, e, seen) })
}

// earliest is the change of an item that was ready first.
func (o oracle) earliest(e gate.Effect) gate.ChangeID {
	id := e.Changes[0].ID
	for _, r := range e.Changes {
		if o.earlier(r.ID, id) {
			id = r.ID
		}
	}
	return id
}

// earlier says that a change became ready before another, or with it and has the lower number.
func (o oracle) earlier(a, b gate.ChangeID) bool {
	x, y := o.since(a), o.since(b)
	return x.Before(y) || x.Equal(y) && o.f.Changes[a].Number < o.f.Changes[b].Number
}

// since is when a change became ready, or was forced in.
func (o oracle) since(id gate.ChangeID) time.Time {
	if c := o.f.Changes[id]; c.Ready {
		return c.ReadyAt
	}
	return o.w.state.Forced[id].At
}

func (w *world) recordPrepare(e gate.Effect) {
	if w.builds[e.Buildset] != nil {
		w.fail("buildset %d is used twice", e.Buildset)
	}
	if w.state.Kind == gate.Dependent {
		var refs []gate.Ref
		for _, id := range e.StackItems {
			if l := w.items[id]; l == nil || l.left {
				w.fail("buildset %d stands on item %d, which is not there", e.Buildset, id)
			}
			refs = append(refs, w.items[id].changes...)
		}
		if !slices.Equal(refs, e.Stack) {
			w.fail("stack %v is not the changes of its items %v", e.Stack, refs)
		}
	}
	w.builds[e.Buildset] = w.newBuild(e)
}

func (w *world) newBuild(e gate.Effect) *build {
	fails := slices.ContainsFunc(e.Changes, func(r gate.Ref) bool { return w.fails[r.ID] })
	return &build{effect: e, after: len(w.landed), fails: fails}
}

// exact: what has landed since the buildset was decided begins with its stack,
// in order; and is nothing else, unless more is allowed.
func (w *world) exact(id gate.BuildsetID, more bool) bool {
	b := w.builds[id]
	since := w.landed[b.after:]
	if len(since) < len(b.effect.StackItems) || !more && len(since) > len(b.effect.StackItems) {
		return false
	}
	return slices.Equal(since[:len(b.effect.StackItems)], b.effect.StackItems)
}

func (b *build) passed() bool {
	won := false
	for _, j := range b.jobs {
		if j.Voting && (j.Early || j.State != gate.JobPassed && j.State != gate.JobNotApplicable) {
			return false
		}
		won = won || j.Voting && j.State == gate.JobPassed
	}
	return won && !b.deferred && b.prepared && b.conflict == nil && b.broken == ""
}

// recordSubmit: a change lands only if one buildset passed whose stack is exactly
// what landed before it in the queue since (G14), after all that it needs.
func (w *world) recordSubmit(e gate.Effect) {
	if b := w.builds[e.Buildset]; !b.passed() && !b.built() {
		w.fail("submits what has not passed: %s", encode(e))
	}
	w.recordBatchSubmit(e)
	if !w.policy.Lanes && !w.exact(e.Buildset, false) {
		w.fail("submits %v on a stack %v; landed since: %v", numbers(e.Changes), w.builds[e.Buildset].effect.StackItems, w.landed[w.builds[e.Buildset].after:])
	}
	w.recordSubmitInLane(e)
	own := map[gate.ChangeID]bool{}
	for _, r := range e.Changes {
		own[r.ID] = true
	}
	for _, r := range e.Changes {
		for _, n := range w.known[r.ID].Needs {
			if !own[n.ID] && (w.truth[n.ID] == nil || w.truth[n.ID].Status != gate.Merged) {
				w.fail("%d lands before %s, which it needs (G2)", r.Number, n.ID)
			}
		}
	}
}

// recordTell: one final report each; blame only with nothing unmerged underneath (G11).
func (w *world) recordTell(e gate.Effect, l *life) {
	r := e.Report
	if r.Kind == gate.ReportBypassed && !l.bypassed {
		l.bypassed = true
		w.landed = append(w.landed, e.Item)
	}
	if r.Kind == gate.ReportStarted {
		if l.started {
			w.fail("item %d is told twice that its tests have begun", e.Item)
		}
		l.started = true
	}
	if !r.Final {
		return
	}
	if l.again {
		d := w.owes(l.changes)
		w.debts = slices.DeleteFunc(w.debts, func(other *debt) bool { return other == d })
	}
	l.final = append(l.final, r)
	if len(l.final) > 1 {
		w.fail("item %d has two final reports: %s", e.Item, encode(l.final))
	}
	switch r.Kind {
	case gate.ReportMerged:
		if !l.bypassed {
			w.landed = append(w.landed, e.Item)
			w.recordBatchLanded(e)
		}
		for _, c := range e.Changes {
			if w.truth[c.ID].Status != gate.Merged {
				w.fail("%d is told as merged and is not", c.Number)
			}
		}
	case gate.ReportFailed, gate.ReportConflict:
		b := w.builds[e.Buildset]
		if w.policy.Lanes {
			w.blamedInLane(e)
		} else if !w.exact(e.Buildset, true) {
			w.fail("blames %v with something unmerged under it (G11): stack %v, landed %v", numbers(e.Changes), b.effect.StackItems, w.landed[b.after:])
		}
		if w.policy.Evidence {
			w.holdBlame(e, b)
		}
		if failed := b.broken != "" || w.bad(b, "build") || w.bad(b, "test") || b.members != nil && b.sick || !b.deferred && w.bad(b, "systest"); r.Kind == gate.ReportFailed && !failed || r.Kind == gate.ReportConflict && b.conflict == nil {
			w.fail("blames %v without a reason", numbers(e.Changes))
		}
	}
}

// hold judges the state after a decision.
func (w *world) hold(f gate.Facts) {
	s := w.state
	if s.Window < w.policy.Floor || s.Window > w.policy.Ceiling {
		w.fail("window %d is out of its bounds (G7)", s.Window)
	}
	o := w.oracle(f)
	o.wanted()
	if s.Kind == gate.Independent {
		o.anew()
	}
	if s.Kind == gate.Dependent {
		o.stacks()
		if w.policy.Lanes {
			o.order()
		}
		o.waiting()
		o.reds()
		o.outside()
		o.batches()
	}
	for _, id := range slices.Sorted(maps.Keys(w.known)) {
		if r := gate.Explain(s, f, id); r.Text == "" || r.Who == "" || !leads(r, false) {
			w.fail("no reason for %s: %+v", id, r)
		}
	}
	if places := gate.Order(s, f); len(places) != len(s.Items) {
		w.fail("%d places for %d items", len(places), len(s.Items))
	}
}

// leads: a way down the tree ends with whoever can do something, and says on the
// way what happens next.
func leads(r gate.Reason, next bool) bool {
	next = next || r.Next != ""
	if len(r.Children) == 0 {
		return next && r.Who != "" && r.Text != ""
	}
	return slices.ContainsFunc(r.Children, func(r gate.Reason) bool { return leads(r, next) })
}

type oracle struct {
	w     *world
	f     gate.Facts
	at    map[gate.ItemID]int
	where map[gate.ChangeID]int
}

// oracle looks at the state as it is.
func (w *world) oracle(f gate.Facts) oracle {
	o := oracle{w: w, f: f, at: map[gate.ItemID]int{}, where: map[gate.ChangeID]int{}}
	for i, it := range w.state.Items {
		o.at[it.ID] = i
		for _, r := range it.Changes {
			o.where[r.ID] = i
		}
	}
	return o
}

// needs are a change's, and its open topic-mates where whole topics are submitted (G3).
func (o oracle) needs(c gate.Change) []gate.Need {
	needs := slices.Clone(c.Needs)
	for id, mate := range o.f.Changes {
		if o.w.policy.WholeTopics && c.Topic != "" && mate.Topic == c.Topic && mate.Status == gate.Open && id != c.ID {
			needs = append(needs, gate.Need{Kind: gate.TopicMate, ID: id})
		}
	}
	return needs
}

// wanted: no job runs that nobody wants, and each wanted one runs (G22).
func (o oracle) wanted() {
	named := map[gate.BuildsetID]bool{}
	for _, it := range o.w.state.Items {
		if it.Buildset != nil {
			named[it.Buildset.ID] = true
		}
	}
	cancelled := map[gate.BuildsetID]bool{}
	for _, e := range o.w.log {
		if e.Kind == gate.Cancel {
			cancelled[e.Buildset] = true
		}
	}
	for id, b := range o.w.builds {
		runs := !b.prepared || slices.ContainsFunc(b.jobs, func(j gate.Job) bool { return !ended(j) || j.Evidence == gate.EvidenceRunning })
		landed := slices.Contains(o.w.landed, b.effect.Item) && !b.effect.Verify
		verified := b.effect.Verify && b.passed()
		if runs && !named[id] && !cancelled[id] && !landed && !verified {
			o.w.fail("buildset %d runs and nobody wants it", id)
		}
		if named[id] && cancelled[id] {
			o.w.fail("buildset %d is wanted and cancelled", id)
		}
	}
}

// anew: a check whose base has moved before it ended does not go on.
func (o oracle) anew() {
	for _, it := range o.w.state.Items {
		if it.Buildset == nil || !o.f.Buildsets[it.Buildset.ID].Moved {
			continue
		}
		if b := o.w.builds[it.Buildset.ID]; slices.ContainsFunc(b.jobs, func(j gate.Job) bool { return !ended(j) }) {
			o.w.fail("the check goes on with buildset %d, and its base has moved", it.Buildset.ID)
		}
	}
}

// fails says that an item's attempt fails, conflicts or has no verdict.
func (o oracle) fails(it *gate.Item) bool {
	if it.Buildset == nil {
		return false
	}
	b := o.w.builds[it.Buildset.ID]
	if b.conflict != nil || b.broken != "" {
		return true
	}
	if o.suspect(it) {
		return false
	}
	over := b.prepared && !b.deferred
	for _, j := range b.jobs {
		if j.Voting && (j.State == gate.JobFailed || j.State == gate.JobError || j.Early) {
			return true
		}
		over = over && ended(j)
	}
	return over && !b.passed()
}

// held says that an item needs one ahead that fails, or is itself held.
func (o oracle) held(i int) bool {
	for _, r := range o.w.state.Items[i].Changes {
		for _, n := range o.needs(o.f.Changes[r.ID]) {
			if j, ok := o.where[n.ID]; ok && j < i && o.w.state.Items[j].Part == nil && o.idle(j) {
				return true
			}
		}
	}
	return false
}

// idle: nobody stands behind it.
func (o oracle) idle(i int) bool {
	it := o.w.state.Items[i]
	return it.Submit == nil && (it.Verify || o.fails(it) || o.held(i) || o.doubted(it) || it.Buildset == nil && !o.active(i))
}

func (o oracle) secret(i int) bool {
	return slices.ContainsFunc(o.w.state.Items[i].Changes, func(r gate.Ref) bool { return o.f.Changes[r.ID].Restricted })
}

// stack is G6 to the letter: the nearest good item ahead, and all that it stands
// behind; for a public item those that are not restricted (G25).
func (o oracle) stack(i int, public bool) []gate.ItemID {
	for j := i - 1; j >= 0; j-- {
		if !o.idle(j) && (!public || !o.secret(j)) {
			return append(o.stack(j, public || !o.secret(j)), o.w.state.Items[j].ID)
		}
	}
	return nil
}

// left are the items of a stack that have not landed.
func (o oracle) left(it *gate.Item) (left []gate.ItemID) {
	for _, id := range it.Buildset.Stack {
		if _, in := o.at[id]; in {
			left = append(left, id)
		}
	}
	return left
}

// stacks: each active item has an attempt on the base that the rules give it,
// save one whose failure is its own already (G6, G7, G9, G11).
func (o oracle) stacks() {
	s := o.w.state
	for i, it := range s.Items {
		active := o.active(i)
		last := i // who comes later holds up nobody; with one lane there is nobody beside it
		if !o.w.policy.Lanes {
			last = len(s.Items) - 1
		}
		verifying := slices.ContainsFunc(o.lane(i, last), func(j int) bool { return s.Items[j].Verify && s.Items[j].Part == nil })
		switch {
		case it.Buildset != nil && active == it.FellOut:
			o.w.fail("item %d at %d of window %d: fell out %v", it.ID, i, s.Window, it.FellOut)
		case it.Verify || it.Submit != nil:
		case it.Buildset == nil:
			if active && s.Paused == nil && !verifying && !o.held(i) && o.first(i) {
				o.w.fail("item %d is active and nothing tests it", it.ID)
			}
		case o.red(it):
			if active && s.Paused == nil && !verifying && !o.held(i) && o.first(i) && o.outlived(it) {
				o.w.fail("item %d waits with a base that has moved", it.ID)
			}
		case o.fails(it) && len(o.left(it)) == 0:
		case verifying:
			o.w.fail("item %d is tested while the queue waits (G16)", it.ID)
		case o.held(i):
			o.w.fail("item %d is tested though what it needs fails (G11)", it.ID)
		case o.w.policy.Lanes:
			o.stackInLane(i)
		default:
			if want := o.stack(i, !o.secret(i)); !slices.Equal(want, o.left(it)) {
				o.w.fail("item %d stands behind %v and should behind %v (G6)", it.ID, o.left(it), want)
			}
			if !slices.Equal(it.Buildset.Stack, append(slices.Clone(o.w.landed[o.w.builds[it.Buildset.ID].after:]), o.left(it)...)) {
				o.w.fail("item %d: something landed that is not in its stack %v", it.ID, it.Buildset.Stack)
			}
		}
	}
}

// waiting: nobody waits who need not.
func (o oracle) waiting() {
	s := o.w.state
	for i, it := range s.Items {
		if it.Submit != nil || it.Verify {
			continue
		}
		for _, r := range it.Changes {
			for _, n := range o.needs(o.f.Changes[r.ID]) {
				c, ok := o.f.Changes[n.ID]
				old := n.Kind == gate.Parent && n.PatchSet != 0 && n.PatchSet != c.PatchSet
				if j, in := o.where[n.ID]; in && !s.Items[j].Verify && s.Items[j].Submit == nil && c.Status == gate.Open && (old || c.Restricted && !o.f.Changes[r.ID].Restricted) {
					o.w.fail("item %d stands behind %s, which it may not (G2, G25)", it.ID, n.ID)
				}
				if j, in := o.where[n.ID]; in && j > i || !in && ok && c.Status != gate.Merged && s.Done[n.ID].Result != gate.ReportMerged {
					o.w.fail("item %d stands without %s ahead (G2)", it.ID, n.ID)
				}
			}
		}
	}
	for i, it := range s.Items {
		if it.Buildset == nil || it.Submit != nil || it.Verify || len(o.left(it)) > 0 {
			continue
		}
		b := o.w.builds[it.Buildset.ID]
		over := b.prepared && !slices.ContainsFunc(b.jobs, func(j gate.Job) bool { return !ended(j) })
		if o.fails(it) && over && !o.excused(it) {
			o.w.fail("item %d has failed by itself and is not reported (G11)", it.ID)
		}
		lane := o.lane(i, i)
		patient := slices.ContainsFunc(lane, func(j int) bool { return j < i && s.Items[j].Rebases >= 3 && len(s.Items[j].Red) == 0 })
		busy := slices.ContainsFunc(o.lane(i, len(s.Items)-1), func(j int) bool { return s.Items[j].Submit != nil || s.Items[j].Verify })
		mate := o.w.mate(it.ID)
		if (b.passed() || b.built() && o.w.proof(it.ID) != nil) && !busy && s.Paused == nil && (mate || !patient && len(o.w.due(it.ID)) == 0) && o.active(i) && !o.f.Policy.Observe {
			o.w.fail("item %d has passed with nothing under it and is not submitted (G14)", it.ID)
		}
	}
	for i := range s.Items {
		if o.submits(i) && slices.ContainsFunc(o.lane(i, len(s.Items)-1), func(j int) bool { return j != i && (s.Items[j].Submit != nil || s.Items[j].Part != nil) }) {
			o.w.fail("two submits are in flight (G14), or one lands before what landed of a batch is tested")
		}
	}
}

// fit: nothing about the change itself keeps it out (G1, G20).
func (o oracle) fit(c gate.Change) bool {
	s := o.w.state
	_, forced := s.Forced[c.ID]
	_, held := s.Held[c.ID]
	d, done := s.Done[c.ID]
	done = done && (d.Result == gate.ReportMerged || d.PatchSet == c.PatchSet && !d.Again && !c.ReadyAt.After(d.At))
	return c.Status == gate.Open && c.Queue == s.Queue && (c.Ready || forced) && !held && !done
}

// outside: whoever may stand in the queue does (G2). Begin with all that are fit
// by themselves, and take away, until nothing changes, those that lack a need.
func (o oracle) outside() {
	may := map[gate.ChangeID]gate.Change{}
	for id, c := range o.f.Changes {
		if _, in := o.where[id]; !in && o.fit(c) {
			may[id] = c
		}
	}
	for changed := true; changed; {
		changed = false
		for id, c := range may {
			for _, n := range o.needs(c) {
				on := o.f.Changes[n.ID]
				_, in := o.where[n.ID]
				_, comes := may[n.ID]
				old := n.Kind == gate.Parent && n.PatchSet != 0 && n.PatchSet != on.PatchSet
				merged := on.Status == gate.Merged || o.w.state.Done[n.ID].Result == gate.ReportMerged
				if !merged && (!in && !comes || old || on.Status != gate.Open || on.Restricted && !c.Restricted) {
					delete(may, id)
					changed = true
				}
			}
		}
	}
	if len(may) > 0 {
		o.w.fail("%v may enter and do not (G2)", slices.Sorted(maps.Keys(may)))
	}
}
