package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/jsonschema-go/jsonschema"
	"pgregory.net/rapid"
)

// alike compares what two files say, not where they say it.
var alike = cmp.Options{cmpopts.IgnoreTypes(&source{})}

// anyText is every text that a quoted scalar can hold.
var anyText = rapid.Custom(func(t *rapid.T) string {
	text := rapid.StringOf(rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune(" \n\t\"'\\:#-{}[],&*!|>%@`~é0.")))).Draw(t, "text")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
})

// ofCheck draws texts of each shape in checks.
func ofCheck(check string) *rapid.Generator[string] {
	switch check {
	case "file":
		return rapid.StringMatching(`/[a-z0-9~ é"'-]{1,9}(/[a-z0-9]{1,9}){0,2}`)
	case "inside":
		return rapid.StringMatching(`[a-z0-9#: ]{1,9}(/[a-z0-9é]{1,9}){0,2}`)
	case "url":
		return rapid.StringMatching(`https?://[a-z0-9]{1,9}(:[1-9][0-9]{0,3})?(/[a-z0-9$]{0,2}[a-z0-9]){0,3}`)
	case "hostport":
		return rapid.StringMatching(`([a-z0-9.]{1,9}|\[::1\])?:[1-9][0-9]{0,3}`)
	case "glob":
		return rapid.StringMatching(`[a-z*/0-9 #~.-]{1,20}`)
	case "line":
		return rapid.StringMatching(`[A-Za-z0-9é"#:]([A-Za-z0-9é"#: -]{0,9}[A-Za-z0-9])?`)
	case "":
		return anyText
	}
	return rapid.StringMatching(patterns[check])
}

// draw fills a value with anything that its field allows.
func draw(t *rapid.T, v reflect.Value, f field) {
	bounds := func(read func(string) int64, greatest int64) int64 {
		least := int64(-1 << 30)
		if f.least != "" {
			least = read(f.least)
		} else if v.Type() == sizeType || v.Type() == durationType {
			least = 0
		}
		if f.greatest != "" {
			greatest = read(f.greatest)
		}
		return rapid.Int64Range(least, greatest).Draw(t, f.key)
	}
	switch {
	case v.Type() == secretType:
		s := FileSecret(ofCheck("file").Draw(t, f.key))
		if rapid.Bool().Draw(t, f.key) {
			s = EnvSecret(rapid.StringMatching(envName.String()).Draw(t, f.key))
		}
		v.Set(reflect.ValueOf(s))
	case v.Type() == durationType:
		const ms = int64(time.Millisecond)
		v.SetInt(bounds(func(s string) int64 { d, _ := ParseDuration(s); return int64(d) / ms }, int64(maxDuration)/ms) * ms)
	case v.Type() == sizeType:
		v.SetInt(bounds(func(s string) int64 { d, _ := ParseSize(s); return int64(d) }, 1<<62))
	case v.Type() == dateType:
		day := rapid.IntRange(0, 3_000_000).Draw(t, f.key)
		v.Set(reflect.ValueOf(Date{time.Date(1000, 1, day, 0, 0, 0, 0, time.UTC)}))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		drawRecord(t, v.Elem())
	case isRecord(v.Type()):
		drawRecord(t, v)
	case v.Kind() == reflect.Slice:
		drawSlice(t, v, f)
	case v.Kind() == reflect.Map:
		drawMap(t, v)
	case v.Kind() == reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, f.key))
	case v.Kind() == reflect.String && len(f.oneof) > 0:
		v.SetString(rapid.SampledFrom(f.oneof).Draw(t, f.key))
	case v.Kind() == reflect.String:
		text := ofCheck(f.check).Draw(t, f.key)
		if text == "" && f.required != "" {
			text = "x"
		}
		v.SetString(text)
	default:
		v.SetInt(bounds(func(s string) int64 { var n int64; fmt.Sscan(s, &n); return n }, 1<<30))
	}
}

func drawRecord(t *rapid.T, v reflect.Value) {
	preset(v)
	for _, f := range fieldsOf(v.Type()) {
		if f.required != "" || rapid.Bool().Draw(t, "with "+f.key) {
			draw(t, v.Field(f.index), f)
		}
	}
}

func drawSlice(t *rapid.T, v reflect.Value, f field) {
	least := 0
	if f.required == "true" {
		least = 1
	}
	out := reflect.MakeSlice(v.Type(), 0, 3)
	seen := map[string]bool{}
	for range rapid.IntRange(least, 3).Draw(t, f.key) {
		item := reflect.New(v.Type().Elem()).Elem()
		draw(t, item, f)
		if name, _ := identity(item); name == "" || !seen[name] {
			seen[name] = true
			out = reflect.Append(out, item)
		}
	}
	v.Set(out)
}

