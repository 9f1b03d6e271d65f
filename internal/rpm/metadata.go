package rpm

import (
	"fmt"
	"slices"
	"strings"
)

// A metadata file is its head, the pieces of its packages in one order that is
// the same in all three files, and its tail. Pieces depend on nothing but the
// package, its digest and its place, so that they can be kept.

// Heads and tails of the three metadata files, for n packages.
func PrimaryHead(n int) string {
	return fmt.Sprintf("%s<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"%d\">\n", xmlHead, n)
}

// FilelistsHead begins filelists.xml.
func FilelistsHead(n int) string {
	return fmt.Sprintf("%s<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" packages=\"%d\">\n", xmlHead, n)
}

// OtherHead begins other.xml.
func OtherHead(n int) string {
	return fmt.Sprintf("%s<otherdata xmlns=\"http://linux.duke.edu/metadata/other\" packages=\"%d\">\n", xmlHead, n)
}

const (
	xmlHead = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	// The tails.
	PrimaryTail   = "</metadata>\n"
	FilelistsTail = "</filelists>\n"
	OtherTail     = "</otherdata>\n"
	// changelogEntries is how many entries of a changelog other.xml has.
	changelogEntries = 10
)

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
var attributeEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\n", "&#10;", "\t", "&#9;")

// Place is where a package's file is.
type Place struct {
	SHA256 string // of the file
	Size   int64  // bytes
	// Path is below the repository. It is written as it is: dnf encodes it
	// itself, and would encode an encoded one twice (+, ^ and ~ arrive only
	// this way). What an address could not hold (%, #, ?, a space) is in no
	// name that ReadPackage lets through.
	Path string
}

// InPrimary reports whether primary.xml lists a file of this path.
func InPrimary(path string) bool { return primaryFile(path) }

// primaryFile reports whether a file is listed in primary.xml already.
func primaryFile(path string) bool {
	return strings.HasPrefix(path, "/etc/") || strings.Contains(path, "bin/") || path == "/usr/lib/sendmail"
}

// Primary is the package's piece of primary.xml.
func (p Package) Primary(at Place) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	text := func(indent, name, value string) {
		out.WriteString(indent + "<" + name + ">" + escaper.Replace(value) + "</" + name + ">\n")
	}
	line(`<package type="rpm">`)
	text("  ", "name", p.Name)
	text("  ", "arch", p.Architecture)
	out.WriteString(p.versionTag())
	line(`  <checksum type="sha256" pkgid="YES">%s</checksum>`, at.SHA256)
	text("  ", "summary", p.Summary)
	text("  ", "description", p.Description)
	text("  ", "packager", p.Packager)
	text("  ", "url", p.URL)
	line(`  <time file="%d" build="%d"/>`, p.BuildTime.Unix(), p.BuildTime.Unix())
	line(`  <size package="%d" installed="%d" archive="%d"/>`, at.Size, p.InstalledSize, p.ArchiveSize)
	line(`  <location href="%s"/>`, attributeEscaper.Replace(at.Path))
	line(`  <format>`)
	text("    ", "rpm:license", p.License)
	text("    ", "rpm:vendor", p.Vendor)
	text("    ", "rpm:group", p.Group)
	text("    ", "rpm:buildhost", p.BuildHost)
	text("    ", "rpm:sourcerpm", p.SourceRPM)
	line(`    <rpm:header-range start="%d" end="%d"/>`, p.HeaderStart, p.HeaderEnd)
	for _, kind := range []struct {
		name string
		list []Relation
	}{
		{"provides", p.Provides}, {"requires", p.indexRequires()}, {"conflicts", p.Conflicts}, {"obsoletes", p.Obsoletes},
		{"suggests", p.Suggests}, {"enhances", p.Enhances}, {"recommends", p.Recommends}, {"supplements", p.Supplements},
	} {
		writeRelations(&out, kind.name, kind.list)
	}
	for _, f := range p.Files {
		if primaryFile(f.Path) {
			writeFile(&out, "    ", f)
		}
	}
	out.WriteString("  </format>\n</package>\n")
	return out.String()
}

