package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// The struct tags of site.go and package.go are the whole grammar of the two
// files; the decoder, the writer and the JSON Schema all read them here:
//
//	yaml      the key
//	default   what counts when the key is absent, as YAML
//	required  "true": must be there, and a list must not be empty; "key": must be there
//	oneof     the words allowed, for each item of a list
//	check     the shape of the text (see checks.go), for each item of a list
//	ref       what kind of thing the text names, for each item of a list
//	min, max  bounds, in the words of the type
type field struct {
	index                       int
	key                         string
	typ                         reflect.Type
	preset                      string // the default, as YAML
	required                    string
	oneof                       []string
	check, ref, least, greatest string
}

// fieldsOf lists the fields of a struct that a file can set, in order.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		if key == "" {
			continue
		}
		out = append(out, field{
			index: i, key: key, typ: f.Type, preset: f.Tag.Get("default"), required: f.Tag.Get("required"),
			oneof: strings.Fields(f.Tag.Get("oneof")), check: f.Tag.Get("check"), ref: f.Tag.Get("ref"),
			least: f.Tag.Get("min"), greatest: f.Tag.Get("max"),
		})
	}
	return out
}

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[Duration]()
	sizeType     = reflect.TypeFor[Size]()
	dateType     = reflect.TypeFor[Date]()
)

// isRecord reports whether t is a struct that has keys of its own.
func isRecord(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != secretType && t != dateType
}

// decoder fills a struct from nodes. It notes every problem and goes on, so
// that a person sees all of them at once.
type decoder struct {
	*source
	// foreign says that the file is a package file: none of its secrets, and
	// keys that belong in the site file are told as such.
	foreign bool
	refs    []reference
}

// reference is a name that must exist, to be looked for when all is read.
type reference struct {
	kind, name, path string
}

// preset fills in all defaults of a struct.
func preset(v reflect.Value) {
	for _, f := range fieldsOf(v.Type()) {
		target := v.Field(f.index)
		if isRecord(f.typ) {
			preset(target)
		}
		if f.preset != "" {
			s := newSource("default of "+f.key, "")
			n := s.read(f.preset, maxSite)
			d := &decoder{source: s}
			d.value(target, n, "", f)
			if err := s.err(); err != nil {
				panic(err) // a wrong tag in this package; every test meets it
			}
		}
	}
}

func (d *decoder) record(v reflect.Value, n *node, path string) {
	if n.kind != mapNode {
		d.failAt(n.pos, "%s is %s; it must be a map of keys and values", subject(path), n)
		return
	}
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	for _, p := range n.pairs {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == p.key })
		if i < 0 {
			given[d.unknown(p, fields)] = true
			continue
		}
		given[p.key] = true
		d.value(v.Field(fields[i].index), p.value, join(path, p.key), fields[i])
	}
	var lacks []string
	for _, f := range fields {
		if f.required != "" && !given[f.key] {
			lacks = append(lacks, strconv.Quote(f.key))
		}
	}
	if len(lacks) > 0 {
		d.failAt(n.pos, "%s lacks %s, which must be given", subject(path), enumerate(lacks, "and"))
	}
}

// unknown tells of a key that is not known, and returns the one that was meant.
func (d *decoder) unknown(p pair, fields []field) string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	if d.foreign {
		site := fieldsOf(reflect.TypeFor[Site]())
		if slices.ContainsFunc(site, func(f field) bool { return f.key == p.key }) {
			d.failAt(p.pos, "key %q belongs in the site file; a package file adds to what the site demands, and never takes away", p.key)
			return ""
		}
	}
	d.failAt(p.pos, "unknown key %q; %s", p.key, instead(p.key, keys))
	return nearest(p.key, keys)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// subject names what stands at a path, for a sentence.
