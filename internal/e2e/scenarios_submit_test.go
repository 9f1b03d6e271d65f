package e2e

import (
	"strings"
	"sync/atomic"

	"sluice/internal/job"
	"sluice/internal/testenv"
)

// submitTypes: what lands is what was tested, whatever Gerrit makes of it (G8, G16).
var submitTypes = []scenario{
	{name: "merge-if-necessary", play: func(s *site) { s.landsAs("MERGE_IF_NECESSARY", 1, 1) }},
	{name: "merge-always", play: func(s *site) { s.landsAs("MERGE_ALWAYS", 1, 1) }},
	{name: "rebase-if-necessary", play: func(s *site) { s.landsAs("REBASE_IF_NECESSARY", 1, 2) }},
	{name: "rebase-always", play: func(s *site) { s.landsAs("REBASE_ALWAYS", 2, 2) }},
	{name: "cherry-pick", play: func(s *site) { s.landsAs("CHERRY_PICK", 2, 2) }},
	{name: "fast-forward-only", play: fastForwardOnly},
	{name: "chain-cherry-picked", play: chainCherryPicked},
	{name: "submit-type-changes", play: submitTypeChanges},
	{name: "submit-type-forbids", play: submitTypeForbids},
}

// landsAs lands two changes that do not know of each other in a project of a
// submit type: the patch sets that Gerrit makes on its submit are no new work.
func (s *site) landsAs(submitType string, firstPatchSets, secondPatchSets int) {
	name := s.typed("a", submitType)
	release := s.worker.hold("install " + name)
	first, second := s.edit(name, "one", "1\n"), s.edit(name, "two", "2\n")
	s.approve(first, second)
	s.tested(second, 1)
	release()
	s.merged(first, second)
	s.once(first, second)
	for c, want := range map[*testenv.Pushed]int{first: firstPatchSets, second: secondPatchSets} {
		if n := s.buildsetsOf(c); n != 1 {
			s.t.Errorf("change %d had %d buildsets", c.Number, n)
		}
		if got := s.patchSets(c); got != want {
			s.t.Errorf("change %d has %d patch sets: %s makes %d", c.Number, got, submitType, want)
		}
		if got := strings.Join(s.said(c), "\n"); strings.Contains(got, "past the gate") || strings.Contains(got, "Left the queue") {
			s.t.Errorf("change %d was told:\n%s", c.Number, got)
		}
	}
	if n := len(s.worker.runs(job.StageBuild, name)); n != 2 {
		s.t.Errorf("%d builds of two changes", n)
	}
}

// tested waits until a change is tested on top of so many items.
func (s *site) tested(c *testenv.Pushed, deep int) {
	s.t.Helper()
	s.until("it is tested behind those ahead", func() string {
		n := one[int](s, `SELECT coalesce(max(cardinality(stack_items)), -1) FROM buildsets b WHERE queue = $2 AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text))
			AND EXISTS (SELECT FROM jobs j WHERE j.buildset = b.id AND stage = 'install' AND state IN ('queued', 'running'))`, id(c), s.queue)
		return missing(n == deep, "behind %d", n)
	})
}

func (s *site) patchSets(c *testenv.Pushed) int {
	s.t.Helper()
	info := s.g.Change(s.t, c.Number)
	return info.Revisions[info.CurrentRevision].Number
}

// Where Gerrit only goes forward, a chain lands; what stands beside it is told
// to be rebased, before anything is built.
func fastForwardOnly(s *site) {
	name := s.typed("a", "FAST_FORWARD_ONLY")
	release := s.worker.hold("install " + name)
	parent := s.edit(name, "one", "1\n")
	child := s.g.Push(s.t, testenv.Proposal{Project: s.name + "/" + name, Message: "On top", On: parent, Files: map[string]string{"two": "2\n"}})
	beside := s.edit(name, "three", "3\n")
	s.approve(parent, child, beside)
	release()
	s.merged(parent, child)
	s.voted(beside, -2)
	s.told(beside, "does not merge", "fast")
	s.once(parent, child)
}

// The parent of a chain gets a new patch set as it is cherry-picked: the child,
// which was pushed on the older one, lands on it all the same.
func chainCherryPicked(s *site) {
	name := s.typed("a", "CHERRY_PICK")
	parent := s.edit(name, "one", "1\n")
	child := s.g.Push(s.t, testenv.Proposal{Project: s.name + "/" + name, Message: "On top", On: parent, Files: map[string]string{"two": "2\n"}})
	s.g.Approve(s.t, child.Number)
	s.g.Approve(s.t, parent.Number)
	s.merged(parent, child)
	s.once(parent, child)
}

// The project's submit type changes while its changes are tested. What Gerrit
// makes now has the same tree.
func submitTypeChanges(s *site) {
	name := s.typed("a", "MERGE_IF_NECESSARY")
	release := s.worker.hold("install " + name)
	first, second := s.edit(name, "one", "1\n"), s.edit(name, "two", "2\n")
	s.approve(first, second)
	s.tested(second, 1)
	s.admin("PUT", name, "/config", map[string]any{"submit_type": "REBASE_ALWAYS"})
	release()
	s.merged(first, second)
	s.once(first, second)
}

// It changes to one that refuses what was tested: Gerrit's own words are told,
// and nothing is left behind.
func submitTypeForbids(s *site) {
	name := s.typed("a", "MERGE_IF_NECESSARY")
	release := s.worker.hold("install " + name)
	first, second := s.edit(name, "one", "1\n"), s.edit(name, "two", "2\n")
	s.approve(first, second)
	s.tested(second, 1)
	s.admin("PUT", name, "/config", map[string]any{"submit_type": "FAST_FORWARD_ONLY"})
	release()
	s.merged(first)
	s.voted(second, -2)
	s.told(second, "fast-forward")
	s.once(first)
}

