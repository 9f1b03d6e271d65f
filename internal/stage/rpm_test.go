package stage_test

import (
	"slices"
	"strings"
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

func TestDerivedRPM(t *testing.T) {
	b := newBench(t, job.RPM)
	spec := b.build(load(t, "hello.txtar"))
	spec.Version = &job.Version{Full: "2.10-1.4", Release: "1.4"}
	got := artifacts(b.passes(spec))
	if got["hello-2.10-1.4.t1.x86_64.rpm"] == "" {
		t.Errorf("the derived release is not built: %v", got)
	}
}

func TestBrokenRPM(t *testing.T) {
	b := newBench(t, job.RPM)
	for name, c := range map[string]struct {
		file, old, new string
		want           job.Finding
	}{
		"compiler":   {"hello.c", "WORDS)", "WORD)", job.Finding{File: "hello.c", Line: 7, Message: "‘WORD’ undeclared"}},
		"tag":        {"hello.spec", "License:", "Licence:", job.Finding{File: "hello.spec", Line: 5, Message: "Unknown tag"}},
		"dependency": {"hello.spec", "BuildRequires: gcc\n", "BuildRequires: gcc\nBuildRequires: libnothere-devel >= 3\n", job.Finding{File: "hello.spec", Line: 11, Message: "BuildRequires: libnothere-devel >= 3: no matching package to install"}},
		"files":      {"hello.spec", "%{_bindir}/hello\n", "", job.Finding{File: "hello.spec", Message: "installed, but in no %files list: /usr/bin/hello"}},
		"patch":      {"words.patch", "-#define WORDS \"hello, world\"", "-#define WORDS \"hello, moon\"", job.Finding{File: "words.h", Message: "FAILED"}},
		"source":     {"hello.spec", "Source1: hello.conf", "Source1: absent.conf", job.Finding{File: "hello.spec", Line: 8, Message: "there is no file absent.conf"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			b.failsWith(b.build(load(t, "hello.txtar").edit(t, c.file, c.old, c.new)), c.want)
		})
	}
}

func TestNotApplicableRPM(t *testing.T) {
	b := newBench(t, job.RPM)
	r := b.run(b.build(load(t, "hello.txtar").edit(t, "hello.spec", "Patch0:", "ExclusiveArch: s390x aarch64\nPatch0:")))
	if r.Outcome != job.NotApplicable || !strings.Contains(r.Cause, "ExclusiveArch: s390x aarch64") {
		t.Errorf("%s: %s", r.Outcome, r.Cause)
	}
}

func TestInstallRPM(t *testing.T) {
	b := newBench(t, job.RPM)
	tr := load(t, "hello.txtar")
	built := b.passes(b.build(tr))
	spec := b.installs(tr, built)
	r := b.passes(spec)
	if s := r.Trace.Served["hello"]; s.Version != "2.10-1.t1" || s.Repository != "test" || s.Digest != artifacts(built)["hello-2.10-1.t1.x86_64.rpm"] {
		t.Errorf("trace %v", r.Trace)
	}
	next := b.build(tr)
	next.Version = &job.Version{Full: "2.10-1.1", Release: "1.1"}
	up := b.installs(tr, b.passes(next), b.repository(job.Released, "released", 50, built))
	up.Stage, up.Released = job.StageUpgrade, map[string]string{"hello": "2.10-1.t1"}
	b.passes(up)

	tr.edit(t, "hello.spec", "BuildRequires: make", "BuildRequires: make\nRequires: libnothere >= 1")
	b.failsWith(b.installs(tr, b.passes(b.build(tr))), job.Finding{Message: "nothing provides libnothere >= 1 needed by hello-2.10-1.t1.x86_64"})
}

// What a spec asks for while it is built is installed, too.
func TestGeneratedBuildRequires(t *testing.T) {
	b := newBench(t, job.RPM)
	tr := load(t, "hello.txtar").edit(t, "hello.spec", "%build\n", "%generate_buildrequires\necho python3-setuptools\n\n%build\npython3 -c 'import setuptools'\n")
	r := b.passes(b.build(tr))
	if r.Trace.Served["python3-setuptools"].Digest == "" || !slices.Contains(r.Trace.Asked, "python3-setuptools") {
		t.Errorf("trace %v", r.Trace)
	}
	tr.edit(t, "hello.spec", "echo python3-setuptools\n", "echo libnothere-devel\n")
	b.failsWith(b.build(tr), job.Finding{File: "hello.spec", Line: 27, Message: "BuildRequires: libnothere-devel: no matching package to install"})
}

// Two packages with one file cannot both be installed.
func TestFileConflictRPM(t *testing.T) {
	b := newBench(t, job.RPM)
	tr := load(t, "hello.txtar")
	other := load(t, "hello.txtar").edit(t, "hello.spec", "Name: hello", "Name: hallo")
	for _, f := range []string{"Source0: https://example.com/%{name}-%{version}.tar.gz"} {
		other.edit(t, "hello.spec", f, "Source0: hallo.tar.gz")
	}
	first := b.passes(b.build(tr))
	spec := b.build(other.edit(t, "hello.spec", "BuildRequires: gcc", "Requires: hello\nBuildRequires: gcc"))
	spec.Source.Spec = "hello.spec"
	second := b.passes(spec)
	test := b.installs(tr, second, b.repository(job.Ahead, "ahead", 10, first))
	test.Scripts = nil
	b.failsWith(test, job.Finding{Message: "file /usr/bin/hello conflicts between attempted installs of"})
}
