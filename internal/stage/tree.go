package stage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"time"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// maxText bounds each file that sluice itself reads from a source tree.
const maxText = 4 << 20

// tree is what is known of the source tree: its files, and the text of some.
type tree struct {
	files map[string]bool
	text  map[string][]byte
	mode  map[string]int64
}

// eachEntry reads the source tree's archive, entry by entry, with clean
// names. Names that leave the tree are a finding (bad input), and so is an
// archive that cannot be read.
func (a *attempt) eachEntry(ctx context.Context, do func(h *tar.Header, r io.Reader) error) error {
	if a.spec.Source == nil {
		return outside("the job has no source tree")
	}
	r, err := a.env.Blobs.Open(ctx, a.spec.Source.Archive)
	if err != nil {
		return outside("fetching the source tree %s: %v", a.spec.Source.Archive, err)
	}
	defer r.Close()
	t := tar.NewReader(r)
	for ctx.Err() == nil {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return outside("reading the source tree %s: %v", a.spec.Source.Archive, err)
		}
		name := path.Clean(h.Name)
		if path.IsAbs(h.Name) || name == ".." || strings.HasPrefix(name, "../") {
			return a.fail("policy:path", h.Name, 0, "the path leads out of the source tree")
		}
		if h.Name = name; name == "." {
			continue
		}
		if err := do(h, t); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// archived are files that hold sources which should have been unpacked.
var archived = regexp.MustCompile(`(?:\.orig(?:-[a-z0-9-]+)?\.tar\.[a-z0-9]+|\.dsc|\.src\.rpm)$`)

// readTree lists the tree and reads the files that want names. A source
// package or tarball in the packaging folder is refused: sources are unpacked.
func (a *attempt) readTree(ctx context.Context, want func(name string) bool) (*tree, error) {
	t := &tree{files: map[string]bool{}, text: map[string][]byte{}, mode: map[string]int64{}}
	var packed string
	err := a.eachEntry(ctx, func(h *tar.Header, r io.Reader) error {
		if h.Typeflag == tar.TypeDir {
			return nil
		}
		t.files[h.Name] = true
		t.mode[h.Name] = h.Mode
		if dir := path.Dir(h.Name); (dir == a.packaging() || dir == ".") && archived.MatchString(h.Name) {
			packed = h.Name
		}
		if h.Typeflag != tar.TypeReg || !want(h.Name) || h.Size > maxText {
			return nil
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return outside("reading %s of the source tree: %v", h.Name, err)
		}
		t.text[h.Name] = text
		return nil
	})
	if err == nil && packed != "" {
		err = a.fail("policy:unpacked-sources", packed, 0, "a packed source in git: unpack it and commit the files")
	}
	return t, err
}

// packaging is the folder of the tree that holds the packaging, "." for its root.
func (a *attempt) packaging() string {
	if a.spec.Source == nil || a.spec.Source.Packaging == "" {
		return "."
	}
	return path.Clean(a.spec.Source.Packaging)
}

// pack writes the part of the tree below folder as a tar that depends on
// nothing but its content: owner root, one time, plain modes, one top
// directory ("": none). keep gets names relative to folder.
func (a *attempt) pack(ctx context.Context, w io.Writer, folder, top string, when time.Time, keep func(name string) bool) error {
	out := tar.NewWriter(w)
	if top != "" {
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: top + "/", Mode: 0o755, ModTime: when}); err != nil {
			return err
		}
	}
	err := a.eachEntry(ctx, func(h *tar.Header, r io.Reader) error {
		name := h.Name
		if folder != "." {
			rel, ok := strings.CutPrefix(name, folder+"/")
			if !ok {
				return nil
			}
			name = rel
		}
		if !keep(name) {
			return nil
		}
		n := &tar.Header{Name: path.Join(top, name), ModTime: when, Mode: 0o644, Typeflag: h.Typeflag}
		switch h.Typeflag {
		case tar.TypeReg:
			n.Size = h.Size
			if h.Mode&0o111 != 0 {
				n.Mode = 0o755
			}
		case tar.TypeSymlink:
			n.Linkname, n.Mode = h.Linkname, 0o777
		default: // a tree of git has files and links; submodules are empty directories
			return nil
		}
		if err := out.WriteHeader(n); err != nil {
			return err
		}
		_, err := io.Copy(out, r)
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}

// unpack puts the part of the tree below folder into a directory of a box,
// owned by user, with the change's date on every file.
func (a *attempt) unpack(ctx context.Context, b *sandbox.Box, folder, dest, user string) error {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := a.pack(ctx, w, folder, "", time.Unix(a.epoch(), 0), func(string) bool { return true })
		w.CloseWithError(err)
		done <- err
	}()
	err := b.Unpack(ctx, r, dest, user)
	r.CloseWithError(errors.New("unpacking ended"))
	packErr := <-done
	var v *verdict
	if errors.As(packErr, &v) {
		return packErr
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("unpacking the source tree: %w", err)
	}
	return err
}

// fetch copies a blob into a box.
func (a *attempt) fetch(ctx context.Context, b *sandbox.Box, f job.File, dest string) error {
	r, err := a.env.Blobs.Open(ctx, f.Digest)
	if err != nil {
		return outside("fetching %s (%s): %v", f.Name, f.Digest, err)
	}
	defer r.Close()
	return copyInto(b, dest, sandbox.Builder, r)
}

// copyInto writes a file of a box from a reader.
func copyInto(b *sandbox.Box, dest, user string, r io.Reader) error {
	if err := b.MkdirAll(path.Dir(dest), user); err != nil {
		return err
	}
	w, err := b.Create(dest, 0o644, user)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
