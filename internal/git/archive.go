package git

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxLink bounds a symlink's target, in bytes, as the kernel does.
const maxLink = 4095

// Archive returns a tree as a tar stream: its folders, files and links in git's
// order, below prefix (a relative folder, may be empty), all of mtime, owned by
// 0:0. The same tree, prefix and mtime give the same bytes, always; no attribute
// in the tree changes, hides or expands anything, and no commit is named.
//
// A tree with a submodule is refused with ErrSubmodule. Run CheckTree before: an
// archive holds whatever names and links the tree holds. The caller must close
// the stream; an error in the middle comes from Read.
func (s *Store) Archive(ctx context.Context, p Project, treeish, prefix string, mtime time.Time) (io.ReadCloser, error) {
	fail := func(err error) (io.ReadCloser, error) {
		return nil, fmt.Errorf("archive %s of %s: %w", treeish, p, err)
	}
	dir, err := s.repo(p)
	if err != nil {
		return fail(err)
	}
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		if problem := nameProblem(prefix); problem != "" {
			return fail(fmt.Errorf("prefix %q: %s: %w", prefix, problem, ErrInvalid))
		}
		prefix += "/"
	}
	tree, err := s.resolve(ctx, dir, treeish, "tree")
	if err != nil {
		return fail(err)
	}
	files, err := s.list(ctx, dir, tree, "")
	if err != nil {
		return fail(err)
	}
	for _, f := range files {
		if f.Mode == ModeSubmodule {
			return fail(fmt.Errorf("%q: %w", f.Path, ErrSubmodule))
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	o, err := s.objects(ctx, dir)
	if err != nil {
		cancel()
		return fail(err)
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer o.close()
		w.CloseWithError(writeTar(w, o, files, prefix, mtime))
	}()
	return &archive{PipeReader: r, cancel: cancel, done: done}, nil
}

// archive ends its writer and its git process when it is closed.
type archive struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

func (a *archive) Close() error {
	err := a.PipeReader.Close()
	a.cancel()
	<-a.done
	return err
}

func writeTar(w io.Writer, o *objects, files []File, prefix string, mtime time.Time) error {
	t := tar.NewWriter(w)
	seen := map[string]bool{}
	mtime = time.Unix(mtime.Unix(), 0).UTC()
	for _, f := range files {
		name := prefix + f.Path
		for i := range len(name) {
			if folder := name[:i+1]; name[i] == '/' && !seen[folder] {
				seen[folder] = true
				h := tar.Header{Typeflag: tar.TypeDir, Name: folder, Mode: 0o755, ModTime: mtime}
				if err := t.WriteHeader(&h); err != nil {
					return err
				}
			}
		}
		if err := writeTarFile(t, o, f, name, mtime); err != nil {
			return fmt.Errorf("%q: %w", f.Path, err)
		}
	}
	return t.Close()
}

func writeTarFile(t *tar.Writer, o *objects, f File, name string, mtime time.Time) error {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: f.Size, ModTime: mtime}
	switch f.Mode {
	case ModeExecutable:
		h.Mode = 0o755
	case ModeSymlink:
		target, err := o.read("blob", f.ID, maxLink)
		if err != nil {
			return err
		}
		h.Typeflag, h.Mode, h.Size, h.Linkname = tar.TypeSymlink, 0o777, 0, string(target)
		return t.WriteHeader(&h)
	}
	if err := t.WriteHeader(&h); err != nil {
		return err
	}
	r, _, err := o.open("blob", f.ID, f.Size)
	if err != nil {
		return err
	}
	if _, err := io.Copy(t, r); err != nil {
		return err
	}
	return o.ended()
}