func (p Package) versionTag() string {
	return fmt.Sprintf("  <version epoch=\"%d\" ver=\"%s\" rel=\"%s\"/>\n", p.EVR.Epoch, p.EVR.Version, p.EVR.Release)
}

func writeRelations(out *strings.Builder, name string, list []Relation) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(out, "    <rpm:%s>\n", name)
	attribute := func(name, value string) {
		if value != "" {
			out.WriteString(" " + name + `="` + attributeEscaper.Replace(value) + `"`)
		}
	}
	for _, r := range list {
		out.WriteString("      <rpm:entry")
		attribute("name", r.Name)
		attribute("flags", r.Flags)
		attribute("epoch", r.Epoch)
		attribute("ver", r.Version)
		attribute("rel", r.Release)
		if r.Pre && name == "requires" {
			attribute("pre", "1")
		}
		out.WriteString("/>\n")
	}
	fmt.Fprintf(out, "    </rpm:%s>\n", name)
}

func writeFile(out *strings.Builder, indent string, f File) {
	kind := ""
	switch {
	case f.Dir:
		kind = ` type="dir"`
	case f.Ghost:
		kind = ` type="ghost"`
	}
	out.WriteString(indent + "<file" + kind + ">" + escaper.Replace(f.Path) + "</file>\n")
}

// indexRequires is what the index says is required: not what rpm itself
// answers (rpmlib), not what the package brings along, nothing twice, and of
// glibc's versions the highest.
func (p Package) indexRequires() []Relation {
	files, provided, seen := map[string]bool{}, map[string]bool{}, map[Relation]bool{}
	for _, f := range p.Files {
		files[f.Path] = true
	}
	for _, r := range p.Provides {
		r.Pre = false
		provided[r.String()] = true
	}
	var out []Relation
	var libc *Relation
	for _, r := range p.Requires {
		plain := r
		plain.Pre = false
		switch {
		case strings.HasPrefix(r.Name, "rpmlib("), files[r.Name] && primaryFile(r.Name), provided[plain.String()], seen[r]:
			continue
		case strings.HasPrefix(r.Name, "libc.so.6"):
			if libc == nil || libcVersion(libc.Name).Compare(libcVersion(r.Name)) < 0 {
				libc = &r
			}
			continue
		}
		seen[r] = true
		out = append(out, r)
	}
	if libc != nil {
		out = append(out, *libc)
	}
	return out
}

// libcVersion is 2.34 of "libc.so.6(GLIBC_2.34)(64bit)".
func libcVersion(name string) EVR {
	_, rest, _ := strings.Cut(name, "(GLIBC_")
	version, _, _ := strings.Cut(rest, ")")
	return EVR{Version: version}
}

func (p Package) open(at Place) string {
	return fmt.Sprintf("<package pkgid=\"%s\" name=\"%s\" arch=\"%s\">\n%s", at.SHA256, attributeEscaper.Replace(p.Name), p.Architecture, p.versionTag())
}

// Filelists is the package's piece of filelists.xml.
func (p Package) Filelists(at Place) string {
	var out strings.Builder
	out.WriteString(p.open(at))
	for _, f := range p.Files {
		writeFile(&out, "  ", f)
	}
	out.WriteString("</package>\n")
	return out.String()
}

// Other is the package's piece of other.xml: the last ten entries of its
// changelog, the oldest first, with times that grow (clients sort by them).
func (p Package) Other(at Place) string {
	var out strings.Builder
	out.WriteString(p.open(at))
	last := int64(-1 << 62)
	newest := p.Changelog[:min(changelogEntries, len(p.Changelog))]
	for _, c := range slices.Backward(newest) {
		last = max(last+1, c.Time.Unix())
		fmt.Fprintf(&out, "  <changelog author=\"%s\" date=\"%d\">%s</changelog>\n", attributeEscaper.Replace(c.Author), last, escaper.Replace(c.Text))
	}
	out.WriteString("</package>\n")
	return out.String()
}
