package stage_test

import (
	"testing"
	"time"

	"sluice/internal/job"
	"sluice/internal/sandbox/roottest"
)

// A root is made, uploaded, and named by its packages: made twice, it has one name.
func TestMakeRoot(t *testing.T) {
	b := newBench(t, job.RPM)
	recipe := roottest.RPMInstall
	spec := job.Spec{Job: 5, Stage: job.StageRoot, Target: b.target(), Recipe: &recipe, Repositories: b.repos, Limits: job.Limits{Timeout: 5 * time.Minute}}
	r := b.passes(spec)
	if len(r.Artifacts) != 1 || r.Artifacts[0].Kind != job.RootArchive || r.Artifacts[0].Size < 1<<20 || r.RootDigest != b.bare.Digest {
		t.Errorf("%v %s, want %s", r.Artifacts, r.RootDigest, b.bare.Digest)
	}
	recipe.Include = []string{"libnothere"}
	if r := b.run(spec); r.Outcome != job.Error || len(r.Artifacts) != 0 {
		t.Errorf("%s: %s %v", r.Outcome, r.Cause, r.Artifacts)
	}
}
