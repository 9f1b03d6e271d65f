package deb

import "strings"

// Entry is one relation of a control file with the line that it is on.
type Entry struct {
	Field string // "Build-Depends"
	Text  string // "libfoo (>= 2) | libbar [amd64]"
	Line  int    // from 1
}

// Entries takes a relations field apart at its commas.
func (p Paragraph) Entries(name string) []Entry {
	var out []Entry
	for _, f := range p.fields {
		if !strings.EqualFold(f.name, name) {
			continue
		}
		e := Entry{Field: f.name}
		end := func() {
			if e.Text = strings.Join(strings.Fields(e.Text), " "); e.Text != "" {
				out = append(out, e)
			}
			e = Entry{Field: f.name}
		}
		for i, line := range f.lines {
			if i == 0 {
				_, line, _ = strings.Cut(line, ":")
			}
			for n, part := range strings.Split(line, ",") {
				if n > 0 {
					end()
				}
				if strings.TrimSpace(e.Text) == "" {
					e.Line = f.at[i]
				}
				e.Text += part
			}
		}
		end()
	}
	return out
}

// Line is the line of a field's name; 0 when it is not there.
func (p Paragraph) Line(name string) int {
	for _, f := range p.fields {
		if strings.EqualFold(f.name, name) {
			return f.at[0]
		}
	}
	return 0
}
