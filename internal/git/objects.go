package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // the hash of git's own object ids
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// maxTree bounds a tree or commit object that is read whole, in bytes.
const maxTree = 64 << 20

// objects reads objects through one `git cat-file` process, and collects new
// ones until flush. It belongs to one goroutine.
type objects struct {
	ctx context.Context
	*reader
	enough func() bool       // ends the watch over ctx; false: ctx is over, and the process ended
	fresh  map[string]object // made here, not yet stored
	order  []string
}

type object struct {
	kind string
	data []byte
}

func (s *Store) objects(ctx context.Context, dir string) (*objects, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := s.readers.take(s, dir)
	if err != nil {
		return nil, err
	}
	return &objects{ctx: ctx, reader: r, enough: context.AfterFunc(ctx, r.kill), fresh: map[string]object{}}, nil
}

// close gives the process back for the next reading, unless it is in the midst
// of an answer.
func (o *objects) close() {
	if o.enough() && !o.inAnswer {
		o.store.readers.give(o.reader)
		return
	}
	o.end()
}

// ask sends one command and parses the header of the answer.
func (o *objects) ask(verb, id string) (kind string, size int64, err error) {
	if err := checkID(id); err != nil {
		return "", 0, err
	}
	line, err := o.send(verb + " " + id)
	if err != nil {
		return "", 0, err
	}
	return parseHeader(line, id)
}

// resolve gives the id of the object of a kind that rev, which was checked, names.
func (o *objects) resolve(rev, kind string) (string, error) {
	line, err := o.send("info " + rev + "^{" + kind + "}")
	if err != nil {
		return "", err
	}
	f := strings.Split(line, " ")
	if len(f) != 3 || f[1] != kind {
		return "", fmt.Errorf("%s: no such %s in %s: %w", rev, kind, o.dir, ErrNotFound)
	}
	return f[0], checkID(f[0])
}

// send sends one command and gives the first line of the answer.
func (o *objects) send(command string) (string, error) {
	o.inAnswer = true
	if _, err := io.WriteString(o.in, command+"\n"); err != nil {
		return "", o.failed(err)
	}
	line, err := o.out.ReadString('\n')
	if err != nil {
		return "", o.failed(err)
	}
	o.inAnswer = false
	return strings.TrimSuffix(line, "\n"), nil
}

func (o *objects) failed(err error) error {
	o.inAnswer = true // whatever comes of it yet is nobody's
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
	return data, o.ended()
}

// open starts reading an object. All of it must be read, then ended called,
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
	o.inAnswer = true
	return io.LimitReader(o.out, size), size, nil
}

func (o *objects) ended() error {
	c, err := o.out.ReadByte()
	if err == nil && c != '\n' {
		err = errors.New("object not read to its end")
	}
	if err != nil {
		return o.failed(err)
	}
	o.inAnswer = false
	return nil
}

// add keeps a new object for flush and returns its id.
func (o *objects) add(kind string, data []byte) string {
	id := objectID(kind, data)
	if _, ok := o.fresh[id]; !ok {
		o.fresh[id] = object{kind, data}
		o.order = append(o.order, id)
	}
	return id
}

// objectID is the id of an object.
func objectID(kind string, data []byte) string {
	h := sha1.New() //nolint:gosec // see the import
	fmt.Fprintf(h, "%s %d\x00", kind, len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// flush stores the objects kept by add, as git's loose objects.
func (o *objects) flush() error {
	for _, id := range o.order {
		if err := writeLoose(o.dir, id, o.fresh[id]); err != nil {
			return fmt.Errorf("store object %s in %s: %w", id, o.dir, err)
		}
	}
	o.fresh, o.order = map[string]object{}, nil
	return nil
}

// writeLoose writes one loose object. Like git, it makes a file of another name
// first, which a garbage collection removes should this process die; and what is
// there already becomes new, lest a collection that thinks it old remove it.
func writeLoose(repo, id string, obj object) error {
	dir := filepath.Join(repo, "objects", id[:2])
	path := filepath.Join(dir, id[2:])
	if now := time.Now(); os.Chtimes(path, now, now) == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "tmp_obj_")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	z, err := zlib.NewWriterLevel(f, zlib.BestSpeed)
	if err == nil {
		fmt.Fprintf(z, "%s %d\x00", obj.kind, len(obj.data))
		_, _ = z.Write(obj.data)
		err = z.Close() // tells of what failed before, too
	}
	if err = errors.Join(err, f.Chmod(0o444), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
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
