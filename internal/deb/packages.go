package deb

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// Listed is a binary package as a Packages file lists it, as far as it matters
// to what can be installed.
type Listed struct {
	Name, Version, Architecture string
	Source                      string // the field: "glibc (2.36-9)", "" where it is the package's name
	MultiArch                   string
	PreDepends, Depends         string
	Conflicts, Breaks, Provides string
	SHA256                      string
}

// maxListed bounds a line of a Packages file, in bytes.
const maxListed = 1 << 20

// ReadPackages reads a Packages file, however long, and calls each for every
// package of it. It looks at a few fields only and checks nothing: it is for
// indices of others, of which nothing is published.
func ReadPackages(r io.Reader, each func(Listed)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxListed)
	var l Listed
	var into *string
	for lines.Scan() {
		line := lines.Bytes()
		switch {
		case len(line) == 0:
			if l.Name != "" && l.Version != "" {
				each(l)
			}
			l, into = Listed{}, nil
		case line[0] == ' ' || line[0] == '\t':
			if into != nil {
				*into += " " + string(bytes.TrimSpace(line))
			}
		default:
			name, value, _ := bytes.Cut(line, []byte(":"))
			if into = l.field(name); into != nil {
				*into = string(bytes.TrimSpace(value))
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("a Packages file: %w", err)
	}
	if l.Name != "" && l.Version != "" {
		each(l)
	}
	return nil
}

func (l *Listed) field(name []byte) *string {
	switch string(name) {
	case "Package":
		return &l.Name
	case "Version":
		return &l.Version
	case "Architecture":
		return &l.Architecture
	case "Source":
		return &l.Source
	case "Multi-Arch":
		return &l.MultiArch
	case "Pre-Depends":
		return &l.PreDepends
	case "Depends":
		return &l.Depends
	case "Conflicts":
		return &l.Conflicts
	case "Breaks":
		return &l.Breaks
	case "Provides":
		return &l.Provides
	case "SHA256":
		return &l.SHA256
	}
	return nil
}

// Of gives the source package's name and version of a listed package.
func (l Listed) Of() (source, version string) {
	if m := sourceField.FindStringSubmatch(l.Source); m != nil {
		if m[2] != "" {
			return m[1], m[2]
		}
		return m[1], l.Version
	}
	return l.Name, l.Version
}

// UnpackXZ unpacks an index.
func UnpackXZ(r io.Reader) (io.Reader, error) {
	out, _, err := decompress(".xz", r)
	return out, err
}
