package gerrit_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sluice/internal/gerrit"
	"sluice/internal/testenv"
)

// What needs commits with contents, and so a real Gerrit.

func TestRealConflict(t *testing.T) {
	ctx := context.Background()
	g := testenv.Gerrit(t)
	s := of(t, g)
	c := s.client(t, "gate")
	p := s.project(t)
	one := g.Push(t, testenv.Proposal{Project: p, Message: "One", Files: map[string]string{"a.c": "one\n", "b/c.c": "x\n"}})
	two := g.Push(t, testenv.Proposal{Project: p, Message: "Two", Files: map[string]string{"a.c": "two\n"}})
	change, err := c.Change(ctx, one.Number, gerrit.WithFiles)
	check(t, err)
	equal(t, "files", change.Files, []string{"a.c", "b/c.c"})
	equal(t, "revision", [2]string{change.Revision, change.Ref}, [2]string{one.Revision, one.Ref})
	g.Land(t, one.Number)
	g.Approve(t, two.Number)
	g.Vote(t, two.Number, g.Gate, "Verified", 2)
	after := read(t, s, two.Number)
	if !after.Submittable || after.Mergeable == nil || *after.Mergeable {
		t.Errorf("a conflict: submittable %v, mergeable %v", after.Submittable, after.Mergeable)
	}
	equal(t, "G1 does not ask for it", reasons(t, s, two.Number), []string(nil))
	ok, err := c.Mergeable(ctx, two.Number)
	equal(t, "asked", [2]any{ok, err}, [2]any{false, nil})
	_, err = c.Submit(ctx, two.Number, two.Revision)
	if !gerrit.IsConflict(err) || !strings.Contains(err.Error(), "path conflict") {
		t.Errorf("Gerrit's words: %v", err)
	}
}

func TestRealComments(t *testing.T) {
	ctx := context.Background()
	g := testenv.Gerrit(t)
	s := of(t, g)
	pushed := g.Push(t, testenv.Proposal{Project: s.project(t), Message: "One", Files: map[string]string{"a.c": "one\ntwo\n"}})
	result, err := s.client(t, "gate").Review(ctx, pushed.Number, pushed.Revision, gerrit.ReviewInput{
		Message: "build failed", Comments: []gerrit.Comment{{File: "a.c", Line: 2, Message: strings.Repeat("error ", 10000)}},
	})
	check(t, err)
	equal(t, "folded", len(result.Folded), 0)
	var comments map[string][]struct {
		Line       int    `json:"line"`
		Unresolved bool   `json:"unresolved"`
		Message    string `json:"message"`
		Tag        string `json:"tag"`
	}
	s.do(t, "reviewer", "GET", fmt.Sprintf("/changes/%d/comments", pushed.Number), nil, &comments)
	if a := comments["a.c"]; len(a) != 1 || a[0].Line != 2 || a[0].Unresolved || a[0].Tag != gerrit.Tag || !strings.Contains(a[0].Message, "cut:") {
		t.Errorf("%+v", comments)
	}
}

