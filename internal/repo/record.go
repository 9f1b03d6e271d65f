package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"sluice/internal/blob"
	"sluice/internal/deb"
	"sluice/internal/release"
	"sluice/internal/rpm"
)

// File is a file that a repository is built from: a package, or a file that a
// source package names.
type File struct {
	Name   string
	Digest blob.Digest
}

// record is all that the indices say of one package. It depends on the file
// (name, bytes) and the component alone.
type record struct {
	Key      string // names the record: its form, name and bytes
	Package  release.Package
	Index    string           // deb: stanza of Packages or Sources
	Contents string           // deb: lines of Contents
	Files    []deb.SourceFile // dsc: its files

	Primary, Filelists, Other string // rpm
}

func (r *record) size() int64 {
	return int64(len(r.Index) + len(r.Contents) + len(r.Primary) + len(r.Filelists) + len(r.Other))
}

// recordForm is raised whenever what is in a record changes.
const recordForm = "record-1"

// record returns a package's record, from memory, the cache or the package.
func (b *Builder) record(ctx context.Context, component string, f File) (*record, error) {
	key := strings.Join([]string{recordForm, component, f.Name, string(f.Digest)}, " ")
	if r, ok := b.memory.get(key); ok {
		return r.(*record), nil
	}
	r := &record{}
	if b.cache != nil {
		if data, ok := b.cache.Get(ctx, key); ok && json.Unmarshal(data, r) == nil && r.Key == key {
			b.memory.put(key, r, r.size())
			return r, nil
		}
	}
	r, err := b.read(ctx, component, f)
	if err != nil {
		return nil, err
	}
	r.Key = key
	if b.cache != nil {
		data, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		b.cache.Put(ctx, key, data)
	}
	b.memory.put(key, r, r.size())
	return r, nil
}

// read reads the package itself.
func (b *Builder) read(ctx context.Context, component string, f File) (*record, error) {
	data, size, err := b.store.Open(ctx, f.Digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	defer data.Close()
	var r *record
	switch path.Ext(f.Name) {
	case ".deb":
		r, err = readDeb(component, f, data, size)
	case ".dsc":
		r, err = b.readDsc(ctx, component, f)
	case ".rpm":
		r, err = readRPM(f, data, size)
	default:
		err = fmt.Errorf("%w: neither .deb, .dsc nor .rpm", ErrPackage)
	}
	if err != nil {
		if errors.Is(err, deb.ErrBad) || errors.Is(err, rpm.ErrBad) {
			err = fmt.Errorf("%w: %w", ErrPackage, err)
		}
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	r.Package.Tested, r.Package.Published, r.Package.Size = string(f.Digest), string(f.Digest), size
	return r, nil
}

func readDeb(component string, f File, data blob.File, size int64) (*record, error) {
	p, err := deb.ReadPackage(data, size)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s_%s_%s.deb", p.Name, withoutEpoch(p.Version), p.Architecture)
	if f.Name != name {
		return nil, fmt.Errorf("%w: by its control file it should be called %s", ErrPackage, name)
	}
	at := path.Join("pool", component, deb.PoolFolder(p.Source), name)
	return &record{
		Package: release.Package{Name: p.Name, Version: p.Version, Architecture: p.Architecture, Source: p.Source,
			SourceVersion: p.SourceVersion, File: name, Path: at, Payload: string(f.Digest)},
		Index:    p.IndexStanza(at, size, string(f.Digest)),
		Contents: p.ContentsLines(),
	}, nil
}

const maxDsc = 4 << 20

func (b *Builder) readDsc(ctx context.Context, component string, f File) (*record, error) {
	text, err := blob.ReadAll(ctx, b.store, f.Digest, maxDsc)
	if err != nil {
		return nil, err
	}
	d, err := deb.ReadDsc(text)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s_%s.dsc", d.Source, withoutEpoch(d.Version))
	if f.Name != name {
		return nil, fmt.Errorf("%w: by its fields it should be called %s", ErrPackage, name)
	}
	dir := path.Join("pool", component, deb.PoolFolder(d.Source))
	return &record{
		Package: release.Package{Name: d.Source, Version: d.Version, Architecture: "source", Source: d.Source,
			SourceVersion: d.Version, File: name, Path: path.Join(dir, name), Payload: string(f.Digest)},
		Index: d.IndexStanza(dir, name, int64(len(text)), string(f.Digest)),
		Files: d.Files,
	}, nil
}

func readRPM(f File, data blob.File, size int64) (*record, error) {
	p, err := rpm.ReadPackage(data, size)
	if err != nil {
		return nil, err
	}
	name := p.FileName()
	if f.Name != name {
		return nil, fmt.Errorf("%w: by its header it should be called %s", ErrPackage, name)
	}
	at := rpm.Place{SHA256: string(f.Digest), Size: size, Path: path.Join("Packages", strings.ToLower(name[:1]), name)}
	source, version := p.SourceName()
	return &record{
		Package: release.Package{Name: p.Name, Version: p.EVR.String(), Architecture: p.Architecture, Source: source,
			SourceVersion: version, File: name, Path: at.Path, Payload: p.PayloadDigest},
		Primary: p.Primary(at), Filelists: p.Filelists(at), Other: p.Other(at),
	}, nil
}

func withoutEpoch(version string) string {
	if _, rest, found := strings.Cut(version, ":"); found {
		return rest
	}
	return version
}
