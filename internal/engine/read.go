package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/record"
)

// Event stores an event of a Gerrit, once, before anything is made of it. What
// cannot change a decision (G19), and what is the gate's own doing, is put down
// with that and costs nothing more.
func (e *Engine) Event(ctx context.Context, gerritName string, ev gerrit.Event) error {
	r := record.Event{Gerrit: gerritName, Key: ev.Key, Type: ev.Type, Raw: ev.Raw}
	if ev.Change != 0 {
		about := string(id(gerritName, ev.Change))
		r.Change = &about
	}
	if ev.Type == gerrit.TypeMalformed {
		e.Log.Warn("an event of Gerrit could not be read; it is kept, and the next reconcile makes up for it", "gerrit", gerritName, "problem", ev.Problem, "event", fmt.Sprintf("%.200q", ev.Raw))
	}
	h := hint{r, ev}
	e.configured(h)
	e.moved(h)
	if e.tellsNothing(h) {
		_, err := e.Store.SaveHandled(ctx, r)
		return err
	}
	if e.toldOtherwise(h) {
		_, err := e.Store.SaveEcho(ctx, r)
		e.echoed.Store(e.Now().UnixNano())
		return err
	}
	_, err := e.Store.SaveEvent(ctx, r)
	return err
}

// tellsNothing reports whether an event alone, whatever else is known, asks for
// nothing. A branch that the gate moved, it moved by a merge, which is stored as one.
func (e *Engine) tellsNothing(h hint) bool {
	if h.Change == nil {
		return !e.movesBranch(h) || e.byGate(h)
	}
	return slices.Contains(idle, h.Type) || e.said(h)
}

// handleEvent reads what an event hints at.
func (e *Engine) handleEvent(ctx context.Context, eventID int64) error {
	ev, err := e.Store.Event(ctx, eventID)
	if errors.Is(err, record.ErrNotFound) {
		return nil // it was old
	}
	if err != nil {
		return err
	}
	h := hint{ev, gerrit.ParseEvent(ev.Raw)}
	if ev.Change == nil && e.movesBranch(h) {
		if err := e.Store.BranchMoved(ctx, h.Gerrit, h.says.Project, h.says.Branch); err != nil {
			return err
		}
	}
	if ev.Change != nil && !e.needless(ctx, h) {
		name, number := split(gate.ChangeID(*ev.Change))
		if err := e.ReadChange(ctx, name, number); err != nil {
			return err
		}
	}
	return e.Store.EventHandled(ctx, eventID, "")
}

// needless reports whether an event about a change tells nothing that is not known.
func (e *Engine) needless(ctx context.Context, h hint) bool {
	return e.tellsNothing(h) || e.readSince(*h.Change, h.ReceivedAt) || e.foreign(ctx, h) || e.mergedAsKnown(ctx, h)
}

// echoes looks at the events that have been put off, or wait still: most have become
// needless meanwhile, the others get a task. asked are those that were given one and
// still wait; echoes gives them anew.
func (e *Engine) echoes(ctx context.Context, asked []int64) ([]int64, error) {
	asked, err := e.Store.Unhandled(ctx, asked)
	if err != nil {
		return asked, err
	}
	for {
		events, err := e.Store.Echoes(ctx, echoTypes, echo, asked, echoesAtOnce)
		if err != nil {
			return asked, err
		}
		var done []int64
		for _, ev := range events {
			if h := (hint{ev, gerrit.ParseEvent(ev.Raw)}); ev.Change != nil && e.needless(ctx, h) {
				done = append(done, ev.ID)
				continue
			}
			if err := e.Store.Enqueue(ctx, record.Task{Kind: record.TaskEvent, ID: ev.ID, Once: true}); err != nil {
				return asked, err
			}
			asked = append(asked, ev.ID)
		}
		if len(done) > 0 {
			if err := e.Store.EventsHandled(ctx, done); err != nil {
				return asked, err
			}
		}
		if len(events) < echoesAtOnce {
			return asked, nil
		}
	}
}

// listen looks at echoes for a while after each, until ctx is over, and now and
// then for those that another process has heard and left.
func (e *Engine) listen(ctx context.Context) {
	asked := []int64{}
	tick := time.NewTicker(echo)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if since := e.Now().Sub(time.Unix(0, e.echoed.Load())); since > 3*echo && n%10 != 0 {
			continue
		}
		var err error
		if asked, err = e.echoes(ctx, asked); err != nil && ctx.Err() == nil {
			e.Log.Error("look at events that were put off", "error", err)
		}
	}
}

// hint is an event with what it says.
type hint struct {
	record.Event
	says gerrit.Event
}

// echo is how long an event waits for what mostly makes its reading needless.
const echo = time.Second

// echoTypes are the types of the events that toldOtherwise may put off.
var echoTypes = []string{"ref-updated", "change-merged"}

