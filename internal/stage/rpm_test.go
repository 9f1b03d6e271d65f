package stage_test

import (
	"testing"

	"sluice/internal/job"
)

func TestBuildRPM(t *testing.T) {
	b := newBench(t, job.RPM)
	spec := b.build(load(t, "hello.txtar"))
	r := b.passes(spec)
	got := artifacts(r)
	for _, want := range []string{"hello-2.10-1.t1.src.rpm", "hello-2.10-1.t1.x86_64.rpm", "hello-data-2.10-1.t1.noarch.rpm"} {
		if got[want] == "" {
			t.Errorf("no artifact %s: %v", want, got)
		}
	}
	again := b.passes(spec)
	for name, digest := range artifacts(again) {
		if got[name] != digest {
			t.Errorf("%s: built twice, and not the same", name)
		}
	}
}
