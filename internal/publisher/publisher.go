// Package publisher makes repositories for the engine: it translates between
// the rows of the database and the publications of package repo, and holds the
// keys that test and released repositories are signed with.
package publisher

import (
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sluice/internal/blob"
	"sluice/internal/deb"
	"sluice/internal/engine"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/release"
	"sluice/internal/repo"
	"sluice/internal/rpm"
	"sluice/internal/signing"
)

// Publisher is an engine.Publisher.
type Publisher struct {
	Store   blob.Local
	Builder *repo.Builder
	Release *signing.Signer
	Test    *signing.Signer
	// Folder holds the exported trees, one folder per repository; "": none.
	Folder string
}

// exports is how many publications of a repository stay exported.
const exports = 3

// Export writes a publication as a tree of links and points current at it.
func (p *Publisher) Export(ctx context.Context, repository, manifest string) error {
	if p.Folder == "" {
		return nil
	}
	dir := filepath.Join(p.Folder, filepath.FromSlash(repository))
	if err := repo.Export(ctx, p.Store, blob.Digest(manifest), dir); err != nil {
		return err
	}
	return repo.PruneExports(dir, exports)
}

// PublicKeys gives the armoured public keys of released and test repositories.
func (p *Publisher) PublicKeys() (released, test string, err error) {
	return p.Release.PublicArmored(), p.Test.PublicArmored(), nil
}

// ReadPackage reads a package file that a worker made. Nothing of it is
// believed before its structure was checked.
func (p *Publisher) ReadPackage(ctx context.Context, f job.Format, a job.Artifact) (*record.PackageInfo, error) {
	file, size, err := p.Store.Open(ctx, blob.Digest(a.Digest))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if f == job.RPM {
		k, err := rpm.ReadPackage(file, size)
		if err != nil {
			return nil, err
		}
		source, version := k.SourceName()
		return &record.PackageInfo{
			Name: k.Name, Version: k.EVR.String(), Architecture: k.Architecture, Source: source, SourceVersion: version,
			Payload: k.PayloadDigest, Debug: strings.HasSuffix(k.Name, "-debuginfo") || strings.HasSuffix(k.Name, "-debugsource"),
			Provides: names(k.Provides), Asks: names(k.Requires, k.Recommends, k.Conflicts, k.Obsoletes),
		}, nil
	}
	k, err := deb.ReadPackage(file, size)
	if err != nil {
		return nil, err
	}
	return &record.PackageInfo{
		Name: k.Name, Version: k.Version, Architecture: k.Architecture, Source: k.Source, SourceVersion: k.SourceVersion,
		Payload: string(a.Digest), Debug: strings.HasSuffix(k.Name, "-dbgsym"),
		Provides: mentioned(k.Control, "Provides"), Asks: mentioned(k.Control, "Pre-Depends", "Depends", "Recommends", "Breaks", "Conflicts", "Replaces"),
	}, nil
}