func drawMap(t *rapid.T, v reflect.Value) {
	out := reflect.MakeMap(v.Type())
	for range rapid.IntRange(0, 3).Draw(t, "pairs") {
		value := reflect.New(v.Type().Elem()).Elem()
		draw(t, value, field{})
		key := anyText.Draw(t, "key")
		out.SetMapIndex(reflect.ValueOf(key), value)
	}
	v.Set(out)
}

// What Marshal writes reads back as the same and fits the schema, whatever it is.
func TestMarshalReadsBack(t *testing.T) {
	t.Run("site", func(t *testing.T) {
		schema := schemaOf(t, SiteSchema)
		rapid.Check(t, func(t *rapid.T) { roundTrip(t, reflect.TypeFor[Site](), schema) })
	})
	t.Run("package", func(t *testing.T) {
		schema := schemaOf(t, PackageSchema)
		rapid.Check(t, func(t *rapid.T) { roundTrip(t, reflect.TypeFor[Package](), schema) })
	})
}

func schemaOf(t *testing.T, make func() ([]byte, error)) *jsonschema.Resolved {
	t.Helper()
	text, err := make()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func roundTrip(t *rapid.T, typ reflect.Type, schema *jsonschema.Resolved) {
	want := reflect.New(typ)
	drawRecord(t, want.Elem())
	text, err := Marshal(want.Interface())
	if err != nil {
		t.Fatal(err)
	}
	got := reflect.New(typ)
	preset(got.Elem())
	s := newSource("written", string(text))
	d := &decoder{source: s}
	if n := d.read(string(text), maxSite); n != nil {
		d.record(got.Elem(), n, "")
	}
	if err := s.err(); err != nil {
		t.Fatalf("what was written does not read:\n%v\n%s", err, text)
	}
	if diff := cmp.Diff(want.Interface(), got.Interface(), alike); diff != "" {
		t.Fatalf("written and read (-want +got):\n%s\n%s", diff, text)
	}
	if len(text) == 0 {
		return
	}
	var loose, value any
	if err := yaml.Unmarshal(text, &loose); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	asJSON, err := json.Marshal(loose)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(asJSON, &value); err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Fatalf("the schema refuses: %v\n%s", err, text)
	}
}

// The examples too, with all rules in force.
func TestExamplesReadBack(t *testing.T) {
	for _, name := range []string{"site.yaml", "minimal.yaml"} {
		want, _, err := Load(filepath.Join("../../docs/examples", name))
		if err != nil {
			t.Fatal(err)
		}
		text, err := Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := Parse("written", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(want, got, alike); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// No package file, whatever its bytes, does more than fail with places
// inside the file, and fast.
func FuzzParsePackage(f *testing.F) {
	seed(f, "../../docs/examples/package.sluice.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		pkg, err := ParsePackage("p", text)
		if err != nil {
			sane(t, err, string(text))
			return
		}
		written, err := Marshal(pkg)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePackage("p", written)
		if err != nil {
			t.Fatalf("%q is taken, and as it is written it is not: %v\n%s", text, err, written)
		}
		if diff := cmp.Diff(pkg, again, alike); diff != "" {
			t.Fatal(diff)
		}
		for _, path := range append(append([]string{pkg.Packaging, pkg.Spec}, pkg.Tests.Install...), pkg.Tests.Upgrade...) {
			if path != "" && !filepath.IsLocal(path) {
				t.Fatalf("%q leaves the project", path)
			}
		}
	})
}

// A site file is written by its owner, and still does not bring anything down.
func FuzzParseSite(f *testing.F) {
	seed(f, "../../docs/examples/minimal.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, _, err := Parse("s", text); err != nil {
			sane(t, err, string(text))
		}
	})
}

func seed(f *testing.F, example string) {
	text, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, s := range []string{
		"", "a", "- - - - a", "{{{{{{", "[[[[[[", "&a [*a]", "a: &a {b: *a}", "<<: *a", "? ? ? ?", "a: !!map {}", "\xff", "a: \"\\x", "|\n", "a: >-\n x\n",
		"version: derived\n---\n", "%YAML 1.2\n---\na: 1", "a: |2\n  x", "targets: [a/b, a/b]", "tests: {install: [\"a\\nb\"]}", "<<: {<<: {package: x}}", "* 0\n\n0",
	} {
		f.Add([]byte(s))
	}
}

// sane holds an error to its promises.
func sane(t *testing.T, err error, text string) {
	t.Helper()
	all, ok := err.(*Error)
	if !ok || len(all.Problems) == 0 {
		t.Fatalf("%T: %v", err, err)
	}
	lines := strings.Count(text, "\n") + 1
	for _, p := range all.Problems {
		if p.Pos.Line < 1 || p.Pos.Line > lines || p.Pos.Column < 1 {
			t.Fatalf("a place outside the file: %v", p)
		}
		if strings.Contains(p.Message, "\n") {
			t.Fatalf("a message of more than one line: %q", p.Message)
		}
	}
}
