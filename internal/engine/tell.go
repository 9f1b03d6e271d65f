package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/report"
)

// tell posts what became of an item on each of its changes. The comment
// carries the effect's id, which is looked for before it is sent, so that it is
// never there twice (G22).
func (e *Engine) tell(ctx context.Context, effectID int64) error {
	eff, err := e.Store.Effect(ctx, effectID)
	if err != nil || eff.DoneAt != nil {
		return err
	}
	if record.NoNews(eff.Queue, eff.Effect.Report) { // stored by a version that had a task for it
		return e.Store.EffectDone(ctx, effectID, "", "")
	}
	if eff.Effect.Report.Kind == gate.ReportStarted {
		if e.Now().Sub(eff.CreatedAt) < record.Settle {
			return record.Later{After: record.Settle, Why: "its outcome may come at once"}
		}
		if still, err := e.underWay(ctx, eff); err != nil {
			return err
		} else if !still {
			return e.Store.EffectDone(ctx, effectID, "", "")
		}
	}
	if e.Observe {
		text, err := e.message(ctx, eff, eff.Effect.Changes[0])
		if err != nil {
			return err
		}
		return e.Store.EffectDone(ctx, effectID, text, "observe mode: said nothing")
	}
	link := ""
	if b, err := e.buildsetOf(ctx, eff); err == nil {
		link = e.buildsetURL(b.ID)
	}
	first, err := e.Store.EffectBegins(ctx, effectID)
	if err != nil {
		return err
	}
	text := ""
	for _, ref := range eff.Effect.Changes {
		if text, err = e.message(ctx, eff, ref); err != nil {
			return err
		}
		err := e.speak(ctx, ref.ID, func(ctx context.Context) error {
			return e.tellChange(ctx, eff, ref, text, link, first)
		})
		var refusal *gerrit.Error
		if err != nil && (!errors.As(err, &refusal) || gerrit.IsTransient(err) || errors.Is(err, context.Canceled)) {
			return record.Later{After: 5 * time.Second, Why: err.Error()}
		}
		if err != nil {
			e.Log.Error("a comment was refused", "change", ref.ID, "error", err)
			return e.Store.EffectDone(ctx, effectID, text, err.Error())
		}
	}
	return e.Store.EffectDone(ctx, effectID, text, "")
}

// speak has one word at a time said on a change, lest a slow one come after a
// newer one and take its vote away. What is to be said is decided within f.
func (e *Engine) speak(ctx context.Context, change gate.ChangeID, f func(context.Context) error) error {
	return e.Store.Locked(ctx, "tell "+string(change), f)
}

// underWay reports whether an item is being tested: it stands in its queue, and
// some of its jobs have not ended. One that has passed only waits for its turn.
func (e *Engine) underWay(ctx context.Context, eff record.Effect) (bool, error) {
	q, err := e.Store.Queue(ctx, eff.Queue)
	if err != nil {
		return false, err
	}
	stands := func(it *gate.Item) bool { return it.ID == eff.Effect.Item && it.Submit == nil }
	if !slices.ContainsFunc(q.State.Items, stands) {
		return false, nil
	}
	b, err := e.buildsetOf(ctx, eff)
	return b.EndedAt == nil, err
}

func (e *Engine) tellChange(ctx context.Context, eff record.Effect, ref gate.Ref, text, link string, first bool) error {
	if eff.Effect.Report.Kind == gate.ReportStarted {
		if still, err := e.underWay(ctx, eff); err != nil || !still {
			return err
		}
	}
	name, number := split(ref.ID)
	server := e.Gerrits[name]
	marker := fmt.Sprintf("effect-%d", eff.ID)
	if !first {
		said, err := server.Posted(ctx, number, marker)
		if err != nil || said {
			if gerrit.IsNotFound(err) {
				return nil
			}
			return err
		}
	}
	g, _ := e.Site.GerritServer(name)
	in := gerrit.ReviewInput{EffectID: marker, Message: text, Link: link, Attention: true}
	if vote, ok := e.voteOf(ctx, eff, ref); ok && !(isCheck(eff.Queue) && e.gated(ctx, ref.ID)) {
		late, err := e.Store.Outdated(ctx, eff.ID, ref)
		if err != nil {
			return err
		}
		if !late {
			in.Labels = map[string]int{g.Label: vote}
		}
	}
	_, err := server.Review(ctx, number, ref.Revision, in)
	if gerrit.IsConflict(err) || gerrit.IsNotFound(err) { // closed meanwhile: no vote any more, and the words still
		in.Labels = nil
		_, err = server.Review(ctx, number, ref.Revision, in)
		if gerrit.IsConflict(err) || gerrit.IsNotFound(err) {
			return nil
		}
	}
	return err
}

