package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/git"
	"sluice/internal/record"
)

// submit carries out a submit that was decided: it resolves the base again,
// votes, submits each change in order, and records what became of it, once
// (G14–G17). Killed at any point, it begins anew and finds what it did before
// by asking Gerrit.
func (e *Engine) submit(ctx context.Context, queue string, item gate.ItemID, serial int) error {
	return e.Store.Locked(ctx, fmt.Sprintf("submit %s %d", queue, item), func(ctx context.Context) error {
		sub, err := e.Store.Submission(ctx, queue, item, serial)
		if err != nil || sub.Result != nil {
			return err
		}
		b, err := e.Store.Buildset(ctx, sub.Buildset)
		if err != nil {
			return err
		}
		s := submission{engine: e, sub: sub, base: b.Base, merged: b.CreatedAt, packages: b.Packages}
		if s.first, err = e.Store.SubmitBegins(ctx, sub); err != nil {
			return err
		}
		out, err := s.run(ctx)
		if err != nil {
			return fmt.Errorf("submit item %d of %s: %w", item, queue, err)
		}
		out.Serial = serial
		if err := s.read(ctx); err != nil {
			return err
		}
		err = e.Store.Submitted(ctx, sub, out)
		if errors.Is(err, record.ErrStale) {
			return nil
		}
		return err
	})
}

// submission is one submit under way.
type submission struct {
	engine   *Engine
	sub      record.Submission
	base     record.Base
	merged   time.Time // when its merges were made
	packages []record.Subject
	landed   []gate.ChangeID
	isRead   bool // the changes were read after the submit
	first    bool // nobody tried before: nothing has been voted or submitted
}

// read reads the changes once more. The facts come before the outcome: the
// decision that follows sees both.
func (s *submission) read(ctx context.Context) error {
	if s.isRead {
		return nil
	}
	for _, r := range s.sub.Changes {
		if slices.Contains(s.landed, r.ID) {
			if err := s.engine.merged(ctx, r.ID); err != nil {
				return err
			}
			continue
		}
		name, number := split(r.ID)
		if err := s.engine.ReadChange(ctx, name, number); err != nil {
			return err
		}
	}
	s.isRead = true
	return nil
}

func (s *submission) run(ctx context.Context) (gate.SubmitOutcome, error) {
	var changes map[gate.ChangeID]*gerrit.Change
	var out, moved *gate.SubmitOutcome
	both, looking := errgroup.WithContext(ctx)
	both.Go(func() (err error) { changes, out, err = s.look(looking); return err })
	both.Go(func() (err error) { moved, err = s.baseMoved(looking); return err })
	if err := both.Wait(); err != nil || out != nil {
		return deref(out), err
	}
	if len(s.landed) == 0 && moved != nil {
		return *moved, nil
	}
	if out, err := s.proven(ctx, changes); out != nil || err != nil {
		return deref(out), err
	}
	for _, r := range s.sub.Changes { // votes for all members first, then submits, in order (G3)
		if slices.Contains(s.landed, r.ID) {
			continue
		}
		if err := s.vote(ctx, r, changes[r.ID]); err != nil {
			return gate.SubmitOutcome{}, err
		}
	}
	var ahead sync.WaitGroup
	defer ahead.Wait()
	ahead.Go(func() { s.engine.voteAhead(ctx, s.sub) })
	for i, r := range s.sub.Changes {
		if slices.Contains(s.landed, r.ID) || i > 0 && s.cameAlong(ctx, r) {
			continue
		}
		if out, err := s.one(ctx, r); out != nil || err != nil {
			return deref(out), err
		}
	}
	var result gate.SubmitOutcome
	both, looking = errgroup.WithContext(ctx)
	both.Go(func() (err error) { result, err = s.compare(looking); return err })
	both.Go(func() error { return s.read(looking) })
	return result, both.Wait()
}

