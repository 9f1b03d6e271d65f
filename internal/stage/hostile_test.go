package stage_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/job"
)

// A build that hangs, forks without end, prints without end, or is cancelled
// ends with a clear cause.
func TestHostileBuilds(t *testing.T) {
	b := newBench(t, job.DEB)
	tr := func(rules string) tree {
		tr := load(t, "hello.txtar")
		tr["debian/rules"] = "#!/usr/bin/make -f\n\nclean:\n\t:\n\nbuild binary binary-arch binary-indep build-arch build-indep:\n\t" + rules + "\n"
		return tr.edit(t, "debian/control", "Build-Depends: debhelper-compat (= 13)\n", "")
	}
	t.Run("hangs", func(t *testing.T) {
		b := *b
		b.t = t
		spec := b.build(tr("@echo waiting for the moon; sleep 1000"))
		spec.Limits.Timeout = 6 * time.Second
		r := b.failsWith(spec, job.Finding{Message: "stopped after 6s"})
		if !strings.Contains(r.Cause, "build the binary packages") && !strings.Contains(r.Cause, "waiting") {
			t.Logf("slow machine: %s", r.Cause)
		}
	})
	t.Run("forks", func(t *testing.T) {
		b := *b
		b.t = t
		spec := b.build(tr(`@bomb() { while :; do sleep 100 & done; }; bomb`))
		spec.Limits.Processes = 60
		r := b.run(spec)
		if r.Outcome != job.Failed || !strings.Contains(r.Cause, "60 processes") && !strings.Contains(strings.ToLower(r.Cause), "fork") {
			t.Errorf("%s: %s", r.Outcome, r.Cause)
		}
	})
	t.Run("prints", func(t *testing.T) {
		b := *b
		b.t = t
		spec := b.build(tr(`@yes this goes on and on | head -c 30000000; echo hello.c:3:1: error: the true cause; false`))
		spec.Limits.LogBytes = 1 << 20
		b.failsWith(spec, job.Finding{File: "hello.c", Line: 3, Message: "the true cause"})
		if len(b.log) > 2<<20 || !strings.Contains(b.log, "are not kept") {
			t.Errorf("a log of %d bytes, or no notice", len(b.log))
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		b := *b
		b.t = t
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if r := b.runIn(ctx, b.build(tr("sleep 100"))); r.Outcome != job.Cancelled {
			t.Errorf("%s: %s", r.Outcome, r.Cause)
		}
	})
	t.Run("artifact is a link", func(t *testing.T) {
		b := *b
		b.t = t
		b.failsWith(b.build(tr(`touch debian/files; ln -s /etc/passwd ../x_1_all.deb; dpkg-gencontrol -phello-data -Pdebian/tmp || mkdir -p debian/tmp/DEBIAN && dpkg-gencontrol -phello-data -Pdebian/tmp && dpkg-deb --root-owner-group -b debian/tmp ..`)),
			job.Finding{Message: "x_1_all.deb is not a regular file"})
	})
}

// A repository that is out of reach is no fault of the change (G12).
func TestRepositoryOutOfReach(t *testing.T) {
	b := newBench(t, job.DEB)
	b.mux.HandleFunc("/away/", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "away", http.StatusBadGateway) })
	spec := b.build(load(t, "hello.txtar"))
	spec.Repositories = append(spec.Repositories, job.Repository{Kind: job.Ahead, Name: "away", Path: "/away/", Format: job.DEB, Suite: "bookworm", Components: []string{"main"}, Key: world.key})
	r := b.run(spec)
	if r.Outcome != job.Error || !strings.Contains(r.Cause, "502") {
		t.Errorf("%s: %s", r.Outcome, r.Cause)
	}
	spec = b.build(load(t, "hello.txtar"))
	spec.Source.Archive = "0000"
	if r := b.run(spec); r.Outcome != job.Error {
		t.Errorf("%s: %s", r.Outcome, r.Cause)
	}
}

// A worker that is too slow to have the root ready in time is no fault of the
// change either.
func TestSlowWorker(t *testing.T) {
	b := newBench(t, job.DEB)
	spec := b.build(load(t, "hello.txtar"))
	spec.Limits.Timeout = time.Nanosecond
	if r := b.run(spec); r.Outcome != job.Error || !strings.Contains(r.Cause, "longer than the job's time limit") {
		t.Errorf("%s: %s", r.Outcome, r.Cause)
	}
}
