package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"sluice/internal/blob"
	"sluice/internal/release"
	"sluice/internal/signing"
)

// Kind names what Fsck found wrong.
type Kind string

// The kinds of problems.
const (
	CorruptBlob     Kind = "corrupt blob"     // its bytes are not those of its digest
	LostBlob        Kind = "lost blob"        // a manifest names it and it is not there
	BadManifest     Kind = "bad manifest"     // it cannot be read
	BadSignature    Kind = "bad signature"    // of an index, by none of the trusted keys
	BadIndex        Kind = "bad index"        // an index does not fit the manifest
	LostPackage     Kind = "lost package"     // published, and not in the indices
	UnknownPackage  Kind = "unknown package"  // in the indices, and not published
	ChangedFile     Kind = "changed file"     // in the exported tree
	MissingFile     Kind = "missing file"     // from the exported tree
	ForeignFile     Kind = "foreign file"     // in the exported tree, and not published
	MovedPointer    Kind = "moved pointer"    // current points at another publication
	UntestedPackage Kind = "untested package" // what is published is not what was tested
)

// Problem is one thing that is not as it should be.
type Problem struct {
	Kind   Kind
	Path   string // below the repository or the exported tree; may be ""
	Digest blob.Digest
	Detail string
}

// String is the problem in one line.
func (p Problem) String() string {
	s := string(p.Kind)
	if p.Path != "" {
		s += " " + p.Path
	}
	if p.Digest != "" {
		s += " (" + string(p.Digest) + ")"
	}
	return s + ": " + p.Detail
}

// Check says what Fsck checks.
type Check struct {
	Manifest blob.Digest // the publication that the repository points at
	Keys     []byte      // public keys that clients trust; armoured or binary
	Export   string      // the folder that it is exported to, or ""
}

// Fsck reads a publication back as a client would: every blob's bytes against
// its digest, the signatures, the indices against the signed list and against
// the packages, and the exported tree against the manifest. The error is about
// what kept it from looking; what it found are the problems.
func Fsck(ctx context.Context, store blob.Store, c Check) ([]Problem, error) {
	f := &fsck{ctx: ctx, store: store}
	ring, err := signing.ParseKeyring(c.Keys)
	if err != nil {
		return nil, fmt.Errorf("fsck: %w", err)
	}
	f.ring = ring
	m, err := LoadManifest(ctx, store, c.Manifest)
	if err != nil {
		kind := BadManifest
		switch {
		case errors.Is(err, blob.ErrNotFound):
			kind = LostBlob
		case errors.Is(err, blob.ErrCorrupt):
			kind = CorruptBlob
		}
		f.found(kind, "", c.Manifest, "%v", err)
		return f.problems, ctx.Err()
	}
	f.m = m
	f.blobs()
	f.packages()
	switch m.Format {
	case DEB:
		f.deb()
	case RPM:
		f.rpm()
	default:
		f.found(BadManifest, "", c.Manifest, "format %q", m.Format)
	}
	if c.Export != "" {
		f.tree(c.Manifest, c.Export)
	}
	return f.problems, ctx.Err()
}

type fsck struct {
	ctx      context.Context
	store    blob.Store
	ring     *signing.Keyring
	m        *Manifest
	problems []Problem
}

func (f *fsck) found(kind Kind, path string, d blob.Digest, format string, args ...any) {
	f.problems = append(f.problems, Problem{kind, path, d, fmt.Sprintf(format, args...)})
}

// blobs checks every blob once.
func (f *fsck) blobs() {
	seen := map[blob.Digest]bool{}
	all := f.m.All()
	for _, p := range slices.Sorted(maps.Keys(all)) {
		e := all[p]
		if seen[e.SHA256] || f.ctx.Err() != nil {
			continue
		}
		seen[e.SHA256] = true
		f.blob(p, e.SHA256)
		if info, err := f.store.Stat(f.ctx, e.SHA256); err == nil && info.Size != e.Size {
			f.found(BadManifest, p, e.SHA256, "the manifest says %d bytes, the blob has %d", e.Size, info.Size)
		}
	}
	for _, p := range f.m.Publication.Packages { // the tested bytes are kept too
		if d := blob.Digest(p.Tested); !seen[d] && d.Valid() {
			seen[d] = true
			f.blob(p.Path, d)
		}
	}
}

