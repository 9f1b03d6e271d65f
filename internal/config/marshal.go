package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Marshal writes a *Site or a *Package as YAML that reads back as the same,
// leaving out what is the default. Secrets that are written in the file come
// out as {value: "***"}; those in files and variables as where they are.
func Marshal(v any) ([]byte, error) {
	value := reflect.ValueOf(v)
	if value.Kind() != reflect.Pointer || value.IsNil() || !isRecord(value.Type().Elem()) {
		return nil, fmt.Errorf("marshal configuration: %T is neither *Site nor *Package", v)
	}
	w := &writer{}
	w.record(value.Elem(), fresh(value.Type().Elem()), 0)
	return []byte(w.String()), nil
}

// fresh is a record with its defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	preset(v)
	return v
}

type writer struct{ strings.Builder }

// record writes the fields of v that differ from those of base, a line each.
func (w *writer) record(v, base reflect.Value, indent int) {
	for _, f := range fieldsOf(v.Type()) {
		field, usual := v.Field(f.index), base.Field(f.index)
		if same(field, usual) && f.required == "" {
			continue
		}
		w.line(indent, f.key+":")
		w.value(field, usual, indent)
	}
}

func (w *writer) line(indent int, text string) {
	if w.Len() > 0 && !strings.HasSuffix(w.String(), "- ") {
		w.WriteString("\n" + strings.Repeat("  ", indent))
	}
	w.WriteString(text)
}

// value writes what stands behind a key or a hyphen.
func (w *writer) value(v, base reflect.Value, indent int) {
	switch {
	case v.Type() == secretType:
		w.WriteString(" " + secretText(v.Interface().(Secret)))
	case isRecord(v.Type()):
		w.record(v, base, indent+1)
	case v.Kind() == reflect.Pointer:
		w.record(v.Elem(), fresh(v.Type().Elem()), indent+1)
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		pairs := make([]string, len(keys))
		for i, key := range keys {
			pairs[i] = quote(key.String()) + ": " + scalarText(v.MapIndex(key))
		}
		w.WriteString(" {" + strings.Join(pairs, ", ") + "}")
	case v.Kind() == reflect.Slice && isRecord(v.Type().Elem()) && v.Len() > 0:
		for i := range v.Len() {
			w.WriteString("\n" + strings.Repeat("  ", indent+1) + "- ")
			w.record(v.Index(i), fresh(v.Type().Elem()), indent+2)
		}
	case v.Kind() == reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = scalarText(v.Index(i))
		}
		w.WriteString(" [" + strings.Join(items, ", ") + "]")
	default:
		w.WriteString(" " + scalarText(v))
	}
}

func secretText(s Secret) string {
	switch {
	case s.file != "":
		return "{file: " + quote(s.file) + "}"
	case s.env != "":
		return "{env: " + quote(s.env) + "}"
	}
	return "{value: " + quote(stars) + "}"
}

func scalarText(v reflect.Value) string {
	switch v := v.Interface().(type) {
	case Duration:
		return v.String()
	case Size:
		return v.String()
	case Date:
		return quote(v.String())
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	}
	return quote(v.String())
}

// plain are the texts that YAML reads as text without quotes.
var plain = regexp.MustCompile(`^[A-Za-z/.][A-Za-z0-9/._+-]*( [A-Za-z0-9/._+-]+)*$`)

// words are texts that YAML, or an older one, takes for something else.
var words = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null|nan|\.nan|\.inf|[.]?[0-9_.+e-]+)$`)

func quote(text string) string {
	if plain.MatchString(text) && !words.MatchString(text) {
		return text
	}
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			out.WriteRune('\\')
			out.WriteRune(r)
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\t':
			out.WriteString(`\t`)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// same reports whether two values are written alike.
func same(a, b reflect.Value) bool {
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
