package rpm

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
)

// Indexed is a package as primary.xml lists it, as far as it matters to what
// can be installed.
type Indexed struct {
	Name, Architecture, SourceRPM, SHA256    string
	EVR                                      EVR
	Provides, Requires, Conflicts, Obsoletes []Relation
	// Files are those that primary.xml lists: of /etc, and what is in a bin folder.
	Files []string
}

type primaryEntries struct {
	Entries []struct {
		Name  string `xml:"name,attr"`
		Flags string `xml:"flags,attr"`
		Epoch string `xml:"epoch,attr"`
		Ver   string `xml:"ver,attr"`
		Rel   string `xml:"rel,attr"`
	} `xml:"entry"`
}

func (e primaryEntries) relations() []Relation {
	var out []Relation
	for _, x := range e.Entries {
		out = append(out, Relation{Name: x.Name, Flags: x.Flags, Epoch: x.Epoch, Version: x.Ver, Release: x.Rel})
	}
	return out
}

// EachIndexed reads a primary.xml, however long, and calls each for every
// package of it that is not a source package. It is for indices of others, of
// which nothing is published.
func EachIndexed(r io.Reader, each func(Indexed)) error {
	d := xml.NewDecoder(r)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("primary.xml: %w", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "package" {
			continue
		}
		var p struct {
			Name    string `xml:"name"`
			Arch    string `xml:"arch"`
			Version struct {
				Epoch int    `xml:"epoch,attr"`
				Ver   string `xml:"ver,attr"`
				Rel   string `xml:"rel,attr"`
			} `xml:"version"`
			Checksum string `xml:"checksum"`
			Format   struct {
				Source    string         `xml:"sourcerpm"`
				Provides  primaryEntries `xml:"provides"`
				Requires  primaryEntries `xml:"requires"`
				Conflicts primaryEntries `xml:"conflicts"`
				Obsoletes primaryEntries `xml:"obsoletes"`
				Files     []string       `xml:"file"`
			} `xml:"format"`
		}
		if err := d.DecodeElement(&p, &start); err != nil {
			return fmt.Errorf("primary.xml: %w", err)
		}
		if p.Arch == "src" || p.Arch == "nosrc" || p.Name == "" {
			continue
		}
		each(Indexed{
			Name: p.Name, Architecture: p.Arch, SourceRPM: p.Format.Source, SHA256: p.Checksum,
			EVR: EVR{p.Version.Epoch, p.Version.Ver, p.Version.Rel}, Files: p.Format.Files,
			Provides: p.Format.Provides.relations(), Requires: p.Format.Requires.relations(),
			Conflicts: p.Format.Conflicts.relations(), Obsoletes: p.Format.Obsoletes.relations(),
		})
	}
}

// ReadEntry reads a relation as a spec has it: "name", "name >= 1:2-3".
func ReadEntry(words []string) (Relation, error) {
	flags := map[string]string{"=": "EQ", "==": "EQ", "<": "LT", "<=": "LE", ">": "GT", ">=": "GE"}
	switch {
	case len(words) == 1:
		return Relation{Name: words[0]}, nil
	case len(words) == 3 && flags[words[1]] != "":
		v := ParseEVR(words[2])
		return Relation{Name: words[0], Flags: flags[words[1]], Epoch: fmt.Sprint(v.Epoch), Version: v.Version, Release: v.Release}, nil
	}
	return Relation{}, bad("%q is not a requirement", words)
}

// Operator is the relation's condition as it is written, "" for none, and its version.
func (r Relation) Operator() (op, version string) {
	if r.Flags == "" || r.Version == "" {
		return "", ""
	}
	return map[string]string{"EQ": "=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}[r.Flags], r.evr().String()
}
