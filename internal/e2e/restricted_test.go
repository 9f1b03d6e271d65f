package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/testenv"
)

// A private change goes its whole way without a word of it to anybody who may
// not read it: not on the page, not in its repositories, not in what is said on
// other changes. When it has merged it is as public as Gerrit makes it (G25).
func TestRestrictedChange(t *testing.T) {
	t.Parallel()
	s := start(t, options{}, "embargo", "aa")
	release := s.worker.hold("install embargo")
	hidden := s.g.Push(t, testenv.Proposal{
		Project: s.name + "/embargo", Message: "An embargoed fix", Options: []string{"private", "r=" + s.g.Reviewer.Name},
		Files: map[string]string{"src/hello.c": "int main(void) { return 9; }\n"},
	})
	s.until("it is known", func() string {
		return missing(one[int](s, `SELECT count(*) FROM changes WHERE id = $1 AND facts @> '{"restricted": true}'`, id(hidden)) == 1, "not yet")
	})
	needs := s.propose("aa", "Use it\n\nDepends-On: "+hidden.ChangeID, map[string]string{"a": "a\n"})
	clash := s.propose("embargo", "The same line", map[string]string{"src/hello.c": "int main(void) { return 1; }\n"})
	s.until("its tests run", func() string {
		return missing(s.tests(hidden) != "", "it has no test repository")
	})
	s.hides(hidden, needs, clash)

	release()
	address := regexp.MustCompile(`http://\S+/test/\S+`).FindString(s.told(hidden, "Check passed", "/test/"))
	keyed := strings.TrimPrefix(address, s.servers[0].URL)
	if status, text := s.get(keyed + "dists/bookworm/main/binary-amd64/Packages"); status != 200 || !strings.Contains(text, "Package: embargo\n") {
		t.Errorf("who was told the address %s finds: %d %s", address, status, text)
	}
	if status, _ := s.get(regexp.MustCompile(`-[0-9a-f]{32}/`).ReplaceAllString(keyed, "/")); status != 404 {
		t.Errorf("who guesses the number finds: %d", status)
	}
	s.told(clash, "Check passed")
	if got := s.vote(needs); got != 0 {
		t.Errorf("the change that needs it was checked: %+d", got)
	}

	s.command("pause", nil)
	s.g.Approve(t, hidden.Number)
	s.inQueue(hidden)
	s.g.Approve(t, clash.Number)
	s.g.Approve(t, needs.Number)
	s.inQueue(clash)
	s.hides(hidden, needs, clash)
	if status, text := s.get("/api/v1/queues/main"); status != 200 || !strings.Contains(text, `"restricted":true`) {
		t.Errorf("the queue: %d %s", status, text)
	}
	s.command("resume", nil)
	// Whichever comes first, the other one does not merge on it, and is told of no
	// more than the branch.
	s.until("both are decided", func() string {
		return missing(s.status(clash) == "MERGED" || s.status(hidden) == "MERGED", "%s and %s", s.status(clash), s.status(hidden))
	})
	s.until("the queue is left", func() string { return missing(!s.stands(hidden) && !s.stands(clash), "not yet") })
	if s.status(hidden) != "MERGED" {
		s.hides(hidden, needs, clash)
		hidden = s.g.Push(t, testenv.Proposal{
			Project: s.name + "/embargo", Message: "An embargoed fix", ChangeID: hidden.ChangeID, Files: map[string]string{"src/other.c": "int other;\n"},
		})
		s.g.Approve(t, hidden.Number)
	}
	s.merged(hidden)
	s.merged(needs) // it entered by itself
	s.empty()
	s.until("it is public", func() string {
		status, _ := s.get(fmt.Sprintf("/api/v1/changes/main/%d", hidden.Number))
		return missing(status == 200, "%d", status)
	})
	if status, _ := s.get(fmt.Sprintf("/test/%s/juno/debian-12/", s.tests(hidden))); status != 200 {
		t.Errorf("its test repository: %d", status)
	}
	if pkg, ok := s.released("embargo"); !ok {
		t.Errorf("released is %v", pkg)
	}
}

