package stage

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// verdict is an error that says how an attempt ends.
type verdict struct {
	Outcome  job.Outcome
	Cause    string
	Findings []job.Finding
}

func (v *verdict) Error() string { return string(v.Outcome) + ": " + v.Cause }

var errTimeout = errors.New("the job's time limit was reached")

// outside is a failure for a reason outside the change (G12).
func outside(format string, args ...any) error {
	return &verdict{Outcome: job.Error, Cause: cutText(fmt.Sprintf(format, args...), 500)}
}

// notApplicable ends a job that cannot apply to this target.
func notApplicable(format string, args ...any) error {
	return &verdict{Outcome: job.NotApplicable, Cause: fmt.Sprintf(format, args...)}
}

// isNotApplicable reports whether an error is such an end.
func isNotApplicable(err error) bool {
	var v *verdict
	return errors.As(err, &v) && v.Outcome == job.NotApplicable
}

// fails ends a job with findings; the first is its cause.
func fails(findings ...job.Finding) error {
	v := &verdict{Outcome: job.Failed, Findings: findings}
	for i := range findings {
		if findings[i].Severity == "" {
			findings[i].Severity = "error"
		}
	}
	if f := (job.Result{Findings: findings}).First(); f != nil {
		v.Cause = f.String()
	}
	return v
}

// fail ends a job with one finding of sluice's own, at the present line of the log.
func (a *attempt) fail(rule, file string, line int, format string, args ...any) error {
	f := job.Finding{Severity: "error", Rule: rule, File: file, Line: line, Message: cutText(fmt.Sprintf(format, args...), 500)}
	a.log.Printf("error: %s", f.String())
	f.LogLine = a.log.Line()
	return fails(f)
}

// warn notes a finding that fails nothing.
func (a *attempt) warn(rule, file, format string, args ...any) {
	f := job.Finding{Severity: "warning", Rule: rule, File: file, Message: cutText(fmt.Sprintf(format, args...), 500)}
	a.log.Printf("warning: %s", f.String())
	f.LogLine = a.log.Line()
	a.findings = append(a.findings, f)
}

// judge turns any error into a verdict.
func (a *attempt) judge(ctx context.Context, err error) *verdict {
	var v *verdict
	var limit *sandbox.LimitError
	switch {
	case err == nil:
		return &verdict{Outcome: job.Passed}
	case errors.As(err, &v):
		return v
	case context.Cause(ctx) == errTimeout && a.preparing():
		return &verdict{Outcome: job.Error, Cause: fmt.Sprintf("the worker took longer than the job's time limit, %s, to %s", a.spec.Limits.Timeout.Round(time.Second), a.log.StepName())}
	case context.Cause(ctx) == errTimeout:
		return a.limited(fmt.Sprintf("stopped after %s, the job's time limit", a.spec.Limits.Timeout.Round(time.Second)))
	case ctx.Err() != nil:
		return &verdict{Outcome: job.Cancelled, Cause: "cancelled"}
	case errors.As(err, &limit):
		return a.limited(limit.Error())
	}
	return &verdict{Outcome: job.Error, Cause: cutText(err.Error(), 500)}
}

// preparing reports whether nothing of the change has run yet in the present
// step: a slow worker is no fault of the change's (G12).
func (a *attempt) preparing() bool {
	switch a.log.StepName() {
	case "", stepTree, stepRoot, stepNodes:
		return true
	}
	return a.spec.Stage == job.StageRoot
}

// limited is the end of a job that took more than it may.
func (a *attempt) limited(what string) *verdict {
	seen := a.log.found()
	message := what
	if step := a.log.StepName(); step != "" {
		message += ", in the step “" + step + "”"
	}
	if seen.Last != "" {
		message += "; the last line was: " + cutText(seen.Last, 200)
	}
	f := job.Finding{Severity: "error", Rule: "limit", Message: message, LogLine: seen.Line, Excerpt: seen.Excerpt}
	return &verdict{Outcome: job.Failed, Cause: message, Findings: []job.Finding{f}}
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
