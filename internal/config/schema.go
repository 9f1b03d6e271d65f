package config

import (
	_ "embed" // the doc comments of site.go and package.go
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/google/jsonschema-go/jsonschema"
)

//go:generate go run ./schemagen ../../docs/schema

var (
	//go:embed site.go
	siteSource string
	//go:embed package.go
	packageSource string
)

// SiteSchema is the JSON Schema (2020-12) of the site file, as it is
// published in docs/schema/site.json.
func SiteSchema() ([]byte, error) {
	return schemaText(reflect.TypeFor[Site](), "The site file of sluice")
}

// PackageSchema is the JSON Schema (2020-12) of the package file, as it is
// published in docs/schema/package.json.
func PackageSchema() ([]byte, error) {
	return schemaText(reflect.TypeFor[Package](), "The package file of sluice, "+PackageFile)
}

func schemaText(t reflect.Type, title string) ([]byte, error) {
	docs, err := docComments(siteSource, packageSource)
	if err != nil {
		return nil, fmt.Errorf("make the schema of %s: %w", t.Name(), err)
	}
	b := &schemaBuilder{docs: docs, defs: map[string]*jsonschema.Schema{}}
	root := b.record(t)
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.Title = title
	root.Defs = b.defs
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make the schema of %s: %w", t.Name(), err)
	}
	return append(text, '\n'), nil
}

// docComments reads the comments of types ("Site") and fields ("Site.Listen").
func docComments(sources ...string) (map[string]string, error) {
	docs := map[string]string{}
	for _, text := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), "", text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.TYPE {
				continue
			}
			for _, spec := range group.Specs {
				named := spec.(*ast.TypeSpec)
				docs[named.Name.Name] = oneLine(group.Doc.Text())
				record, ok := named.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range record.Fields.List {
					for _, name := range f.Names {
						docs[named.Name.Name+"."+name.Name] = oneLine(f.Doc.Text())
					}
				}
			}
		}
	}
	return docs, nil
}

// rules are where a comment says which rule it comes from: that is for who reads
// the code, and means nothing to who writes a site file.
var rules = regexp.MustCompile(` \((?:rule )?[GR]\d+\)`)

func oneLine(text string) string {
	return rules.ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
}

// describe is a comment without the Go name that it begins with:
// "Listen is the address" becomes "The address".
func describe(name, comment string) string {
	rest, ok := strings.CutPrefix(comment, name+" ")
	if !ok {
		return comment
	}
	for _, verb := range []string{"is ", "are "} {
		if after, ok := strings.CutPrefix(rest, verb); ok {
			rest = after
		}
	}
	runes := []rune(rest)
	runes[0] = unicode.ToUpper(runes[0])
	return string(runes)
}

type schemaBuilder struct {
	docs map[string]string
	defs map[string]*jsonschema.Schema
}

// record describes a struct with keys of its own.
func (b *schemaBuilder) record(t reflect.Type) *jsonschema.Schema {
	out := &jsonschema.Schema{
		Type: "object", Description: b.docs[t.Name()], Properties: map[string]*jsonschema.Schema{},
		AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	}
	for _, f := range fieldsOf(t) {
		name := t.Field(f.index).Name
		s := b.value(f.typ, f)
		s.Description = describe(name, b.docs[t.Name()+"."+name])
		if f.preset != "" {
			s.Default = presetJSON(f)
		}
		out.Properties[f.key] = s
		out.PropertyOrder = append(out.PropertyOrder, f.key)
		if f.required != "" {
			out.Required = append(out.Required, f.key)
		}
	}
	return out
}

// presetJSON is a default, which is written as YAML, as JSON.
func presetJSON(f field) json.RawMessage {
	text, err := json.Marshal(plainValue(newSource("", "").read(f.preset, maxSite), f.typ))
	if err != nil {
		panic(err) // texts, numbers, lists and maps of them: it cannot fail
	}
	return text
}