// echoesAtOnce bounds what is read of them in one go.
const echoesAtOnce = 500

// toldOtherwise reports whether what an event tells of mostly becomes known in
// another way: what moved a change's own ref has an event of its own, but for a
// move to another branch; what the gate merged, its submit records.
func (e *Engine) toldOtherwise(h hint) bool {
	return h.Type == "ref-updated" || h.Type == "change-merged" && e.byGate(h)
}

// said reports whether an event is the gate's own comment, or the echo of one,
// which changes nothing that it does not know: its label is not looked at (G1).
func (e *Engine) said(h hint) bool {
	switch h.Type {
	case "comment-added":
		return e.byGate(h)
	case "ref-updated":
		return e.byGate(h) && strings.HasSuffix(h.says.Ref, "/meta")
	}
	return false
}

// byGate reports whether the gate's own account caused an event.
func (e *Engine) byGate(h hint) bool {
	g, ok := e.Site.GerritServer(h.Gerrit)
	return ok && h.says.Username == g.User
}

// foreign reports whether an event is of a project and branch that no rule of
// the site is for, and of a change that nothing here needs.
func (e *Engine) foreign(ctx context.Context, h hint) bool {
	if h.says.Branch == "" { // a change's own ref: it may have moved to a branch of ours
		if e.Site.GatesProject(h.Gerrit, h.says.Project) {
			return false
		}
	} else if _, ours := e.Site.Project(h.Gerrit, h.says.Project, h.says.Branch); ours {
		return false
	}
	_, err := e.Store.Change(ctx, gate.ChangeID(*h.Change))
	return errors.Is(err, record.ErrNotFound)
}

// idle are the events that say nothing about whether or how a change merges (G19).
var idle = []string{"reviewer-added", "reviewer-deleted", "hashtags-changed", "assignee-changed", gerrit.TypeMalformed}

// ReadChange asks Gerrit about a change and stores the answer as facts.
func (e *Engine) ReadChange(ctx context.Context, gerritName string, number int) error {
	server, ok := e.Gerrits[gerritName]
	if !ok {
		return fmt.Errorf("no Gerrit %q in the site file", gerritName)
	}
	c, serial, at, err := e.ask(ctx, gerritName, server, number)
	if gerrit.IsNotFound(err) {
		return e.gone(ctx, gerritName, number, serial)
	}
	if err != nil {
		return err
	}
	if err := e.saveChange(ctx, gerritName, server, c, serial); err != nil {
		return err
	}
	e.reads.Store(id(gerritName, number), at)
	return nil
}

// ask asks Gerrit about a change: what it is, the serial of this read, and when
// by the database's clock it began. Among all replicas one asks at a time, so
// that of two reads the one with the greater serial saw the newer state (G21).
func (e *Engine) ask(ctx context.Context, gerritName string, server Gerrit, number int) (c *gerrit.Change, serial int64, at time.Time, err error) {
	one := &e.asking[uint(number)%uint(len(e.asking))]
	one.Lock()
	defer one.Unlock()
	err = e.Store.Locked(ctx, fmt.Sprintf("ask %s", id(gerritName, number)), func(ctx context.Context) error {
		if serial, at, err = e.Store.NextRead(ctx); err != nil {
			return err
		}
		if c, err = server.Change(ctx, number); err != nil {
			return fmt.Errorf("read change %d of %s: %w", number, gerritName, err)
		}
		return nil
	})
	return c, serial, at, err
}

// merged stores that Gerrit said of a change that it has merged. That is a read,
// too; what else a merge changes (a patch set of a cherry-pick) is read on its event.
func (e *Engine) merged(ctx context.Context, change gate.ChangeID) error {
	serial, _, err := e.Store.NextRead(ctx)
	if err != nil {
		return err
	}
	c, err := e.Store.Change(ctx, change)
	if err != nil {
		return err
	}
	if c.Facts.Restricted { // Gerrit may show to everybody what has merged
		name, number := split(change)
		return e.ReadChange(ctx, name, number)
	}
	c.Status, c.ReadSerial = gate.Merged, serial
	c.Facts.Status, c.Facts.Ready, c.Facts.Read, c.Facts.NotReady = gate.Merged, false, serial, []string{"is merged"}
	_, err = e.Store.SaveChange(ctx, c)
	return err
}

// mergedAsKnown reports whether an event tells of a merge that is known, of the
// very revision that is known.
func (e *Engine) mergedAsKnown(ctx context.Context, h hint) bool {
	if h.Type != "change-merged" {
		return false
	}
	c, err := e.Store.Change(ctx, gate.ChangeID(*h.Change))
	return err == nil && c.Status == gate.Merged && h.says.Revision == c.Revision
}