func subject(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// value fills in one value, of any of the types that the structs use.
func (d *decoder) value(v reflect.Value, n *node, path string, f field) {
	d.at[path] = n.pos
	if n.kind == nullNode && v.Type() != secretType {
		d.failAt(n.pos, "%s has no value; write one, or remove the line", subject(path))
		return
	}
	switch {
	case v.Type() == secretType:
		d.secret(v, n, path)
	case isRecord(v.Type()):
		d.record(v, n, path)
	case v.Kind() == reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		preset(fresh.Elem())
		d.record(fresh.Elem(), n, path)
		v.Set(fresh)
	case v.Kind() == reflect.Slice:
		d.slice(v, n, path, f)
	case v.Kind() == reflect.Map:
		d.mapOf(v, n, path)
	default:
		d.scalar(v, n, path, f)
	}
}

func (d *decoder) slice(v reflect.Value, n *node, path string, f field) {
	if n.kind != listNode {
		d.failAt(n.pos, "%s is %s; it must be a list: [%s]", subject(path), n, example(n))
		return
	}
	if len(n.items) == 0 && f.required == "true" {
		d.failAt(n.pos, "%s is empty; it must hold at least one", subject(path))
	}
	out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	seen := map[string]Pos{}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if isRecord(v.Type().Elem()) {
			preset(out.Index(i))
		}
		d.value(out.Index(i), item, at, f)
		name, what := identity(out.Index(i))
		if name == "" {
			continue
		}
		if before, twice := seen[name]; twice {
			d.fail(join(at, what), "%q is given twice in %s; the first is on line %d", name, path, before.Line)
			continue
		}
		seen[name] = d.pos(join(at, what))
	}
	v.Set(out)
}

// example shows a scalar as an item, in the words of the file.
func example(n *node) string {
	if n.kind == mapNode || n.text == "" || len(n.text) > 40 {
		return "…"
	}
	return n.text
}

// identity is what must not be given twice in a list: the name of a record,
// or a text itself.
func identity(v reflect.Value) (name, key string) {
	if v.Kind() == reflect.String {
		return v.String(), ""
	}
	if isRecord(v.Type()) {
		if f := v.FieldByName("Name"); f.IsValid() {
			return f.String(), "name"
		}
	}
	return "", ""
}

