package report

import (
	"strings"
	"testing"
	"time"

	"sluice/internal/gate"
	"sluice/internal/job"
)

func facts(kind gate.ReportKind, jobs ...Job) Facts {
	return Facts{URL: "http://s/", Gate: true, Buildset: 7, Report: gate.Report{Kind: kind}, Jobs: jobs}
}

func has(t *testing.T, text string, words ...string) {
	t.Helper()
	at := 0
	for _, w := range words {
		i := strings.Index(text[at:], w)
		if i < 0 {
			t.Errorf("no %q, in this order, in\n%s", w, text)
			return
		}
		at += i + len(w)
	}
}

// A failure begins with the outcome, and the first finding follows at once with
// a link to its line; then the jobs.
func TestFailure(t *testing.T) {
	f := facts(gate.ReportFailed,
		Job{ID: 1, Name: "build a", Stage: job.StageBuild, State: "failed", Voting: true, Took: 1200 * time.Millisecond,
			Finding: &job.Finding{File: "src/a.c", Line: 3, Message: "'x' undeclared", LogLine: 40}},
		Job{ID: 2, Name: "install a", Stage: job.StageInstall, State: "cancelled", Voting: true, Cause: "not run: build a failed"},
		Job{ID: 3, Name: "lint a", Stage: job.StageLint, State: "failed", Finding: &job.Finding{Message: "ugly"}})
	has(t, Message(f), "Gate failed.", "src/a.c:3: 'x' undeclared", "http://s/job/1#L40", "- build a: failed in 1.2 s", "not run: build a failed", "(non-voting)", "http://s/buildset/7")
}

// Who is shown: what votes before what does not, a failure before what could not be done, in the stages' order.
func TestFirstFailure(t *testing.T) {
	jobs := []Job{
		{Name: "lint", Stage: job.StageLint, State: "failed"},
		{Name: "systest", Stage: job.StageSystest, State: "failed", Voting: true},
		{Name: "lost", Stage: job.StageBuild, State: "error", Voting: true},
		{Name: "install", Stage: job.StageInstall, State: "failed", Voting: true},
	}
	for _, want := range []string{"install", "systest", "lost", "lint"} {
		got := FirstFailure(jobs)
		if got == nil || got.Name != want {
			t.Fatalf("shown is %+v, not %s", got, want)
		}
		for i := range jobs {
			if jobs[i].Name == want {
				jobs[i].State = "passed"
			}
		}
	}
	if got := FirstFailure(jobs); got != nil {
		t.Errorf("shown is %+v", got)
	}
}

func TestConflict(t *testing.T) {
	f := facts(gate.ReportConflict)
	f.Report.Conflict, f.With = &gate.Conflict{Files: []string{"src/a.c"}}, "12 (Say hello)"
	has(t, Message(f), "does not merge", "change 12 (Say hello)", "src/a.c")
	f.WithMerged = true
	has(t, Message(f), "change 12 (Say hello), which has merged; rebase it")
	f.With = ""
	has(t, Message(f), "does not merge", "the branch as it is now", "src/a.c")
	f.Report.Conflict = &gate.Conflict{Text: "not a fast-forward"}
	has(t, Message(f), "not a fast-forward")
}

// Beside a failed job stands how it does without the change.
func TestRed(t *testing.T) {
	f := facts(gate.ReportRed,
		Job{ID: 1, Name: "build a", State: "failed", Voting: true, Took: 2 * time.Second, Evidence: gate.EvidenceRed, EvidenceJob: 9},
		Job{ID: 2, Name: "lint a", State: "passed", Voting: true})
	f.Report.Reason = "build a fails on the branch itself since 2026-01-05 12:00 UTC"
	has(t, Message(f), "Nobody is blamed: build a fails on the branch itself since 2026-01-05 12:00 UTC. This change keeps its place",
		"- build a: failed in 2.0 s http://s/job/1; it fails on the branch itself too http://s/job/9\n", "- lint a")
	f.Gate = false
	has(t, Message(f), "Check has nothing against this change: build a fails")
	f = facts(gate.ReportFailed, Job{ID: 1, Name: "build a", State: "failed", Voting: true, Evidence: gate.EvidenceAbsent})
	has(t, Message(f), "Gate failed.", "http://s/job/1; the branch has no such job yet\n")
}

func TestWordsForEveryKind(t *testing.T) {
	for _, k := range []gate.ReportKind{
		gate.ReportStarted, gate.ReportPassed, gate.ReportMerged, gate.ReportFailed, gate.ReportConflict, gate.ReportRefused,
		gate.ReportDequeued, gate.ReportError, gate.ReportBypassed, gate.ReportPublished, gate.ReportRed,
	} {
		for _, inGate := range []bool{true, false} {
			f := facts(k)
			f.Gate, f.Report.Reason = inGate, "because of it."
			text := Message(f)
			if strings.Contains(text, "..") || strings.Contains(text, "%!") || !strings.Contains(text, "because of it") && k != gate.ReportPassed && k != gate.ReportConflict {
				t.Errorf("%s: %s", k, text)
			}
		}
	}
	f := facts(gate.ReportPassed)
	f.Repositories = map[string]string{"kilo/el-9": "http://s/test/7/kilo/el-9/", "juno/deb": "http://s/test/7/juno/deb/"}
	has(t, Message(f), "Gate passed.", "juno/deb: http://s/test/7/juno/deb/", "kilo/el-9")
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		90 * time.Millisecond: "0.1 s", 12 * time.Second: "12 s", 200 * time.Second: "3 min 20 s", 3*time.Hour + 5*time.Minute: "3 h 5 min",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
}