func deref(o *gate.SubmitOutcome) gate.SubmitOutcome {
	if o == nil {
		return gate.SubmitOutcome{}
	}
	return *o
}

func (s *submission) outcome(result gate.SubmitResult, format string, args ...any) *gate.SubmitOutcome {
	return &gate.SubmitOutcome{Result: result, Text: fmt.Sprintf(format, args...), Landed: s.landed}
}

// look reads every member: what has merged is done already; what is not as it
// was when the submit was decided stops it.
func (s *submission) look(ctx context.Context) (map[gate.ChangeID]*gerrit.Change, *gate.SubmitOutcome, error) {
	changes := map[gate.ChangeID]*gerrit.Change{}
	for _, r := range s.sub.Changes {
		if s.first && s.asTested(ctx, r) {
			continue // Gerrit holds the vote and the submit to the revision
		}
		name, number := split(r.ID)
		c, err := s.engine.Gerrits[name].Change(ctx, number)
		if gerrit.IsNotFound(err) {
			return nil, s.outcome(gate.SubmitMoved, "change %d is not in Gerrit any more", number), nil
		}
		if err != nil {
			return nil, nil, err
		}
		changes[r.ID] = c
		switch {
		case c.Status == gerrit.StatusMerged:
			s.landed = append(s.landed, r.ID)
		case !c.Open():
			return nil, s.outcome(gate.SubmitMoved, "change %d is %s", number, strings.ToLower(c.Status)), nil
		case c.Revision != r.Revision:
			return nil, s.outcome(gate.SubmitMoved, "change %d has patch set %d now; patch set %d was tested", number, c.PatchSet, r.PatchSet), nil
		}
	}
	return changes, nil, nil
}

// asTested reports whether the facts that are stored say that a change is open,
// at the revision that was tested, for that branch, and has no topic.
func (s *submission) asTested(ctx context.Context, r gate.Ref) bool {
	c, err := s.engine.Store.Change(ctx, r.ID)
	return err == nil && c.Status == gate.Open && c.Revision == r.Revision && c.Facts.Branch == r.Branch && c.Topic == ""
}

// baseMoved resolves the base again: each branch has to have the very tree
// that the item's changes were tested on top of, the versions that were built
// must still be nobody else's (G15), and what votes now must have passed (G24).
func (s *submission) baseMoved(ctx context.Context) (*gate.SubmitOutcome, error) {
	why, err := s.engine.branchesMoved(ctx, s.base, s.engine.fetchedBranch)
	if why != "" && err == nil { // or it has landed since, by another replica
		why, err = s.engine.branchesMoved(ctx, s.base, s.engine.fetchBranch)
	}
	if why == "" && err == nil {
		why, err = s.engine.versionTaken(ctx, s.sub.Buildset, s.packages)
	}
	if why == "" && err == nil {
		why, err = s.engine.votesSince(ctx, s.sub.Buildset)
	}
	if why == "" || err != nil {
		return nil, err
	}
	return s.outcome(gate.SubmitMoved, "%s", why), nil
}

// versionTaken says which version of a buildset's packages another one has
// landed with, "" for none: two changes count up to one version where one of
// them merged past the gate while the other was being prepared.
func (e *Engine) versionTaken(ctx context.Context, buildset int64, packages []record.Subject) (why string, err error) {
	unpublished, err := e.Store.Unpublished(ctx) // before what is published: what is published in between is then in both
	if err != nil {
		return "", err
	}
	for _, s := range packages {
		t, _ := e.Site.Target(s.Target)
		d, _ := e.Site.Dist(t.Dist)
		taken, err := e.Store.SourceVersions(ctx, e.firstChannel(s.Target), s.Package)
		if err != nil {
			return "", err
		}
		for _, b := range unpublished {
			for _, other := range b.Packages {
				if b.ID != buildset && other.Package == s.Package && other.Target == s.Target {
					taken = append(taken, other.Version)
				}
			}
		}
		for _, v := range taken {
			if comparable(v, d) == comparable(s.Version, d) {
				return fmt.Sprintf("another change has landed as %s %s on %s meanwhile", s.Package, s.Version, s.Target), nil
			}
		}
	}
	return "", nil
}

