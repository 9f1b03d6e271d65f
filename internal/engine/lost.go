package engine

import (
	"context"
	"fmt"
	"strings"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/report"
)

// lookBelow ends the waiting of a check for packages that will not come: those
// of a change that it needs, which does not build, or whose own check has ended
// before it did. Where the need is another one by now (it has merged, or is
// checked anew) the check begins anew on that; else it has no verdict, and says
// why. In a gate it is the decision that moves those behind what fails (G9).
func (e *Engine) lookBelow(ctx context.Context, b record.Buildset) (anew bool, err error) {
	if !isCheck(b.Queue) {
		return false, nil
	}
	lost, err := e.Store.LostNeeds(ctx, b.ID)
	if err != nil {
		return false, err
	}
	for _, l := range lost {
		why, err := e.whyLost(ctx, l)
		if err != nil {
			return false, fmt.Errorf("what job %d waits for: %w", l.Job, err)
		}
		if why == "" {
			e.Log.Info("a check begins anew: what it needs is another one now", "buildset", b.ID, "queue", b.Queue)
			return true, e.Store.BaseMoved(ctx, b.ID)
		}
		if err := e.Store.GiveUp(ctx, l.Job, record.Lacks+why); err != nil {
			return false, err
		}
	}
	return false, nil
}

// whyLost says, with the number of the change in front, why a job will not get
// the packages that it waits for; "" where there are others to wait for.
func (e *Engine) whyLost(ctx context.Context, l record.LostNeed) (string, error) {
	need, err := e.Store.Job(ctx, l.Need)
	if err != nil {
		return "", err
	}
	below, err := e.Store.Buildset(ctx, *need.Buildset)
	if err != nil {
		return "", err
	}
	ref := below.Changes[0]
	anew, err := e.isOtherNow(ctx, below, ref)
	if anew || err != nil {
		return "", err
	}
	jobs, err := e.Store.BuildsetJobs(ctx, below.ID)
	if err != nil {
		return "", err
	}
	var builds []report.Job
	for _, j := range jobs {
		if j.Target == need.Target && (j.Stage == job.StageBuild || j.Stage == job.StagePublish) {
			builds = append(builds, ReportJob(j))
		}
	}
	return fmt.Sprintf("%d, which this one needs, %s", ref.Number, notBuilt(report.FirstFailure(builds))), nil
}

// isOtherNow reports whether a check of what a change needs would stand on
// something else now than on this buildset of it.
func (e *Engine) isOtherNow(ctx context.Context, below record.Buildset, ref gate.Ref) (bool, error) {
	if !isCheck(below.Queue) {
		return false, nil
	}
	c, err := e.Store.Change(ctx, ref.ID)
	if err != nil || c.Status != gate.Open || c.PatchSet != ref.PatchSet {
		return err == nil, err
	}
	newest, err := e.Store.CheckBuildset(ctx, ref)
	return newest.ID > below.ID, err
}

// notBuilt says of a change's first job that did not pass why there are no
// packages of it; nil: it was stopped before one failed.
func notBuilt(j *report.Job) string {
	if j == nil {
		return "has none of its packages: its check was stopped before they were built"
	}
	why := strings.TrimPrefix(j.Cause, record.NotRun)
	if j.Finding != nil {
		why = j.Finding.String()
	}
	if j.State == "failed" {
		return fmt.Sprintf("does not build: %s: %s", j.Name, why)
	}
	return fmt.Sprintf("could not be built: %s: %s", j.Name, why)
}