// gated reports whether a change stands in a gate or has merged: a check says
// no more than words of it then, lest it take the gate's vote away.
func (e *Engine) gated(ctx context.Context, change gate.ChangeID) bool {
	c, err := e.Store.Change(ctx, change)
	if err != nil || c.Status != gate.Open {
		return err == nil
	}
	q, err := e.Store.Queue(ctx, c.Queue)
	if err != nil {
		return false
	}
	for _, it := range q.State.Items {
		for _, r := range it.Changes {
			if r.ID == change {
				return true
			}
		}
	}
	return false
}

// voteOf gives the vote that goes with a report on a change, if there is one. Who
// leaves the gate without a verdict has that of its check, which may have ended
// while it stood there.
func (e *Engine) voteOf(ctx context.Context, eff record.Effect, ref gate.Ref) (int, bool) {
	votes := e.votes(eff.Queue)
	switch eff.Effect.Report.Kind {
	case gate.ReportPassed:
		return votes.Passed, true
	case gate.ReportFailed, gate.ReportConflict, gate.ReportRefused:
		return votes.Failed, true
	case gate.ReportStarted:
		return votes.Started, true
	case gate.ReportDequeued, gate.ReportError, gate.ReportRed:
		if vote, ok := e.checkVote(ctx, ref); ok && !isCheck(eff.Queue) {
			return vote, true
		}
		return votes.Started, true
	}
	return 0, false
}

// checkVote gives the vote of a patch set's check, if it has come to a verdict.
func (e *Engine) checkVote(ctx context.Context, ref gate.Ref) (int, bool) {
	q, err := e.Store.Queue(ctx, CheckQueue(ref.ID))
	if err != nil {
		return 0, false
	}
	done, votes := q.State.Done[ref.ID], e.Site.Pipelines.Check.Votes
	if done.PatchSet != ref.PatchSet {
		return 0, false
	}
	switch done.Result {
	case gate.ReportPassed:
		return votes.Passed, true
	case gate.ReportFailed, gate.ReportConflict:
		return votes.Failed, true
	}
	return 0, false
}

func (e *Engine) votes(queue string) config.Votes {
	if isCheck(queue) {
		return e.Site.Pipelines.Check.Votes
	}
	return e.Site.Pipelines.Gate.Votes
}

func isCheck(queue string) bool { return strings.HasPrefix(queue, "check/") }