// A project that not everybody may read is restricted as a private change is,
// before and after the merge; its packages are released as the site wants.
func TestRestrictedProject(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	s.project("embargo")
	s.onlyFor("embargo", "Administrators", "Service Users", "Reviewers")
	s.serve()
	hidden := s.g.Push(t, testenv.Proposal{
		Project: s.name + "/embargo", Message: "An embargoed fix", By: s.g.Admin, Files: map[string]string{"src/hello.c": "int main(void) { return 9; }\n"},
	})
	s.told(hidden, "Check passed")
	s.hides(hidden)
	s.g.Approve(t, hidden.Number)
	s.merged(hidden)
	s.empty()
	s.hides(hidden)
	if _, ok := s.released("embargo"); !ok {
		t.Error("its package is not released")
	}
	if _, text := s.get("/api/v1/repositories/juno/debian-12/updates"); !strings.Contains(text, "merged: change (restricted)") {
		t.Errorf("the publication: %s", text)
	}
}

// onlyFor closes a project to all but some groups.
func (s *site) onlyFor(project string, groups ...string) {
	s.t.Helper()
	rules := map[string]any{}
	for _, g := range groups {
		var info struct {
			ID string `json:"id"`
		}
		if err := s.g.REST(s.g.Admin, http.MethodGet, "/groups/"+url.PathEscape(g), nil, &info); err != nil {
			s.t.Fatal(err)
		}
		id, _ := url.PathUnescape(info.ID)
		rules[id] = map[string]any{"action": "ALLOW"}
	}
	read := map[string]any{"permissions": map[string]any{"read": map[string]any{"exclusive": true, "rules": rules}}}
	if err := s.g.REST(s.g.Admin, http.MethodPost, "/projects/"+url.PathEscape(s.name+"/"+project)+"/access",
		map[string]any{"add": map[string]any{"refs/*": read, "refs/heads/*": read}}, nil); err != nil {
		s.t.Fatal(err)
	}
}

// tests gives the number of a change's last buildset that has a test repository, or "".
func (s *site) tests(c *testenv.Pushed) string {
	return one[string](s, `SELECT coalesce(max(b.id)::text, '') FROM buildsets b JOIN test_repositories t ON t.buildset = b.id
		WHERE b.changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(c))
}

// hides fails where a visitor is told something of a hidden change: anywhere on
// the service, or in a comment on one of the others.
func (s *site) hides(hidden *testenv.Pushed, others ...*testenv.Pushed) {
	s.t.Helper()
	mark := regexp.MustCompile(fmt.Sprintf(`(?i)embargoed|%s|main~%d\b|#%[2]d\b|\+/%[2]d\b|change %[2]d\b`, hidden.Revision, hidden.Number))
	paths := []string{
		"/api/v1/status", "/api/v1/queues", "/api/v1/queues/main", fmt.Sprintf("/api/v1/queues/check%%2F%s", url.PathEscape(id(hidden))), "/api/v1/changes?limit=500",
		fmt.Sprintf("/api/v1/changes/main/%d", hidden.Number), fmt.Sprintf("/api/v1/changes/main/%d/why", hidden.Number), "/metrics", "/api/v1/repositories",
	}
	for _, c := range others {
		paths = append(paths, fmt.Sprintf("/api/v1/changes/main/%d", c.Number), fmt.Sprintf("/api/v1/changes/main/%d/why", c.Number))
	}
	for n := range one[int](s, `SELECT coalesce(max(id), 0) FROM jobs`) + 1 {
		paths = append(paths, fmt.Sprintf("/api/v1/jobs/%d", n), fmt.Sprintf("/api/v1/jobs/%d/log", n))
	}
	for n := range one[int](s, `SELECT coalesce(max(id), 0) FROM buildsets`) + 1 {
		paths = append(paths, fmt.Sprintf("/api/v1/buildsets/%d", n), fmt.Sprintf("/test/%d/juno/debian-12/dists/bookworm/main/binary-amd64/Packages", n))
	}
	for _, p := range paths {
		if _, text := s.get(p); mark.MatchString(text) {
			s.t.Errorf("%s tells a visitor %q:\n%s", p, mark.FindString(text), text)
		}
	}
	if n := s.tests(hidden); n != "" {
		if status, _ := s.get("/test/" + n + "/juno/debian-12/"); status != http.StatusNotFound {
			s.t.Errorf("its test repository is there for a visitor: %d", status)
		}
	}
	for _, c := range others {
		for _, said := range s.said(c) {
			if mark.MatchString(said) {
				s.t.Errorf("change %d was told:\n%s", c.Number, said)
			}
		}
	}
}
