package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/git"
	"sluice/internal/record"
)

// voteAhead gives those their vote who are submitted next if a submit that is
// under way lands, and looks where their branches are, but for those that this
// one moves: Gerrit takes the one while it works on the other. The vote is given
// once, and only to a change that stands alone. Whatever fails here is done, and
// told, by the submit itself.
func (e *Engine) voteAhead(ctx context.Context, sub record.Submission) {
	next, err := e.nextIfLanded(ctx, sub)
	for _, n := range next {
		if err = e.voteEarly(ctx, n); err != nil {
			break
		}
		if b := n.Changes[0].Branch; !slices.Contains(branches(sub.Changes), b) {
			e.lookAhead(ctx, b)
		}
	}
	if err != nil && ctx.Err() == nil {
		e.Log.Info("a vote has to wait for its submit", "queue", sub.Queue, "behind", sub.Item, "error", err)
	}
}

// lookAhead asks where a branch is, for the submit that is to follow just now.
func (e *Engine) lookAhead(ctx context.Context, b gate.Branch) {
	project, err := git.ParseProject(b.Project)
	if err == nil {
		_, err = e.lookAt(ctx, project, b)
	}
	if err != nil && ctx.Err() == nil {
		e.Log.Debug("a branch is looked at by its submit", "branch", b, "error", err)
	}
}

// nextIfLanded are the submits that would be decided if this one landed.
func (e *Engine) nextIfLanded(ctx context.Context, sub record.Submission) ([]record.Submission, error) {
	state, facts, err := e.Facts(ctx, sub.Queue)
	if err != nil || len(state.Items) < 2 {
		return nil, err
	}
	landed := gate.SubmitOutcome{Serial: sub.Serial, Result: gate.SubmitLanded}
	for _, r := range sub.Changes {
		c := facts.Changes[r.ID]
		c.Status = gate.Merged
		facts.Changes[r.ID] = c
		landed.Landed = append(landed.Landed, r.ID)
	}
	facts.Submits[sub.Item] = landed
	_, effects := gate.Decide(state, facts)
	var next []record.Submission
	for _, f := range effects {
		if f.Kind != gate.SubmitChanges || len(f.Changes) > 1 {
			continue
		}
		b, err := e.Store.ItemBuildset(ctx, sub.Queue, f.Buildset)
		if err != nil {
			return nil, err
		}
		next = append(next, record.Submission{Queue: sub.Queue, Item: f.Item, Buildset: b.ID, Changes: f.Changes})
	}
	return next, nil
}

func (e *Engine) voteEarly(ctx context.Context, sub record.Submission) error {
	return e.speak(ctx, sub.Changes[0].ID, func(ctx context.Context) error {
		begun, err := e.Store.VoteBegins(ctx, sub.Buildset)
		if err != nil || !begun {
			return err
		}
		if err := e.votePassed(ctx, sub, sub.Changes[0]); err != nil {
			return err
		}
		return e.Store.Voted(ctx, sub.Buildset)
	})
}

// withdraw takes back the vote of a change that was given it early, and is tested
// again: what it was to land on did not land.
func (e *Engine) withdraw(ctx context.Context, buildset int64) error {
	b, err := e.Store.Buildset(ctx, buildset)
	if err != nil {
		return err
	}
	r := b.Changes[0]
	name, number := split(r.ID)
	g, _ := e.Site.GerritServer(name)
	return e.speak(ctx, r.ID, func(ctx context.Context) error {
		vote, err := e.Store.EarlyVote(ctx, buildset)
		if err != nil || vote.Replaced {
			return err
		}
		c, err := e.Gerrits[name].Change(ctx, number)
		if gerrit.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return later(err)
		}
		votes := e.Site.Pipelines.Gate.Votes
		if !c.Open() || c.Revision != r.Revision || !e.hasPassed(c, r) {
			return nil
		}
		_, err = e.Gerrits[name].Review(ctx, number, r.Revision, gerrit.ReviewInput{
			Message: "Gate: tested again, as what it stood on did not merge.", Link: e.buildsetURL(buildset),
			Labels: map[string]int{g.Label: votes.Started}, Notify: "NONE",
		})
		if gerrit.IsConflict(err) || gerrit.IsNotFound(err) {
			return nil
		}
		return later(err)
	})
}

// later has a task tried again soon where Gerrit was only out of reach.
func later(err error) error {
	if gerrit.IsTransient(err) {
		return record.Later{After: 5 * time.Second, Why: fmt.Sprintf("Gerrit did not take it: %v", err)}
	}
	return err
}
