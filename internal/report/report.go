// Package report is the words for people: the review comments that say what
// became of a change, so that nobody has to open a log to learn why (R93).
//
// A comment begins with the outcome in a sentence. For a failure the first
// finding follows at once, as a compiler would print it, with a link to that
// very line of the log; then each job with its result, time and link; then the
// test repositories.
package report

import (
	"fmt"
	"sort"
	"strings"
	"time"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
)

// Job is a job as a comment tells of it.
type Job struct {
	ID      int64
	Name    string
	Stage   job.Stage
	State   string
	Voting  bool
	Cause   string
	Finding *job.Finding
	Took    time.Duration
	Reused  bool
	// Evidence, of a failed voting job, says how it does on its base without the
	// item; EvidenceJob is whose result says so, 0 for none.
	Evidence    gate.Evidence
	EvidenceJob int64
}

// Facts are what a comment is made of.
type Facts struct {
	URL      string // of the service, with a slash at the end
	Gate     bool   // else a check
	Queue    string
	Item     int64 // items.id, for links
	Buildset int64
	Report   gate.Report
	Jobs     []Job
	// Findings of planning, where nothing could be run.
	Findings []job.Finding
	// Repositories maps a target to the address of its test repository.
	Repositories map[string]string
	// Conflict with this change, in words: "1234 (Subject)".
	With string
	// WithMerged: that one is on the branch by now.
	WithMerged bool
	// Published are the packages of a merged item.
	Published []Published
	// Changes are the members of an item of several.
	Changes []gate.Ref
	// Confidential: who reads this may not read all that it was tested with. No
	// more than the outcome is said (G25).
	Confidential bool
}

// Published is a package that goes into a released repository.
type Published struct {
	Package, Version string
	Repository       string // its name
	URL              string // its address
}

// Message gives the comment.
func Message(f Facts) string {
	var b strings.Builder
	if f.Confidential {
		f.Report.Reason = ""
		b.WriteString(headline(f))
		b.WriteString("\n\nIt was tested together with a restricted change, so that no more is said here.\n")
		return b.String()
	}
	b.WriteString(headline(f))
	b.WriteString("\n")
	switch {
	case f.Report.Conflict != nil:
		conflict(&b, f)
	case len(f.Findings) > 0:
		findings(&b, f.Findings)
	default:
		if j := FirstFailure(f.Jobs); j != nil {
			failure(&b, f, *j)
		}
	}
	jobs(&b, f)
	for i, p := range f.Published {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- %s %s goes into %s: %s\n", p.Package, p.Version, p.Repository, p.URL)
	}
	repositories(&b, f)
	if f.Buildset != 0 {
		fmt.Fprintf(&b, "\nAll of it: %sbuildset/%d\n", f.URL, f.Buildset)
	}
	return b.String()
}

func headline(f Facts) string {
	name := "Check"
	if f.Gate {
		name = "Gate"
	}
	r := f.Report
	reason := func(s string) string {
		if r.Reason == "" {
			return s + "."
		}
		return s + ": " + strings.TrimRight(r.Reason, ".") + "."
	}
	switch r.Kind {
	case gate.ReportStarted:
		return reason(name + " started")
	case gate.ReportPassed:
		return name + " passed."
	case gate.ReportMerged:
		return reason("Merged by the gate: the packages that were tested are being published")
	case gate.ReportFailed:
		return reason(name + " failed")
	case gate.ReportConflict:
		return name + " failed: the change does not merge."
	case gate.ReportRefused:
		if r.Reason == "" {
			return "Gate failed: Gerrit refused the submit."
		}
		return "Gate failed: Gerrit refused the submit. In its own words: " + r.Reason
	case gate.ReportDequeued:
		return reason("Left the queue")
	case gate.ReportError:
		return reason(name + " has no verdict: something failed that is not in the change")
	case gate.ReportRed:
		return red(f)
	case gate.ReportBypassed:
		return reason("Merged past the gate: what is on the branch now is not what was tested. It is being tested, and published only if it passes")
	case gate.ReportPartial:
		return reason("Merged and published, without the rest of the batch that it was tested with")
	case gate.ReportPublished:
		return reason("Published")
	}
	return reason(string(r.Kind))
}

// red says that nobody is blamed, and what happens next.
func red(f Facts) string {
	why := strings.TrimRight(f.Report.Reason, ".")
	if f.Gate {
		return "Nobody is blamed: " + why + ". This change keeps its place in the queue, and is tested again by itself once something " +
			"else has merged, or a repository or a root has changed. A change that mends the branch passes it by."
	}
	return "Check has nothing against this change: " + why + ". It is checked again with a new patch set, or when it is told to."
}

