package config_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sluice/internal/config"
	"sluice/internal/job"
)

func targets(list []config.Target) (names []string) {
	for _, t := range list {
		names = append(names, t.Name())
	}
	return names
}

func TestWhichTargetsAndQueue(t *testing.T) {
	site := load(t, "site.yaml")
	for _, c := range []struct {
		gerrit, project, branch string
		targets                 []string
		queue                   string
	}{
		{"main", "packages/hello", "main", []string{"juno/debian-12", "juno/tiny-1", "kilo/debian-12", "kilo/el-9"}, "main"},
		{"main", "packages/hello", "stable/juno", []string{"juno/debian-12", "juno/tiny-1"}, "main"},
		{"main", "packages/hello", "topic", nil, ""},
		{"main", "packages/a/b", "main", nil, ""}, // * stays within one level
		{"main", "tools/a/b", "main", []string{"kilo/debian-12", "kilo/el-9"}, "tools@main"},
		{"other", "tools/a/b", "main", nil, ""},
		{"main", "docs", "main", nil, "main"}, // gated, and builds nothing
	} {
		if diff := cmp.Diff(c.targets, targets(site.TargetsOf(c.gerrit, c.project, c.branch))); diff != "" {
			t.Errorf("targets of %v (-want +got):\n%s", c, diff)
		}
		key, queue, ok := site.Queue(c.gerrit, c.project, c.branch)
		if key != c.queue || ok != (c.queue != "") || ok && queue.Window != (config.Window{Start: 20, Floor: 3, Ceiling: 100}) {
			t.Errorf("queue of %v: %q, %+v, %v", c, key, queue, ok)
		}
	}
}

// R90: a target that is disabled counts again from the day that is set.
func TestDisabledUntil(t *testing.T) {
	target, ok := load(t, "site.yaml").Target("kilo/el-9")
	if !ok {
		t.Fatal("no target kilo/el-9")
	}
	day := time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC)
	if target.Supported(day.Add(-time.Second)) || !target.Supported(day) {
		t.Errorf("%+v", target.Disabled)
	}
}

func parsePackage(t *testing.T, text string) *config.Package {
	t.Helper()
	pkg, err := config.ParsePackage(config.PackageFile, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

func TestMergeAdds(t *testing.T) {
	site := load(t, "site.yaml")
	pkg := parsePackage(t, `
package: greetd
packaging: dist/
version: declared
targets: [kilo/debian-12, juno/debian-12]
tests: {install: [tests/a.sh], upgrade: [./tests/b.sh]}
scenarios:
  - {name: mine, targets: [juno/debian-12], nodes: [{name: n, install: [greetd]}], script: s.sh}
build: {parallel: 3}
`)
	got, err := config.Merge(site, "main", "packages/greetd", "stable/juno", pkg)
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Effective{
		Package: "greetd", Packaging: "dist", Declared: true, Install: []string{"tests/a.sh"}, Upgrade: []string{"tests/b.sh"}, Parallel: 3,
		Scenarios: []config.EffectiveScenario{
			{
				Name: "two-nodes", Targets: []string{"*/debian-12"}, Packages: []string{"hello*", "greetd"},
				Nodes:  []job.Node{{Name: "server", Install: []string{"greetd"}}, {Name: "client", Install: []string{"curl"}}},
				Script: "two-nodes/run.sh", Project: "tests/scenarios", Branch: "main",
			},
			{Name: "mine", Targets: []string{"juno/debian-12"}, Nodes: []job.Node{{Name: "n", Install: []string{"greetd"}}}, Script: "s.sh", Own: true},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(config.Effective{}, "Rule", "Targets")); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"juno/debian-12", "juno/tiny-1", "kilo/debian-12"}, targets(got.Targets)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	for target, want := range map[string]int{"juno/debian-12": 2, "kilo/debian-12": 1, "juno/tiny-1": 0} {
		if n := len(got.ScenariosOn(target, "greetd")); n != want {
			t.Errorf("%d scenarios on %s, want %d", n, target, want)
		}
	}
	if n := len(got.ScenariosOn("kilo/debian-12", "other")); n != 0 {
		t.Errorf("the site's scenario runs for a package that it does not name")
	}
}

// Whatever a package file says, nothing that the site demands is gone.
func TestMergeNeverTakesAway(t *testing.T) {
	site := load(t, "site.yaml")
	for _, text := range []string{"", "targets: []\nscenarios: []\ntests: {install: [], upgrade: []}\n", "targets: [kilo/debian-12]\n"} {
		got, err := config.Merge(site, "main", "packages/hello", "stable/juno", parsePackage(t, text))
		if err != nil {
			t.Fatal(err)
		}
		bare, err := config.Merge(site, "main", "packages/hello", "stable/juno", nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(targets(bare.Targets), targets(got.Targets)[:len(bare.Targets)]); diff != "" {
			t.Errorf("%q: targets (-site +merged):\n%s", text, diff)
		}
		if diff := cmp.Diff(bare.Scenarios, got.Scenarios); diff != "" {
			t.Errorf("%q: scenarios (-site +merged):\n%s", text, diff)
		}
	}
}

func TestMergeNamesTheLine(t *testing.T) {
	site := load(t, "site.yaml")
	pkg := parsePackage(t, "package: t\npackaging: other\n")
	_, err := config.Merge(site, "main", "tools/t", "main", pkg)
	want := `.sluice.yaml:2:12: packaging is "other", but ../../docs/examples/site.yaml sets it to "packaging" for this project; remove the line
packaging: other
           ^`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if _, err := config.Merge(site, "main", "elsewhere", "main", nil); !errors.Is(err, config.ErrNotGated) {
		t.Errorf("a project that no rule matches: %v", err)
	}
}
