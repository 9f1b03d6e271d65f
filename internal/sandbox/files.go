package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// tree is a directory that hostile code may have written: every path is
// resolved inside it (openat2, RESOLVE_IN_ROOT), so that no symbolic link and
// no ".." leads out, whatever changes meanwhile. Ids are shifted by base.
type tree struct {
	dir  *os.File
	base int
}

func openTree(dir string, base int) (*tree, error) {
	f, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &tree{dir: f, base: base}, nil
}

func (t *tree) close() { t.dir.Close() }

// open opens a path below the tree. It never waits (a FIFO) and never becomes
// anyone's terminal.
func (t *tree) open(name string, flags int, mode uint32) (*os.File, error) {
	how := &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOCTTY | unix.O_NONBLOCK),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_PATH != 0 {
		how.Flags = uint64(flags | unix.O_CLOEXEC)
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode)
	}
	for {
		fd, err := unix.Openat2(int(t.dir.Fd()), path.Clean("/" + name)[1:]+trailing(name), how)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// trailing makes the empty path ".".
func trailing(name string) string {
	if path.Clean("/"+name) == "/" {
		return "."
	}
	return ""
}

// parent opens the directory that holds name, and gives name's last element.
func (t *tree) parent(name string) (*os.File, string, error) {
	dir, base := path.Split(path.Clean("/" + name))
	if base == "" {
		return nil, "", &fs.PathError{Op: "open", Path: name, Err: unix.EISDIR}
	}
	f, err := t.open(dir, unix.O_DIRECTORY|unix.O_PATH, 0)
	return f, base, err
}

// regular opens a regular file, and nothing else.
func (t *tree) regular(name string, flags int, mode uint32) (*os.File, error) {
	f, err := t.open(name, flags, mode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// mkdirAll makes name and its parents with the owner; what exists stays as it is.
func (t *tree) mkdirAll(name string, mode uint32, uid, gid int) error {
	name = path.Clean("/" + name)
	if name == "/" {
		return nil
	}
	if f, err := t.open(name, unix.O_PATH|unix.O_DIRECTORY, 0); err == nil {
		return f.Close()
	}
	if err := t.mkdirAll(path.Dir(name), mode, uid, gid); err != nil {
		return err
	}
	d, base, err := t.parent(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Mkdirat(int(d.Fd()), base, mode); err != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: err}
	}
	return t.own(d, base, uid, gid)
}

// own sets the owner of base in directory d; ids are the box's.
func (t *tree) own(d *os.File, base string, uid, gid int) error {
	return unix.Fchownat(int(d.Fd()), base, t.base+uid, t.base+gid, unix.AT_SYMLINK_NOFOLLOW)
}

// ids gives a user's ids inside the box.
func ids(user string) (uid, gid int, err error) {
	switch user {
	case "", Root:
		return 0, 0, nil
	case Builder:
		return BuilderID, BuilderID, nil
	}
	return 0, 0, fmt.Errorf("sandbox: no user %q in a box", user)
}

// Open opens a regular file of the box for reading. Symbolic links lead
// nowhere but inside the box.
func (b *Box) Open(name string) (*os.File, error) {
	return b.root.regular(name, unix.O_RDONLY, 0)
}

// Create makes or empties a regular file that belongs to user, with the
// permissions perm. Its directory must be there.
func (b *Box) Create(name string, perm fs.FileMode, user string) (*os.File, error) {
	uid, gid, err := ids(user)
	if err != nil {
		return nil, err
	}
	f, err := b.root.regular(name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, uint32(perm.Perm()))
	if err != nil {
		return nil, err
	}
	err = errors.Join(unix.Fchown(int(f.Fd()), b.root.base+uid, b.root.base+gid), unix.Fchmod(int(f.Fd()), uint32(perm.Perm())))
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// WriteFile writes a file with its parent directories, all of user's.
func (b *Box) WriteFile(name string, data []byte, perm fs.FileMode, user string) error {
	if err := b.MkdirAll(path.Dir(path.Clean("/"+name)), user); err != nil {
		return err
	}
	f, err := b.Create(name, perm, user)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// ReadFile reads a regular file of at most max bytes; a longer one is an error.
func (b *Box) ReadFile(name string, max int64) ([]byte, error) {
	f, err := b.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(data)) > max {
		err = fmt.Errorf("sandbox: %s is longer than %d bytes", name, max)
	}
	return data, err
}

// MkdirAll makes a directory, and those above it, for user.
func (b *Box) MkdirAll(name, user string) error {
	uid, gid, err := ids(user)
	if err != nil {
		return err
	}
	return b.root.mkdirAll(name, 0o755, uid, gid)
}

// CopyOut writes a regular file of the box to w and gives its size in bytes.
func (b *Box) CopyOut(name string, w io.Writer) (int64, error) {
	f, err := b.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return io.Copy(w, f)
}

// exists reports whether name leads to a file of any kind.
func (b *Box) exists(name string) bool {
	f, err := b.root.open(name, unix.O_PATH, 0)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// FileInfo is one entry of List.
type FileInfo struct {
	Name string      // without its directory
	Mode fs.FileMode // type and permissions; a link is not followed
	Size int64       // bytes
}

// List gives the entries of a directory in the box, sorted by name. A name is
// whatever the package chose: it may hold control characters.
func (b *Box) List(dir string) ([]FileInfo, error) {
	f, err := b.root.open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var list []FileInfo
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			continue // gone meanwhile
		}
		list = append(list, FileInfo{Name: name, Mode: fileMode(st.Mode), Size: st.Size})
	}
	return list, nil
}

// Remove removes a file, a link or a whole directory; what is absent is no error.
func (b *Box) Remove(name string) error {
	d, base, err := b.root.parent(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", d.Fd()))
	if err != nil {
		return err
	}
	defer root.Close()
	return root.RemoveAll(base)
}

func fileMode(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// emptyDir removes what is in dir, if it is a directory.
func emptyDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return nil
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if strings.Contains(e.Name(), "/") {
			continue
		}
		if err := os.RemoveAll(dir + "/" + e.Name()); err != nil {
			return err
		}
	}
	return nil
}
