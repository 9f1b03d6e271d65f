package stage_test

import (
	"slices"
	"strings"
	"testing"
	"time"

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

// derived makes a build job derive its version.
func derived(s job.Spec, v string) job.Spec {
	s.Version = &job.Version{Full: v}
	return s
}

func TestDerivedDEB(t *testing.T) {
	b := newBench(t, job.DEB)
	spec := derived(b.build(load(t, "hello.txtar")), "2.10-1+sluice4~deb12")
	first := b.passes(spec)
	if artifacts(first)["hello_2.10-1+sluice4~deb12_amd64.deb"] == "" {
		t.Errorf("the derived version is not built: %v", artifacts(first))
	}
	if !strings.Contains(b.log, "  * Greet more warmly\n\n    People asked for it") || strings.Contains(b.log, "Change-Id") {
		t.Error("the changelog entry is not made of the message")
	}
	// The tree has its patches applied, and changes the program under the same
	// upstream version: the released tarball stays, the change becomes a patch.
	changed := load(t, "hello.txtar").edit(t, "words.h", "hello, world", "hello, patched world").edit(t, "hello.c", "return 0", "return 0 + 0")
	next := derived(b.build(changed), "2.10-1+sluice5~deb12")
	next.Repositories = append(slices.Clone(b.repos), b.repository(job.Released, "released", 600, first))
	second := b.passes(next)
	if x, y := artifacts(first)["hello_2.10.orig.tar.gz"], artifacts(second)["hello_2.10.orig.tar.gz"]; x != y {
		t.Errorf("one name for two upstream tarballs: %s %s", x, y)
	}
	if !strings.Contains(b.log, "applied in the tree (1 patches): reversing it") {
		t.Error("the applied series is not seen")
	}
}

func TestBrokenDEB(t *testing.T) {
	b := newBench(t, job.DEB)
	for name, c := range map[string]struct {
		file, old, new string
		want           job.Finding
	}{
		"compiler":   {"hello.c", "WORDS)", "WORD)", job.Finding{File: "hello.c", Line: 7, Message: "‘WORD’ undeclared"}},
		"makefile":   {"Makefile", "\t$(CC)", "        $(CC)", job.Finding{File: "Makefile", Line: 7, Message: "missing separator"}},
		"dependency": {"debian/control", "debhelper-compat (= 13)", "debhelper-compat (= 13),\n libnothere-dev (>= 1)", job.Finding{File: "debian/control", Line: 6, Message: "Build-Depends: libnothere-dev (>= 1) but it is not installable"}},
		"control":    {"debian/control", "Architecture: any", "Architecture any", job.Finding{File: "debian/control", Line: 11, Message: ""}},
		"changelog":  {"debian/changelog", "hello (2.10-1)", "hello 2.10-1", job.Finding{File: "debian/changelog", Message: ""}},
		"rules":      {"debian/rules", "\tdh $@", "\tdh_nothing $@", job.Finding{Message: "dh_nothing"}},
		"test":       {"Makefile", "grep -q world", "grep -q moon", job.Finding{File: "Makefile", Line: 10, Message: "target check: Error 1"}},
		"patch":      {"debian/patches/words.patch", "-#define WORDS \"hello, world\"", "-#define WORDS \"hello, moon\"", job.Finding{File: "debian/patches/words.patch", Message: "neither applied"}},
		"install":    {"debian/hello.install", "usr/bin/hello", "usr/bin/helo", job.Finding{Message: `Cannot find (any matches for) "usr/bin/helo"`}},
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			b.failsWith(b.build(load(t, "hello.txtar").edit(t, c.file, c.old, c.new)), c.want)
		})
	}
}

func TestUnpackedSourcesOnly(t *testing.T) {
	b := newBench(t, job.DEB)
	tr := load(t, "hello.txtar")
	tr["hello_2.10.orig.tar.gz"] = "packed"
	b.failsWith(b.build(tr), job.Finding{File: "hello_2.10.orig.tar.gz", Message: "unpack it"})
	b.failsWith(b.build(tree{"README": "nothing"}), job.Finding{File: "debian/control", Message: "there is no such file"})
	b.failsWith(b.build(tree{"../out": "nothing"}), job.Finding{File: "../out", Message: "leads out of the source tree"})
}

