package repo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/blob"
	"sluice/internal/deb/debtest"
	"sluice/internal/repo"
	"sluice/internal/rpm/rpmtest"
	"sluice/internal/signing"
)

// houses are one small published repository of each format.
func houses(t *testing.T) map[string]*house {
	d, r := newHouse(t, repo.DEB), newHouse(t, repo.RPM)
	d.publish(d.deb(hello("1.0-1")), d.deb(debtest.Package{Name: "other", Version: "2"}))
	r.publish(r.rpm(world("1-1")), r.rpm(rpmtest.Package{Name: "other", EVR: "2-1"}))
	return map[string]*house{"deb": d, "rpm": r}
}

func (h *house) expect(t *testing.T, what, export string, want repo.Kind, detail string) {
	t.Helper()
	problems := h.fsck(export)
	if !slices.ContainsFunc(problems, func(p repo.Problem) bool { return p.Kind == want && strings.Contains(p.String(), detail) }) {
		t.Errorf("%s: wanted %q with %q among %v", what, want, detail, problems)
	}
}

func (h *house) overwrite(d blob.Digest, data []byte) (restore func()) {
	path := h.store.Path(d)
	old, err := os.ReadFile(path)
	must(h.t, err)
	write := func(b []byte) {
		must(h.t, os.Chmod(path, 0o644))
		must(h.t, os.WriteFile(path, b, 0o644))
	}
	write(data)
	return func() { write(old) }
}

func TestFsckNamesDamagedBlobs(t *testing.T) {
	for name, h := range houses(t) {
		t.Run(name, func(t *testing.T) {
			h.clean()
			p := h.last().manifest.Publication.Packages[0]
			restore := h.overwrite(blob.Digest(p.Published), []byte("damaged"))
			h.expect(t, "a package", "", repo.CorruptBlob, p.Path)
			restore()
			restore = h.overwrite(h.last().digest, []byte("{}"))
			h.expect(t, "the manifest", "", repo.CorruptBlob, string(h.last().digest))
			restore()
			h.clean()
			must(t, h.store.Delete(context.Background(), blob.Digest(p.Published)))
			h.expect(t, "a lost blob", "", repo.LostBlob, p.Path)
		})
	}
}

// forge stores a changed manifest and points at it.
func (h *house) forge(change func(*repo.Manifest)) (restore func()) {
	was := h.last()
	data, err := os.ReadFile(h.store.Path(was.digest))
	must(h.t, err)
	m := &repo.Manifest{}
	must(h.t, json.Unmarshal(data, m))
	change(m)
	data, err = json.Marshal(m)
	must(h.t, err)
	d, err := blob.PutBytes(context.Background(), h.store, data)
	must(h.t, err)
	h.history = append(h.history, moved{was.at, d, m})
	return func() { h.history = append(h.history, was) }
}

func TestFsckNamesForgedPublications(t *testing.T) {
	index := map[string]string{"deb": "dists/bookworm/main/binary-amd64/Packages", "rpm": "repodata/repomd.xml"}
	signed := map[string]string{"deb": "dists/bookworm/InRelease", "rpm": "repodata/repomd.xml"}
	for name, h := range houses(t) {
		t.Run(name, func(t *testing.T) {
			last := h.last().manifest.Publication.Packages[1]
			restore := h.forge(func(m *repo.Manifest) { m.Publication.Packages = m.Publication.Packages[:1] })
			h.expect(t, "a lost row", "", repo.UnknownPackage, last.Path)
			restore()
			restore = h.forge(func(m *repo.Manifest) { delete(m.Files, last.Path) })
			h.expect(t, "a lost file", "", repo.LostPackage, last.Path)
			restore()
			restore = h.forge(func(m *repo.Manifest) {
				p := last
				p.Name, p.Path = "more", "pool/more"
				m.Publication.Packages = append(m.Publication.Packages, p)
			})
			h.expect(t, "a package in no index", "", repo.LostPackage, "pool/more")
			restore()
			text, err := blob.ReadAll(t.Context(), h.store, h.last().manifest.Files[signed[name]].SHA256, 1<<20)
			must(t, err)
			other, err := blob.PutBytes(t.Context(), h.store, bytes.Replace(text, []byte("2"), []byte("3"), 1))
			must(t, err)
			restore = h.forge(func(m *repo.Manifest) { m.Files[signed[name]] = repo.Entry{SHA256: other, Size: int64(len(text))} })
			h.expect(t, "a changed index", "", repo.BadSignature, "")
			restore()
			restore = h.forge(func(m *repo.Manifest) { delete(m.Files, index[name]) })
			h.expect(t, "a missing index", "", repo.BadIndex, "")
			restore()
			h.clean()
		})
	}
}

func TestFsckNamesStrangers(t *testing.T) {
	stranger, err := signing.Generate(signing.Template{Name: "stranger", Algorithm: signing.Ed25519}, t0)
	must(t, err)
	for _, h := range houses(t) {
		problems, err := repo.Fsck(t.Context(), h.store, repo.Check{Manifest: h.last().digest, Keys: stranger.PublicBinary()})
		must(t, err)
		if len(problems) == 0 || problems[0].Kind != repo.BadSignature {
			t.Error(problems)
		}
	}
}

func TestExportAndItsFsck(t *testing.T) {
	for name, h := range houses(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := h.last()
			must(t, repo.Export(t.Context(), h.store, first.digest, dir))
			must(t, repo.Export(t.Context(), h.store, first.digest, dir)) // again: nothing changes
			for _, p := range h.fsck(dir) {
				t.Error(p)
			}
			h.publish(first.manifest.Inputs()...)
			must(t, repo.Export(t.Context(), h.store, h.last().digest, dir))
			if d, err := repo.Exported(dir); err != nil || d != h.last().digest {
				t.Error(d, err)
			}
			for _, p := range h.fsck(dir) {
				t.Error(p)
			}
			tree := filepath.Join(dir, "current")
			path := h.last().manifest.Publication.Packages[0].Path
			file := filepath.Join(tree, path)
			must(t, os.Remove(file))
			h.expect(t, "a missing file", dir, repo.MissingFile, path)
			must(t, os.WriteFile(file, []byte("by hand"), 0o644))
			h.expect(t, "a changed file", dir, repo.ChangedFile, path)
			must(t, os.WriteFile(filepath.Join(tree, "extra"), []byte("by hand"), 0o644))
			h.expect(t, "a foreign file", dir, repo.ForeignFile, "extra")
			must(t, os.Remove(filepath.Join(dir, "current")))
			trees, err := os.ReadDir(filepath.Join(dir, "publications"))
			must(t, err)
			must(t, os.Symlink("publications/"+trees[0].Name(), filepath.Join(dir, "current")))
			h.expect(t, "a pointer moved by hand", dir, repo.MovedPointer, "current")
			must(t, repo.PruneExports(dir, 1))
			if left, _ := os.ReadDir(filepath.Join(dir, "publications")); len(left) != 2 { // the newest, and the current
				t.Error(left)
			}
		})
	}
}
