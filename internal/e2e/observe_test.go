package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"sluice/internal/testenv"
)

// ownNames gives a project labels of the site's own: the gate votes Gate, a
// reviewer Approved, and nothing else is asked for.
func (s *site) ownNames(project string) {
	s.t.Helper()
	admin := func(method, path string, body any) {
		s.t.Helper()
		if err := s.g.REST(s.g.Admin, method, "/projects/"+url.PathEscape(project)+path, body, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	groups := map[string]string{}
	for _, name := range []string{"Service Users", "Reviewers"} {
		var info struct {
			ID string `json:"id"`
		}
		if err := s.g.REST(s.g.Admin, http.MethodGet, "/groups/"+url.PathEscape(name), nil, &info); err != nil {
			s.t.Fatal(err)
		}
		groups[name], _ = url.PathUnescape(info.ID)
	}
	rights := map[string]any{}
	for label, group := range map[string]string{"Gate": "Service Users", "Approved": "Reviewers"} {
		admin(http.MethodPut, "/labels/"+label, map[string]any{"values": map[string]string{"-1": "No", " 0": "No score", "+1": "Yes"}, "function": "NoBlock"})
		admin(http.MethodPut, "/submit_requirements/"+label, map[string]any{"name": label, "submittability_expression": "label:" + label + "=MAX"})
		rights["label-"+label] = map[string]any{"label": label, "rules": map[string]any{groups[group]: map[string]any{"action": "ALLOW", "min": -1, "max": 1}}}
	}
	admin(http.MethodPost, "/access", map[string]any{"add": map[string]any{"refs/heads/*": map[string]any{"permissions": rights}}})
	for _, theirs := range []string{"Verified", "Code-Review", "Workflow"} {
		admin(http.MethodPut, "/submit_requirements/"+theirs, map[string]any{"name": theirs, "submittability_expression": "-label:" + theirs + "=MIN"})
	}
}

// doctor runs sluice doctor for the site.
func (s *site) doctor(more ...string) (string, error) {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := exec.Command(path, append([]string{"doctor", "--config", s.servers[0].Config}, more...)...).CombinedOutput()
	return string(out), err
}

// A site's own words for labels and values are all that the gate goes by.
func TestOwnNames(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{label: "Gate", approve: "Approved: 1"})
	s.ownNames(s.project("hello"))
	s.serve()
	c := s.good("hello")
	s.until("its check has voted", func() string {
		got := s.g.Change(t, c.Number).VoteOf(s.g.Gate, "Gate")
		return missing(got == 1, "Gate%+d", got)
	})
	if out, err := s.doctor(); err != nil || !strings.Contains(out, "shows only once a change has merged there") {
		t.Errorf("sluice doctor before anything has merged: %v\n%s", err, out)
	}
	s.g.Approve(t, c.Number) // Code-Review and Workflow say nothing here
	s.until("the site's approval is asked for", func() string {
		_, why := s.get(fmt.Sprintf("/api/v1/changes/main/%d/why", c.Number))
		return missing(strings.Contains(why, "needs Approved+1"), "%s", why)
	})
	s.g.Vote(t, c.Number, s.g.Reviewer, "Approved", 1)
	s.merged(c)
	s.empty()
	if got := s.g.Change(t, c.Number); got.VoteOf(s.g.Gate, "Gate") != 1 || got.VoteOf(s.g.Gate, "Verified") != 0 {
		t.Errorf("it has voted Gate%+d and Verified%+d", got.VoteOf(s.g.Gate, "Gate"), got.VoteOf(s.g.Gate, "Verified"))
	}
	s.propose("hello", "One more", map[string]string{"more": "more\n"})
	s.until("doctor is content", func() string { // it searches, and Gerrit's index may lag
		out, err := s.doctor()
		return missing(err == nil && strings.Contains(out, "all is well"), "%v\n%s", err, out)
	})
}

// Beside another gate everything is computed and shown, and nothing is voted,
// said or submitted; what that other one submits counts as landed.
func TestObserve(t *testing.T) {
	t.Parallel()
	s := start(t, options{observe: true}, "aa", "bb")
	good, bad := s.good("aa"), s.bad("bb")
	s.g.Approve(t, good.Number)
	s.g.Approve(t, bad.Number)
	s.inQueue(good)
	shows := func(c *testenv.Pushed, words ...string) {
		t.Helper()
		s.until(fmt.Sprintf("change %d is shown", c.Number), func() string {
			_, text := s.get(fmt.Sprintf("/api/v1/changes/main/%d", c.Number))
			for _, w := range words {
				if !strings.Contains(text, w) {
					return fmt.Sprintf("%q is not in %s", w, text)
				}
			}
			return ""
		})
	}
	shows(bad, "error: 'louder' undeclared", `"result":"failed"`)
	shows(good, "this gate only observes", "passed")
	after := s.good("aa")
	after = s.amend(after, "aa", "Mend aa more", map[string]string{"src/other.c": "int other;\n"})
	s.g.Approve(t, after.Number)
	s.inQueue(after)

	s.byHand(good) // the other gate's account, for once, is this one's
	s.until("it counts as landed", func() string {
		return missing(one[int](s, `SELECT count(*) FROM items WHERE queue = 'main' AND result = 'merged' AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(good)) == 1, "not yet")
	})
	shows(good, `"result":"merged"`)
	shows(after, "this gate only observes")
	if n := s.buildsetsOf(after); n != 1 {
		t.Errorf("the one behind was tested %d times: a landing resets nobody", n)
	}
	if !s.stands(after) || s.status(after) != "NEW" {
		t.Errorf("the one behind stands: %v, and is %s", s.stands(after), s.status(after))
	}
	for _, c := range []*testenv.Pushed{bad, after} {
		if said, vote := s.said(c), s.vote(c); len(said) != 0 || vote != 0 {
			t.Errorf("change %d was told %q and voted %+d", c.Number, said, vote)
		}
	}
	for _, said := range s.said(good) {
		if strings.Contains(said, "sluice") || strings.Contains(said, "Gate ") {
			t.Errorf("the gate said: %s", said)
		}
	}
	if n := one[int](s, `SELECT count(*) FROM effects WHERE done_at IS NOT NULL AND message <> '' AND error LIKE 'observe mode%'`); n == 0 {
		t.Error("what would have been said is not kept")
	}
	if out, err := s.doctor("--observe"); err != nil || !strings.Contains(out, "listen and read") {
		t.Errorf("sluice doctor --observe: %v\n%s", err, out)
	}
}
