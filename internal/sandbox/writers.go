package sandbox

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

const oPathDirectory = unix.O_PATH | unix.O_DIRECTORY

// link makes a symbolic link of root's, in place of whatever was there.
func (t *tree) link(to, name string) error {
	d, base, err := t.parent(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Unlinkat(int(d.Fd()), base, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := unix.Symlinkat(to, int(d.Fd()), base); err != nil {
		return err
	}
	return t.own(d, base, 0, 0)
}

// lines passes whole lines on, so that two writers of one log never share a
// line. A carriage return ends a line, too: progress bars become lines.
type lines struct {
	w   io.Writer
	buf []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.buf = append(l.buf, bytes.ReplaceAll(p, []byte{'\r'}, []byte{'\n'})...)
	end := bytes.LastIndexByte(l.buf, '\n') + 1
	if end == 0 && len(l.buf) < 64<<10 {
		return len(p), nil
	}
	if end == 0 {
		end = len(l.buf)
	}
	_, err := l.w.Write(l.buf[:end])
	l.buf = append(l.buf[:0], l.buf[end:]...)
	return len(p), err
}

func (l *lines) flush() {
	if len(l.buf) > 0 {
		l.w.Write(append(l.buf, '\n'))
		l.buf = nil
	}
}

// capped keeps the first bytes and drops the rest.
type capped struct {
	w    io.Writer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	if _, err := c.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}