func TestNotApplicableDEB(t *testing.T) {
	b := newBench(t, job.DEB)
	spec := b.build(load(t, "hello.txtar").edit(t, "debian/control", "Architecture: any", "Architecture: arm64 any-mips"))
	spec.Target.Primary = false
	if r := b.run(spec); r.Outcome != job.NotApplicable {
		t.Errorf("%s: %s", r.Outcome, r.Cause)
	}
	// On a second architecture only what depends on it is built.
	spec = b.build(load(t, "hello.txtar"))
	spec.Target.Primary = false
	got := artifacts(b.passes(spec), job.BinaryPackage, job.SourcePackage)
	if len(got) != 2 || got["hello_2.10-1_amd64.deb"] == "" {
		t.Errorf("artifacts %v", got)
	}
}

// installs is an install job for what a build made.
func (b *bench) installs(tr tree, built job.Result, more ...job.Repository) job.Spec {
	b.t.Helper()
	return job.Spec{Job: 2, Stage: job.StageInstall, Package: "hello", Target: b.target(), Source: b.source(tr), Root: &b.bare,
		Repositories: append(append(slices.Clone(b.repos), more...), b.repository(job.Test, "test", map[job.Format]int{job.DEB: 1001, job.RPM: 1}[b.form], built)),
		Packages:     files(built), Scripts: []string{"tests/smoke.sh"}, Limits: job.Limits{Timeout: 10 * time.Minute}}
}

func TestInstallDEB(t *testing.T) {
	b := newBench(t, job.DEB)
	tr := load(t, "hello.txtar")
	built := b.passes(b.build(tr))
	spec := b.installs(tr, built)
	r := b.passes(spec)
	if s := r.Trace.Served["hello"]; s.Version != "2.10-1" || s.Repository != "test" || s.Digest != artifacts(built)["hello_2.10-1_amd64.deb"] {
		t.Errorf("trace %v", r.Trace)
	}
	if len(r.Findings) != 0 {
		t.Errorf("findings %v", r.Findings)
	}

	t.Run("script", func(t *testing.T) {
		b := *b
		b.t = t
		bad := spec
		bad.Source = b.source(load(t, "hello.txtar").edit(t, "tests/smoke.sh", `grep "patched world" ;;`, `grep "patched moon" || { echo "no moon in $SLUICE_VERSION"; exit 7; } ;;`))
		b.failsWith(bad, job.Finding{File: "tests/smoke.sh", Message: "no moon in 2.10-1 (exit status 7)"})
	})
	t.Run("upgrade", func(t *testing.T) {
		b := *b
		b.t = t
		next := b.passes(derived(b.build(tr), "2.10-1+sluice1~deb12"))
		up := b.installs(tr, next, b.repository(job.Released, "released", 600, built))
		up.Stage, up.Released = job.StageUpgrade, map[string]string{"hello": "2.10-1", "hello-data": "2.10-1"}
		b.passes(up)
		up.Released = map[string]string{"hello": ""}
		if r := b.run(up); r.Outcome != job.NotApplicable {
			t.Errorf("%s: %s", r.Outcome, r.Cause)
		}
	})
}

func TestUninstallableDEB(t *testing.T) {
	b := newBench(t, job.DEB)
	tr := load(t, "hello.txtar").edit(t, "debian/control", "Architecture: all\nDepends: ${misc:Depends}", "Architecture: all\nDepends: libnothere (>= 1), ${misc:Depends}")
	tr["debian/hello.postinst"] = "#!/bin/sh\necho the words are missing >&2\nexit 3\n"
	built := b.passes(b.build(tr))
	r := b.failsWith(b.installs(tr, built), job.Finding{Message: "hello-data : Depends: libnothere (>= 1) but it is not installable"})
	if r.Findings[0].Rule != "dependency" {
		t.Errorf("rule %q", r.Findings[0].Rule)
	}
	tr.edit(t, "debian/control", "libnothere (>= 1), ", "")
	built = b.passes(b.build(tr))
	b.failsWith(b.installs(tr, built), job.Finding{Message: "hello: post-installation script subprocess returned error exit status 3: the words are missing"})

	// Once it is released nobody can upgrade from it, and what mends it does not wait for that.
	delete(tr, "debian/hello.postinst")
	next := b.passes(derived(b.build(tr), "2.10-1+sluice1~deb12"))
	up := b.installs(tr, next, b.repository(job.Released, "released", 600, built))
	up.Stage, up.Released = job.StageUpgrade, map[string]string{"hello": "2.10-1"}
	if r := b.run(up); r.Outcome != job.NotApplicable || !strings.Contains(r.Cause, "hello 2.10-1, the released version, cannot be installed: ") {
		t.Errorf("%s: %s", r.Outcome, r.Cause)
	}
	up.Released["hello-data"] = "2.10-1"
	if r := b.passes(up); len(r.Findings) != 1 || r.Findings[0].Rule != "upgrade:released" || r.Findings[0].Severity != "warning" {
		t.Errorf("findings %v", r.Findings)
	}
}
