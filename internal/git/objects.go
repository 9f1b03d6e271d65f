package git

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // the hash of git's own object ids
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sort"
	"strconv"
	"strings"
)

// maxTree bounds a tree or commit object that is read whole, in bytes.
const maxTree = 64 << 20

// objects reads objects through one `git cat-file` process, and collects new
// ones until flush. It belongs to one goroutine.
type objects struct {
	ctx    context.Context
	store  *Store
	dir    string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errOut *boundedBuffer
	fresh  map[string]object // made here, not yet stored
	order  []string
}

type object struct {
	kind string
	data []byte
}

func (s *Store) objects(ctx context.Context, dir string) (*objects, error) {
	cmd := s.command(ctx, call{dir: dir}, "cat-file", "--batch-command")
	o := &objects{ctx: ctx, store: s, dir: dir, cmd: cmd, errOut: &boundedBuffer{max: 4096, drop: true}, fresh: map[string]object{}}
	cmd.Stderr = o.errOut
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	o.in, o.out = in, bufio.NewReaderSize(out, 64<<10)
	return o, nil
}

// close ends the process. An object that was not read to its end is left unread.
func (o *objects) close() {
	o.in.Close()
	if o.cmd.Process != nil {
		_ = o.cmd.Cancel()
	}
	_ = o.cmd.Wait()
}

// ask sends one command and parses the header of the answer.
func (o *objects) ask(verb, id string) (kind string, size int64, err error) {
	if err := checkID(id); err != nil {
		return "", 0, err
	}
	if _, err := io.WriteString(o.in, verb+" "+id+"\n"); err != nil {
		return "", 0, o.failed(err)
	}
	line, err := o.out.ReadString('\n')
	if err != nil {
		return "", 0, o.failed(err)
	}
	return parseHeader(strings.TrimSuffix(line, "\n"), id)
}

func (o *objects) failed(err error) error {
	if o.ctx.Err() != nil {
		return o.ctx.Err()
	}
	return fmt.Errorf("git cat-file in %s: %w %s", o.dir, err, o.errOut.buf.String())
}

// parseHeader reads "ID KIND SIZE" or "ID missing".
func parseHeader(line, id string) (kind string, size int64, err error) {
	f := strings.Split(line, " ")
	if len(f) == 2 && f[0] == id && f[1] == "missing" {
		return "", 0, fmt.Errorf("object %s: %w", id, ErrNotFound)
	}
	if len(f) != 3 || f[0] != id {
		return "", 0, fmt.Errorf("object %s: git answered %.200q", id, line)
	}
	size, err = strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 {
		return "", 0, fmt.Errorf("object %s: size %.40q", id, f[2])
	}
	return f[1], size, nil
}

// read returns an object of the kind wanted, of at most limit bytes.
func (o *objects) read(kind, id string, limit int64) ([]byte, error) {
	if f, ok := o.fresh[id]; ok && f.kind == kind {
		return f.data, nil
	}
	r, size, err := o.open(kind, id, limit)
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, o.failed(err)
	}
	return data, o.end()
}

// open starts reading an object. All of it must be read, then end called,
// before the next one is asked for.
func (o *objects) open(kind, id string, limit int64) (io.Reader, int64, error) {
	got, size, err := o.ask("info", id)
	if err != nil {
		return nil, 0, err
	}
	if got != kind {
		return nil, 0, fmt.Errorf("object %s is a %s, want a %s: %w", id, got, kind, ErrNotFound)
	}
	if size > limit {
		return nil, 0, fmt.Errorf("%s %s: %d bytes, limit %d: %w", kind, id, size, limit, ErrTooLarge)
	}
	if _, _, err := o.ask("contents", id); err != nil {
		return nil, 0, err
	}
	return io.LimitReader(o.out, size), size, nil
}

func (o *objects) end() error {
	c, err := o.out.ReadByte()
	if err == nil && c != '\n' {
		err = errors.New("object not read to its end")
	}
	if err != nil {
		return o.failed(err)
	}
	return nil
}

// add keeps a new object for flush and returns its id.
func (o *objects) add(kind string, data []byte) string {
	h := sha1.New() //nolint:gosec // see the import
	fmt.Fprintf(h, "%s %d\x00", kind, len(data))
	h.Write(data)
	id := hex.EncodeToString(h.Sum(nil))
	if _, ok := o.fresh[id]; !ok {
		o.fresh[id] = object{kind, data}
		o.order = append(o.order, id)
	}
	return id
}

