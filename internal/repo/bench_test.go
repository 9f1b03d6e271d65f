package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/internal/blob"
	"sluice/internal/deb"
	"sluice/internal/rpm"
	"sluice/internal/signing"
)

// spare is how many packages there are to be added.
const spare = 100

// seed fills the builder's memory with records of n packages, as if it had
// read them.
func seed(b *testing.B, builder *Builder, format Format, n int) []File {
	b.Helper()
	ctx := b.Context()
	var files []File
	for i := range n {
		name := fmt.Sprintf("package-%06d", i*7919%1000003)
		d := blob.DigestOf([]byte(name))
		path := builder.store.(blob.Local).Path(d) // without syncing ten thousand files
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o444)); err != nil {
			b.Fatal(err)
		}
		f := File{Name: name + "_1.0-1_amd64.deb", Digest: d}
		r := &record{}
		if format == DEB {
			p := deb.Package{Name: name, Section: "misc", Stanza: "Package: " + name + "\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: A Person <person@example.com>\nDepends: libc6 (>= 2.36), libfoo (>= 1), libbar2 | libbar1\nDescription: a package like any other\n with a description of several lines that says\n what it is good for, and why one would\n want to install it on a machine\n"}
			for j := range 20 {
				p.Files = append(p.Files, fmt.Sprintf("usr/share/%s/file-%d", name, j))
			}
			at := "pool/main/p/" + name + "/" + f.Name
			r.Index, r.Contents, r.Package.Path = p.IndexStanza(at, int64(len(name)), string(d)), p.ContentsLines(), at
			r.Package.Architecture = "amd64"
		} else {
			f.Name = name + "-1.0-1.noarch.rpm"
			p := rpm.Package{Name: name, EVR: rpm.EVR{Version: "1.0", Release: "1"}, Architecture: "noarch", Summary: "a package", Description: "like any other, with a description of some length", SourceRPM: name + "-1.0-1.src.rpm",
				Changelog: []rpm.Change{{Author: "A <a@example.com> - 1.0-1", Time: time.Unix(1, 0), Text: "- something was done"}}}
			for j := range 20 {
				p.Files = append(p.Files, rpm.File{Path: fmt.Sprintf("/usr/share/%s/file-%d", name, j)})
				p.Requires = append(p.Requires, rpm.Relation{Name: fmt.Sprintf("lib%d.so.1()(64bit)", j)})
			}
			at := rpm.Place{SHA256: string(d), Size: int64(len(name)), Path: "Packages/p/" + f.Name}
			r.Primary, r.Filelists, r.Other, r.Package.Path = p.Primary(at), p.Filelists(at), p.Other(at), at.Path
			r.Package.Architecture = "noarch"
		}
		r.Package.Name, r.Package.Version, r.Package.Source, r.Package.File = name, "1.0-1", name, f.Name
		r.Package.Tested, r.Package.Published, r.Package.Size, r.Package.Payload = string(d), string(d), int64(len(name)), string(d)
		r.Key = recordForm + " " + component + " " + f.Name + " " + string(d)
		builder.memory.put(r.Key, r, r.size())
		if builder.cache != nil {
			builder.cache.Put(ctx, "signed-1 "+benchKey.Fingerprint()+" "+string(d), []byte(d))
		}
		files = append(files, f)
	}
	return files
}

var benchKey = func() *signing.Key {
	k, err := signing.Generate(signing.Template{Name: "bench", Algorithm: signing.Ed25519}, time.Unix(1700000000, 0))
	if err != nil {
		panic(err)
	}
	return k
}()

// mapCache is a Cache in memory.
type mapCache map[string][]byte

func (c mapCache) Get(_ context.Context, key string) ([]byte, bool) { v, ok := c[key]; return v, ok }
func (c mapCache) Put(_ context.Context, key string, value []byte)  { c[key] = value }

// benchmarkAdd measures a publication with one package more than the last,
// everything included: records, indices, signatures, blobs synced, manifest.
func benchmarkAdd(b *testing.B, format Format, n int) {
	store, err := blob.OpenFS(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	builder := NewBuilder(store, mapCache{}, 0, b.TempDir())
	files := seed(b, builder, format, n+spare)
	r := Release{Format: format, Identity: Identity{"o", "l", "s", "c"}, Architectures: []string{"amd64"}, Files: files[:n], Serial: 1,
		Signer: signing.NewSigner(benchKey), At: time.Unix(1700000100, 0)}
	if r.Previous, _, err = builder.BuildRelease(b.Context(), r); err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		i++
		r.Serial++
		r.Files = append(files[:n:n], files[n+i%spare])
		if _, _, err := builder.BuildRelease(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddDeb1000(b *testing.B)  { benchmarkAdd(b, DEB, 1000) }
func BenchmarkAddDeb10000(b *testing.B) { benchmarkAdd(b, DEB, 10000) }
func BenchmarkAddRpm1000(b *testing.B)  { benchmarkAdd(b, RPM, 1000) }
func BenchmarkAddRpm10000(b *testing.B) { benchmarkAdd(b, RPM, 10000) }