// requirements: all submit requirements count but what they ask of the gate's own label (G1).
var requirements = []scenario{
	{name: "own-veto-is-exempt", play: ownVeto},
	{name: "own-label-in-a-longer-expression", play: ownLabelInLonger},
	{name: "approved-by-the-uploader", play: byTheUploader},
	{name: "unresolved-comment", play: unresolvedComment},
	{name: "requirement-comes-in-mid-queue", play: requirementComes},
	{name: "requirement-is-overridden", play: requirementOverridden},
}

// require adds a submit requirement to a project.
func (s *site) require(name, requirement, expression string) {
	s.t.Helper()
	s.admin("PUT", name, "/submit_requirements/"+requirement, map[string]any{
		"name": requirement, "submittability_expression": expression, "allow_override_in_child_projects": true})
}

// waits waits until the service knows why a change may not enter.
func (s *site) waits(c *testenv.Pushed, words string) {
	s.t.Helper()
	s.until("why it may not enter", func() string {
		got := one[string](s, `SELECT coalesce((SELECT facts->>'not_ready' FROM changes WHERE id = $1), '')`, id(c))
		return missing(strings.Contains(got, words) && !s.stands(c), "it says %q, not %q", got, words)
	})
}

// The gate's own -2 keeps a change that is approved again from nothing.
func ownVeto(s *site) {
	name := s.packages("a")[0]
	var mended atomic.Bool
	s.worker.rule(func(a *attempt) *job.Result {
		if !mended.Load() && a.spec.Package == name && a.spec.Stage == job.StageBuild && strings.Contains(a.tree["src/hello.c"], "return 2") {
			res := failed("src/hello.c:3: error: nobody knows why")
			return &res
		}
		return nil
	})
	c := s.good(name)
	s.g.Approve(s.t, c.Number)
	s.voted(c, -2)
	s.empty()
	mended.Store(true)
	s.g.Vote(s.t, c.Number, s.g.Reviewer, "Workflow", 0)
	s.waits(c, "Workflow")
	s.g.Vote(s.t, c.Number, s.g.Reviewer, "Workflow", 1)
	s.command("retry", c)
	s.merged(c)
}

// An expression that names the gate's label and another: the other's part counts.
func ownLabelInLonger(s *site) {
	name := s.packages("a")[0]
	s.require(name, "Both", "label:Verified=MAX AND label:Code-Review=MAX,user=non_uploader")
	c := s.good(name)
	s.g.Vote(s.t, c.Number, s.g.Reviewer, "Workflow", 1)
	s.waits(c, "Code-Review")
	s.g.Approve(s.t, c.Number)
	s.merged(c)
	s.once(c)
}

// Who uploads cannot approve where the site says so.
func byTheUploader(s *site) {
	name := s.packages("a")[0]
	s.require(name, "Code-Review", "label:Code-Review=MAX,user=non_uploader AND -label:Code-Review=MIN")
	c := s.good(name)
	s.g.Vote(s.t, c.Number, s.g.Maintainer, "Code-Review", 2)
	s.g.Vote(s.t, c.Number, s.g.Maintainer, "Workflow", 1)
	s.waits(c, "somebody other than the uploader")
	s.g.Vote(s.t, c.Number, s.g.Reviewer, "Code-Review", 2)
	s.merged(c)
	s.once(c)
}

// A comment that is not resolved keeps a change out where the site says so.
func unresolvedComment(s *site) {
	name := s.packages("a")[0]
	s.require(name, "Resolved", "-has:unresolved")
	c := s.good(name)
	s.remark(c, "Why?", true)
	s.g.Approve(s.t, c.Number)
	s.waits(c, "unresolved")
	s.remark(c, "That is why.", false)
	s.merged(c)
	s.once(c)
}

// remark leaves a comment at a line, and answers the first one.
func (s *site) remark(c *testenv.Pushed, text string, unresolved bool) {
	s.t.Helper()
	comment := map[string]any{"line": 1, "message": text, "unresolved": unresolved}
	var there map[string][]struct{ ID string }
	if err := s.g.REST(s.g.Admin, "GET", s.rest(c, "comments"), nil, &there); err != nil {
		s.t.Fatal(err)
	}
	if first := there["src/hello.c"]; len(first) > 0 {
		comment["in_reply_to"] = first[0].ID
	}
	body := map[string]any{"comments": map[string]any{"src/hello.c": []any{comment}}}
	if err := s.g.REST(s.g.Reviewer, "POST", s.rest(c, "revisions/current/review"), body, nil); err != nil {
		s.t.Fatal(err)
	}
}

// A requirement is added to the project while its change is tested. No event
// tells of that: Gerrit does, at the submit.
func requirementComes(s *site) {
	name := s.packages("a")[0]
	release := s.worker.hold("install " + name)
	c := s.good(name)
	s.approve(c)
	s.tested(c, 0)
	s.require(name, "Second", "label:Code-Review=MAX,count>=2")
	release()
	s.left(c)
	s.told(c, "Code-Review")
	if got := s.vote(c); got == -2 {
		s.t.Error("a requirement that came later is blamed on the change")
	}
	s.g.Vote(s.t, c.Number, s.g.Admin, "Code-Review", 2)
	s.merged(c)
	s.once(c)
}

// A project overrides a requirement of its parents.
func requirementOverridden(s *site) {
	name := s.packages("a")[0]
	s.require(name, "Workflow", "label:Code-Review=MAX")
	c := s.good(name)
	s.g.Vote(s.t, c.Number, s.g.Reviewer, "Code-Review", 2)
	s.merged(c)
	s.once(c)
}
