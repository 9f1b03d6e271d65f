package engine

import (
	"context"
	"strings"
	"testing"

	"sluice/internal/job"
	"sluice/internal/plan/plantest"
	"sluice/internal/record"
)

// rootJob is a store of one job, which makes a root.
type rootJob struct {
	Store
	kept job.Result
}

func (s *rootJob) Attempt(context.Context, string) (record.Attempt, error) {
	return record.Attempt{}, nil
}

func (s *rootJob) Job(context.Context, int64) (record.Job, error) {
	return record.Job{Stage: job.StageRoot}, nil
}

func (s *rootJob) Finish(_ context.Context, _ string, res job.Result, _ map[string]*record.PackageInfo) error {
	s.kept = res
	return nil
}

// A root that passes without an archive would leave all that need it without
// one; without a digest of its packages it would pass for any other such root.
func TestFinishDoubtsTheWorker(t *testing.T) {
	s := &rootJob{}
	e := &Engine{Store: s, Blobs: anyBlob{}}
	archive := []job.Artifact{{Kind: job.RootArchive, File: job.File{Name: "root.tar.zst", Digest: plantest.Hash("root"), Size: 1}}}
	packages := plantest.Hash("packages")
	long := "x" + strings.Repeat("é", maxCause)
	for _, c := range []struct {
		said, kept job.Result
	}{
		{job.Result{Outcome: job.Passed}, job.Result{Outcome: job.Error, Cause: "the worker did not upload the root"}},
		{job.Result{Outcome: job.Passed, Artifacts: archive}, job.Result{Outcome: job.Error, Cause: `the worker did not say which packages the root holds: "" is no digest`}},
		{job.Result{Outcome: job.Passed, Artifacts: archive, RootDigest: "all of them"}, job.Result{Outcome: job.Error, Cause: `the worker did not say which packages the root holds: "all of them" is no digest`}},
		{job.Result{Outcome: job.Passed, Artifacts: archive, RootDigest: packages}, job.Result{Outcome: job.Passed, RootDigest: packages}},
		{job.Result{Outcome: job.Failed, Cause: "why"}, job.Result{Outcome: job.Failed, Cause: "why"}},
		{job.Result{Outcome: job.Error, Cause: long}, job.Result{Outcome: job.Error, Cause: long[:maxCause-1]}},
	} {
		if err := e.Finish(t.Context(), "lease", c.said); err != nil {
			t.Fatal(err)
		}
		if s.kept.Outcome != c.kept.Outcome || s.kept.Cause != c.kept.Cause || s.kept.RootDigest != c.kept.RootDigest {
			t.Errorf("%s, %d bytes: kept as %s: %.60s (%d bytes)", c.said.Outcome, len(c.said.Cause), s.kept.Outcome, s.kept.Cause, len(s.kept.Cause))
		}
	}
}