// FirstFailure gives the job that people are shown: the first voting one that
// failed by itself, in the order of the stages; else one that could not be done.
func FirstFailure(all []Job) *Job {
	order := map[job.Stage]int{}
	for i, s := range job.Stages {
		order[s] = i
	}
	var failed []Job
	for _, j := range all {
		if j.State == "failed" || j.State == "error" {
			failed = append(failed, j)
		}
	}
	sort.SliceStable(failed, func(i, k int) bool {
		a, b := failed[i], failed[k]
		if a.Voting != b.Voting {
			return a.Voting
		}
		if (a.State == "failed") != (b.State == "failed") {
			return a.State == "failed"
		}
		return order[a.Stage] < order[b.Stage]
	})
	if len(failed) == 0 {
		return nil
	}
	return &failed[0]
}

func failure(b *strings.Builder, f Facts, j Job) {
	fmt.Fprintf(b, "\n%s\n", j.Name)
	switch {
	case j.Finding != nil:
		fmt.Fprintf(b, "\n    %s\n", indent(j.Finding.String()))
		if j.Finding.LogLine > 0 {
			fmt.Fprintf(b, "\n%sjob/%d#L%d\n", f.URL, j.ID, j.Finding.LogLine)
		}
	case j.Cause != "":
		fmt.Fprintf(b, "\n    %s\n\n%sjob/%d\n", indent(j.Cause), f.URL, j.ID)
	default:
		fmt.Fprintf(b, "\n%sjob/%d\n", f.URL, j.ID)
	}
}

func indent(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") }

func findings(b *strings.Builder, all []job.Finding) {
	b.WriteString("\n")
	for i, x := range all {
		if i == 10 {
			fmt.Fprintf(b, "    … and %d more\n", len(all)-i)
			break
		}
		fmt.Fprintf(b, "    %s\n", indent(x.String()))
	}
}

func conflict(b *strings.Builder, f Facts) {
	c := f.Report.Conflict
	with := "the branch as it is now; rebase it"
	if f.With != "" {
		with = "change " + f.With + ", which is ahead of it in the queue"
		if f.WithMerged {
			with = "change " + f.With + ", which has merged; rebase it"
		}
	}
	if len(c.Files) == 0 {
		fmt.Fprintf(b, "\n    %s\n", indent(c.Text))
		return
	}
	fmt.Fprintf(b, "\nIt conflicts with %s:\n\n", with)
	for i, file := range c.Files {
		if i == 20 {
			fmt.Fprintf(b, "    … and %d more\n", len(c.Files)-i)
			break
		}
		fmt.Fprintf(b, "    %s\n", file)
	}
}

func jobs(b *strings.Builder, f Facts) {
	if len(f.Jobs) == 0 || f.Report.Kind == gate.ReportStarted {
		return
	}
	b.WriteString("\n")
	for _, j := range f.Jobs {
		fmt.Fprintf(b, "- %s: %s", j.Name, Word(j))
		if !j.Voting {
			b.WriteString(" (non-voting)")
		}
		fmt.Fprintf(b, " %sjob/%d", f.URL, j.ID)
		if words := Without(j); words != "" {
			b.WriteString("; " + words)
			if j.EvidenceJob != 0 {
				fmt.Fprintf(b, " %sjob/%d", f.URL, j.EvidenceJob)
			}
		}
		b.WriteString("\n")
	}
}

// Without says how a failed job does on the branch itself, "" where that is not known.
func Without(j Job) string {
	if j.State != "failed" {
		return ""
	}
	return map[gate.Evidence]string{
		gate.EvidenceGood:    "it passes without this change",
		gate.EvidenceRed:     "it fails on the branch itself too",
		gate.EvidenceAbsent:  "the branch has no such job yet",
		gate.EvidenceUnknown: "whether it fails on the branch itself could not be found out",
		gate.EvidenceRunning: "it is being run on the branch itself",
	}[j.Evidence]
}

// Word says a job's result and time.
func Word(j Job) string {
	word := strings.ReplaceAll(j.State, "_", " ")
	switch {
	case j.Reused:
		return word + " before, on the same inputs"
	case j.Took > 0 && (j.State == "passed" || j.State == "failed"):
		return fmt.Sprintf("%s in %s", word, Duration(j.Took))
	case strings.HasPrefix(j.Cause, record.NotRun):
		return j.Cause
	case j.State == "error" && j.Cause != "":
		return "could not be done: " + j.Cause
	}
	return word
}

// Duration is a time span as people say it: "1.2 s", "3 min 20 s".
func Duration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

func repositories(b *strings.Builder, f Facts) {
	if len(f.Repositories) == 0 {
		return
	}
	var targets []string
	for t := range f.Repositories {
		targets = append(targets, t)
	}
	sort.Strings(targets)
	b.WriteString("\nTest repository:\n")
	for _, t := range targets {
		fmt.Fprintf(b, "- %s: %s\n", t, f.Repositories[t])
	}
}
