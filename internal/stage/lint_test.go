package stage_test

import (
	"strings"
	"testing"

	"sluice/internal/job"
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