func (d *decoder) mapOf(v reflect.Value, n *node, path string) {
	if n.kind != mapNode {
		d.failAt(n.pos, "%s is %s; it must be a map: {name: value}", subject(path), n)
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, p := range n.pairs {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(value, p.value, join(path, p.key), field{})
		out.SetMapIndex(reflect.ValueOf(p.key), value)
	}
	v.Set(out)
}

func (d *decoder) scalar(v reflect.Value, n *node, path string, f field) {
	if n.kind == listNode || n.kind == mapNode {
		d.failAt(n.pos, "%s is %s; it must be %s", subject(path), n, wanted(v, f))
		return
	}
	switch v.Type() {
	case durationType:
		got, err := ParseDuration(n.text)
		d.bounded(v, n, path, f, int64(got), err, func(t string) int64 { b, _ := ParseDuration(t); return int64(b) })
		return
	case sizeType:
		got, err := ParseSize(n.text)
		d.bounded(v, n, path, f, int64(got), err, func(t string) int64 { b, _ := ParseSize(t); return int64(b) })
		return
	case dateType:
		got, err := ParseDate(n.text)
		if err != nil {
			d.failAt(n.pos, "%s: %v", subject(path), err)
			return
		}
		v.Set(reflect.ValueOf(got))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		if n.kind != boolNode || n.text != "true" && n.text != "false" {
			d.failAt(n.pos, "%s is %q; %s", subject(path), n.text, truth(n.text))
			return
		}
		v.SetBool(n.text == "true")
	case reflect.Int, reflect.Int64:
		got, err := strconv.ParseInt(n.text, 10, 64)
		if n.kind != intNode || err != nil {
			err = fmt.Errorf("%q is not a whole number", n.text)
		}
		d.bounded(v, n, path, f, got, err, func(t string) int64 { b, _ := strconv.ParseInt(t, 10, 64); return b })
	case reflect.String:
		d.text(v, n, path, f)
	}
}

// truth helps those who write yes, no, on, off or "true".
func truth(text string) string {
	switch strings.ToLower(text) {
	case "yes", "on", "y", "1":
		return `did you mean "true"?`
	case "no", "off", "n", "0":
		return `did you mean "false"?`
	case "true", "false":
		return "write it in lower case and without quotes: " + strings.ToLower(text)
	}
	return instead(text, []string{"true", "false"})
}

// wanted says in a person's words what a scalar is.
func wanted(v reflect.Value, f field) string {
	switch {
	case v.Type() == durationType:
		return "a duration: 90s, 20d"
	case v.Type() == sizeType:
		return "a size: 20MB"
	case v.Type() == dateType:
		return "a day: 2026-12-24"
	case v.Kind() == reflect.Bool:
		return boolNode.String()
	case v.Kind() == reflect.String && len(f.oneof) > 0:
		return "one of " + strings.Join(f.oneof, ", ")
	case v.Kind() == reflect.String:
		return stringNode.String()
	}
	return intNode.String()
}

func (d *decoder) bounded(v reflect.Value, n *node, path string, f field, got int64, err error, bound func(string) int64) {
	switch {
	case err != nil:
		d.failAt(n.pos, "%s: %v", subject(path), err)
	case f.least != "" && got < bound(f.least):
		d.failAt(n.pos, "%s is %s; the least is %s", subject(path), n.text, f.least)
	case f.greatest != "" && got > bound(f.greatest):
		d.failAt(n.pos, "%s is %s; the greatest is %s", subject(path), n.text, f.greatest)
	default:
		v.SetInt(got)
	}
}

func (d *decoder) text(v reflect.Value, n *node, path string, f field) {
	if n.kind == boolNode {
		d.failAt(n.pos, "%s is %s; it must be text: write it in quotes, \"%s\"", subject(path), n.text, n.text)
		return
	}
	text := n.text
	v.SetString(text) // a wrong name too, lest what refers to it be told as wrong
	if len(f.oneof) > 0 && !slices.Contains(f.oneof, text) {
		d.failAt(n.pos, "%s is %q; %s", subject(path), text, instead(text, f.oneof))
		return
	}
	if f.check != "" {
		tidy, complaint := checks[f.check](text)
		if complaint != "" {
			d.failAt(n.pos, "%s is %q; %s", subject(path), text, complaint)
			return
		}
		text = tidy
	} else if text == "" && f.required == "true" {
		d.failAt(n.pos, "%s is empty; write a value", subject(path))
		return
	}
	if f.ref != "" && text != "" {
		d.refs = append(d.refs, reference{f.ref, text, path})
	}
	v.SetString(text)
}

// secret reads {file: path}, {env: NAME} or {value: text}; whatever is wrong
// with it, its text is not shown.
func (d *decoder) secret(v reflect.Value, n *node, path string) {
	const forms = "write {file: /path}, {env: NAME} or {value: text}"
	if n.kind != mapNode || len(n.pairs) != 1 {
		d.hide(n)
		d.failAt(n.pos, "%s is a secret; %s", subject(path), forms)
		return
	}
	p := n.pairs[0]
	if p.key != "file" && p.key != "env" {
		d.hide(p.value)
	}
	if slices.Contains([]kind{nullNode, listNode, mapNode}, p.value.kind) || p.value.text == "" && p.key != "value" {
		d.failAt(p.pos, "%s is a secret; %s", subject(path), forms)
		return
	}
	switch p.key {
	case "file":
		file, complaint := checkFile(p.value.text)
		if complaint != "" {
			d.failAt(p.value.pos, "%s.file is %q; %s", path, p.value.text, complaint)
			return
		}
		v.Set(reflect.ValueOf(FileSecret(file)))
	case "env":
		if !envName.MatchString(p.value.text) {
			d.failAt(p.value.pos, "%s.env is %q; it must be the name of an environment variable: letters, digits and _", path, p.value.text)
			return
		}
		v.Set(reflect.ValueOf(EnvSecret(p.value.text)))
	case "value":
		d.warn(path, "%s is written in this file, where everyone who can read it sees it; write {file: /path} or {env: NAME}", path)
		v.Set(reflect.ValueOf(ValueSecret(p.value.text)))
	default:
		d.failAt(p.pos, "unknown key %q; %s", p.key, instead(p.key, []string{"file", "env", "value"}))
	}
}

// hide keeps the texts of a node out of every message.
func (d *decoder) hide(n *node) {
	if n.text != "" {
		d.hidden = append(d.hidden, strings.Split(n.text, "\n")...)
	}
	for _, item := range n.items {
		d.hide(item)
	}
	for _, p := range n.pairs {
		if p.key != "file" && p.key != "env" {
			d.hide(p.value)
		}
	}
}