func (f *fsck) blob(path string, d blob.Digest) {
	switch err := f.store.Verify(f.ctx, d); {
	case err == nil || f.ctx.Err() != nil:
	case errors.Is(err, blob.ErrNotFound):
		f.found(LostBlob, path, d, "no such blob")
	default:
		f.found(CorruptBlob, path, d, "%v", err)
	}
}

// packages checks that what is published is served, and is what was tested.
func (f *fsck) packages() {
	for _, p := range f.m.Publication.Packages {
		e, ok := f.m.Files[p.Path]
		if !ok || string(e.SHA256) != p.Published || e.Size != p.Size {
			f.found(LostPackage, p.Path, blob.Digest(p.Published), "%s is published and not served", p.ID())
		}
		if f.m.Format == DEB && p.Tested != p.Published {
			f.found(UntestedPackage, p.Path, blob.Digest(p.Published), "%s has other bytes than were tested: %s", p.ID(), p.Tested)
		}
	}
}

// text returns the bytes of a served file; what is wrong with them was found already.
func (f *fsck) text(path string) ([]byte, bool) {
	e, ok := f.m.Files[path]
	if !ok {
		f.found(BadIndex, path, "", "it is not served")
		return nil, false
	}
	data, err := blob.ReadAll(f.ctx, f.store, e.SHA256, maxManifest)
	return data, err == nil
}

// listed compares what an index lists with what is published.
func (f *fsck) listed(index string, want []release.Package, got map[string]Entry) {
	for _, p := range want {
		e, ok := got[p.Path]
		if !ok {
			f.found(LostPackage, p.Path, blob.Digest(p.Published), "%s is published, and %s does not list it", p.ID(), index)
			continue
		}
		if string(e.SHA256) != p.Published || e.Size != p.Size {
			f.found(BadIndex, p.Path, e.SHA256, "%s lists %s with other bytes than are published: %s", index, p.ID(), p.Published)
		}
		delete(got, p.Path)
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		f.found(UnknownPackage, path, got[path].SHA256, "%s lists it, and it is not published", index)
	}
}

// tree compares the exported tree with the manifest.
func (f *fsck) tree(d blob.Digest, dir string) {
	name := treeName(f.m.Publication.Serial, d)
	to, err := os.Readlink(filepath.Join(dir, currentLink))
	if err != nil || filepath.Base(to) != name {
		f.found(MovedPointer, currentLink, d, "it points at %q instead of %q", to, name)
	}
	root := filepath.Join(dir, publicationsDir, name)
	all := f.m.All()
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		e, ok := all[below]
		if !ok {
			f.found(ForeignFile, below, "", "it is not published")
			return nil
		}
		delete(all, below)
		if err := f.treeFile(path, entry, e); err != nil {
			f.found(ChangedFile, below, e.SHA256, "%v", err)
		}
		return f.ctx.Err()
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) && f.ctx.Err() == nil {
		f.found(ChangedFile, "", d, "%v", err)
	}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		f.found(MissingFile, p, all[p].SHA256, "it is published and not in %s", root)
	}
}

// treeFile checks a file of the tree; a link to a blob was checked with the blob.
func (f *fsck) treeFile(path string, entry fs.DirEntry, want Entry) error {
	if !entry.Type().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if local, ok := f.store.(blob.Local); ok {
		a, aerr := os.Stat(path)
		b, berr := os.Stat(local.Path(want.SHA256))
		if aerr == nil && berr == nil && os.SameFile(a, b) {
			if err := local.Verify(f.ctx, want.SHA256); err != nil {
				return err
			}
			return nil
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if got := blob.DigestOf(data); got != want.SHA256 {
		return fmt.Errorf("its bytes are those of %s", got)
	}
	return nil
}
