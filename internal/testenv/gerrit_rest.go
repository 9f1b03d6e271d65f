package testenv

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sluice/internal/trial"
)

// ChangeInfo is what the tests look at in Gerrit's answer about a change.
type ChangeInfo struct {
	Number          int    `json:"_number"`
	ChangeID        string `json:"change_id"`
	Project         string `json:"project"`
	Branch          string `json:"branch"`
	Topic           string `json:"topic"`
	Subject         string `json:"subject"`
	Status          string `json:"status"` // NEW, MERGED, ABANDONED
	WorkInProgress  bool   `json:"work_in_progress"`
	IsPrivate       bool   `json:"is_private"`
	Submittable     bool   `json:"submittable"`
	CurrentRevision string `json:"current_revision"`
	Revisions       map[string]struct {
		Number int    `json:"_number"`
		Ref    string `json:"ref"`
	} `json:"revisions"`
	Labels map[string]struct {
		All []Vote `json:"all"`
	} `json:"labels"`
	Messages []struct {
		Tag     string `json:"tag"`
		Message string `json:"message"`
		Author  struct {
			Username string `json:"username"`
		} `json:"author"`
	} `json:"messages"`
}

// Vote is one person's on one label.
type Vote struct {
	Username string `json:"username"`
	Value    int    `json:"value"`
}

// VoteOf is the user's vote on a label, 0 where there is none.
func (c *ChangeInfo) VoteOf(user User, label string) int {
	for _, vote := range c.Labels[label].All {
		if vote.Username == user.Name {
			return vote.Value
		}
	}
	return 0
}

// REST calls Gerrit as user; path begins behind "/a" ("/changes/7/submit"). body and into may be nil; into is decoded
// from the answer's JSON. An error holds the status and Gerrit's own words.
func (g *GerritServer) REST(user User, method, path string, body, into any) error {
	return trial.REST(context.Background(), g.URL, user.Name, user.Token, method, path, body, into)
}

// must is REST for what cannot fail.
func (g *GerritServer) must(t testing.TB, user User, method, path string, body, into any) {
	t.Helper()
	if err := g.REST(user, method, path, body, into); err != nil {
		t.Fatalf("testenv: Gerrit: %v", err)
	}
}

// Project makes a project with one empty commit on each branch (main if none is named), and returns its name. An empty
// name makes one from the test's; an empty submitType is MERGE_IF_NECESSARY.
func (g *GerritServer) Project(t testing.TB, name, submitType string, branches ...string) string {
	t.Helper()
	if name == "" {
		name = fmt.Sprintf("%s-%d", strings.Trim(notInName.ReplaceAllString(strings.ToLower(t.Name()), "-"), "-"), unique.Add(1))
	}
	if submitType == "" {
		submitType = "MERGE_IF_NECESSARY"
	}
	if len(branches) == 0 {
		branches = []string{"main"}
	}
	g.must(t, g.Admin, http.MethodPut, "/projects/"+url.PathEscape(name), map[string]any{
		"create_empty_commit": true, "branches": branches, "submit_type": submitType,
	}, nil)
	return name
}

// Change reads a change as the administrator sees it.
func (g *GerritServer) Change(t testing.TB, number int) *ChangeInfo {
	t.Helper()
	var info ChangeInfo
	g.must(t, g.Admin, http.MethodGet, fmt.Sprintf(
		"/changes/%d?o=CURRENT_REVISION&o=DETAILED_LABELS&o=DETAILED_ACCOUNTS&o=MESSAGES&o=SUBMITTABLE", number), nil, &info)
	return &info
}

// Vote gives a vote on the change's current revision.
func (g *GerritServer) Vote(t testing.TB, number int, user User, label string, value int) {
	t.Helper()
	g.must(t, user, http.MethodPost, fmt.Sprintf("/changes/%d/revisions/current/review", number),
		map[string]any{"labels": map[string]int{label: value}}, nil)
}

// Approve gives the reviewer's Code-Review +2 and Workflow +1 in one call: what lets a change enter the gate.
func (g *GerritServer) Approve(t testing.TB, number int) {
	t.Helper()
	g.must(t, g.Reviewer, http.MethodPost, fmt.Sprintf("/changes/%d/revisions/current/review", number),
		map[string]any{"labels": map[string]int{"Code-Review": 2, "Workflow": 1}}, nil)
}

// Comment writes a message on a change.
func (g *GerritServer) Comment(t testing.TB, number int, user User, message string) {
	t.Helper()
	g.must(t, user, http.MethodPost, fmt.Sprintf("/changes/%d/revisions/current/review", number),
		map[string]any{"message": message}, nil)
}

// Act posts one of a change's actions without a body: "abandon", "restore", "wip", "ready", "private".
func (g *GerritServer) Act(t testing.TB, number int, user User, action string) {
	t.Helper()
	g.must(t, user, http.MethodPost, fmt.Sprintf("/changes/%d/%s", number, action), struct{}{}, nil)
}

// SetTopic sets a change's topic.
func (g *GerritServer) SetTopic(t testing.TB, number int, user User, topic string) {
	t.Helper()
	g.must(t, user, http.MethodPut, fmt.Sprintf("/changes/%d/topic", number), map[string]string{"topic": topic}, nil)
}

// Submit submits a change; a refusal is an error with Gerrit's words.
func (g *GerritServer) Submit(number int, user User) error {
	return g.REST(user, http.MethodPost, fmt.Sprintf("/changes/%d/submit", number), struct{}{}, nil)
}

// Land gives all votes and submits: for a test that needs something merged past the gate.
func (g *GerritServer) Land(t testing.TB, number int) {
	t.Helper()
	g.Approve(t, number)
	g.Vote(t, number, g.Gate, "Verified", 2)
	if err := g.Submit(number, g.Gate); err != nil {
		t.Fatalf("testenv: Gerrit: %v", err)
	}
}

// Tip is the commit at a branch's head.
func (g *GerritServer) Tip(t testing.TB, project, branch string) string {
	t.Helper()
	var info struct{ Revision string }
	g.must(t, g.Admin, http.MethodGet,
		"/projects/"+url.PathEscape(project)+"/branches/"+url.PathEscape(branch), nil, &info)
	return info.Revision
}
