package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/internal/job"
)

// Layer is a directory tree that boxes are stacked on: an unpacked root, or
// what one box wrote on top of others. It is read only and shared. Files in
// it have the ids of the boxes' range, so nothing on the host may run them
// with a privilege.
type Layer struct {
	ID  string // "root-DIGEST" or "layer-KEY"
	Dir string // absolute path of the tree on the worker
}

// entry is one cached layer.
type entry struct {
	Layer
	bytes int64
	used  time.Time
	boxes int           // living boxes on it
	ready chan struct{} // closed when made or failed
	err   error
}

// grace is how long a layer that was asked for is safe from eviction before
// a box stands on it.
const grace = 10 * time.Minute

// Root gives the unpacked tree of a root archive (a tar.zst blob). It is
// unpacked once per digest and shared, read only; concurrent callers wait for
// the first. The bytes are checked against the digest. The tree is the
// archive's, with the account "builder" added and no device nodes.
func (m *Manager) Root(ctx context.Context, archive job.Digest, open func(context.Context) (io.ReadCloser, error)) (Layer, error) {
	if !plainName(string(archive)) {
		return Layer{}, fmt.Errorf("sandbox: %q is no digest of a root", archive)
	}
	return m.cached(ctx, "root-"+string(archive), "roots/"+string(archive), func(dir string) error {
		r, err := open(ctx)
		if err != nil {
			return fmt.Errorf("sandbox: fetching root %s: %w", archive, err)
		}
		defer r.Close()
		h := sha256.New()
		in := io.TeeReader(&ctxReader{ctx, r}, h)
		z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			return err
		}
		defer z.Close()
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := m.own(dir); err != nil {
			return err
		}
		if err := m.unpackInto(dir, z); err != nil {
			return fmt.Errorf("sandbox: unpacking root %s: %w", archive, err)
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			return err
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != string(archive) {
			return fmt.Errorf("sandbox: root %s arrived with other bytes (%s)", archive, got)
		}
		return m.furnish(dir)
	})
}

// Layer gives the layer that make writes on top of below (the lowest first),
// made once per key: key must name all that make depends on. It holds only
// what make changed: stack it with append(below, layer). Concurrent callers
// with one key wait for the first; a failed make is not remembered.
func (m *Manager) Layer(ctx context.Context, key string, below []Layer, make func(context.Context, *Box) error) (Layer, error) {
	sum := sha256.New()
	io.WriteString(sum, key)
	for _, l := range below {
		io.WriteString(sum, "\x00"+l.ID)
	}
	name := hex.EncodeToString(sum.Sum(nil))
	return m.cached(ctx, "layer-"+name, "layers/"+name, func(dir string) error {
		b, err := m.New(ctx, BoxOptions{Name: "layer-" + name[:12], Layers: below})
		if err != nil {
			return err
		}
		defer b.Close()
		if err := make(ctx, b); err != nil {
			return err
		}
		if err := b.detach(); err != nil {
			return err
		}
		for _, d := range []string{"tmp", "var/tmp", "run"} {
			if err := emptyDir(filepath.Join(b.Upper(), d)); err != nil {
				return err
			}
		}
		return os.Rename(b.Upper(), dir)
	})
}

// cached gives the layer id at the path rel, made by make if it is not there.
func (m *Manager) cached(ctx context.Context, id, rel string, make func(dir string) error) (Layer, error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return Layer{}, ErrClosed
		}
		e := m.cache[id]
		if e == nil {
			break
		}
		e.used = time.Now()
		m.mu.Unlock()
		select {
		case <-e.ready:
		case <-ctx.Done():
			return Layer{}, ctx.Err()
		}
		if e.err == nil {
			return e.Layer, nil
		}
		// The one who made it failed, perhaps for a reason of its own (a
		// cancelled job): make it ourselves.
	}
	e := &entry{Layer: Layer{ID: id, Dir: filepath.Join(m.dir, rel)}, used: time.Now(), ready: newSignal()}
	m.cache[id] = e
	m.mu.Unlock()

	part := e.Dir + ".part"
	e.err = os.RemoveAll(part)
	if e.err == nil {
		e.err = make(part)
	}
	if e.err == nil {
		e.bytes, _ = diskUsage(part)
		e.err = os.Rename(part, e.Dir)
	}
	if e.err != nil {
		os.RemoveAll(part)
	}
	m.mu.Lock()
	if e.err != nil {
		delete(m.cache, id)
	}
	e.used = time.Now()
	m.mu.Unlock()
	close(e.ready)
	if e.err != nil {
		return Layer{}, e.err
	}
	m.evict()
	return e.Layer, nil
}

func newSignal() chan struct{} { return make(chan struct{}) }

// loadCache finds the layers that are on disk.
func (m *Manager) loadCache() error {
	var wait sync.WaitGroup
	defer wait.Wait()
	for kind, prefix := range map[string]string{"roots": "root-", "layers": "layer-"} {
		dirs, err := os.ReadDir(filepath.Join(m.dir, kind))
		if err != nil {
			return err
		}
		for _, d := range dirs {
			path := filepath.Join(m.dir, kind, d.Name())
			if strings.HasSuffix(d.Name(), ".part") {
				if err := os.RemoveAll(path); err != nil {
					return err
				}
				continue
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			e := &entry{Layer: Layer{ID: prefix + d.Name(), Dir: path}, used: info.ModTime(), ready: newSignal()}
			close(e.ready)
			m.cache[e.ID] = e
			wait.Go(func() { e.bytes, _ = diskUsage(path) })
		}
	}
	return nil
}

// evict removes the least recently used layers until the rest fits. A layer
// under a box, one that is being made, and one asked for lately stay.
func (m *Manager) evict() {
	m.mu.Lock()
	var all []*entry
	var total int64
	for _, e := range m.cache {
		select {
		case <-e.ready:
			total += e.bytes
			all = append(all, e)
		default:
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].used.Before(all[j].used) })
	var gone []string
	for _, e := range all {
		if total <= m.opt.CacheBytes {
			break
		}
		if e.boxes > 0 || time.Since(e.used) < grace {
			continue
		}
		total -= e.bytes
		delete(m.cache, e.ID)
		// Moved away under the lock, so that the same key can be made anew.
		m.serial++
		trash := fmt.Sprintf("%s.%d.part", e.Dir, m.serial)
		if os.Rename(e.Dir, trash) == nil {
			gone = append(gone, trash)
		}
	}
	m.mu.Unlock()
	for _, dir := range gone {
		os.RemoveAll(dir)
	}
}

// hold counts a box on each layer; release undoes it.
func (m *Manager) hold(layers []Layer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range layers {
		e := m.cache[l.ID]
		if e == nil {
			return fmt.Errorf("%w: %s", ErrLayerGone, l.ID)
		}
	}
	for _, l := range layers {
		m.cache[l.ID].boxes++
		m.cache[l.ID].used = time.Now()
	}
	return nil
}

func (m *Manager) release(layers []Layer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range layers {
		if e := m.cache[l.ID]; e != nil {
			e.boxes--
		}
	}
}

// plainName reports whether s can be a file name of the cache.
func plainName(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			return false
		}
	}
	return s != ""
}

// ctxReader ends reading when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
