package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/jsonschema-go/jsonschema"

	"sluice/internal/config"
)

const docs = "../../docs"

func load(t testing.TB, name string) *config.Site {
	t.Helper()
	site, _, err := config.Load(filepath.Join(docs, "examples", name))
	if err != nil {
		t.Fatalf("%s does not load:\n%v", name, err)
	}
	return site
}

func TestExamplesLoad(t *testing.T) {
	site := load(t, "site.yaml")
	if got := site.Stages.Build.Memory; got != 4_000_000_000 {
		t.Errorf("build memory is %d bytes, want 4GB", got)
	}
	if site.Stages.Lint.Voting || !site.Stages.Build.Voting {
		t.Error("lint votes, or build does not")
	}
	if got, want := site.Retention.Environments.D(), 20*24*time.Hour; got != want { // R49
		t.Errorf("environments are kept %v, want %v", got, want)
	}
	minimal := load(t, "minimal.yaml")
	if got := minimal.Stages.Build.Timeout.D(); got != 2*time.Hour {
		t.Errorf("a build may take %v by default, want 2h", got)
	}
	if got := minimal.Keys.Test.Path(); got != "/var/lib/sluice/keys/test.asc" {
		t.Errorf("the test key is at %q by default", got)
	}
	if r := minimal.Dists[0].Roots; r.Build.Variant != "buildd" || r.Install.Variant != "minbase" || r.Node.Method != "mmdebstrap" {
		t.Errorf("roots by default: %+v", r)
	}
	text, err := os.ReadFile(filepath.Join(docs, "examples", "package.sluice.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := config.ParsePackage("package.sluice.yaml", text)
	if err != nil {
		t.Fatalf("the package file does not load:\n%v", err)
	}
	effective, err := config.Merge(site, "main", "packages/greetd", "stable/juno", pkg)
	if err != nil {
		t.Fatalf("the two examples do not fit together:\n%v", err)
	}
	if got := effective.Targets[len(effective.Targets)-1].Name(); len(effective.Targets) != 3 || got != "kilo/debian-12" {
		t.Errorf("targets %v, want the two of the release juno and then kilo/debian-12", effective.Targets)
	}
}

// Every section of the site file is shown in the commented example.
func TestExampleShowsEverySection(t *testing.T) {
	text, err := config.SiteSchema()
	if err != nil {
		t.Fatal(err)
	}
	var schema jsonschema.Schema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join(docs, "examples", "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for key := range schema.Properties {
		if !bytes.Contains(example, []byte("\n"+key+":")) {
			t.Errorf("docs/examples/site.yaml has no section %q", key)
		}
	}
}

func TestSchemasAreFresh(t *testing.T) {
	for name, schema := range map[string]func() ([]byte, error){"site.json": config.SiteSchema, "package.json": config.PackageSchema} {
		want, err := schema()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(docs, "schema", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/schema/%s is stale; run: go generate ./internal/config (%v)", name, err)
		}
		if found := numbered.Find(want); found != nil {
			t.Errorf("docs/schema/%s names a rule by its number, %q: who writes a site file knows none", name, found)
		}
	}
}

// numbered is the name of a rule or a requirement.
var numbered = regexp.MustCompile(`\b[GR]\d+\b`)

// resolved is a schema ready to judge.
func resolved(t testing.TB, schema func() ([]byte, error)) *jsonschema.Resolved {
	t.Helper()
	text, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// judge holds a YAML text to a schema.
func judge(r *jsonschema.Resolved, text []byte) error {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	var value any
	if err := json.Unmarshal(asJSON, &value); err != nil {
		return err
	}
	return r.Validate(value)
}

func TestExamplesFitTheSchema(t *testing.T) {
	site, pkg := resolved(t, config.SiteSchema), resolved(t, config.PackageSchema)
	for name, schema := range map[string]*jsonschema.Resolved{"site.yaml": site, "minimal.yaml": site, "package.sluice.yaml": pkg} {
		text, err := os.ReadFile(filepath.Join(docs, "examples", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := judge(schema, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the schema refuses is refused here too, and the other way round, in
// the cases that a schema can tell.
func TestSchemaRefuses(t *testing.T) {
	schema := resolved(t, config.PackageSchema)
	for _, text := range []string{
		"pacakge: x\n", "version: derivd\n", "build: {parallel: many}\n", "build: {parallel: -1}\n",
		"targets: juno/el-9\n", "scenarios: [{name: a}]\n", "targets: [juno]\n",
	} {
		if judge(schema, []byte(text)) == nil {
			t.Errorf("the schema takes %q", text)
		}
		if _, err := config.ParsePackage("p", []byte(text)); err == nil {
			t.Errorf("ParsePackage takes %q", text)
		}
	}
}

// What is written once with an anchor can be used again, and changed in part.
func TestAnchors(t *testing.T) {
	text := "\ufeff" + minimal(t, "dists:\nqueues:") + `
dists:
  - &debian
    name: debian-12
    format: deb
    codename: bookworm
    upstreams: [debian]
    architectures: &machines [{name: amd64}, {name: arm64, voting: false}]
    roots: {build: &root {include: [debhelper], refresh: 2d}, node: {<<: *root, refresh: 1w}}
  - {<<: *debian, name: debian-13, codename: trixie}
  - {name: debian-11, format: deb, codename: bullseye, upstreams: [debian], architectures: *machines}
queues: [{name: main, window: {start: 5, ceiling: 7}}]
`
	site, warnings, err := config.Parse("site.yaml", bytes.ReplaceAll([]byte(text), []byte("\n"), []byte("\r\n")))
	if err != nil || len(warnings) != 0 {
		t.Fatal(err, warnings)
	}
	trixie, ok := site.Dist("debian-13")
	if !ok || trixie.Codename != "trixie" || len(trixie.Architectures) != 2 || trixie.Architectures[1].Voting {
		t.Errorf("debian-13: %+v", trixie)
	}
	if node := trixie.Roots.Node; node.Refresh.D() != 7*24*time.Hour || len(node.Include) != 1 {
		t.Errorf("its nodes' root: %+v", node)
	}
	if w := site.Queues[0].Window; w != (config.Window{Start: 5, Floor: 3, Ceiling: 7}) {
		t.Errorf("window: %+v", w)
	}
}

// A queue may have lanes and batches at once.
func TestLanesWithBatches(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docs, "examples", "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("{name: tools, per_branch: true}"), []byte("{name: tools, per_branch: true, lanes: true, batch: {size: 4}}"), 1)
	site, _, err := config.Parse("site.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if q, ok := site.QueueNamed("tools@stable"); !ok || !q.Lanes || q.Batch.Size != 4 {
		t.Errorf("the queue of a branch: %+v %v", q, ok)
	}
	if q, ok := site.QueueNamed("main"); !ok || q.Lanes || q.Batch.Size > 1 {
		t.Errorf("another queue: %+v %v", q, ok)
	}
	if _, ok := site.QueueNamed("main@stable"); ok {
		t.Error("a queue of all branches has none of one branch")
	}
}