// plainValue turns a node into what encoding/json knows.
func plainValue(n *node, t reflect.Type) any {
	switch n.kind {
	case mapNode:
		out := map[string]any{}
		for _, p := range n.pairs {
			out[p.key] = plainValue(p.value, nil)
		}
		return out
	case listNode:
		out := []any{}
		for _, item := range n.items {
			out = append(out, plainValue(item, nil))
		}
		return out
	case boolNode:
		return n.text == "true"
	case intNode:
		if value, err := strconv.ParseInt(n.text, 10, 64); err == nil && (t == nil || t.Kind() != reflect.String) {
			return value
		}
	}
	return n.text
}

// value describes a value of any of the types that the structs use.
func (b *schemaBuilder) value(t reflect.Type, f field) *jsonschema.Schema {
	switch {
	case t == secretType:
		return b.define("Secret", secretSchema)
	case t == durationType:
		return b.define("Duration", func() *jsonschema.Schema {
			return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(ms|s|m|h|d|w))+$`, Description: "A length of time: 90s, 1h30m, 20d. A day is 24 hours."}
		})
	case t == sizeType:
		return b.define("Size", func() *jsonschema.Schema {
			return &jsonschema.Schema{Types: []string{"string", "integer"}, Pattern: `^(0|[0-9]+ *([Bb]|[KkMmGgTt][Bb]|[KkMmGgTt][Ii][Bb]))$`, Maximum: jsonschema.Ptr(0.0), Minimum: jsonschema.Ptr(0.0), Description: "A number of bytes: 20MB is 20·10⁶, 16MiB is 16·2²⁰."}
		})
	case t == dateType:
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`}
	case t.Kind() == reflect.Pointer:
		return b.value(t.Elem(), f)
	case isRecord(t):
		return b.define(t.Name(), func() *jsonschema.Schema { return b.record(t) })
	case t.Kind() == reflect.Slice:
		out := &jsonschema.Schema{Type: "array", Items: b.value(t.Elem(), f)}
		if f.required == "true" {
			out.MinItems = jsonschema.Ptr(1)
		}
		return out
	case t.Kind() == reflect.Map:
		return &jsonschema.Schema{Type: "object", AdditionalProperties: b.value(t.Elem(), field{})}
	}
	return scalarSchema(t, f)
}

func (b *schemaBuilder) define(name string, make func() *jsonschema.Schema) *jsonschema.Schema {
	if b.defs[name] == nil {
		b.defs[name] = make()
	}
	return &jsonschema.Schema{Ref: "#/$defs/" + name}
}

func secretSchema() *jsonschema.Schema {
	property := func(text string) map[string]*jsonschema.Schema {
		key, description, _ := strings.Cut(text, ": ")
		return map[string]*jsonschema.Schema{key: {Types: []string{"string", "number"}, Description: description}}
	}
	form := func(text string) *jsonschema.Schema {
		key, _, _ := strings.Cut(text, ":")
		return &jsonschema.Schema{
			Type: "object", Properties: property(text), Required: []string{key},
			AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
		}
	}
	return &jsonschema.Schema{
		Description: "Something that nobody may read over a shoulder; it is always printed as ***.",
		OneOf: []*jsonschema.Schema{
			form("file: The file that holds it, readable by its owner only (mode 0600)."),
			form("env: The environment variable that holds it."),
			form("value: Its text; sluice warns of this."),
		},
	}
}

func scalarSchema(t reflect.Type, f field) *jsonschema.Schema {
	out := &jsonschema.Schema{}
	switch t.Kind() {
	case reflect.Bool:
		out.Type = "boolean"
	case reflect.Int, reflect.Int64:
		out.Type = "integer"
		out.Minimum, out.Maximum = bound(f.least), bound(f.greatest)
	default:
		// A name such as 9 or 12.04 needs no quotes: its letters count.
		out.Types = []string{"string", "number"}
		if f.check != "" && f.check != "word" && f.check != "name" && f.check != "package" || len(f.oneof) > 0 {
			out.Types, out.Type = nil, "string"
		}
		out.Pattern = patterns[f.check]
		for _, word := range f.oneof {
			out.Enum = append(out.Enum, word)
		}
	}
	return out
}

func bound(text string) *float64 {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil
	}
	return &value
}