// votesSince says which job of a buildset did not vote when it was planned, would
// vote by the site file of today, and has not passed; "" for none. A buildset
// keeps the configuration that it began with, and lands by that of today (G24).
func (e *Engine) votesSince(ctx context.Context, buildset int64) (why string, err error) {
	jobs, err := e.Store.BuildsetJobs(ctx, buildset)
	if err != nil {
		return "", err
	}
	rules := e.rules()
	for _, j := range jobs {
		if j.Voting || !rules[j.Stage].Voting || !e.counts(j.Target, j.Architecture) {
			continue
		}
		if state := gate.JobState(j.State); state != gate.JobPassed && state != gate.JobNotApplicable {
			return fmt.Sprintf("the job %s votes since, and has not passed", j.Name), nil
		}
	}
	return "", nil
}

// counts reports whether the jobs of an architecture vote on a target.
func (e *Engine) counts(target, architecture string) bool {
	t, _ := e.Site.Target(target)
	d, _ := e.Site.Dist(t.Dist)
	return slices.ContainsFunc(d.Architectures, func(a config.Architecture) bool { return a.Name == architecture && a.Voting })
}

// branchesMoved says which branch of a base is not as it was, "" for none; tipOf is
// fetchBranch, or fetchedBranch.
func (e *Engine) branchesMoved(ctx context.Context, base record.Base, tipOf func(context.Context, git.Project, gate.Branch) (string, error)) (why string, err error) {
	for _, l := range base.Branches {
		project, err := git.ParseProject(l.Branch.Project)
		if err != nil {
			return "", err
		}
		tip, err := tipOf(ctx, project, l.Branch)
		if gerrit.IsNotFound(err) {
			return fmt.Sprintf("branch %s of %s is not there any more", l.Branch.Branch, project.Name), nil
		}
		if err != nil {
			return "", err
		}
		tree, err := e.tree(ctx, project, tip)
		if err != nil {
			return "", err
		}
		if tree != l.UnderTree {
			return fmt.Sprintf("branch %s of %s has moved to %.10s, which is not what was tested on", l.Branch.Branch, project.Name, tip), nil
		}
	}
	return "", nil
}

// proven holds what Gerrit would submit together with the item to the set that
// was tested: nothing untested may come along (G15).
func (s *submission) proven(ctx context.Context, changes map[gate.ChangeID]*gerrit.Change) (*gate.SubmitOutcome, error) {
	tested := map[gate.ChangeID]bool{}
	for _, r := range s.sub.Changes {
		tested[r.ID] = true
	}
	for _, r := range s.sub.Changes {
		if slices.Contains(s.landed, r.ID) {
			continue
		}
		name, number := split(r.ID)
		whole, err := s.engine.wholeTopics(ctx, name)
		if err != nil {
			return nil, err
		}
		if c := changes[r.ID]; !whole && (c == nil || c.Topic == "") && len(s.sub.Changes) == 1 && s.alone(ctx, r) {
			continue // a topic may be new; where it binds, Gerrit is always asked
		}
		together, err := s.engine.Gerrits[name].SubmittedTogether(ctx, number)
		if err != nil {
			return nil, err
		}
		for _, other := range together.Changes {
			if o := id(name, other.Number); !tested[o] && other.Status != gerrit.StatusMerged {
				what := fmt.Sprintf("change %d (%s)", other.Number, other.Subject)
				if hidden, err := s.engine.mayNotAllRead(ctx, name, &other); err != nil {
					return nil, err
				} else if hidden {
					what = "a restricted change"
				}
				return s.outcome(gate.SubmitRefused, "Gerrit would submit %s together with change %d, and it was not tested with it", what, number), nil
			}
		}
		if together.NonVisible > 0 {
			return s.outcome(gate.SubmitRefused, "Gerrit would submit %d changes together with change %d that the gate's account cannot see", together.NonVisible, number), nil
		}
	}
	return nil, nil
}