// names lists what relations of an RPM mention.
func names(lists ...[]rpm.Relation) []string {
	var out []string
	for _, list := range lists {
		for _, r := range list {
			out = append(out, r.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// mentioned lists what some fields of a control file mention.
func mentioned(c deb.Paragraph, fields ...string) []string {
	var out []string
	for _, f := range fields {
		for _, entry := range strings.FieldsFunc(c.Get(f), func(r rune) bool { return r == ',' || r == '|' }) {
			if name := strings.FieldsFunc(entry, func(r rune) bool { return strings.ContainsRune(" \t\n:([", r) }); len(name) > 0 {
				out = append(out, name[0])
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func files(artifacts []record.Artifact) []repo.File {
	var out []repo.File
	for _, a := range artifacts {
		out = append(out, repo.File{Name: path.Base(a.Name), Digest: blob.Digest(a.Digest)})
	}
	return out
}

// BuildTest makes a test repository.
func (p *Publisher) BuildTest(ctx context.Context, r engine.TestRequest) (string, error) {
	d, _, err := p.Builder.BuildTest(ctx, repo.TestRepository{
		Format: repo.Format(r.Format), Identity: repo.Identity{Origin: r.Origin, Label: r.Label, Suite: r.Codename, Codename: r.Codename},
		Architectures: r.Architectures, Files: files(r.Packages), Signer: p.Test, At: r.At,
	})
	return string(d), err
}

// BuildRelease makes the next publication of a repository. Of each source
// package that is added, what the repository held before is dropped; it stays
// served for a while for clients that hold the older index.
func (p *Publisher) BuildRelease(ctx context.Context, r engine.ReleaseRequest) (engine.ReleaseResult, error) {
	codename := r.Codename
	next := repo.Release{
		Format: repo.Format(r.Repository.Format), Architectures: r.Architectures, Serial: 1, Signer: p.Release, At: r.At, Validity: r.ValidFor,
		Identity: repo.Identity{Origin: r.Origin, Label: r.Label, Suite: codename, Codename: codename}, Files: files(r.Add),
	}
	var before *repo.Manifest
	if r.Previous != nil {
		m, err := repo.LoadManifest(ctx, p.Store, blob.Digest(r.Previous.Manifest))
		if err != nil {
			return engine.ReleaseResult{}, err
		}
		before, next.Previous, next.Serial = m, blob.Digest(r.Previous.Manifest), int64(r.Previous.Serial)+1
		next.Files = append(kept(m, sources(r.Add)), next.Files...)
	}
	d, m, err := p.Builder.BuildRelease(ctx, next)
	if err != nil {
		return engine.ReleaseResult{}, err
	}
	res := engine.ReleaseResult{Manifest: string(d), State: string(d), Packages: len(m.Publication.Packages)}
	var old []release.Package
	if before != nil {
		old = before.Publication.Packages
	}
	diff := release.Diff(old, m.Publication.Packages)
	for _, k := range diff.Added {
		res.Added = append(res.Added, row(k, r))
	}
	for _, k := range diff.Removed {
		res.Removed = append(res.Removed, row(k, r))
	}
	return res, nil
}

// sources names the source packages that artifacts are of.
func sources(added []record.Artifact) []string {
	var out []string
	for _, a := range added {
		if a.Package != nil && !slices.Contains(out, a.Package.Source) {
			out = append(out, a.Package.Source)
		}
	}
	return out
}

// kept gives the files of a publication that are of none of the sources.
func kept(m *repo.Manifest, sources []string) []repo.File {
	gone := map[string]bool{}
	folders := map[string]bool{}
	for _, k := range m.Publication.Packages {
		if slices.Contains(sources, k.Source) {
			gone[k.Tested] = true
			if k.Architecture == "source" {
				folders[path.Dir(k.Path)] = true // its tarballs lie beside it
			}
		}
	}
	tarballs := map[string]bool{}
	for name, e := range m.Files {
		if folders[path.Dir(name)] {
			tarballs[path.Base(name)+" "+string(e.SHA256)] = true
		}
	}
	var out []repo.File
	for _, f := range m.Inputs() {
		packaged := strings.HasSuffix(f.Name, ".deb") || strings.HasSuffix(f.Name, ".dsc") || strings.HasSuffix(f.Name, ".rpm")
		if gone[string(f.Digest)] || !packaged && tarballs[f.Name+" "+string(f.Digest)] {
			continue
		}
		out = append(out, f)
	}
	return out
}

func row(k release.Package, r engine.ReleaseRequest) record.Package {
	kind := job.BinaryPackage
	if k.Architecture == "source" || k.Architecture == "src" || k.Architecture == "nosrc" {
		kind = job.SourcePackage
	}
	return record.Package{
		Repository: r.Repository.Name, Name: k.Name, Version: k.Version, Architecture: k.Architecture, Source: k.Source,
		SourceVersion: k.SourceVersion, Digest: k.Published, Tested: k.Tested, Payload: k.Payload, Size: k.Size,
		File: k.Path, Kind: kind, Buildset: r.Buildset,
	}
}

// check that the service can be what the engine asks for.
var _ engine.Publisher = (*Publisher)(nil)