// readSince reports whether this process has read a change since an event came.
func (e *Engine) readSince(change string, received time.Time) bool {
	at, ok := e.reads.Load(gate.ChangeID(change))
	return ok && at.(time.Time).After(received)
}

// gone notes that Gerrit does not have a change (any more).
func (e *Engine) gone(ctx context.Context, gerritName string, number int, serial int64) error {
	c, err := e.Store.Change(ctx, id(gerritName, number))
	if errors.Is(err, record.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c.Status, c.ReadSerial = gate.Gone, serial
	c.Facts.Status, c.Facts.Ready, c.Facts.Read = gate.Gone, false, serial
	c.Facts.NotReady = []string{"is not in Gerrit any more"}
	_, err = e.Store.SaveChange(ctx, c)
	return err
}

// saveChange stores what was read of a change, and has those read that a
// decision on it will have to know. One that no pipeline is for is stored only
// if it is known already.
func (e *Engine) saveChange(ctx context.Context, gerritName string, server Gerrit, c *gerrit.Change, serial int64) error {
	return reading{e, nil}.save(ctx, gerritName, server, c, serial, false)
}

// reading is the reading of changes for the sake of others, one within the other.
type reading struct {
	*Engine
	within []gate.ChangeID // those that are being read now: circles end here
}

// save is saveChange; wanted: others need the change, whatever project it is of.
func (e reading) save(ctx context.Context, gerritName string, server Gerrit, c *gerrit.Change, serial int64, wanted bool) error {
	rule, checked := e.Site.Project(gerritName, c.Project, c.Branch)
	known, err := e.Store.Change(ctx, id(gerritName, c.Number))
	if err != nil && !errors.Is(err, record.ErrNotFound) {
		return err
	}
	if errors.Is(err, record.ErrNotFound) && !checked && !wanted {
		return nil // nothing of this site's
	}
	e.within = append(slices.Clip(e.within), id(gerritName, c.Number))
	r := record.Change{
		ID: id(gerritName, c.Number), Gerrit: gerritName, Number: c.Number, Project: c.Project, Branch: c.Branch,
		ChangeKey: c.ChangeID, PatchSet: c.PatchSet, Revision: c.Revision, Subject: c.Subject, Message: c.Message,
		Owner: c.Owner.String(), Author: fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email), AuthorDate: c.Author.When,
		FetchRef: c.Ref, Status: status(c.Status), Checked: checked, Topic: c.Topic, Heard: known.Heard,
		ReadSerial: serial, UpdatedAt: c.Updated, URL: fmt.Sprintf("%sc/%s/+/%d", server.BaseURL(), c.Project, c.Number),
	}
	if checked {
		if r.Queue, err = e.queueFor(ctx, rule.Queue, c.Branch); err != nil {
			return err
		}
	}
	if r.Facts, err = e.changeFacts(ctx, gerritName, c, r); err != nil {
		return err
	}
	if r.Facts.Needs = known.Facts.Needs; checked && r.Status == gate.Open && (known.Revision != c.Revision || len(known.Facts.Needs) > 0) {
		if r.Facts.Needs, err = e.needs(ctx, gerritName, server, c); err != nil {
			return err
		}
	}
	if r.Facts.Topic != "" && r.Status == gate.Open {
		if err := e.topicMates(ctx, gerritName, server, c); err != nil {
			return err
		}
	}
	e.survey(ctx, r) // first, so that the decision that follows knows its lane
	if checked {
		if err := e.ensureCheck(ctx, r, known.ID == ""); err != nil {
			return err
		}
	}
	if checked {
		if r.Heard, err = e.hear(ctx, gerritName, server, c, r.Heard); err != nil {
			return err
		}
	}
	if _, err = e.Store.SaveChange(ctx, r); err != nil {
		return err
	}
	return e.tellDependants(ctx, known, r)
}

// changeFacts are what the gate is to know of a change, but for its needs.
func (e *Engine) changeFacts(ctx context.Context, gerritName string, c *gerrit.Change, r record.Change) (gate.Change, error) {
	g, _ := e.Site.GerritServer(gerritName)
	topic, err := e.topic(ctx, gerritName, c)
	if err != nil {
		return gate.Change{}, err
	}
	hidden, err := e.mayNotAllRead(ctx, gerritName, c)
	f := gate.Change{
		ID: r.ID, Number: c.Number, Branch: gate.Branch{Project: gerritName + ":" + c.Project, Branch: c.Branch},
		PatchSet: c.PatchSet, Revision: c.Revision, Subject: c.Subject, Status: r.Status, ReadyAt: e.Now(),
		Topic: topic, Restricted: hidden, Queue: r.Queue, Read: r.ReadSerial,
	}
	if !r.Checked {
		f.NotReady = []string{"no queue is for its project and branch"}
		return f, err
	}
	f.Ready, f.NotReady = gerrit.NeedsOwnLabelOnly(c, g.Label)
	f.Ready, f.NotReady = e.approved(c, f.Ready, f.NotReady)
	return f, err
}

