package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const xattrRecord = "SCHILY.xattr."

// own gives a new directory of the worker to the boxes' root.
func (m *Manager) own(dir string) error { return os.Lchown(dir, m.opt.UIDBase, m.opt.UIDBase) }

// unpackInto unpacks a root's tar into dir, which is empty.
func (m *Manager) unpackInto(dir string, r io.Reader) error {
	t, err := openTree(dir, m.opt.UIDBase)
	if err != nil {
		return err
	}
	defer t.close()
	return t.unpack(tar.NewReader(r), "/", -1, -1)
}

// Unpack unpacks a tar below dest (made if absent). All of it belongs to
// user, whatever the archive says; if user is empty, the archive's numeric
// owners hold. Device nodes are left out. No entry gets outside of the box; an
// entry below a symbolic link of the archive lands where the link points to
// inside of the box.
func (b *Box) Unpack(ctx context.Context, r io.Reader, dest, user string) error {
	uid, gid := -1, -1
	if user != "" {
		var err error
		if uid, gid, err = ids(user); err != nil {
			return err
		}
	}
	if err := b.root.mkdirAll(dest, 0o755, max(uid, 0), max(gid, 0)); err != nil {
		return err
	}
	return b.root.unpack(tar.NewReader(&ctxReader{ctx, r}), dest, uid, gid)
}

