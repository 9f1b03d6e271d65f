package deb

import (
	"bufio"
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pault.ag/go/debian/changelog"
)

// SourceFile is a file that a .dsc names.
type SourceFile struct {
	Name   string
	Size   int64  // bytes
	SHA256 string // lowercase hexadecimal
}

// Dsc is a source package.
type Dsc struct {
	Source   string
	Version  string
	Binaries []string
	Files    []SourceFile // tarballs and such; not the .dsc itself
	Control  Paragraph
}

var (
	sha256Text = regexp.MustCompile(`^[0-9a-f]{64}$`)
	fileName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+~:_-]{0,254}$`)
)

// ReadDsc reads a .dsc, with or without a signature (which is not checked).
func ReadDsc(data []byte) (Dsc, error) {
	text, err := unsigned(data)
	if err != nil {
		return Dsc{}, err
	}
	c, err := one(text)
	if err != nil {
		return Dsc{}, fmt.Errorf(".dsc: %w", err)
	}
	d := Dsc{Source: c.Get("Source"), Version: c.Get("Version"), Control: c}
	if err := checkName("source package", d.Source); err != nil {
		return Dsc{}, fmt.Errorf(".dsc: %w", err)
	}
	if err := CheckVersion(d.Version); err != nil {
		return Dsc{}, fmt.Errorf(".dsc: %w", err)
	}
	for _, f := range []string{"Package", "Directory"} {
		if c.Has(f) {
			return Dsc{}, bad(".dsc: the field %s belongs to the repository", f)
		}
	}
	for name := range strings.SplitSeq(c.Get("Binary"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			d.Binaries = append(d.Binaries, name)
		}
	}
	for line := range strings.SplitSeq(c.Get("Checksums-Sha256"), "\n") {
		part := strings.Fields(line)
		if len(part) == 0 {
			continue
		}
		if len(part) != 3 || !sha256Text.MatchString(part[0]) || !fileName.MatchString(part[2]) || !digits(part[1]) {
			return Dsc{}, bad(".dsc: Checksums-Sha256: %.120q", line)
		}
		size, err := strconv.ParseInt(part[1], 10, 64)
		if err != nil {
			return Dsc{}, bad(".dsc: Checksums-Sha256: %.120q", line)
		}
		d.Files = append(d.Files, SourceFile{Name: part[2], Size: size, SHA256: part[0]})
	}
	if len(d.Files) == 0 {
		return Dsc{}, bad(".dsc: Checksums-Sha256 names no file")
	}
	return d, nil
}

// unsigned takes the armour of a clear signature off.
func unsigned(data []byte) ([]byte, error) {
	const begin, end = "-----BEGIN PGP SIGNED MESSAGE-----\n", "\n-----BEGIN PGP SIGNATURE-----\n"
	if !bytes.HasPrefix(data, []byte(begin)) {
		return data, nil
	}
	_, body, found := bytes.Cut(data, []byte("\n\n"))
	body, _, closed := bytes.Cut(body, []byte(end))
	if !found || !closed {
		return nil, bad(".dsc: its signature is cut off")
	}
	lines := bytes.Split(body, []byte("\n"))
	for i, l := range lines {
		lines[i] = bytes.TrimPrefix(l, []byte("- "))
	}
	return append(bytes.Join(lines, []byte("\n")), '\n'), nil
}

// Control is a debian/control: what a source tree builds, and of what.
type Control struct {
	Source   Paragraph
	Binaries []Binary
	// BuildDepends is Build-Depends, -Arch and -Indep together.
	BuildDepends   Relations
	BuildConflicts Relations
}

// Binary is a binary package that a source tree builds.
type Binary struct {
	Name          string
	Architectures []string // "any", "all", "amd64", …
	Control       Paragraph
}

// Name is the source package's name.
func (c Control) Name() string { return c.Source.Get("Source") }

// ReadControl reads a debian/control.
func ReadControl(data []byte) (Control, error) {
	all, err := ParseParagraphs(data)
	if err != nil {
		return Control{}, fmt.Errorf("debian/control: %w", err)
	}
	if len(all) < 2 {
		return Control{}, bad("debian/control: %d paragraphs; one for the source and one per binary package are wanted", len(all))
	}
	c := Control{Source: all[0]}
	if err := checkName("source package", c.Name()); err != nil {
		return Control{}, fmt.Errorf("debian/control: Source: %w", err)
	}
	for _, f := range []string{"Build-Depends", "Build-Depends-Arch", "Build-Depends-Indep"} {
		r, err := ParseRelations(c.Source.Get(f))
		if err != nil {
			return Control{}, fmt.Errorf("debian/control: %s: %w", f, err)
		}
		c.BuildDepends = append(c.BuildDepends, r...)
	}
	for _, f := range []string{"Build-Conflicts", "Build-Conflicts-Arch", "Build-Conflicts-Indep"} {
		r, err := ParseRelations(c.Source.Get(f))
		if err != nil {
			return Control{}, fmt.Errorf("debian/control: %s: %w", f, err)
		}
		c.BuildConflicts = append(c.BuildConflicts, r...)
	}
	seen := map[string]bool{}
	for _, p := range all[1:] {
		b := Binary{Name: p.Get("Package"), Architectures: strings.Fields(p.Get("Architecture")), Control: p}
		if err := checkName("package", b.Name); err != nil {
			return Control{}, fmt.Errorf("debian/control: Package: %w", err)
		}
		if seen[b.Name] || len(b.Architectures) == 0 {
			return Control{}, bad("debian/control: package %s occurs twice or has no Architecture", b.Name)
		}
		seen[b.Name] = true
		c.Binaries = append(c.Binaries, b)
	}
	return c, nil
}

// ChangelogEntry is one entry of debian/changelog.
type ChangelogEntry struct {
	Source       string
	Version      string
	Distribution string
	By           string // "Name <mail>"
	Date         time.Time
	Text         string
}

// ReadChangelogTop reads the first entry of a debian/changelog, which says
// what version the tree has.
func ReadChangelogTop(data []byte) (ChangelogEntry, error) {
	if len(data) > maxControlFile { // the top is all that is read
		data = data[:maxControlFile]
	}
	top, err := changelog.ParseOne(bufio.NewReader(bytes.NewReader(data)))
	if err != nil {
		return ChangelogEntry{}, bad("debian/changelog: the first entry: %v", err)
	}
	e := ChangelogEntry{Source: top.Source, Version: top.Version.String(), Distribution: top.Target,
		By: top.ChangedBy, Date: top.When, Text: strings.Trim(top.Changelog, "\n")}
	if err := checkName("source package", e.Source); err != nil {
		return ChangelogEntry{}, fmt.Errorf("debian/changelog: %w", err)
	}
	if err := CheckVersion(e.Version); err != nil {
		return ChangelogEntry{}, fmt.Errorf("debian/changelog: %w", err)
	}
	return e, nil
}
