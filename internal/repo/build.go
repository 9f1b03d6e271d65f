package repo

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/blob"
	"sluice/internal/deb"
	"sluice/internal/release"
	"sluice/internal/rpm"
	"sluice/internal/signing"
)

// Builder makes publications. It may be used from many goroutines, and works
// fastest when it lives as long as the process.
type Builder struct {
	store  blob.Store
	cache  Cache
	memory *memory
	dir    string
}

// NewBuilder makes a builder. The cache may be nil. About memory bytes are kept
// of what packages say (0: 512 MiB); packages are signed in files below dir
// ("": the system's folder for temporary files).
func NewBuilder(store blob.Store, cache Cache, memory int64, dir string) *Builder {
	return &Builder{store: store, cache: cache, memory: newMemory(cmp.Or(memory, 512<<20)), dir: dir}
}

// TestRepository says what BuildTest makes.
type TestRepository struct {
	Format Format
	// Identity's Suite and Codename are the dist's codename (APT).
	Identity Identity
	// Architectures that get an index (APT); packages of others are refused.
	Architectures []string
	Files         []File
	Signer        *signing.Signer // the test key, never a release key
	At            time.Time
}

// component is the one component of every repository here.
const component = "main"

// BuildTest makes a test repository: one component, NotAutomatic, without
// Contents and xz, signed with the test key; RPMs stay unsigned, so that they
// are the bytes that were built.
func (b *Builder) BuildTest(ctx context.Context, t TestRepository) (blob.Digest, *Manifest, error) {
	records, claimed, err := b.resolve(ctx, t.Format, t.Files)
	if err != nil {
		return "", nil, fmt.Errorf("making a test repository: %w", err)
	}
	m := newManifest(t.Format, t.Identity)
	m.Publication.Date = release.NextDate(time.Time{}, t.At)
	m.Publication.Revision = m.Publication.Date.Unix()
	s := state{Manifest: m, records: records, claimed: claimed, signer: t.Signer, architectures: t.Architectures, notAutomatic: true}
	d, err := b.publish(ctx, s)
	if err != nil {
		return "", nil, fmt.Errorf("making a test repository: %w", err)
	}
	return d, m, nil
}

// Release says what BuildRelease makes.
type Release struct {
	Format        Format
	Identity      Identity
	Architectures []string // APT
	// Files are all files of the publication, as they were tested.
	Files []File
	// Previous is the manifest that the repository points at; "" for the first.
	Previous blob.Digest
	// Serial is greater than the previous one's.
	Serial int64
	Signer *signing.Signer
	At     time.Time
	// Validity is how long clients take the indices for current (APT's
	// Valid-Until); 0: for ever.
	Validity time.Duration
	// Proposed repositories are NotAutomatic with ButAutomaticUpgrades.
	Proposed    bool
	Description string
	Keep        release.Keep // zero: release.DefaultKeep
}

// BuildRelease makes the next publication of a released repository. All of its
// blobs are stored when it returns (and the manifest is only to be read); nobody sees them until the caller moves the
// pointer to the manifest. RPMs are signed: their published bytes are new
// blobs with the payload that was tested, which is checked. It is an error if
// a package was published before with other bytes (ErrOtherBytes), or if the
// identity changes.
func (b *Builder) BuildRelease(ctx context.Context, r Release) (blob.Digest, *Manifest, error) {
	fail := func(err error) (blob.Digest, *Manifest, error) {
		return "", nil, fmt.Errorf("making publication %d: %w", r.Serial, err)
	}
	previous, err := b.previous(ctx, r)
	if err != nil {
		return fail(err)
	}
	files, tested, err := b.signed(ctx, r, previous)
	if err != nil {
		return fail(err)
	}
	records, claimed, err := b.resolve(ctx, r.Format, files)
	if err != nil {
		return fail(err)
	}
	m := newManifest(r.Format, r.Identity)
	s := state{Manifest: m, records: records, claimed: claimed, tested: tested, signer: r.Signer, previous: previous,
		architectures: r.Architectures, notAutomatic: r.Proposed, upgrades: r.Proposed, description: r.Description, xz: true, contents: true,
		keep: r.Keep}
	if s.keep == (release.Keep{}) {
		s.keep = release.DefaultKeep
	}
	m.Publication.Serial = r.Serial
	m.Publication.Date, m.Publication.Revision = release.NextDate(time.Time{}, r.At), 0
	if previous != nil {
		m.Publication.Date = release.NextDate(previous.Publication.Date, r.At)
		m.Publication.Revision = previous.Publication.Revision + 1
	}
	m.Publication.Revision = max(m.Publication.Revision, m.Publication.Date.Unix())
	if r.Validity > 0 {
		m.ValidUntil = m.Publication.Date.Add(r.Validity)
	}
	d, err := b.publish(ctx, s)
	if err != nil {
		return fail(err)
	}
	return d, m, nil
}

