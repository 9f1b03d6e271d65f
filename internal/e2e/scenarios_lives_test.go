package e2e

import (
	"sluice/internal/testenv"
)

// lives: what people do to a change, its branch or its project while it stands in the queue (G15–G18).
var lives = []scenario{
	{name: "abandoned-and-restored", play: abandonedAndRestored},
	{name: "work-in-progress", play: workInProgress},
	{name: "private", play: private},
	{name: "vetoed", play: vetoed},
	{name: "workflow-withdrawn", play: workflowWithdrawn},
	{name: "moved-to-another-branch", play: movedToAnotherBranch},
	{name: "parent-abandoned", play: parentAbandoned},
	{name: "patch-set-while-submitting", play: patchSetWhileSubmitting},
	{name: "abandoned-while-submitting", play: abandonedWhileSubmitting},
	{name: "message-edited", play: messageEdited},
	{name: "branch-forced-back", play: branchForcedBack},
	{name: "branch-deleted", play: branchDeleted},
	{name: "project-read-only", play: projectReadOnly},
	{name: "project-hidden", play: projectHidden},
	{name: "change-deleted", play: changeDeleted},
	{name: "branch-of-nobody", play: branchOfNobody},
}

// standing is an approved change that is held in the queue.
func (s *site) standing() (c *testenv.Pushed, name string, release func()) {
	s.t.Helper()
	name = s.packages("a")[0]
	release = s.worker.hold("install " + name)
	c = s.good(name)
	s.approve(c)
	s.tested(c, 0)
	return c, name, release
}

func abandonedAndRestored(s *site) {
	c, _, release := s.standing()
	s.g.Act(s.t, c.Number, s.g.Maintainer, "abandon")
	s.left(c)
	release()
	s.g.Act(s.t, c.Number, s.g.Maintainer, "restore")
	s.merged(c) // its votes are still there
	s.once(c)
}

func workInProgress(s *site) {
	c, _, release := s.standing()
	s.g.Act(s.t, c.Number, s.g.Maintainer, "wip")
	s.left(c)
	s.told(c, "Left the queue", "work in progress")
	release()
	s.g.Act(s.t, c.Number, s.g.Maintainer, "ready")
	s.merged(c)
	s.once(c)
}

// A change that becomes private in the queue lands; the public one behind it does, too.
func private(s *site) {
	c, name, release := s.standing()
	behind := s.edit(name, "another", "file\n")
	s.approve(behind)
	s.g.Act(s.t, c.Number, s.g.Maintainer, "private")
	s.until("the service knows", func() string {
		return missing(one[bool](s, `SELECT coalesce((facts->>'restricted')::boolean, false) FROM changes WHERE id = $1`, id(c)), "it does not")
	})
	release()
	s.merged(c, behind)
	s.once(c, behind)
}

func vetoed(s *site) {
	c, _, release := s.standing()
	s.g.Vote(s.t, c.Number, s.g.Admin, "Code-Review", -2)
	s.left(c)
	s.told(c, "Left the queue", "Code-Review-2")
	release()
	s.g.Vote(s.t, c.Number, s.g.Admin, "Code-Review", 0)
	s.merged(c)
	s.once(c)
}

func workflowWithdrawn(s *site) {
	c, _, release := s.standing()
	s.g.Vote(s.t, c.Number, s.g.Reviewer, "Workflow", 0)
	s.left(c)
	s.told(c, "Left the queue", "Workflow")
	release()
	s.g.Vote(s.t, c.Number, s.g.Reviewer, "Workflow", 1)
	s.merged(c)
	s.once(c)
}

// A move to a branch of no queue ends the stay.
func movedToAnotherBranch(s *site) {
	c, name, release := s.standing()
	s.admin("PUT", name, "/branches/other", map[string]any{"revision": "main"})
	if err := s.g.REST(s.g.Admin, "POST", s.rest(c, "move"), map[string]any{"destination_branch": "other", "keep_all_votes": true}, nil); err != nil {
		s.t.Fatal(err)
	}
	s.left(c)
	release()
	s.empty()
	if got := s.status(c); got != "NEW" {
		s.t.Errorf("it is %s", got)
	}
}

// The parent of a chain is abandoned: the child leaves with it, and is told why.
func parentAbandoned(s *site) {
	parent, name, release := s.standing()
	child := s.g.Push(s.t, testenv.Proposal{Project: s.name + "/" + name, Message: "On top", On: parent, Files: map[string]string{"two": "2\n"}})
	s.approve(child)
	s.g.Act(s.t, parent.Number, s.g.Maintainer, "abandon")
	s.left(parent)
	s.left(child)
	s.told(child, "Left the queue", "abandoned")
	release()
	s.empty()
}

