package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"sluice/api"
	"sluice/internal/testenv"
)

// why is the answer of the API on a change, a line for each reason: what, who, next.
func (s *site) why(c *testenv.Pushed) string {
	s.t.Helper()
	status, text := s.get(fmt.Sprintf("/api/v1/changes/main/%d/why", c.Number))
	if status == http.StatusNotFound {
		return "it is not known"
	}
	var answer api.Why
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		s.t.Fatalf("why %d: %d %s: %v", c.Number, status, text, err)
	}
	var b strings.Builder
	var write func(r api.Reason, indent string)
	write = func(r api.Reason, indent string) {
		fmt.Fprintf(&b, "%s%s [%s] → %s\n", indent, r.Text, r.Who, r.Next)
		for _, child := range r.Children {
			write(child, indent+"  ")
		}
	}
	for _, p := range answer.Pipelines {
		fmt.Fprintf(&b, "%s:\n", p.Pipeline)
		write(p.Reason, "  ")
	}
	return b.String()
}

// says waits until the answer on a change has all of the words.
func (s *site) says(c *testenv.Pushed, words ...string) {
	s.t.Helper()
	s.until(fmt.Sprintf("why change %d says %q", c.Number, words), func() string {
		why := s.why(c)
		for _, w := range words {
			if !strings.Contains(why, w) {
				return fmt.Sprintf("%q is not in:\n%s", w, why)
			}
		}
		return ""
	})
}

// landedItems gives the changes of each item that landed, in order: "1 2,3".
func (s *site) landedItems() string {
	s.t.Helper()
	return one[string](s, `
		SELECT coalesce(string_agg(n, ' ' ORDER BY landed_at), '') FROM (
			SELECT landed_at, (SELECT string_agg(c->>'number', ',' ORDER BY o) FROM jsonb_array_elements(changes) WITH ORDINALITY AS x (c, o)) AS n
			FROM buildsets WHERE landed_at IS NOT NULL) AS l`)
}

// inOrder fails unless the items landed so; an item is written as its changes.
func (s *site) inOrder(items ...[]*testenv.Pushed) {
	s.t.Helper()
	var want []string
	for _, changes := range items {
		var n []string
		for _, c := range changes {
			n = append(n, fmt.Sprint(c.Number))
		}
		want = append(want, strings.Join(n, ","))
	}
	if got := s.landedItems(); got != strings.Join(want, " ") {
		s.t.Errorf("landed: %s; want %s", got, strings.Join(want, " "))
	}
}

func singly(changes ...*testenv.Pushed) (items [][]*testenv.Pushed) {
	for _, c := range changes {
		items = append(items, []*testenv.Pushed{c})
	}
	return items
}

func number(c *testenv.Pushed) string { return fmt.Sprintf("#%d", c.Number) }

// on pushes a change that stands on another one.
func (s *site) on(parent *testenv.Pushed, project, message string, files map[string]string) *testenv.Pushed {
	s.t.Helper()
	return s.g.Push(s.t, testenv.Proposal{Project: s.name + "/" + project, Message: message, On: parent, Files: files})
}

// known waits until the service has read a change as it is.
func (s *site) known(changes ...*testenv.Pushed) {
	s.t.Helper()
	for _, c := range changes {
		s.until(fmt.Sprintf("change %d is read", c.Number), func() string {
			n := one[int](s, `SELECT count(*) FROM changes WHERE id = $1 AND revision = $2`, id(c), c.Revision)
			return missing(n == 1, "it is not")
		})
	}
}

// vouch approves changes, which need not enter the queue by that.
func (s *site) vouch(changes ...*testenv.Pushed) {
	s.t.Helper()
	for _, c := range changes {
		s.g.Approve(s.t, c.Number)
	}
}
