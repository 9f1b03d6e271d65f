package deb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// IndexStanza is the package's paragraph in a Packages file, with the empty
// line that ends it: its own fields, then where it is (filename, below the
// repository), its size in bytes and its digest.
func (p Package) IndexStanza(filename string, size int64, sha256 string) string {
	return fmt.Sprintf("%sFilename: %s\nSize: %d\nSHA256: %s\n\n", p.Stanza, filename, size, sha256)
}

// IndexStanza is the source package's paragraph in a Sources file, with the
// empty line that ends it: its own fields (Source is called Package there),
// then the folder that its files are in, and their digests with that of the
// .dsc itself.
func (d Dsc) IndexStanza(directory, dscName string, dscSize int64, dscSHA256 string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "Package: %s\n", d.Source)
	for _, f := range d.Control.fields {
		switch strings.ToLower(f.name) {
		case "source", "files", "checksums-sha1", "checksums-sha256", "checksums-sha512":
		default:
			out.WriteString(f.text())
		}
	}
	fmt.Fprintf(&out, "Directory: %s\nChecksums-Sha256:\n %s %d %s\n", directory, dscSHA256, dscSize, dscName)
	for _, f := range d.Files {
		fmt.Fprintf(&out, " %s %d %s\n", f.SHA256, f.Size, f.Name)
	}
	out.WriteByte('\n')
	return out.String()
}

// ContentsLines are the package's lines in a Contents file.
func (p Package) ContentsLines() string {
	var out strings.Builder
	where := cmp.Or(p.Section, "unknown") + "/" + p.Name
	for _, f := range p.Files {
		fmt.Fprintf(&out, "%-55s %s\n", f, where)
	}
	return out.String()
}

// IndexFile is a file that the Release file vouches for.
type IndexFile struct {
	Path   string // below dists/SUITE
	Size   int64  // bytes
	SHA256 string
}

// Release is the top of an APT repository.
type Release struct {
	Origin, Label   string // never changed once published: apt stops at a change
	Suite, Codename string // likewise
	Description     string
	Date            time.Time
	ValidUntil      time.Time // zero: none
	Architectures   []string  // those with an index; not "all"
	Components      []string
	// NotAutomatic keeps everybody from getting packages by accident;
	// ButAutomaticUpgrades still upgrades what is installed from here.
	NotAutomatic, ButAutomaticUpgrades bool
	// Snapshots is a URL with @SNAPSHOTID@, or "".
	Snapshots string
	Files     []IndexFile
}

// Text is the Release file. Old index files stay under by-hash, and packages
// for all architectures are in each architecture's index.
func (r Release) Text() []byte {
	var out strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%s: %s\n", name, strings.Join(strings.Fields(value), " "))
		}
	}
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return ""
	}
	field("Origin", r.Origin)
	field("Label", r.Label)
	field("Suite", r.Suite)
	field("Codename", r.Codename)
	field("Date", r.Date.UTC().Format(time.RFC1123))
	if !r.ValidUntil.IsZero() {
		field("Valid-Until", r.ValidUntil.UTC().Format(time.RFC1123))
	}
	field("Acquire-By-Hash", "yes")
	field("NotAutomatic", yes(r.NotAutomatic))
	field("ButAutomaticUpgrades", yes(r.ButAutomaticUpgrades))
	field("Architectures", strings.Join(r.Architectures, " "))
	field("Components", strings.Join(r.Components, " "))
	field("No-Support-for-Architecture-all", "Packages")
	field("Description", r.Description)
	field("Snapshots", r.Snapshots)
	out.WriteString("SHA256:\n")
	files := slices.SortedFunc(slices.Values(r.Files), func(a, b IndexFile) int { return cmp.Compare(a.Path, b.Path) })
	for _, f := range files {
		fmt.Fprintf(&out, " %s %16d %s\n", f.SHA256, f.Size, f.Path)
	}
	return []byte(out.String())
}

// ReadRelease reads the files that a Release file vouches for, and its fields.
func ReadRelease(text []byte) (Paragraph, []IndexFile, error) {
	p, err := one(text)
	if err != nil {
		return Paragraph{}, nil, fmt.Errorf("the Release file: %w", err)
	}
	var files []IndexFile
	for line := range strings.SplitSeq(p.Get("SHA256"), "\n") {
		part := strings.Fields(line)
		if len(part) == 0 {
			continue
		}
		var size int64
		if len(part) != 3 || !sha256Text.MatchString(part[0]) {
			return Paragraph{}, nil, bad("the Release file: SHA256: %.120q", line)
		}
		if _, err := fmt.Sscanf(part[1], "%d", &size); err != nil {
			return Paragraph{}, nil, bad("the Release file: SHA256: %.120q", line)
		}
		files = append(files, IndexFile{Path: part[2], Size: size, SHA256: part[0]})
	}
	return p, files, nil
}

// Client says how a machine uses a repository.
type Client struct {
	URL        string // with or without a slash at the end
	Suite      string
	Components []string
	// KeyPath is where the public key is on the machine: /etc/apt/keyrings/NAME.asc.
	KeyPath string
	Origin  string // for Preferences
	Sources bool   // source packages too
}

// SourcesFile is a deb822 file for /etc/apt/sources.list.d (NAME.sources).
func SourcesFile(c Client) string {
	types := "deb"
	if c.Sources {
		types += " deb-src"
	}
	return fmt.Sprintf("Types: %s\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n",
		types, c.URL, c.Suite, strings.Join(c.Components, " "), c.KeyPath)
}

// SourceLine is the one-line form, for old versions of apt (NAME.list).
func SourceLine(c Client) string {
	return fmt.Sprintf("deb [signed-by=%s] %s %s %s\n", c.KeyPath, c.URL, c.Suite, strings.Join(c.Components, " "))
}

// Preferences pins all packages of the repository; a priority over 1000 makes a
// lower version win too.
func Preferences(c Client, priority int) string {
	return fmt.Sprintf("Package: *\nPin: release o=%s\nPin-Priority: %d\n", c.Origin, priority)
}
