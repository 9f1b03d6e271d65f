package stage_test

import (
	"testing"

	"sluice/internal/job"
)

func TestBuildDEB(t *testing.T) {
	b := newBench(t, job.DEB)
	spec := b.build(load(t, "hello.txtar"))
	r := b.passes(spec)
	got := artifacts(r)
	for _, want := range []string{"hello_2.10-1.dsc", "hello_2.10.orig.tar.gz", "hello_2.10-1.debian.tar.xz", "hello_2.10-1_amd64.deb",
		"hello-data_2.10-1_all.deb", "hello-dbgsym_2.10-1_amd64.deb", "hello_2.10-1_amd64.changes", "hello_2.10-1_amd64.buildinfo"} {
		if got[want] == "" {
			t.Errorf("no artifact %s", want)
		}
	}
	if r.Trace.Served["debhelper"].Digest == "" {
		t.Errorf("debhelper is not in the trace: %v", r.Trace)
	}
	again := b.passes(spec)
	for name, digest := range artifacts(again, job.BinaryPackage, job.SourcePackage) {
		if got[name] != digest {
			t.Errorf("%s: built twice, and not the same", name)
		}
	}
	if again.Trace.Served["debhelper"] != r.Trace.Served["debhelper"] {
		t.Errorf("a cached layer changes the trace")
	}
}