// message gives the words of an effect for one of its changes. Who reads that
// may not be allowed to read another one that it was tested with (G25).
func (e *Engine) message(ctx context.Context, eff record.Effect, to gate.Ref) (string, error) {
	f := report.Facts{URL: e.address(), Gate: !isCheck(eff.Queue), Queue: eff.Queue, Report: eff.Effect.Report, Changes: eff.Effect.Changes}
	b, err := e.buildsetOf(ctx, eff)
	found := !errors.Is(err, record.ErrNotFound)
	if err != nil && found {
		return "", err
	}
	with := slices.Concat(eff.Effect.Changes, b.Changes, b.Stack)
	if c := eff.Effect.Report.Conflict; c != nil && c.With != "" {
		with = append(with, gate.Ref{ID: c.With})
		if other, err := e.Store.Change(ctx, c.With); err == nil {
			f.With, f.WithMerged = fmt.Sprintf("%d (%s)", other.Number, other.Subject), other.Status == gate.Merged
		}
	}
	if f.Confidential, err = e.confidential(ctx, to, with); err != nil || f.Confidential || !found {
		return report.Message(f), err
	}
	f.Buildset, f.Item, f.Findings = b.ID, b.Item, b.Findings
	if f.Report.Kind == gate.ReportMerged { // the vote before the submit told of the jobs
		for _, s := range b.Packages {
			f.Published = append(f.Published, report.Published{
				Package: s.Package, Version: s.Version, Repository: e.firstChannel(s.Target),
				URL: e.address() + "repo/" + e.firstChannel(s.Target) + "/",
			})
		}
		return report.Message(f), nil
	}
	if f.Report.Kind != gate.ReportStarted && f.Report.Kind != gate.ReportDequeued {
		if err := e.addJobs(ctx, &f, b); err != nil {
			return "", err
		}
	}
	return report.Message(f), nil
}

func (e *Engine) buildsetOf(ctx context.Context, eff record.Effect) (record.Buildset, error) {
	if eff.Effect.Buildset != 0 {
		return e.Store.ItemBuildset(ctx, eff.Queue, eff.Effect.Buildset)
	}
	all, err := e.Store.ItemBuildsets(ctx, eff.Queue, []int64{int64(eff.Effect.Item)})
	if err == nil && len(all) == 0 {
		err = record.ErrNotFound
	}
	if err != nil {
		return record.Buildset{}, err
	}
	return all[0], nil
}

func (e *Engine) addJobs(ctx context.Context, f *report.Facts, b record.Buildset) error {
	jobs, err := e.Store.BuildsetJobs(ctx, b.ID)
	if err != nil {
		return err
	}
	f.Repositories = map[string]string{}
	for _, j := range jobs {
		f.Jobs = append(f.Jobs, ReportJob(j))
		if j.Stage != job.StagePublish || j.State != "passed" {
			continue
		}
		t, err := e.Store.TestRepository(ctx, b.ID, j.Target)
		if err != nil && !errors.Is(err, record.ErrNotFound) {
			return err
		}
		if err == nil {
			f.Repositories[j.Target] = strings.TrimSuffix(e.address(), "/") + t.Address()
		}
	}
	return nil
}

// ReportJob is a job as people are told of it.
func ReportJob(j record.Job) report.Job {
	r := report.Job{ID: j.ID, Name: j.Name, Stage: j.Stage, State: j.State, Voting: j.Voting, Cause: j.Cause, Reused: j.ReusedFrom != nil}
	if j.Result != nil {
		r.Finding = j.Result.First()
	}
	r.Evidence = j.Evidence
	if j.EvidenceJob != nil {
		r.EvidenceJob = *j.EvidenceJob
	}
	if j.StartedAt != nil && j.EndedAt != nil {
		r.Took = j.EndedAt.Sub(*j.StartedAt)
	}
	return r
}

func (e *Engine) address() string { return strings.TrimSuffix(e.Site.URL, "/") + "/" }

// buildsetURL is where people see all of a buildset.
func (e *Engine) buildsetURL(id int64) string { return fmt.Sprintf("%sbuildset/%d", e.address(), id) }

// passedMessage is what the vote that lets Gerrit submit says on one of the changes.
func (e *Engine) passedMessage(ctx context.Context, sub record.Submission, to gate.Ref) string {
	b, err := e.Store.Buildset(ctx, sub.Buildset)
	if err != nil {
		return "Gate passed."
	}
	f := report.Facts{URL: e.address(), Gate: true, Queue: sub.Queue, Buildset: b.ID, Report: gate.Report{Kind: gate.ReportPassed}}
	if f.Confidential, err = e.confidential(ctx, to, slices.Concat(b.Changes, b.Stack)); err != nil {
		return "Gate passed."
	}
	if f.Confidential {
		return report.Message(f)
	}
	if err := e.addJobs(ctx, &f, b); err != nil {
		return "Gate passed."
	}
	return report.Message(f)
}