// unpack writes every entry below dest. Directories get their times at the end.
func (t *tree) unpack(r *tar.Reader, dest string, uid, gid int) error {
	type stamp struct {
		name string
		time time.Time
	}
	var dirs []stamp
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if uid >= 0 {
			h.Uid, h.Gid = uid, gid
		}
		if h.Uid < 0 || h.Uid >= idRange || h.Gid < 0 || h.Gid >= idRange {
			return fmt.Errorf("%s belongs to %d:%d, outside of 0…%d", h.Name, h.Uid, h.Gid, idRange-1)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name := path.Join(dest, path.Clean("/"+h.Name))
		if err := t.entry(r, h, name, dest); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		if h.Typeflag == tar.TypeDir {
			dirs = append(dirs, stamp{name, h.ModTime})
		}
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		f, err := t.open(dirs[i].name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
		if err != nil {
			continue
		}
		unix.Futimes(int(f.Fd()), timevals(dirs[i].time))
		f.Close()
	}
	return nil
}

func timevals(t time.Time) []unix.Timeval {
	v := unix.NsecToTimeval(t.UnixNano())
	return []unix.Timeval{v, v}
}

// entry writes one entry.
func (t *tree) entry(r io.Reader, h *tar.Header, name, dest string) error {
	if path.Clean(name) == "/" || path.Clean(name) == path.Clean(dest) {
		return t.finish(h, name)
	}
	if err := t.mkdirAll(path.Dir(name), 0o755, h.Uid, h.Gid); err != nil {
		return err
	}
	d, base, err := t.parent(name)
	if err != nil {
		return err
	}
	defer d.Close()
	fd := int(d.Fd())
	if h.Typeflag != tar.TypeDir {
		if err := unix.Unlinkat(fd, base, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := unix.Mkdirat(fd, base, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := t.own(d, base, h.Uid, h.Gid); err != nil {
			return err
		}
		return t.finish(h, name)
	case tar.TypeReg:
		return t.file(r, h, d, base)
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, fd, base); err != nil {
			return err
		}
		if err := t.own(d, base, h.Uid, h.Gid); err != nil {
			return err
		}
		ts := unix.NsecToTimespec(h.ModTime.UnixNano())
		return unix.UtimesNanoAt(fd, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	case tar.TypeLink:
		from, old, err := t.parent(path.Join(dest, path.Clean("/"+h.Linkname)))
		if err != nil {
			return err
		}
		defer from.Close()
		return unix.Linkat(int(from.Fd()), old, fd, base, 0)
	case tar.TypeFifo:
		if err := unix.Mkfifoat(fd, base, uint32(h.Mode&0o7777)); err != nil {
			return err
		}
		return t.own(d, base, h.Uid, h.Gid)
	case tar.TypeChar, tar.TypeBlock:
		return nil
	}
	return fmt.Errorf("entry of unknown type %q", h.Typeflag)
}

// file writes a regular file.
func (t *tree) file(r io.Reader, h *tar.Header, d *os.File, base string) error {
	fd, err := unix.Openat(int(d.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), base)
	_, err = io.Copy(f, r)
	if err == nil {
		err = t.attributes(f, h)
	}
	return errors.Join(err, f.Close())
}

// finish sets what a directory has besides its owner and time.
func (t *tree) finish(h *tar.Header, name string) error {
	f, err := t.open(name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.attributes(f, h)
}

// attributes sets owner, extended attributes, mode and time, in the order
// that keeps each.
func (t *tree) attributes(f *os.File, h *tar.Header) error {
	fd := int(f.Fd())
	if err := unix.Fchown(fd, t.base+h.Uid, t.base+h.Gid); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode&0o7777)); err != nil {
		return err
	}
	for k, v := range h.PAXRecords {
		name, ok := strings.CutPrefix(k, xattrRecord)
		if !ok || !keptAttribute(name) {
			continue
		}
		if err := unix.Fsetxattr(fd, name, shiftCapability(name, []byte(v), t.base), 0); err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return unix.Futimes(fd, timevals(h.ModTime))
}

// keptAttribute reports whether an extended attribute belongs to a root. The
// overlay's own (trusted.) and labels of the host (security.selinux) do not.
func keptAttribute(name string) bool {
	return name == "security.capability" || strings.HasPrefix(name, "user.")
}

// shiftCapability makes a file's capabilities those of the boxes' user
// namespace: revision 2 (any namespace of the file's) becomes revision 3 with
// the host id of the box's root.
func shiftCapability(name string, v []byte, base int) []byte {
	if name != "security.capability" || len(v) != 20 {
		return v
	}
	head := binary.LittleEndian.Uint32(v)
	out := append([]byte(nil), v...)
	binary.LittleEndian.PutUint32(out, 3<<24|head&1)
	return binary.LittleEndian.AppendUint32(out, uint32(base))
}

// unshiftCapability undoes shiftCapability.
func unshiftCapability(name string, v []byte) []byte {
	if name != "security.capability" || len(v) != 24 {
		return v
	}
	head := binary.LittleEndian.Uint32(v)
	out := append([]byte(nil), v[:20]...)
	binary.LittleEndian.PutUint32(out, 2<<24|head&1)
	return out
}

// packer writes a tree as a tar: sorted by path, with the boxes' numeric
// owners, hard links, extended attributes; without sockets and device nodes.
type packer struct {
	w    *tar.Writer
	t    *tree
	skip func(name string) bool // paths relative to the tree
	seen map[[2]uint64]string   // device and inode → first name
}

// pack writes the directory name of t, relative to top.
func (t *tree) pack(ctx context.Context, w io.Writer, top string, skip func(string) bool) error {
	root, err := t.open(top, unix.O_DIRECTORY|unix.O_PATH, 0)
	if err != nil {
		return err
	}
	p := &packer{w: tar.NewWriter(w), t: &tree{dir: root, base: t.base}, skip: skip, seen: map[[2]uint64]string{}}
	defer root.Close()
	if err := p.add(ctx, "."); err != nil {
		return err
	}
	return p.w.Close()
}

func (p *packer) add(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(int(p.t.dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	h, err := p.header(name, &st)
	if err != nil || h == nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && h.Typeflag == tar.TypeReg {
		return p.content(name, h)
	}
	if h.Typeflag == tar.TypeDir {
		if err := p.directory(name, h); err != nil {
			return err
		}
		return p.children(ctx, name)
	}
	return p.w.WriteHeader(h)
}

func (p *packer) children(ctx context.Context, name string) error {
	d, err := p.t.open(name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return err
	}
	sort.Strings(names)
	for _, n := range names {
		child := path.Join(name, n)
		if p.skip != nil && p.skip(child) {
			continue
		}
		if err := p.add(ctx, child); err != nil {
			return err
		}
	}
	return nil
}

// header describes one file; nil if it has no place in an archive.
func (p *packer) header(name string, st *unix.Stat_t) (*tar.Header, error) {
	uid, gid := int(st.Uid)-p.t.base, int(st.Gid)-p.t.base
	if uid < 0 || uid >= idRange || gid < 0 || gid >= idRange {
		return nil, fmt.Errorf("%s belongs to %d:%d of the host", name, st.Uid, st.Gid)
	}
	h := &tar.Header{
		Name: "./" + name, Mode: int64(st.Mode & 0o7777), Uid: uid, Gid: gid,
		ModTime: time.Unix(st.Mtim.Sec, 0), Format: tar.FormatPAX, PAXRecords: map[string]string{},
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		return h, nil
	case unix.S_IFLNK:
		buf := make([]byte, 4097)
		n, err := unix.Readlinkat(int(p.t.dir.Fd()), name, buf)
		h.Typeflag, h.Linkname = tar.TypeSymlink, string(buf[:max(n, 0)])
		return h, err
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
		return h, nil
	case unix.S_IFREG:
	default:
		return nil, nil
	}
	h.Typeflag, h.Size = tar.TypeReg, st.Size
	if st.Nlink > 1 {
		key := [2]uint64{st.Dev, st.Ino}
		if first, ok := p.seen[key]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			p.seen[key] = h.Name
		}
	}
	return h, nil
}

func (p *packer) directory(name string, h *tar.Header) error {
	f, err := p.t.open(name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := readAttributes(f, h); err != nil {
		return err
	}
	return p.w.WriteHeader(h)
}

func (p *packer) content(name string, h *tar.Header) error {
	f, err := p.t.regular(name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := readAttributes(f, h); err != nil {
		return err
	}
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(p.w, f, h.Size)
	return err
}

func readAttributes(f *os.File, h *tar.Header) error {
	list := make([]byte, 64<<10)
	n, err := unix.Flistxattr(int(f.Fd()), list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, b := range bytes.Split(list[:n], []byte{0}) {
		name := string(b)
		if !keptAttribute(name) {
			continue
		}
		v := make([]byte, 64<<10)
		n, err := unix.Fgetxattr(int(f.Fd()), name, v)
		if err != nil {
			return err
		}
		h.PAXRecords[xattrRecord+name] = string(unshiftCapability(name, v[:n]))
	}
	return nil
}