// approved adds the site's own conditions (pipelines.gate.approve) to Gerrit's.
func (e *Engine) approved(c *gerrit.Change, ready bool, why []string) (bool, []string) {
	for label, least := range e.Site.Pipelines.Gate.Approve {
		best := 0
		if l := c.Label(label); l != nil {
			for _, v := range l.Votes {
				best = max(best, v.Value)
			}
		}
		missing := fmt.Sprintf("needs %s%+d", label, least)
		if best < least {
			ready = false
			if !slices.Contains(why, missing) {
				why = append(why, missing)
			}
		}
	}
	return ready, why
}

func status(s string) gate.Status {
	switch s {
	case gerrit.StatusMerged:
		return gate.Merged
	case gerrit.StatusAbandoned:
		return gate.Abandoned
	}
	return gate.Open
}

// queueFor gives the queue of a branch, and makes it where queues are per branch.
func (e *Engine) queueFor(ctx context.Context, name, branch string) (string, error) {
	for _, q := range e.Site.Queues {
		if q.Name == name && q.PerBranch {
			full := q.Name + "@" + branch
			return full, e.Store.EnsureQueue(ctx, full, gate.Dependent, "", q.Window.Start)
		}
	}
	return name, nil
}

// ensureCheck makes the queue in which a change is checked. The row of the
// change has to exist first, so this stores it when it is new.
func (e *Engine) ensureCheck(ctx context.Context, r record.Change, isNew bool) error {
	if r.Status != gate.Open {
		return nil
	}
	if isNew {
		if _, err := e.Store.SaveChange(ctx, r); err != nil {
			return err
		}
	}
	if err := e.Store.EnsureQueue(ctx, CheckQueue(r.ID), gate.Independent, r.ID, 1); err != nil {
		return err
	}
	return e.Store.CloseQueue(ctx, CheckQueue(r.ID), false)
}

func split(c gate.ChangeID) (gerritName string, number int) {
	s := string(c)
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '~' {
			_, _ = fmt.Sscanf(s[i+1:], "%d", &number)
			return s[:i], number
		}
	}
	return s, 0
}

// settled is how long after a change was touched a read of it counts as the
// last word: Gerrit's times are whole seconds, so that two touches can have one
// time, and its clock is not the database's.
const settled = 5 * time.Minute

// found stores what a search found of a change. Gerrit's index may be behind, so
// that of a change that is known already its storage is asked.
func (e *Engine) found(ctx context.Context, gerritName string, server Gerrit, c *gerrit.Change, serial int64) error {
	_, err := e.Store.Change(ctx, id(gerritName, c.Number))
	if errors.Is(err, record.ErrNotFound) {
		return e.saveChange(ctx, gerritName, server, c, serial)
	}
	if err != nil {
		return err
	}
	return e.ReadChange(ctx, gerritName, c.Number)
}

// Reconcile asks Gerrit what is true and acts on that: every open change, and
// every change that was open when it was last read (G21).
func (e *Engine) Reconcile(ctx context.Context, gerritName string) error {
	server, ok := e.Gerrits[gerritName]
	if !ok {
		return fmt.Errorf("no Gerrit %q in the site file", gerritName)
	}
	serial, _, err := e.Store.NextRead(ctx)
	if err != nil {
		return err
	}
	open, err := server.Query(ctx, "status:open", 0)
	if err != nil {
		return fmt.Errorf("reconcile with %s: %w", gerritName, err)
	}
	known, err := e.Store.OpenChanges(ctx, gerritName)
	if err != nil {
		return err
	}
	unseen := map[int]record.Change{}
	for _, k := range known {
		unseen[k.Number] = k
	}
	var problems []error // of one change keep no other from being read
	for i := range open {
		c := &open[i]
		k, have := unseen[c.Number]
		delete(unseen, c.Number)
		topic, err := e.topic(ctx, gerritName, c) // the server's setting may have changed
		if err != nil {
			return err
		}
		hidden, err := e.mayNotAllRead(ctx, gerritName, c) // what rights have changed shows in no change
		if err != nil {
			return err
		}
		same := have && k.UpdatedAt.Equal(c.Updated) && k.Revision == c.Revision && k.Facts.Topic == topic && k.Facts.Restricted == hidden
		if same && k.ReadAt.Sub(c.Updated) > settled && e.Now().Sub(k.ReadAt) < time.Hour {
			continue
		}
		problems = append(problems, e.found(ctx, gerritName, server, c, serial))
	}
	for number := range unseen {
		problems = append(problems, e.ReadChange(ctx, gerritName, number))
	}
	return errors.Join(append(problems, e.compareHeads(ctx, gerritName, server, known))...)
}
