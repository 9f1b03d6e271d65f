package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"sluice/internal/blob"
)

// An exported repository is a folder for web servers and rsync:
//
//	DIR/current                          → publications/SERIAL-DIGEST
//	DIR/publications/SERIAL-DIGEST/…     hard links to the blobs
//
// current is renamed into place when the tree is whole, so a reader that
// follows it once sees one publication.
const (
	currentLink     = "current"
	publicationsDir = "publications"
)

func treeName(serial int64, d blob.Digest) string { return fmt.Sprintf("%012d-%s", serial, d) }

// Export makes the tree of a publication below dir and points current at it.
// A tree that is there already is only pointed at. Where links cannot be made
// (another file system), files are copied.
func Export(ctx context.Context, store blob.Local, d blob.Digest, dir string) (err error) {
	m, err := LoadManifest(ctx, store, d)
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return fmt.Errorf("exporting publication %d to %s: %w", m.Publication.Serial, dir, err)
	}
	all := filepath.Join(dir, publicationsDir)
	name := treeName(m.Publication.Serial, d)
	if err := os.MkdirAll(all, 0o755); err != nil {
		return fail(err)
	}
	if _, err := os.Stat(filepath.Join(all, name)); errors.Is(err, fs.ErrNotExist) {
		tmp := filepath.Join(all, ".new-"+name)
		if err := os.RemoveAll(tmp); err != nil { // of an export that was killed
			return fail(err)
		}
		if err := linkTree(ctx, store, m, tmp); err != nil {
			os.RemoveAll(tmp)
			return fail(err)
		}
		if err := os.Rename(tmp, filepath.Join(all, name)); err != nil {
			return fail(err)
		}
	}
	link := filepath.Join(dir, ".new-"+currentLink)
	os.Remove(link)
	if err := os.Symlink(filepath.Join(publicationsDir, name), link); err != nil {
		return fail(err)
	}
	if err := os.Rename(link, filepath.Join(dir, currentLink)); err != nil {
		return fail(err)
	}
	return syncDir(dir)
}

func linkTree(ctx context.Context, store blob.Local, m *Manifest, root string) error {
	made := map[string]bool{}
	for p, e := range m.All() {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := filepath.Join(root, filepath.FromSlash(p))
		if parent := filepath.Dir(to); !made[parent] {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return err
			}
			made[parent] = true
		}
		err := os.Link(store.Path(e.SHA256), to)
		if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.EPERM) {
			err = copyFile(store.Path(e.SHA256), to)
		}
		if err != nil {
			return err
		}
	}
	for dir := range made {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Exported returns the manifest that current points at ("" if there is none).
func Exported(dir string) (blob.Digest, error) {
	to, err := os.Readlink(filepath.Join(dir, currentLink))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	_, d, _ := strings.Cut(filepath.Base(to), "-")
	return blob.ParseDigest(d)
}

// PruneExports removes the exported trees but the newest keep ones and the current.
func PruneExports(dir string, keep int) error {
	to, err := os.Readlink(filepath.Join(dir, currentLink))
	if err != nil {
		return fmt.Errorf("pruning %s: %w", dir, err)
	}
	all := filepath.Join(dir, publicationsDir)
	entries, err := os.ReadDir(all) // sorted by serial
	if err != nil {
		return fmt.Errorf("pruning %s: %w", dir, err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".new-") })
	for i, e := range entries {
		if i >= len(entries)-keep || e.Name() == filepath.Base(to) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(all, e.Name())); err != nil {
			return fmt.Errorf("pruning %s: %w", dir, err)
		}
	}
	return nil
}