// alone reports whether a change can bring no other along: it has no topic, and
// the parent that it was pushed on is on the branch already.
func (s *submission) alone(ctx context.Context, r gate.Ref) bool {
	known, err := s.engine.Store.Change(ctx, r.ID)
	if err != nil {
		return false
	}
	for _, n := range known.Facts.Needs {
		if n.Kind == gate.Parent {
			if p, err := s.engine.Store.Change(ctx, n.ID); err != nil || p.Status != gate.Merged {
				return false
			}
		}
	}
	return true
}

// vote gives the vote that lets Gerrit submit. c is the change as Gerrit has it
// where an earlier try may have voted, else nil.
func (s *submission) vote(ctx context.Context, r gate.Ref, c *gerrit.Change) error {
	err := s.engine.speak(ctx, r.ID, func(ctx context.Context) error {
		early, err := s.engine.Store.EarlyVote(ctx, s.sub.Buildset)
		if err != nil || early.Given && c == nil {
			return err
		}
		if early.Begun && c == nil { // nobody knows
			name, number := split(r.ID)
			if c, err = s.engine.Gerrits[name].Change(ctx, number); err != nil {
				return err
			}
		}
		if c != nil && s.engine.hasPassed(c, r) {
			return nil
		}
		return s.engine.votePassed(ctx, s.sub, r)
	})
	if gerrit.IsConflict(err) {
		return nil // closed meanwhile: the submit says how
	}
	return err
}

func (e *Engine) votePassed(ctx context.Context, sub record.Submission, r gate.Ref) error {
	name, number := split(r.ID)
	g, _ := e.Site.GerritServer(name)
	_, err := e.Gerrits[name].Review(ctx, number, r.Revision, gerrit.ReviewInput{
		Message: e.passedMessage(ctx, sub, r), Link: e.buildsetURL(sub.Buildset),
		Labels: map[string]int{g.Label: e.Site.Pipelines.Gate.Votes.Passed}, Notify: "NONE",
	})
	return err
}

// hasPassed reports whether a change has the vote that lets Gerrit submit.
func (e *Engine) hasPassed(c *gerrit.Change, r gate.Ref) bool {
	name, _ := split(r.ID)
	g, _ := e.Site.GerritServer(name)
	if l := c.Label(g.Label); l != nil {
		for _, v := range l.Votes {
			if v.Own && v.Value == e.Site.Pipelines.Gate.Votes.Passed {
				return true
			}
		}
	}
	return false
}

// voteLost reports whether the gate's own vote is not there any more, and gives it again.
func (s *submission) voteLost(ctx context.Context, r gate.Ref) bool {
	name, number := split(r.ID)
	c, err := s.engine.Gerrits[name].Change(ctx, number)
	if err != nil || !c.Open() || c.Revision != r.Revision || s.engine.hasPassed(c, r) {
		return false
	}
	return s.vote(ctx, r, c) == nil
}

// cameAlong reports whether the submit of a member before has merged this one
// too, as it does where topics are submitted whole.
func (s *submission) cameAlong(ctx context.Context, r gate.Ref) bool {
	name, number := split(r.ID)
	c, err := s.engine.Gerrits[name].Change(ctx, number)
	if err != nil || c.Status != gerrit.StatusMerged {
		return false // the submit says what there is to say
	}
	s.landed = append(s.landed, r.ID)
	return true
}

