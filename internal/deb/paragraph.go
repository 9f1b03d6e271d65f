package deb

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"pault.ag/go/debian/control"
)

// Paragraph is one block of fields of a control file.
type Paragraph struct {
	// Text is the paragraph to the letter, without comments; each line ends with a newline.
	Text   string
	fields []rawField
	parsed *control.Paragraph
}

type rawField struct {
	name  string
	lines []string // with their ends
	at    []int    // the lines' numbers in the file, from 1
	size  int      // bytes
}

func (f rawField) text() string { return strings.Join(f.lines, "") }

// Get returns a field's value ("" if it is absent); the case of name does not matter.
func (p Paragraph) Get(name string) string {
	for _, key := range p.parsed.Order {
		if strings.EqualFold(key, name) {
			return strings.TrimSpace(p.parsed.Values[key])
		}
	}
	return ""
}

// Has reports whether a field is there.
func (p Paragraph) Has(name string) bool {
	for _, f := range p.fields {
		if strings.EqualFold(f.name, name) {
			return true
		}
	}
	return false
}

var fieldName = regexp.MustCompile(`^[!-9;-~]+$`)

// ParseParagraphs reads the paragraphs of a control file: at most 4 MiB, no
// NUL, no carriage return, no field twice. Lines that begin with # are comments.
func ParseParagraphs(data []byte) ([]Paragraph, error) {
	if len(data) > maxControlFile {
		return nil, bad("a control file of %d bytes; %d are the most", len(data), maxControlFile)
	}
	var out []Paragraph
	var current Paragraph
	finish := func() error {
		if len(current.fields) == 0 {
			return nil
		}
		for _, f := range current.fields {
			current.Text += f.text()
		}
		reader, err := control.NewParagraphReader(strings.NewReader(current.Text), nil)
		if err != nil {
			return bad("%v", err)
		}
		if current.parsed, err = reader.Next(); err != nil {
			return bad("%v", err)
		}
		out, current = append(out, current), Paragraph{}
		return nil
	}
	n := 0
	for rest := data; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		n++
		if err := current.add(string(line), n); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if strings.Trim(string(line), " \t") == "" {
			if err := finish(); err != nil {
				return nil, fmt.Errorf("the paragraph that ends on line %d: %w", n, err)
			}
		}
	}
	if err := finish(); err != nil {
		return nil, fmt.Errorf("the last paragraph: %w", err)
	}
	return out, nil
}

// add takes one more line of the paragraph. What the library does is quadratic
// in a field's length, so that is limited.
func (p *Paragraph) add(line string, number int) error {
	switch {
	case strings.ContainsAny(line, "\x00\r"):
		return bad("a NUL or carriage return in a control file")
	case strings.Trim(line, " \t") == "" || line[0] == '#':
		return nil
	case line[0] == ' ' || line[0] == '\t':
		if len(p.fields) == 0 {
			return bad("%.80q continues no field", line)
		}
	default:
		name, _, found := strings.Cut(line, ":")
		if !found || !fieldName.MatchString(name) || name[0] == '-' {
			return bad("%.80q is not a field", line)
		}
		if p.Has(name) {
			return bad("the field %s occurs twice", name)
		}
		if len(p.fields) == maxFields {
			return bad("more than %d fields", maxFields)
		}
		p.fields = append(p.fields, rawField{name: name})
	}
	f := &p.fields[len(p.fields)-1]
	f.lines, f.at, f.size = append(f.lines, line+"\n"), append(f.at, number), f.size+len(line)+1
	if f.size > maxField || len(f.lines) > maxFieldLines {
		return bad("the field %s is longer than %d bytes or %d lines", f.name, maxField, maxFieldLines)
	}
	return nil
}

// one reads a file of exactly one paragraph.
func one(data []byte) (Paragraph, error) {
	all, err := ParseParagraphs(data)
	if err != nil {
		return Paragraph{}, err
	}
	if len(all) != 1 {
		return Paragraph{}, bad("%d paragraphs; one is wanted", len(all))
	}
	return all[0], nil
}
