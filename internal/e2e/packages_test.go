package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"sluice/internal/job"
	"sluice/internal/rpm/rpmtest"
)

var (
	packageLine = regexp.MustCompile(`(?m)^Package: (\S+)$`)
	runsLine    = regexp.MustCompile(`(?m)^Depends: (.*)$`)
	dependsLine = regexp.MustCompile(`(?m)^Build-Depends: (.*)$`)
)

// build makes what the tree's packaging declares, at the version that is asked
// for, and says what of our own repositories its build dependencies were.
func (a *attempt) build(ctx context.Context) (job.Result, error) {
	res := job.Result{Outcome: job.Passed, Trace: job.Trace{Served: map[string]job.Served{}}}
	if m := dependsLine.FindStringSubmatch(a.tree["debian/control"]); m != nil {
		for _, name := range strings.Split(m[1], ",") {
			if err := a.serve(ctx, strings.Fields(name)[0], &res.Trace); err != nil {
				return res, err
			}
		}
	}
	if a.spec.Target.Format == job.RPM {
		return res, a.buildRPM(ctx, &res)
	}
	for _, m := range packageLine.FindAllStringSubmatch(a.tree["debian/control"], -1) {
		data, err := makeDeb(m[1], a.spec.Package, a.spec.Version.Full, a.spec.Source.Tree, runNeeds(a.tree["debian/control"]))
		if err != nil {
			return res, err
		}
		if strings.Contains(a.tree["outcome"], "build corrupt") {
			data = data[:len(data)-20]
		}
		_, plain, found := strings.Cut(a.spec.Version.Full, ":")
		if !found {
			plain = a.spec.Version.Full
		}
		art, err := a.put(ctx, fmt.Sprintf("%s_%s_all.deb", m[1], plain), job.BinaryPackage, data)
		if err != nil {
			return res, err
		}
		res.Artifacts = append(res.Artifacts, art)
	}
	return res, nil
}

// runNeeds gives what a control file says that its packages depend on, as far as
// no build adds to it.
func runNeeds(control string) string {
	m := runsLine.FindStringSubmatch(control)
	if m == nil || strings.Contains(m[1], "$") {
		return ""
	}
	return m[1]
}

func (a *attempt) buildRPM(ctx context.Context, res *job.Result) error {
	binary, source := rpmtest.Build(a.w.site.t, rpmtest.Package{
		Name: a.spec.Package, EVR: a.spec.Version.Full + a.spec.Target.Macros["dist"],
		Files: map[string]string{"/usr/share/" + a.spec.Package + "/tree": a.spec.Source.Tree + "\n"},
	})
	for path, kind := range map[string]job.ArtifactKind{binary: job.BinaryPackage, source: job.SourcePackage} {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		art, err := a.put(ctx, filepath.Base(path), kind, data)
		if err != nil {
			return err
		}
		res.Artifacts = append(res.Artifacts, art)
	}
	return nil
}

// install is served the packages under test, each by the test repository.
func (a *attempt) install(ctx context.Context) error {
	if a.spec.Target.Format != job.DEB || a.spec.Stage == job.StageLint {
		return nil
	}
	for _, f := range a.spec.Packages {
		name, _, _ := strings.Cut(f.Name, "_")
		if err := a.serve(ctx, name, &a.made.Trace); err != nil {
			return err
		}
		if got, ok := a.made.Trace.Served[name]; !ok || got.Digest != f.Digest {
			return fmt.Errorf("%s was to be installed as %s, and the repositories have %+v", name, f.Digest, got)
		}
	}
	return nil
}

// serve asks the repositories of the job for a package, as apt would.
func (a *attempt) serve(ctx context.Context, name string, trace *job.Trace) error {
	trace.Asked = append(trace.Asked, name)
	for i := len(a.spec.Repositories) - 1; i >= 0; i-- {
		r := a.spec.Repositories[i]
		if r.Kind == job.Upstream && a.w.site.opt.apt == "" {
			continue
		}
		var index []byte
		if _, err := a.w.fetch(ctx, a.spec.Lease, r.Path+"dists/"+r.Suite+"/main/binary-amd64/Packages", &index); err != nil {
			return err
		}
		if s, ok := stanza(string(index), name); ok {
			trace.Served[name] = job.Served{Version: s["Version"], Digest: job.Digest(s["SHA256"]), Repository: r.Name}
			return nil
		}
	}
	return nil
}

// stanza finds a package in an index.
func stanza(index, name string) (map[string]string, bool) {
	for _, text := range strings.Split(index, "\n\n") {
		fields := map[string]string{}
		for _, line := range strings.Split(text, "\n") {
			if key, value, ok := strings.Cut(line, ": "); ok {
				fields[key] = value
			}
		}
		if fields["Package"] == name {
			return fields, true
		}
	}
	return nil, false
}

var debs sync.Map // what makeDeb made

// makeDeb makes a .deb with dpkg-deb, once for each content.
func makeDeb(name, source, version, tree, depends string) ([]byte, error) {
	key := strings.Join([]string{name, source, version, tree, depends}, " ")
	if data, ok := debs.Load(key); ok {
		return data.([]byte), nil
	}
	dir, err := os.MkdirTemp("", "sluice-e2e-deb-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	doc := filepath.Join(dir, "tree/usr/share/doc", name)
	for _, d := range []string{doc, filepath.Join(dir, "tree/DEBIAN")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: A Person <person@example.com>\nDescription: a test package\n from %s\n", name, version, tree)
	if depends != "" {
		control = "Depends: " + depends + "\n" + control
	}
	if source != name {
		control = "Source: " + source + "\n" + control
	}
	if err := os.WriteFile(filepath.Join(dir, "tree/DEBIAN/control"), []byte(control), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(doc, "tree"), []byte(tree+"\n"), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command("dpkg-deb", "--root-owner-group", "-Znone", "--build", filepath.Join(dir, "tree"), filepath.Join(dir, "out.deb"))
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767614400")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("dpkg-deb: %w\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "out.deb"))
	if err == nil {
		debs.Store(key, data)
	}
	return data, err
}
