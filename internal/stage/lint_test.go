package stage_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/internal/job"
	"sluice/internal/sandbox/roottest"
)

// Only what the released version did not have counts.
func TestLintDEB(t *testing.T) {
	b := newBench(t, job.DEB)
	tr := load(t, "hello.txtar").edit(t, "debian/control", "Standards-Version: 4.6.2\n", "")
	tr["debian/hello.install"] += "bad.sh usr/bin\n"
	tr["bad.sh"] = "#!/nonexistent/interpreter\nexit 0\n"
	built := b.passes(b.build(tr))
	spec := job.Spec{Job: 4, Stage: job.StageLint, Target: b.target(), Root: &b.root, Repositories: b.repos, Packages: files(built)}
	r := b.failsWith(spec, job.Finding{File: "debian/control", Line: 1, Message: "required-field"})
	var errors, all []string
	for _, f := range r.Findings {
		all = append(all, f.String())
		if f.Severity == "error" {
			errors = append(errors, f.Rule)
		}
	}
	t.Logf("%s", strings.Join(all, "\n"))
	if len(errors) == 0 || artifacts(r, job.Report)["lintian.json"] == "" {
		t.Errorf("errors %v, artifacts %v", errors, artifacts(r))
	}
	spec.Known = r.Findings
	if r := b.passes(spec); len(r.Findings) != 0 {
		t.Errorf("known findings are reported again: %v", r.Findings)
	}
}

// lintRepository is the small RPM distribution with rpmlint in it.
func lintRepository(t *testing.T, b *bench) job.Repository {
	t.Helper()
	cache, err := roottest.Cache()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "rpm-distro-lint")
	lock, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		script, err := filepath.Abs("../../scripts/rpm-distro.sh")
		if err != nil {
			t.Fatal(err)
		}
		b.sh(".", fmt.Sprintf("rm -rf %[2]s.part; bash %[1]s %[2]s.part rpmlint; mv %[2]s.part %[2]s", script, dir))
	}
	repo := job.Repository{Kind: job.Upstream, Name: "lint", Path: "/lint/", Format: job.RPM}
	b.mux.Handle(repo.Path, http.StripPrefix(repo.Path, http.FileServer(http.Dir(dir+"/repo"))))
	return repo
}

func TestLintRPM(t *testing.T) {
	b := newBench(t, job.RPM)
	tr := load(t, "hello.txtar").edit(t, "hello.spec", "%files data\n", "%files data\n%attr(0777,root,root) %{_datadir}/hello/words.h\n").edit(t, "hello.spec", "BuildArch: noarch", "")
	built := b.passes(b.build(tr))
	spec := job.Spec{Job: 4, Stage: job.StageLint, Target: b.target(), Root: &b.root, Packages: files(built),
		Repositories: append(b.repos[:1:1], lintRepository(t, b))}
	r := b.run(spec)
	if len(r.Findings) == 0 || artifacts(r, job.Report)["rpmlint.txt"] == "" {
		t.Fatalf("%s: %s %v\n%s", r.Outcome, r.Cause, artifacts(r), tail(b.log))
	}
	if f := r.First(); r.Outcome != job.Failed || !strings.HasPrefix(f.Rule, "rpmlint:") || f.Severity != "error" {
		t.Errorf("%s: first finding %v of %v", r.Outcome, f, r.Findings)
	}
	spec.Known = r.Findings
	if r := b.passes(spec); len(r.Findings) != 0 {
		t.Errorf("known findings are reported again: %v", r.Findings)
	}
}
