package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/testenv"
)

// using proposes a change of a package with footers.
func (s *site) using(name string, footers ...string) *testenv.Pushed {
	s.t.Helper()
	return s.propose(name, "Use it\n\nDepends-On: "+strings.Join(footers, "\nDepends-On: "), map[string]string{"used": name + "\n"})
}

// A footer may be a Change-Id, a number, an address, Gerrit's own triplet; and
// there may be several. The change merges after all that it needs.
func TestDependsOnInEveryForm(t *testing.T) {
	t.Parallel()
	forms := map[string]func(s *site, c *testenv.Pushed) string{
		"change-id": func(_ *site, c *testenv.Pushed) string { return c.ChangeID },
		"number":    func(_ *site, c *testenv.Pushed) string { return fmt.Sprint(c.Number) },
		"address": func(s *site, c *testenv.Pushed) string {
			return fmt.Sprintf("%s/c/%s/lib/+/%d", s.g.URL, s.name, c.Number)
		},
		"short":   func(s *site, c *testenv.Pushed) string { return fmt.Sprintf("%s/%d", s.g.URL, c.Number) },
		"triplet": func(s *site, c *testenv.Pushed) string { return s.name + "/lib~main~" + c.ChangeID },
	}
	var names []string
	for name := range forms {
		names = append(names, name)
	}
	s := start(t, options{check: "none"}, append(names, "lib", "lib2", "all")...)
	lib, lib2 := s.good("lib"), s.good("lib2")
	var users []*testenv.Pushed
	for name, write := range forms {
		users = append(users, s.using(name, write(s, lib)))
	}
	all := s.using("all", lib.ChangeID, fmt.Sprint(lib2.Number))
	s.vouch(users...)
	s.vouch(all)
	for _, c := range users {
		s.says(c, "needs "+number(lib), "Code-Review")
	}
	s.says(all, "needs "+number(lib), "needs "+number(lib2))
	s.vouch(lib)
	s.merged(lib)
	s.merged(users...)
	if got := s.status(all); got != "NEW" {
		t.Errorf("the one that needs two is %s with one of them", got)
	}
	s.vouch(lib2)
	s.merged(lib2, all)
	s.empty()
	if got := s.landedItems(); !strings.HasPrefix(got, fmt.Sprint(lib.Number)+" ") || !strings.HasSuffix(got, fmt.Sprintf(" %d %d", lib2.Number, all.Number)) {
		t.Errorf("landed: %s", got)
	}
}

// What cannot be found, is not understood, was abandoned, or is gated by nobody
// keeps a change outside; each says which it is and who can mend it. What comes
// to be known later lets it in by itself.
func TestDependsOnWhatIsNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none"})
	for _, p := range []string{"lib", "late", "strange", "far", "dropped", "outside"} {
		s.project(p)
	}
	foreign := s.g.Project(t, "foreign-"+s.name, "")
	s.serve()
	ungated := s.g.Push(t, testenv.Proposal{Project: foreign, Message: "Of nobody", Files: map[string]string{"f": "f\n"}})
	gone := s.good("lib")
	s.g.Act(t, gone.Number, s.g.Maintainer, "abandon")
	const later = "Ifeedfacefeedfacefeedfacefeedfacefeedface"

	cases := []struct {
		change *testenv.Pushed
		words  []string
	}{
		{s.using("late", later), []string{"needs " + later + ", which was not found", "the author"}},
		{s.using("strange", "the one of last week"), []string{"needs the one of last week, which was not found", "the author"}},
		{s.using("far", "https://review.example.net/c/x/+/1"), []string{"needs https://review.example.net/c/x/+/1, which was not found"}},
		{s.using("dropped", gone.ChangeID), []string{"needs " + number(gone) + ", which is abandoned", "the author"}},
		{s.using("outside", fmt.Sprint(ungated.Number)), []string{"needs " + number(ungated) + ", which no queue gates and which has not merged"}},
	}
	for _, c := range cases {
		s.vouch(c.change)
		s.says(c.change, c.words...)
	}
	s.says(ungated, "is neither checked nor gated", "an administrator")
	if text, ok := s.operator("", "why", fmt.Sprint(ungated.Number)); !ok || !strings.Contains(text, "is neither checked nor gated") {
		t.Errorf("sluice why: %s", text)
	}
	s.explained()
	found := s.g.Push(t, testenv.Proposal{Project: s.name + "/lib", Message: "It is here", ChangeID: later, Files: map[string]string{"late": "late\n"}})
	s.vouch(found)
	s.merged(found, cases[0].change)
	s.g.Act(t, gone.Number, s.g.Maintainer, "restore")
	s.vouch(gone)
	s.merged(gone, cases[3].change)
	s.g.Land(t, ungated.Number)
	s.merged(cases[4].change)
	s.empty()
	for _, c := range cases[1:3] {
		if got := s.status(c.change); got != "NEW" {
			t.Errorf("change %d is %s", c.change.Number, got)
		}
	}
}

// With a queue for each branch, branches do not wait for each other; a
// dependency across branches is waited for until it has merged, also where one
// Change-Id is on both.
func TestQueuePerBranch(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none", branch: "**", perBranch: true})
	p := s.g.Project(t, s.name+"/hello", "", "main", "stable")
	for _, branch := range []string{"main", "stable"} {
		first := s.g.Push(t, testenv.Proposal{Project: p, Branch: branch, Message: "Begin " + branch, Files: files("hello", nil)})
		s.g.Land(t, first.Number)
	}
	s.serve()
	onMain := s.g.Push(t, testenv.Proposal{Project: p, Message: "Mend", Files: map[string]string{"a": "a\n"}})
	onStable := s.g.Push(t, testenv.Proposal{Project: p, Branch: "stable", Message: "Mend", ChangeID: onMain.ChangeID, Files: map[string]string{"a": "a\n"}})
	after := s.g.Push(t, testenv.Proposal{Project: p, Message: "Go on\n\nDepends-On: " + onMain.ChangeID, Files: map[string]string{"b": "b\n"}})
	release := s.worker.hold("install hello")
	s.vouch(after)
	s.says(after, "needs "+number(onMain), "needs "+number(onStable)+", which is in another queue (main@stable) and has not merged")
	s.vouch(onMain, onStable)
	for c, queue := range map[*testenv.Pushed]string{onMain: "main@main", onStable: "main@stable"} {
		s.says(c, "number 1 of 1 in the queue "+queue)
	}
	release()
	s.merged(onMain, onStable, after)
}
