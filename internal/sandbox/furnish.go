package sandbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// furnish adds to an unpacked root what every box has: the builder's account,
// a hosts file, an empty resolv.conf.
func (m *Manager) furnish(dir string) error {
	t, err := openTree(dir, m.opt.UIDBase)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.mkdirAll("/etc", 0o755, 0, 0); err != nil {
		return err
	}
	for _, a := range []struct{ file, line string }{
		{"/etc/passwd", fmt.Sprintf("%s:x:%d:%d:sluice builds:/home/%[1]s:/bin/sh", Builder, BuilderID, BuilderID)},
		{"/etc/group", fmt.Sprintf("%s:x:%d:", Builder, BuilderID)},
	} {
		if err := t.addLine(a.file, Builder+":", a.line); err != nil {
			return err
		}
	}
	if err := t.addLine("/etc/hosts", "127.0.0.1", "127.0.0.1 localhost sluice"); err != nil {
		return err
	}
	if err := t.replace("/etc/resolv.conf", nil, 0o644); err != nil {
		return err
	}
	for _, d := range []string{"/proc", "/dev", "/tmp"} {
		if err := t.mkdirAll(d, 0o755, 0, 0); err != nil {
			return err
		}
	}
	return t.mkdirAll("/home/"+Builder, 0o755, BuilderID, BuilderID)
}

// addLine appends line to a file unless one begins with prefix.
func (t *tree) addLine(name, prefix, line string) error {
	var old []byte
	f, err := t.regular(name, unix.O_RDONLY, 0)
	switch {
	case err == nil:
		old, err = io.ReadAll(io.LimitReader(f, 8<<20))
		f.Close()
		if err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	text := string(old)
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, prefix) {
			return nil
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return t.replace(name, []byte(text+line+"\n"), 0o644)
}

// replace writes a file of root's, in place of whatever was there (a link too).
func (t *tree) replace(name string, data []byte, mode uint32) error {
	d, base, err := t.parent(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Unlinkat(int(d.Fd()), base, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	fd, err := unix.Openat(int(d.Fd()), base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return &fs.PathError{Op: "create", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(data)
	return errors.Join(err, unix.Fchmod(fd, mode), unix.Fchown(fd, t.base, t.base), f.Close())
}