// A new patch set comes while Gerrit has the submit of the older one in hand:
// the older one does not land, nobody is blamed, the new one is not approved.
func patchSetWhileSubmitting(s *site) {
	c, name, release := s.standing()
	f, submit := s.proxy.stop(submitOf(c))
	release()
	s.until("the submit is under way", func() string { return missing(f.times() > 0, "not yet") })
	c = s.amend(c, name, "Mend it better", map[string]string{"src/hello.c": "int main(void) { return 7; }\n"})
	submit()
	s.left(c)
	s.empty()
	if got := s.status(c); got != "NEW" || s.vote(c) == -2 {
		s.t.Errorf("it is %s, with the vote %+d", got, s.vote(c))
	}
	s.g.Approve(s.t, c.Number)
	s.merged(c)
	s.once(c)
}

func abandonedWhileSubmitting(s *site) {
	c, _, release := s.standing()
	f, submit := s.proxy.stop(submitOf(c))
	release()
	s.until("the submit is under way", func() string { return missing(f.times() > 0, "not yet") })
	s.g.Act(s.t, c.Number, s.g.Maintainer, "abandon")
	submit()
	s.left(c)
	s.empty()
	if got := s.status(c); got != "ABANDONED" || s.vote(c) == -2 {
		s.t.Errorf("it is %s, with the vote %+d", got, s.vote(c))
	}
}

// A patch set that changes no more than the message: what was built stands.
func messageEdited(s *site) {
	c, name, release := s.standing()
	tree := map[string]string{"src/hello.c": "int main(void) { return 2; }\n"} // that of good
	c = s.amend(c, name, "Mend "+name+", and say why", tree)
	s.left(c)
	s.g.Approve(s.t, c.Number)
	release()
	s.merged(c)
	s.once(c)
	if n := len(s.worker.runs("build", name)); n > 2 { // its changelog entry has the message
		s.t.Errorf("%d builds", n)
	}
}

// Somebody forces the branch back behind what was tested on: the item is tested
// again on what is there. Gerrit would not have it: it stands on a change that
// counts as merged, and is not.
func branchForcedBack(s *site) {
	name := s.packages("a")[0]
	first := s.edit(name, "one", "1\n")
	s.g.Approve(s.t, first.Number)
	s.merged(first)
	s.empty()
	release := s.worker.hold("install " + name)
	second := s.edit(name, "two", "2\n")
	s.approve(second)
	s.tested(second, 0)
	s.force(name, "main~1:refs/heads/main")
	release()
	s.told(second, "Gate failed: the change does not merge", "depends on a commit that is not merged", first.Revision)
	s.empty()
	if n := s.buildsetsOf(second); n < 2 {
		s.t.Errorf("%d buildsets: it was not tested on what is there now", n)
	}
}

func branchDeleted(s *site) {
	c, name, release := s.standing()
	s.admin("PUT", name, "/branches/kept", map[string]any{"revision": "main"})
	s.admin("PUT", name, "/HEAD", map[string]any{"ref": "refs/heads/kept"}) // Gerrit keeps the branch of HEAD
	s.force(name, ":refs/heads/main")
	release()
	s.told(c, "Gate failed", "branch main", "is not there")
	s.left(c)
	s.empty()
	if got := s.status(c); got != "NEW" {
		s.t.Errorf("it is %s", got)
	}
}

// A project that is closed for writing cannot be told; the queue goes on.
func projectReadOnly(s *site) {
	c, name, release := s.standing()
	other := s.packages("b")[0]
	behind := s.good(other)
	s.approve(behind)
	s.admin("PUT", name, "/config", map[string]any{"state": "READ_ONLY"})
	release()
	s.left(c)
	s.merged(behind)
	s.once(behind)
	if got := s.status(c); got != "NEW" {
		s.t.Errorf("it is %s", got)
	}
	s.admin("PUT", name, "/config", map[string]any{"state": "ACTIVE"})
}

func projectHidden(s *site) {
	c, name, release := s.standing()
	other := s.packages("b")[0]
	behind := s.good(other)
	s.approve(behind)
	s.admin("PUT", name, "/config", map[string]any{"state": "HIDDEN"})
	release()
	s.left(c)
	s.merged(behind)
	s.once(behind)
	s.admin("PUT", name, "/config", map[string]any{"state": "ACTIVE"})
}

func changeDeleted(s *site) {
	c, _, release := s.standing()
	if err := s.g.REST(s.g.Admin, "DELETE", s.rest(c, ""), nil, nil); err != nil {
		s.t.Fatal(err)
	}
	release()
	s.left(c)
	s.empty()
	if got := one[string](s, `SELECT status FROM changes WHERE id = $1`, id(c)); got != "gone" {
		s.t.Errorf("it is %s", got)
	}
}

// A change to a branch of no queue is nobody's here.
func branchOfNobody(s *site) {
	name := s.packages("a")[0]
	s.admin("PUT", name, "/branches/other", map[string]any{"revision": "main"})
	stray := s.g.Push(s.t, testenv.Proposal{Project: s.name + "/" + name, Branch: "other", Message: "Elsewhere", Files: map[string]string{"x": "y\n"}})
	s.g.Approve(s.t, stray.Number)
	c := s.good(name)
	s.g.Approve(s.t, c.Number)
	s.merged(c)
	s.once(c)
	if got := s.status(stray); got != "NEW" || len(s.said(stray)) > 0 {
		s.t.Errorf("it is %s, and was told %q", got, s.said(stray))
	}
}