// previous loads the publication that this one follows, and holds this one to it.
func (b *Builder) previous(ctx context.Context, r Release) (*Manifest, error) {
	if r.Previous == "" {
		return nil, nil
	}
	m, err := b.manifest(ctx, r.Previous)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Format != r.Format || m.Identity != r.Identity:
		return nil, fmt.Errorf("the repository is %s %+v, and cannot become %s %+v: clients stop at such a change; make a new repository", m.Format, m.Identity, r.Format, r.Identity)
	case r.Serial <= m.Publication.Serial:
		return nil, fmt.Errorf("its serial does not follow %d", m.Publication.Serial)
	}
	tested := map[string]string{}
	for _, f := range r.Files {
		tested[f.Name] = string(f.Digest)
	}
	for _, p := range m.Publication.Packages {
		if now, ok := tested[p.File]; ok && now != p.Tested {
			return nil, fmt.Errorf("%s: %w: %s before, %s now; raise the version", p.File, ErrOtherBytes, p.Tested, now)
		}
	}
	return m, nil
}

// manifest loads a manifest, or finds it in memory; it is shared, and only read.
func (b *Builder) manifest(ctx context.Context, d blob.Digest) (*Manifest, error) {
	if m, ok := b.memory.get("manifest " + string(d)); ok {
		return m.(*Manifest), nil
	}
	return LoadManifest(ctx, b.store, d)
}

func newManifest(f Format, id Identity) *Manifest {
	return &Manifest{Manifest: manifestVersion, Format: f, Identity: id, Files: map[string]Entry{}, Old: map[string]OldEntry{},
		Publication: release.Publication{Packages: []release.Package{}}}
}

// state is a publication that is being made.
type state struct {
	*Manifest
	records  []*record
	claimed  map[string]Entry       // files of source packages, by path
	tested   map[blob.Digest]string // published bytes → tested bytes, where they differ
	signer   *signing.Signer
	previous *Manifest
	keep     release.Keep

	architectures          []string
	notAutomatic, upgrades bool
	xz, contents           bool
	description            string
}

// publish stores the index blobs and the manifest.
func (b *Builder) publish(ctx context.Context, s state) (blob.Digest, error) {
	for p, e := range s.claimed {
		s.Files[p] = e
	}
	for _, r := range s.records {
		p := r.Package
		if t, ok := s.tested[blob.Digest(p.Published)]; ok {
			p.Tested = t
		}
		if other, ok := s.Files[p.Path]; ok && string(other.SHA256) != p.Published {
			return "", fmt.Errorf("%s: %w", p.Path, ErrOtherBytes)
		}
		s.Files[p.Path] = Entry{blob.Digest(p.Published), p.Size}
		s.Publication.Packages = append(s.Publication.Packages, p)
	}
	var texts map[string][]byte
	var err error
	switch s.Format {
	case DEB:
		texts, err = b.debIndices(ctx, s)
	case RPM:
		texts, err = b.rpmIndices(ctx, s)
	default:
		err = fmt.Errorf("format %q: deb and rpm are known", s.Format)
	}
	if err != nil {
		return "", err
	}
	texts["key.asc"], texts["key.gpg"] = []byte(s.signer.PublicArmored()), s.signer.PublicBinary()
	if err := b.putAll(ctx, s.Manifest, texts); err != nil {
		return "", err
	}
	s.carry(s.previous, s.keep)
	d, size, err := s.save(ctx, b.store)
	if err == nil {
		b.memory.put("manifest "+string(d), s.Manifest, 2*size)
	}
	return d, err
}