// flush stores the objects kept by add: git unpacks one pack made of them.
func (o *objects) flush() error {
	if len(o.order) == 0 {
		return nil
	}
	var pack bytes.Buffer
	if err := o.writePack(&pack); err != nil {
		return err
	}
	if _, err := o.store.run(o.ctx, call{dir: o.dir, stdin: &pack}, "unpack-objects", "-q"); err != nil {
		return err
	}
	o.fresh, o.order = map[string]object{}, nil
	return nil
}

func (o *objects) writePack(w io.Writer) error {
	sum := sha1.New() //nolint:gosec // a pack's own checksum
	w = io.MultiWriter(w, sum)
	head := binary.BigEndian.AppendUint32(append([]byte("PACK"), 0, 0, 0, 2), uint32(len(o.order)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	kinds := map[string]byte{"commit": 1, "tree": 2, "blob": 3}
	for _, id := range o.order {
		obj := o.fresh[id]
		size := uint64(len(obj.data))
		b := kinds[obj.kind]<<4 | byte(size&15)
		size >>= 4
		var header []byte
		for ; size > 0; size >>= 7 {
			header = append(header, b|0x80)
			b = byte(size & 0x7f)
		}
		if _, err := w.Write(append(header, b)); err != nil {
			return err
		}
		z, err := zlib.NewWriterLevel(w, zlib.BestSpeed)
		if err != nil {
			return err
		}
		if _, err := z.Write(obj.data); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// entry is one name in a tree; the zero entry stands for "not there".
type entry struct {
	mode Mode
	id   string
}

func (e entry) isTree() bool { return e.mode == ModeTree }

// isFile: there, and not a folder. Files, links and submodules are alike here.
func (e entry) isFile() bool { return e.mode != 0 && e.mode != ModeTree }

// emptyTree is the id of the tree without entries.
const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// parseTree reads a tree object.
func parseTree(data []byte) (map[string]entry, error) {
	t := map[string]entry{}
	for len(data) > 0 {
		head, rest, ok := bytes.Cut(data, []byte{0})
		mode, name, ok2 := strings.Cut(string(head), " ")
		m, err := strconv.ParseUint(mode, 8, 32)
		if !ok || !ok2 || err != nil || name == "" || strings.Contains(name, "/") || len(rest) < 20 {
			return nil, errors.New("malformed tree")
		}
		if _, dup := t[name]; dup {
			return nil, fmt.Errorf("malformed tree: %q twice", name)
		}
		t[name] = entry{canonical(Mode(m)), hex.EncodeToString(rest[:20])}
		data = rest[20:]
	}
	return t, nil
}

// canonical maps the modes of old histories to those that are written now.
func canonical(m Mode) Mode {
	switch m & 0o170000 {
	case 0o040000:
		return ModeTree
	case 0o120000:
		return ModeSymlink
	case 0o160000:
		return ModeSubmodule
	}
	if m&0o111 != 0 {
		return ModeExecutable
	}
	return ModeFile
}

// formatTree is the inverse of parseTree, in git's order: folders as if they
// ended with a slash.
func formatTree(t map[string]entry) []byte {
	key := func(name string) string {
		if t[name].isTree() {
			return name + "/"
		}
		return name
	}
	names := make([]string, 0, len(t))
	for n := range t {
		names = append(names, n)
	}
	sort.Slice(names, func(i, j int) bool { return key(names[i]) < key(names[j]) })
	var b bytes.Buffer
	for _, n := range names {
		id, _ := hex.DecodeString(t[n].id)
		fmt.Fprintf(&b, "%o %s\x00", uint32(t[n].mode), n)
		b.Write(id)
	}
	return b.Bytes()
}

func (o *objects) tree(e entry) (map[string]entry, error) {
	if !e.isTree() || e.id == emptyTree {
		return nil, nil
	}
	data, err := o.read("tree", e.id, maxTree)
	if err != nil {
		return nil, err
	}
	t, err := parseTree(data)
	if err != nil {
		return nil, fmt.Errorf("tree %s: %w", e.id, err)
	}
	return t, nil
}
