package gerrit_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"sluice/internal/gerrit"
)

// Each right that is missing, and each label that does not fit, is told by
// itself with what to do; and the look changes nothing.
func TestRealDoctor(t *testing.T) {
	ctx := context.Background()
	s := real(t, "")
	groups := map[string]string{}
	for _, name := range []string{"Administrators", "Service Users", "Reviewers"} {
		var info struct{ ID string }
		s.do(t, "admin", "GET", "/groups/"+url.PathEscape(name), nil, &info)
		groups[name], _ = url.PathUnescape(info.ID)
	}
	only := func(group string, more ...int) map[string]any {
		rule := map[string]any{"action": "ALLOW"}
		if len(more) == 2 {
			rule["min"], rule["max"] = more[0], more[1]
		}
		return map[string]any{"exclusive": true, "rules": map[string]any{groups[group]: rule}}
	}
	access := func(p, permission string, rights map[string]any) {
		refs := map[string]any{"permissions": map[string]any{permission: rights}}
		s.do(t, "admin", "POST", "/projects/"+escape(p)+"/access", map[string]any{"add": map[string]any{"refs/heads/*": refs, "refs/*": refs}}, nil)
	}
	label := func(group string, more ...int) map[string]any {
		rights := only(group, more...)
		rights["label"] = "Verified"
		return rights
	}
	requirement := func(p, expression string) {
		for _, name := range []string{"Verified", "Own"} {
			s.do(t, "admin", "PUT", "/projects/"+escape(p)+"/submit_requirements/"+name, map[string]any{"name": name, "submittability_expression": expression}, nil)
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(p string, in *gerrit.DoctorInput)
		want  string // "": all is well
		mend  string
		doubt bool
	}{
		{"healthy", func(string, *gerrit.DoctorInput) {}, "", "", false},
		{"no right to vote", func(p string, _ *gerrit.DoctorInput) { access(p, "label-Verified", label("Reviewers", -2, 2)) },
			"may not vote Verified-2 on main of", "Label Verified -2..+2", false},
		{"no right to vote that low", func(p string, _ *gerrit.DoctorInput) { access(p, "label-Verified", label("Service Users", -1, 2)) },
			"may not vote Verified-2 on main of", "Label Verified -2..+2", false},
		{"no right to submit", func(p string, _ *gerrit.DoctorInput) { access(p, "submit", only("Reviewers")) },
			"may not submit on main of", "Submit on refs/heads/*", false},
		{"no right to read", func(p string, _ *gerrit.DoctorInput) { access(p, "read", only("Administrators")) }, "sees no branch of the project", "Read on refs/heads/*", false},
		{"read only", func(p string, _ *gerrit.DoctorInput) {
			s.do(t, "admin", "PUT", "/projects/"+escape(p)+"/config", map[string]any{"state": "READ_ONLY"}, nil)
		}, "is READ_ONLY", "make it active", false},
		{"no label", func(_ string, in *gerrit.DoctorInput) { in.Label = "Gate" }, "has no label Gate", "label:Gate=MAX", false},
		{"a vote that the label does not have", func(_ string, in *gerrit.DoctorInput) { in.Votes = append(in.Votes, 3) }, "the site votes Verified+3", "votes in the site file", false},
		{"a vote that is too low", func(_ string, in *gerrit.DoctorInput) { in.Passed = 1 }, "is not met by Verified+1", "pipelines.gate.votes.passed", false},
		{"a requirement of another vote", func(p string, _ *gerrit.DoctorInput) { requirement(p, "label:Verified=1") }, "is not met by Verified+2", "pipelines.gate.votes.passed", false},
		{"no requirement", func(p string, _ *gerrit.DoctorInput) { requirement(p, "-label:Verified=MIN") }, "no submit requirement of change", "past the gate", true},
		{"no label to approve by", func(_ string, in *gerrit.DoctorInput) { in.Approve = map[string]int{"Ship": 1} }, "nobody can vote Ship+1", "pipelines.gate.approve", false},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			p := s.project(t)
			merged := s.propose(t, p, "main", "Has merged", 0, nil)
			s.approve(t, merged)
			s.vote(t, "gate", merged, map[string]int{"Verified": 2})
			s.do(t, "gate", "POST", fmt.Sprintf("/changes/%d/submit", merged), nil, nil)
			open := s.propose(t, p, "main", "Is open", 0, nil)
			in := gerrit.DoctorInput{Label: "Verified", Votes: []int{-2, -1, 1, 2}, Passed: 2, Approve: map[string]int{"Workflow": 1}, Projects: []string{p}}
			c.spoil(p, &in)
			look := func() string {
				var all strings.Builder
				for _, n := range []int{merged, open} {
					status, text := s.try(t, "admin", "GET", fmt.Sprintf("/changes/%d/detail", n), nil)
					fmt.Fprintln(&all, status, string(text))
				}
				return all.String()
			}
			before := look()
			found := s.client(t, "gate").Doctor(ctx, in)
			if after := look(); after != before {
				t.Errorf("it changed something:\n%s\n%s", before, after)
			}
			switch {
			case c.want == "" && len(found) != 0:
				t.Errorf("%v", found)
			case c.want != "" && (len(found) != 1 || !strings.Contains(found[0].What, c.want) || !strings.Contains(found[0].Mend, c.mend) || found[0].Doubt != c.doubt):
				t.Errorf("%+v", found)
			}
			in.ReadOnly = true
			if found := s.client(t, "gate").Doctor(ctx, in); c.name == "no right to vote" && len(found) != 0 {
				t.Errorf("a gate that only observes: %v", found)
			}
		})
	}
	p := s.project(t)
	in := gerrit.DoctorInput{Label: "Verified", Votes: []int{1, 2}, Passed: 2, Projects: []string{p}}
	if found := s.client(t, "gate").Doctor(ctx, in); len(found) != 2 || !found[0].Doubt || !found[1].Doubt {
		t.Errorf("a project without changes: %+v", found)
	}
}