// putAll stores files, each content once, and enters them into the manifest.
func (b *Builder) putAll(ctx context.Context, m *Manifest, texts map[string][]byte) error {
	content := map[blob.Digest][]byte{}
	for p, text := range texts {
		d := blob.DigestOf(text)
		m.Files[p] = Entry{d, int64(len(text))}
		content[d] = text
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, text := range content {
		group.Go(func() error {
			_, err := blob.PutBytes(ctx, b.store, text)
			return err
		})
	}
	return group.Wait()
}

// resolve reads all packages, ordered as the indices are: by name, version,
// architecture. claimed are the files that source packages name.
func (b *Builder) resolve(ctx context.Context, format Format, files []File) ([]*record, map[string]Entry, error) {
	var records []*record
	others := map[string]File{}
	ids := map[string]string{}
	for _, f := range files {
		isPackage := format == RPM || path.Ext(f.Name) == ".deb" || path.Ext(f.Name) == ".dsc"
		if !isPackage {
			if o, ok := others[f.Name]; ok && o != f {
				return nil, nil, fmt.Errorf("%s: %w", f.Name, ErrOtherBytes)
			}
			others[f.Name] = f
			continue
		}
		if (path.Ext(f.Name) == ".rpm") != (format == RPM) {
			return nil, nil, fmt.Errorf("%s: %w: it does not belong into a repository of format %s", f.Name, ErrPackage, format)
		}
		r, err := b.record(ctx, component, f)
		if err != nil {
			return nil, nil, err
		}
		if before, ok := ids[r.Package.ID()]; ok {
			if before == r.Package.Published {
				continue // the same file twice
			}
			return nil, nil, fmt.Errorf("%s: %w", f.Name, ErrOtherBytes)
		}
		ids[r.Package.ID()] = r.Package.Published
		records = append(records, r)
	}
	claimed, err := b.claim(ctx, records, others)
	if err != nil {
		return nil, nil, err
	}
	compare := deb.Compare
	if format == RPM {
		compare = rpm.Compare
	}
	slices.SortStableFunc(records, func(x, y *record) int {
		if c := cmp.Compare(x.Package.Name, y.Package.Name); c != 0 {
			return c
		}
		return cmp.Or(compare(x.Package.Version, y.Package.Version), cmp.Compare(x.Package.Architecture, y.Package.Architecture))
	})
	return records, claimed, nil
}

// claim finds the files that the source packages name; each is named by one at least.
func (b *Builder) claim(ctx context.Context, records []*record, others map[string]File) (map[string]Entry, error) {
	claimed, used := map[string]Entry{}, map[string]bool{}
	for _, r := range records {
		for _, f := range r.Files {
			have, ok := others[f.Name]
			if !ok {
				return nil, fmt.Errorf("%s: %w: its file %s is missing", r.Package.File, ErrPackage, f.Name)
			}
			info, err := b.store.Stat(ctx, have.Digest)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name, err)
			}
			if string(have.Digest) != f.SHA256 || info.Size != f.Size {
				return nil, fmt.Errorf("%s: %w: its file %s should have %d bytes and the digest %s, and has %d and %s", r.Package.File, ErrPackage, f.Name, f.Size, f.SHA256, info.Size, have.Digest)
			}
			claimed[path.Join(path.Dir(r.Package.Path), f.Name)] = Entry{have.Digest, info.Size}
			used[f.Name] = true
		}
	}
	for name := range others {
		if !used[name] {
			return nil, fmt.Errorf("%s: %w: it is no package, and no source package names it", name, ErrPackage)
		}
	}
	return claimed, nil
}

// signed signs the RPMs that were not published before. It returns the files
// to publish, and which bytes were tested where they differ.
func (b *Builder) signed(ctx context.Context, r Release, previous *Manifest) ([]File, map[blob.Digest]string, error) {
	if r.Format != RPM {
		return r.Files, nil, nil
	}
	known := map[string]string{}
	if previous != nil {
		for _, p := range previous.Publication.Packages {
			known[p.Tested] = p.Published
		}
	}
	files, tested := slices.Clone(r.Files), map[blob.Digest]string{}
	for i, f := range files {
		published, ok := known[string(f.Digest)]
		if !ok {
			d, err := b.sign(ctx, r, f)
			if err != nil {
				return nil, nil, err
			}
			published = string(d)
		}
		tested[blob.Digest(published)] = string(f.Digest)
		files[i].Digest = blob.Digest(published)
	}
	return files, tested, nil
}

// sign stores a signed copy of an RPM. What was signed by these keys before is found in the cache.
func (b *Builder) sign(ctx context.Context, r Release, f File) (_ blob.Digest, err error) {
	key := "signed-1 " + r.Signer.Keys()[0].Fingerprint() + " " + string(f.Digest)
	if b.cache != nil {
		if d, ok := b.cache.Get(ctx, key); ok {
			if _, err := b.store.Stat(ctx, blob.Digest(d)); err == nil {
				return blob.Digest(d), nil
			}
		}
	}
	before, err := b.record(ctx, component, f) // refuses what is no package
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(b.dir, "sign-")
	if err != nil {
		return "", fmt.Errorf("signing %s: %w", f.Name, err)
	}
	defer os.RemoveAll(dir)
	out, err := b.signFile(ctx, dir, r, f, before.Package.Payload)
	if err != nil {
		return "", fmt.Errorf("signing %s: %w", f.Name, err)
	}
	defer out.Close()
	d, _, err := b.store.Put(ctx, out, "")
	if err == nil && b.cache != nil {
		b.cache.Put(ctx, key, []byte(d))
	}
	return d, err
}