// one submits one change. A refusal is final only if the facts, read again,
// show nothing newer (G17).
func (s *submission) one(ctx context.Context, r gate.Ref) (*gate.SubmitOutcome, error) {
	name, number := split(r.ID)
	s.foretell(r)
	_, err := s.engine.Gerrits[name].Submit(ctx, number, r.Revision)
	if gerrit.IsConflict(err) && s.voteLost(ctx, r) { // a check's vote, by the same account, came between
		_, err = s.engine.Gerrits[name].Submit(ctx, number, r.Revision)
	}
	if err == nil {
		s.landed = append(s.landed, r.ID)
		return nil, nil
	}
	if gerrit.IsTransient(err) {
		return nil, record.Later{After: 2 * time.Second, Why: "Gerrit did not say what became of the submit: " + err.Error()}
	}
	c, readErr := s.engine.Gerrits[name].Change(ctx, number)
	if readErr != nil {
		return nil, readErr
	}
	if c.Status == gerrit.StatusMerged {
		s.landed = append(s.landed, r.ID)
		return nil, nil
	}
	g, _ := s.engine.Site.GerritServer(name)
	if ready, why := gerrit.NeedsOwnLabelOnly(c, g.Label); c.Revision != r.Revision || !ready && !s.forced(ctx, r) {
		return s.outcome(gate.SubmitMoved, "change %d changed meanwhile: %s", number, strings.Join(why, ", ")), nil
	}
	text := err.Error()
	var refusal *gerrit.Error
	if errors.As(err, &refusal) {
		text = refusal.Message
	}
	return s.outcome(gate.SubmitRefused, "%s", strings.TrimSpace(text)), nil
}

// fresh is for how long the mirror surely has all of what was merged for a
// buildset; a collection leaves alone what is younger than two weeks.
const fresh = 24 * time.Hour

// foretell notes what the submit of the one change of a branch is to make of it.
func (s *submission) foretell(r gate.Ref) {
	l := s.base.Branch(r.Branch)
	if l != nil && len(on(r.Branch, s.sub.Changes)) == 1 && s.engine.Now().Sub(s.merged) < fresh {
		s.engine.mirror.landing.Store(r.Branch, git.Landing{Ref: "refs/heads/" + r.Branch.Branch, Change: r.Revision, Tree: l.Tree, Since: s.engine.Now()})
	}
}

// forced reports whether an administrator put a change into the queue: that it
// is not ready was known, and is no reason to test it again (G20).
func (s *submission) forced(ctx context.Context, r gate.Ref) bool {
	q, err := s.engine.Store.Queue(ctx, s.sub.Queue)
	_, forced := q.State.Forced[r.ID]
	return err == nil && forced
}

// compare holds what is on each branch now to what was tested (G16).
func (s *submission) compare(ctx context.Context) (gate.SubmitOutcome, error) {
	out := gate.SubmitOutcome{Result: gate.SubmitLanded, Landed: s.landed}
	for _, l := range s.base.Branches {
		project, err := git.ParseProject(l.Branch.Project)
		if err != nil {
			return out, err
		}
		tip, err := s.engine.lookAt(ctx, project, l.Branch)
		if err != nil {
			return out, err
		}
		found, err := s.treeSince(ctx, project, tip, l)
		if err != nil {
			return out, err
		}
		if !found {
			out.TreeDiffers = true
			out.Text = fmt.Sprintf("branch %s of %s is at %.10s, whose tree is not the tested one (%.10s)", l.Branch.Branch, project.Name, tip, l.Tree)
		}
	}
	return out, nil
}

// treeSince looks for the tested tree on the branch, from its tip back to where
// it was: somebody may have pushed after the submit.
func (s *submission) treeSince(ctx context.Context, project git.Project, tip string, l record.BranchBase) (bool, error) {
	if tree, err := s.engine.tree(ctx, project, tip); err != nil || tree == l.Tree {
		return err == nil, err
	}
	for range 50 {
		c, err := s.engine.Git.CommitInfo(ctx, project, tip)
		if err != nil {
			return false, err
		}
		if c.Tree == l.Tree {
			return true, nil
		}
		if len(c.Parents) == 0 || c.Tree == l.UnderTree {
			return false, nil
		}
		tip = c.Parents[0]
	}
	return false, nil
}
