package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// FS is a Store in a folder. Several processes may use one folder, if only one
// of them calls OpenFS at a time when none is writing.
type FS struct{ dir string }

var _ Local = (*FS)(nil)

// OpenFS opens the store in dir, makes it if need be, and removes what writers
// that died left behind.
func OpenFS(dir string) (*FS, error) {
	tmp := filepath.Join(dir, "tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return nil, fmt.Errorf("cleaning the blob store: %w", err)
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return nil, fmt.Errorf("opening the blob store: %w", full(err))
	}
	return &FS{dir: dir}, nil
}

// Path returns where the blob's file is. An invalid digest has the path of no file.
func (s *FS) Path(d Digest) string {
	if !d.Valid() {
		return filepath.Join(s.dir, "tmp", "no-such-blob")
	}
	return filepath.Join(s.dir, string(d[:2]), string(d[2:4]), string(d))
}

// Put stores the bytes of r; see Store.
func (s *FS) Put(ctx context.Context, r io.Reader, want Digest) (_ Digest, _ int64, err error) {
	if want != "" && !want.Valid() {
		return "", 0, fmt.Errorf("storing a blob: %.80q is not a digest", string(want))
	}
	tmp, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "blob-")
	if err != nil {
		return "", 0, fmt.Errorf("storing a blob: %w", full(err))
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(tmp, hash), contextReader{ctx, r})
	if err != nil {
		return "", 0, fmt.Errorf("storing a blob, after %d bytes: %w", size, full(err))
	}
	d := Digest(hex.EncodeToString(hash.Sum(nil)))
	if want != "" && d != want {
		return "", 0, fmt.Errorf("storing a blob: %w: expected %s, the %d bytes given have %s", ErrMismatch, want, size, d)
	}
	if err := tmp.Chmod(0o444); err != nil {
		return "", 0, fmt.Errorf("storing blob %s: %w", d, err)
	}
	if err := tmp.Sync(); err != nil {
		return "", 0, fmt.Errorf("storing blob %s: %w", d, full(err))
	}
	if err := tmp.Close(); err != nil {
		return "", 0, fmt.Errorf("storing blob %s: %w", d, full(err))
	}
	if err := s.name(tmp.Name(), d, size); err != nil {
		return "", 0, fmt.Errorf("storing blob %s: %w", d, full(err))
	}
	return d, size, nil
}

// name gives the finished file its blob's name. A file of the right size that
// has the name already stays: exported trees are links to it. One of another
// size is damaged, and is replaced.
func (s *FS) name(tmp string, d Digest, size int64) error {
	path := s.Path(d)
	if old, err := os.Stat(path); err == nil && old.Size() == size {
		return os.Remove(tmp)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDirs(dir, filepath.Dir(dir), s.dir)
}

func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Open opens a blob; see Store.
func (s *FS) Open(_ context.Context, d Digest) (File, int64, error) {
	f, err := os.Open(s.Path(d))
	if err != nil {
		return nil, 0, fmt.Errorf("opening blob %.80q: %w", string(d), missing(err))
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, fmt.Errorf("opening blob %s: %w", d, err)
	}
	return f, info.Size(), nil
}

// Stat tells a blob's size and age; see Store.
func (s *FS) Stat(_ context.Context, d Digest) (Info, error) {
	info, err := os.Stat(s.Path(d))
	if err != nil {
		return Info{}, fmt.Errorf("blob %.80q: %w", string(d), missing(err))
	}
	return Info{Digest: d, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete removes a blob; see Store.
func (s *FS) Delete(_ context.Context, d Digest) error {
	if err := os.Remove(s.Path(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting blob %.80q: %w", string(d), err)
	}
	return nil
}

// Walk calls f for every blob; see Store.
func (s *FS) Walk(ctx context.Context, f func(Info) error) error {
	return filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // deleted while we walk
				return nil
			}
			return fmt.Errorf("walking the blob store: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if entry.IsDir() {
			if path == filepath.Join(s.dir, "tmp") {
				return fs.SkipDir
			}
			return nil
		}
		d := Digest(entry.Name())
		if !d.Valid() || s.Path(d) != path {
			return nil // not ours
		}
		info, err := entry.Info()
		if err != nil {
			return nil
		}
		return f(Info{Digest: d, Size: info.Size(), Modified: info.ModTime()})
	})
}

// Verify reads a blob wholly; see Store.
func (s *FS) Verify(ctx context.Context, d Digest) error {
	f, size, err := s.Open(ctx, d)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, contextReader{ctx, f}); err != nil {
		return fmt.Errorf("reading blob %s: %w", d, err)
	}
	if got := Digest(hex.EncodeToString(hash.Sum(nil))); got != d {
		return fmt.Errorf("%w: %s has %d bytes with the digest %s", ErrCorrupt, d, size, got)
	}
	return nil
}

// full names a full disk as such.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

// contextReader ends a long copy when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
