package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/api"
)

// names says which changes an item or a buildset is about.
func names(changes []api.ChangeRef) string {
	var out []string
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s/%d %s", c.ID, c.PatchSet, c.Subject))
	}
	return strings.Join(out, " + ")
}

func showQueue(t *table, q api.Queue) {
	lanes, called := "", map[int64]string{}
	if q.Lanes != nil {
		lanes = lanesInWords(*q.Lanes)
		for _, l := range *q.Lanes {
			called[l.ID] = l.Name
		}
	}
	t.line("%s: %d items, window %d%s", q.Name, len(q.Items), q.Window, lanes)
	if q.Paused != nil {
		t.line("paused by %s at %s: %s", q.Paused.Who, q.Paused.At.UTC().Format("2006-01-02 15:04 MST"), q.Paused.Why)
	}
	for _, it := range q.Items {
		what := names(it.Changes)
		if it.Restricted {
			what = "(restricted)"
		}
		buildset := ""
		if it.Buildset != nil {
			buildset = fmt.Sprintf("buildset/%d", it.Buildset.ID)
		}
		estimate := ""
		if it.Estimate != nil {
			estimate = merges(*it.Estimate, time.Now())
		}
		cells := []string{fmt.Sprint(it.Place), what, it.Word, buildset, estimate}
		if q.Lanes != nil {
			lane := ""
			if it.Lane != nil {
				lane = called[*it.Lane]
			}
			cells = slices.Insert(cells, 1, lane)
		}
		t.row(cells...)
	}
}

// lanesInWords says behind the window how many lanes have one, and names those of
// several items, the longest first.
func lanesInWords(lanes []api.Lane) string {
	if len(lanes) < 2 {
		return ""
	}
	s := fmt.Sprintf(" in each of %d lanes", len(lanes))
	several := slices.DeleteFunc(slices.Clone(lanes), func(l api.Lane) bool { return l.Items < 2 })
	slices.SortStableFunc(several, func(a, b api.Lane) int { return b.Items - a.Items })
	for i, l := range several[:min(len(several), 5)] {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		s += fmt.Sprintf("%s%d of %s", sep, l.Items, l.Name)
	}
	return s
}

func showChange(t *table, c api.Change) {
	s := c.Change
	t.line("%s/%d  %s", s.ID, s.PatchSet, s.Subject)
	t.line("%s, branch %s, by %s, %s", s.Project, s.Branch, s.Owner, s.Status)
	t.line("%s", s.URL)
	for _, p := range c.Why {
		t.head("%s", p.Pipeline)
		showReason(t, p.Reason, "  ")
	}
	for _, h := range c.History {
		result := h.Result
		if result == "" {
			result = "in the queue"
		}
		if h.Reason != "" {
			result += ": " + h.Reason
		}
		t.head("%s, item %d of %s: %s", h.Pipeline, h.Item, h.Queue, result)
		for _, b := range h.Buildsets {
			showJobs(t, b)
		}
	}
	if len(c.Commands) > 0 {
		t.head("Commands")
	}
	for _, d := range c.Commands {
		t.row(d.At.UTC().Format("2006-01-02 15:04"), d.Verb, d.Who, d.Why, d.Answer)
	}
}

// showJobs writes a buildset's jobs, with its first finding.
func showJobs(t *table, b api.BuildsetSummary) {
	t.line("  buildset/%d %s %s", b.ID, b.State, b.Broken)
	if b.Conflict != nil {
		with := b.Conflict.With
		if with == "" {
			with = "the branch"
		}
		t.line("  conflict with %s: %s", with, strings.Join(b.Conflict.Files, ", "))
	}
	for _, j := range b.Jobs {
		word := j.Word
		if !j.Voting {
			word += " (non-voting)"
		}
		if j.WaitsFor != "" {
			word += ", " + j.WaitsFor
		}
		t.row("  "+j.Name, word, fmt.Sprintf("job/%d", j.ID))
	}
	if b.Finding != nil {
		t.line("  first finding: %s", b.Finding.Text)
	}
}

func showBuildset(t *table, b api.Buildset) {
	t.line("buildset/%d of item %d in %s: %s", b.Buildset.ID, b.Item, b.Queue, names(b.Changes))
	for _, c := range b.Stack {
		t.line("  on top of %s/%d %s", c.ID, c.PatchSet, c.Subject)
	}
	showJobs(t, b.Buildset)
	if len(b.Packages) > 0 {
		t.head("Packages")
	}
	for _, p := range b.Packages {
		t.row(p.Package, p.Version, p.Target)
	}
	if len(b.Repositories) > 0 {
		t.head("Test repositories")
	}
	for _, r := range b.Repositories {
		t.row(r.Target, r.Address)
	}
}

func showJob(t *table, j api.Job) {
	t.line("job/%d %s: %s", j.Job.ID, j.Job.Name, j.Job.Word)
	t.line("%s", names(j.Changes))
	if j.Job.Cause != "" {
		t.line("%s", j.Job.Cause)
	}
	for _, n := range j.Needs {
		t.row("needs", n.Name, string(n.State), fmt.Sprintf("job/%d", n.ID))
	}
	for _, a := range j.Attempts {
		outcome := string(a.State)
		if a.Outcome != nil {
			outcome = *a.Outcome
		}
		t.row(fmt.Sprintf("attempt %d", a.Number), outcome, a.Worker, a.Cause)
	}
	if len(j.Findings) > 0 {
		t.head("Findings")
	}
	for _, f := range j.Findings {
		t.row(string(f.Severity), f.Text)
	}
	if len(j.Artifacts) > 0 {
		t.head("Artifacts")
	}
	for _, a := range j.Artifacts {
		t.row(a.Name, fmt.Sprint(a.Size), a.Address)
	}
}

func showRepository(t *table, r api.Repository) {
	t.line("%s, %s: %d packages", r.Repository.Name, r.Repository.Address, r.Repository.Packages)
	for _, p := range r.Packages {
		t.row(p.Name, p.Version, p.Architecture)
	}
	t.head("Publications")
	for _, p := range r.Publications {
		mark := ""
		if p.Current {
			mark = "now"
		}
		t.row(fmt.Sprint(p.Serial), p.At.UTC().Format("2006-01-02 15:04:05"), p.Who, p.Why, mark)
	}
	t.head("%s", r.Sources.File)
	t.line("%s", strings.TrimSpace(r.Sources.Text))
}
