package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"sluice/internal/blob"
	"sluice/internal/release"
)

// Format is the kind of a repository.
type Format string

// The formats.
const (
	DEB Format = "deb"
	RPM Format = "rpm"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: the publication has no such path.
	ErrNotFound = errors.New("not in this publication")
	// ErrOtherBytes: a package of the same name, version and architecture is
	// published already, with other bytes.
	ErrOtherBytes = errors.New("the same version was published with other bytes")
	// ErrPackage: a package's bytes are bad, or it does not belong here.
	ErrPackage = errors.New("package refused")
)

const (
	manifestVersion = 1
	maxManifest     = 1 << 30 // bytes
)

// Entry is a file of a publication.
type Entry struct {
	SHA256 blob.Digest `json:"sha256"`
	Size   int64       `json:"size"` // bytes
}

// OldEntry is a file that a later publication no longer names, and that is
// still served for clients that hold the older index.
type OldEntry struct {
	Entry
	Serial   int64     `json:"serial"`   // of the publication that dropped it
	Replaced time.Time `json:"replaced"` // that publication's date
}

// Identity is what clients know an APT repository by: it never changes, since
// apt stops at a change.
type Identity struct {
	Origin   string `json:"origin"`
	Label    string `json:"label"`
	Suite    string `json:"suite,omitempty"`
	Codename string `json:"codename,omitempty"`
}

// Manifest is one publication.
type Manifest struct {
	Manifest    int                 `json:"manifest"` // the version of this document's form
	Format      Format              `json:"format"`
	Identity    Identity            `json:"identity"`
	ValidUntil  time.Time           `json:"valid_until,omitzero"`
	Publication release.Publication `json:"publication"`
	Files       map[string]Entry    `json:"files"` // path below the repository → blob
	Old         map[string]OldEntry `json:"old,omitempty"`
}

// LoadManifest reads a manifest's blob.
func LoadManifest(ctx context.Context, store blob.Store, d blob.Digest) (*Manifest, error) {
	data, err := blob.ReadAll(ctx, store, d, maxManifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest of a publication: %w", err)
	}
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("reading the manifest %s: %w", d, err)
	}
	if m.Manifest != manifestVersion {
		return nil, fmt.Errorf("the manifest %s has form %d; this program knows %d", d, m.Manifest, manifestVersion)
	}
	for p, e := range m.All() {
		if !e.SHA256.Valid() || path.Clean("/" + p)[1:] != p {
			return nil, fmt.Errorf("the manifest %s has the entry %.200q: %.80q", d, p, e.SHA256)
		}
	}
	return m, nil
}

func (m *Manifest) save(ctx context.Context, store blob.Store) (blob.Digest, int64, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return "", 0, fmt.Errorf("writing a manifest: %w", err)
	}
	d, err := blob.PutBytes(ctx, store, data)
	return d, int64(len(data)), err
}

// All are all files that are served, the old ones too.
func (m *Manifest) All() map[string]Entry {
	all := maps.Clone(m.Files)
	for p, old := range m.Old {
		if _, ok := all[p]; !ok {
			all[p] = old.Entry
		}
	}
	return all
}

// Lookup finds what is served at a path below the repository.
func (m *Manifest) Lookup(p string) (Entry, bool) {
	p = strings.TrimPrefix(p, "/")
	if e, ok := m.Files[p]; ok {
		return e, true
	}
	old, ok := m.Old[p]
	return old.Entry, ok
}

// Open opens what is served at a path below the repository (ErrNotFound).
func Open(ctx context.Context, store blob.Store, m *Manifest, p string) (blob.File, Entry, error) {
	e, ok := m.Lookup(p)
	if !ok {
		return nil, Entry{}, fmt.Errorf("%.200q: %w", p, ErrNotFound)
	}
	f, size, err := store.Open(ctx, e.SHA256)
	if err != nil {
		return nil, Entry{}, fmt.Errorf("%s: %w", p, err)
	}
	if size != e.Size {
		f.Close()
		return nil, Entry{}, fmt.Errorf("%s: %w: %d bytes instead of %d", p, blob.ErrCorrupt, size, e.Size)
	}
	return f, e, nil
}

// ContentType is a file's media type.
func ContentType(p string) string {
	switch base := path.Base(p); {
	case strings.HasSuffix(base, ".deb"):
		return "application/vnd.debian.binary-package"
	case strings.HasSuffix(base, ".rpm"):
		return "application/x-rpm"
	case strings.HasSuffix(base, ".xml"):
		return "application/xml"
	case base == "InRelease", base == "Release", base == "Packages", base == "Sources", strings.HasSuffix(base, ".dsc"):
		return "text/plain; charset=utf-8"
	case strings.HasSuffix(base, ".asc"), strings.HasSuffix(base, ".gpg") && base != "key.gpg", strings.HasSuffix(base, ".key"):
		return "application/pgp-keys"
	}
	return "application/octet-stream"
}

// Immutable reports whether the file at a path never changes while it is there,
// so that clients and proxies may keep it.
func Immutable(p string) bool {
	return strings.Contains(p, "/by-hash/") || strings.HasPrefix(p, "pool/") || strings.HasPrefix(p, "Packages/") ||
		strings.HasPrefix(p, "repodata/") && !strings.HasPrefix(p, "repodata/repomd.xml")
}

// NeedsSigning reports whether a third of the life of a publication's
// signature is over, so that it is published anew.
func (m *Manifest) NeedsSigning(now time.Time) bool {
	if m.ValidUntil.IsZero() {
		return false
	}
	life := m.ValidUntil.Sub(m.Publication.Date)
	return !now.Before(m.Publication.Date.Add(life / 3))
}

// Inputs are the files that the publication was built from: the next one is
// built from these, more, or fewer.
func (m *Manifest) Inputs() []File {
	seen := map[File]bool{}
	for _, p := range m.Publication.Packages {
		seen[File{Name: p.File, Digest: blob.Digest(p.Tested)}] = true
	}
	for name, e := range m.Files { // a source package's tarballs
		if strings.HasPrefix(name, "pool/") && !strings.HasSuffix(name, ".deb") && !strings.HasSuffix(name, ".dsc") {
			seen[File{Name: path.Base(name), Digest: e.SHA256}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b File) int { return strings.Compare(a.Name, b.Name) })
}

// carry takes over from the previous publication what is still served.
func (m *Manifest) carry(previous *Manifest, keep release.Keep) {
	if previous == nil {
		return
	}
	serial, date := m.Publication.Serial, m.Publication.Date
	for p, old := range previous.Old {
		if _, again := m.Files[p]; !again && !keep.Expired(old.Serial, serial, old.Replaced, date) {
			m.Old[p] = old
		}
	}
	for p, e := range previous.Files {
		if _, still := m.Files[p]; !still {
			m.Old[p] = OldEntry{Entry: e, Serial: serial, Replaced: date}
		}
	}
}
