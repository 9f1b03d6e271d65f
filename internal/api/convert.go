package api

import (
	"fmt"
	"strings"
	"time"

	contract "sluice/api"
	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/report"
)

// each converts a list; the result is never nil, so that it is [] in JSON.
func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, a := range in {
		out = append(out, f(a))
	}
	return out
}

// listed is in, never nil.
func listed[T any](in []T) []T {
	return each(in, func(v T) T { return v })
}

func changeID(gerrit string, number int) gate.ChangeID {
	return gate.ChangeID(fmt.Sprintf("%s~%d", gerrit, number))
}

// checkQueue names the queue in which a change is checked.
func checkQueue(id gate.ChangeID) string { return "check/" + string(id) }

// ofGerrit gives the name of the Gerrit in a change's id.
func ofGerrit(id gate.ChangeID) string {
	name, _, _ := strings.Cut(string(id), "~")
	return name
}

// plainProject is a branch's project without the Gerrit's name.
func plainProject(l gate.Branch) string {
	_, name, ok := strings.Cut(l.Project, ":")
	if !ok {
		return l.Project
	}
	return name
}

// refs shows changes at their patch sets.
func (k known) refs(in []gate.Ref) []contract.ChangeRef {
	return each(in, func(r gate.Ref) contract.ChangeRef {
		c := k[r.ID]
		return contract.ChangeRef{
			ID: string(r.ID), Gerrit: ofGerrit(r.ID), Number: r.Number, PatchSet: r.PatchSet, Revision: r.Revision,
			Project: plainProject(r.Branch), Branch: r.Branch.Branch, Subject: c.Subject, Owner: c.Owner, URL: c.URL,
		}
	})
}

func note(n *gate.Note) *contract.Note {
	if n == nil {
		return nil
	}
	return &contract.Note{Who: n.Who, Why: n.Why, At: n.At}
}

func reason(r gate.Reason) contract.Reason {
	out := contract.Reason{Text: r.Text, Who: r.Who, Change: string(r.Change), Job: r.Job, Next: r.Next, Children: each(r.Children, reason)}
	if gate.Hidden(r.Change) {
		out.Change = ""
	}
	return out
}

func finding(f job.Finding) contract.Finding {
	severity := contract.FindingSeverity(f.Severity)
	if !severity.Valid() {
		severity = "error"
	}
	return contract.Finding{
		Severity: severity, File: f.File, Line: f.Line, Message: f.Message, LogLine: f.LogLine,
		Excerpt: listed(f.Excerpt), Rule: f.Rule, Text: f.String(),
	}
}

func firstFinding(f *job.Finding) *contract.Finding {
	if f == nil {
		return nil
	}
	out := finding(*f)
	return &out
}

func conflict(c *gate.Conflict) *contract.Conflict {
	if c == nil {
		return nil
	}
	return &contract.Conflict{Files: listed(c.Files), With: string(c.With), Text: c.Text}
}

// jobSummary shows a job; now is until when a running one has taken. One that is
// to be tried again takes no time while it waits.
func (s *server) jobSummary(v record.JobView) contract.JobSummary {
	out := contract.JobSummary{
		ID: v.ID, Name: v.Name, Stage: contract.Stage(v.Stage), Package: v.Package, Target: v.Target,
		Architecture: v.Architecture, Voting: v.Voting, State: contract.JobState(v.State), Reused: v.Reused,
		Attempt: v.Attempts, WaitsFor: v.WaitsFor, Cause: v.Cause, Finding: firstFinding(v.Finding),
		StartedAt: v.StartedAt, EndedAt: v.EndedAt, EvidenceJob: v.EvidenceJob,
	}
	words := report.Job{State: v.State, Cause: v.Cause, Reused: v.Reused, Evidence: v.Evidence}
	if v.StartedAt != nil && (v.EndedAt != nil || v.State == "running") {
		end := s.Now()
		if v.EndedAt != nil {
			end = *v.EndedAt
			words.Took = end.Sub(*v.StartedAt)
		}
		took := max(end.Sub(*v.StartedAt), 0).Seconds()
		out.Took = &took
	}
	out.Word, out.Without = report.Word(words), optional(report.Without(words))
	return out
}

// view is a job's row as its summary is made of it.
func view(j record.Job) record.JobView {
	v := record.JobView{
		ID: j.ID, Buildset: j.Buildset, Name: j.Name, Stage: j.Stage, Package: j.Package, Target: j.Target,
		Architecture: j.Architecture, Voting: j.Voting, State: j.State, WaitsFor: j.WaitsFor, Cause: j.Cause,
		Reused: j.ReusedFrom != nil, Attempts: j.Attempts, StartedAt: j.StartedAt, EndedAt: j.EndedAt,
		Evidence: j.Evidence, EvidenceJob: j.EvidenceJob,
	}
	if j.Result != nil {
		v.Finding = j.Result.First()
	}
	return v
}

// buildset shows a buildset with its jobs. Its finding is what people are shown
// first: of the planning, or of the first failure.
func (s *server) buildset(b record.Buildset, jobs []record.JobView) *contract.BuildsetSummary {
	out := &contract.BuildsetSummary{
		ID: b.ID, Number: int64(b.Serial), State: contract.BuildsetState(b.State), Broken: b.Broken,
		Conflict: conflict(b.Conflict), Findings: each(b.Findings, finding), Jobs: each(jobs, s.jobSummary),
		CreatedAt: b.CreatedAt, EndedAt: b.EndedAt, LandedAt: b.LandedAt, PublishedAt: b.PublishedAt,
	}
	if len(b.Findings) > 0 {
		out.Finding = firstFinding(job.Result{Findings: b.Findings}.First())
		return out
	}
	words := each(jobs, func(v record.JobView) report.Job {
		return report.Job{Stage: v.Stage, State: v.State, Voting: v.Voting, Finding: v.Finding}
	})
	if f := report.FirstFailure(words); f != nil {
		out.Finding = firstFinding(f.Finding)
	}
	return out
}

// pipeline is the word for a kind of queue.
func pipeline(queue string) string {
	if strings.HasPrefix(queue, "check/") {
		return "check"
	}
	return "gate"
}

func seconds(d time.Duration) float64 { return d.Seconds() }

// optional is nil for a zero value.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
