package rpm

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"
)

// Data is one metadata file that repomd.xml vouches for.
type Data struct {
	Type       string // "primary", "filelists", "other"
	Path       string // below the repository
	SHA256     string // of the file as it is served
	Size       int64
	OpenSHA256 string // of the file unpacked
	OpenSize   int64
	Time       time.Time
}

// Repomd is repomd.xml. The revision grows whenever a byte changes.
func Repomd(revision int64, data []Data) []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "%s<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n  <revision>%d</revision>\n", xmlHead, revision)
	for _, d := range data {
		fmt.Fprintf(&out, `  <data type="%s">
    <checksum type="sha256">%s</checksum>
    <open-checksum type="sha256">%s</open-checksum>
    <location href="%s"/>
    <timestamp>%d</timestamp>
    <size>%d</size>
    <open-size>%d</open-size>
  </data>
`, d.Type, d.SHA256, d.OpenSHA256, d.Path, d.Time.Unix(), d.Size, d.OpenSize)
	}
	out.WriteString("</repomd>\n")
	return []byte(out.String())
}

// ReadRepomd reads a repomd.xml that this program made.
func ReadRepomd(text []byte) (revision int64, data []Data, err error) {
	var doc struct {
		Revision int64 `xml:"revision"`
		Data     []struct {
			Type     string `xml:"type,attr"`
			Checksum string `xml:"checksum"`
			Open     string `xml:"open-checksum"`
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
			Time     int64 `xml:"timestamp"`
			Size     int64 `xml:"size"`
			OpenSize int64 `xml:"open-size"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal(text, &doc); err != nil {
		return 0, nil, fmt.Errorf("repomd.xml: %w", err)
	}
	for _, d := range doc.Data {
		data = append(data, Data{Type: d.Type, Path: d.Location.Href, SHA256: d.Checksum, Size: d.Size, OpenSHA256: d.Open, OpenSize: d.OpenSize, Time: time.Unix(d.Time, 0)})
	}
	return doc.Revision, data, nil
}

// Listed is a package as primary.xml lists it.
type Listed struct {
	Name, Architecture string
	EVR                EVR
	Place              Place
}

// ReadPrimary reads the packages of a primary.xml.
func ReadPrimary(text []byte) ([]Listed, error) {
	var doc struct {
		Packages []struct {
			Name    string `xml:"name"`
			Arch    string `xml:"arch"`
			Version struct {
				Epoch int    `xml:"epoch,attr"`
				Ver   string `xml:"ver,attr"`
				Rel   string `xml:"rel,attr"`
			} `xml:"version"`
			Checksum string `xml:"checksum"`
			Size     struct {
				Package int64 `xml:"package,attr"`
			} `xml:"size"`
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
		} `xml:"package"`
	}
	if err := xml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("primary.xml: %w", err)
	}
	out := make([]Listed, 0, len(doc.Packages))
	for _, p := range doc.Packages {
		out = append(out, Listed{Name: p.Name, Architecture: p.Arch, EVR: EVR{p.Version.Epoch, p.Version.Ver, p.Version.Rel},
			Place: Place{SHA256: p.Checksum, Size: p.Size.Package, Path: p.Location.Href}})
	}
	return out, nil
}

// Client says how a machine uses a repository.
type Client struct {
	ID   string // "mos-7.0"
	Name string
	// URL is the repository's; Mirrors, if set, a mirrorlist or metalink instead.
	URL, Mirrors string
	Keys         []string // URLs of the public keys: old and new during a rotation
	Unsigned     bool     // the packages carry no signatures (a test repository); repomd.xml always does
	Priority     int      // smaller wins; 0: dnf's 99
	// ModuleHotfixes overrides modular filtering.
	ModuleHotfixes bool
}

// RepoFile is a file for /etc/yum.repos.d (ID.repo).
func RepoFile(c Client) string {
	var out strings.Builder
	line := func(key, value string) { fmt.Fprintf(&out, "%s=%s\n", key, value) }
	fmt.Fprintf(&out, "[%s]\n", c.ID)
	line("name", c.Name)
	switch {
	case strings.Contains(c.Mirrors, "metalink"):
		line("metalink", c.Mirrors)
	case c.Mirrors != "":
		line("mirrorlist", c.Mirrors)
	default:
		line("baseurl", c.URL)
	}
	line("enabled", "1")
	if c.Unsigned {
		line("gpgcheck", "0")
	} else {
		line("gpgcheck", "1")
	}
	line("repo_gpgcheck", "1")
	line("gpgkey", strings.Join(c.Keys, "\n       "))
	if c.Priority != 0 {
		line("priority", fmt.Sprint(c.Priority))
	}
	if c.ModuleHotfixes {
		line("module_hotfixes", "1")
	}
	return out.String()
}