// Sites write requirements of many kinds; each is a real Gerrit's own evaluation.
func TestRealRequirements(t *testing.T) {
	g := testenv.Gerrit(t)
	s := of(t, g)
	for _, c := range []struct {
		expression      string
		before, overall []string // for this requirement: without votes, and with Code-Review+2 and Workflow+1
	}{
		{"label:Verified=MAX", nil, nil},
		{"label:Verified>=1 AND -label:Verified=MIN", nil, nil},
		{`label:"Verified=MAX,user=non_uploader"`, nil, nil},
		{`label:"Code-Review=MAX,user=non_uploader" OR (NOT is:wip AND label:Workflow>=1) -label:Verified<0`,
			[]string{"needs Code-Review+2 by somebody other than the uploader or needs Workflow+1"}, nil},
		{"message:RefactorOnly OR label:Verified=MAX", nil, nil},
		{"message:RefactorOnly label:Verified=MAX", []string{"needs message:RefactorOnly"}, []string{"needs message:RefactorOnly"}},
		{"-is:wip label:Verified+2", nil, nil},
		{"-label:Code-Review>=1 AND label:Verified=MAX", nil, []string{"Code-Review+2 by Rae Reviewer"}},
	} {
		p := s.project(t)
		s.do(t, "admin", "PUT", "/projects/"+escape(p)+"/submit_requirements/Own", map[string]any{
			"name": "Own", "submittability_expression": c.expression,
		}, nil)
		n := s.propose(t, p, "main", "Mend", 0, nil)
		own := func() []string {
			return slices.DeleteFunc(reasons(t, s, n), func(s string) bool { return s == "needs Code-Review+2" || s == "needs Workflow+1" })
		}
		if got := own(); !slices.Equal(got, c.before) {
			t.Errorf("%s: %q, want %q", c.expression, got, c.before)
		}
		s.approve(t, n)
		if got := own(); !slices.Equal(got, c.overall) {
			t.Errorf("%s, approved: %q, want %q", c.expression, got, c.overall)
		}
	}
}

func TestRealProjectConfig(t *testing.T) {
	ctx := context.Background()
	s := real(t, "")
	c := s.client(t, "gate")
	for _, kind := range []string{"FAST_FORWARD_ONLY", "REBASE_ALWAYS", "CHERRY_PICK", "MERGE_ALWAYS", "REBASE_IF_NECESSARY"} {
		p := s.project(t)
		s.do(t, "admin", "PUT", "/projects/"+escape(p)+"/config", map[string]any{"submit_type": kind, "use_content_merge": "FALSE"}, nil)
		got, err := c.ProjectConfig(ctx, p)
		check(t, err)
		equal(t, "config", [2]any{got.SubmitType, got.ContentMerge}, [2]any{kind, false})
	}
}

// A submit makes a new patch set where Gerrit cherry-picks; the tip is that one (G18).
func TestRealCherryPick(t *testing.T) {
	ctx := context.Background()
	g := testenv.Gerrit(t)
	s := of(t, g)
	p := g.Project(t, "", "CHERRY_PICK")
	one := g.Push(t, testenv.Proposal{Project: p, Message: "One", Files: map[string]string{"a.c": "one\n"}})
	g.Approve(t, one.Number)
	g.Vote(t, one.Number, g.Gate, "Verified", 2)
	_, err := s.client(t, "gate").Submit(ctx, one.Number, one.Revision)
	check(t, err)
	after := read(t, s, one.Number)
	tip, err := s.client(t, "gate").Branch(ctx, p, "main")
	check(t, err)
	equal(t, "after", [3]any{after.Status, after.PatchSet, after.Revision == one.Revision}, [3]any{"MERGED", 2, false})
	equal(t, "tip", tip, after.Revision)
}

// Names that an address must escape.
func TestRealNames(t *testing.T) {
	ctx := context.Background()
	s := real(t, "")
	c := s.client(t, "gate")
	name := "odd+name/a.c_d"
	s.do(t, "admin", "PUT", "/projects/"+strings.ReplaceAll(url.PathEscape(name), "+", "%2B"), map[string]any{"create_empty_commit": true, "branches": []string{"main", "x+y"}}, nil)
	heads, err := c.BranchHeads(ctx, name)
	check(t, err)
	tip, err := c.Branch(ctx, name, "x+y")
	check(t, err)
	equal(t, "heads", [2]any{len(heads), heads["x+y"]}, [2]any{2, tip})
	_, err = c.ProjectConfig(ctx, name)
	check(t, err)
	n := s.propose(t, name, "x+y", "Mend", 0, nil)
	found, err := c.Query(ctx, "project:"+gerrit.Quote(name)+" branch:"+gerrit.Quote("x+y"), 0)
	check(t, err)
	if len(found) != 1 || found[0].Number != n {
		t.Errorf("%+v", found)
	}
}
