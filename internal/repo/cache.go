package repo

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Cache keeps what was learned of packages, so that a process that starts need
// not read them again. It may forget at any time.
type Cache interface {
	Get(ctx context.Context, key string) ([]byte, bool)
	Put(ctx context.Context, key string, value []byte)
}

// DirCache is a Cache in a folder: one file per key. Files of other versions of
// the program are never asked for, and the folder can be emptied at any time.
type DirCache struct{ dir string }

// NewDirCache makes a cache in dir.
func NewDirCache(dir string) (*DirCache, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening the cache of packages: %w", err)
	}
	return &DirCache{dir}, nil
}

func (c *DirCache) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(c.dir, name[:2], name)
}

// Get returns what Put put.
func (c *DirCache) Get(_ context.Context, key string) ([]byte, bool) {
	data, err := os.ReadFile(c.path(key))
	return data, err == nil
}

// Put keeps a value. What cannot be written is not kept.
func (c *DirCache) Put(_ context.Context, key string, value []byte) {
	path := c.path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "new-")
	if err != nil {
		return
	}
	_, werr := tmp.Write(value)
	cerr := tmp.Close()
	if werr != nil || cerr != nil || os.Rename(tmp.Name(), path) != nil {
		os.Remove(tmp.Name())
	}
}

// memory keeps the least recently used values away.
type memory struct {
	mu    sync.Mutex // guards everything below
	limit int64      // bytes, about
	used  int64
	order *list.List
	items map[string]*list.Element
}

type memoryItem struct {
	key   string
	value any
	size  int64
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, order: list.New(), items: map[string]*list.Element{}}
}

func (m *memory) get(key string) (any, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.items[key]
	if !ok {
		return nil, false
	}
	m.order.MoveToFront(e)
	return e.Value.(*memoryItem).value, true
}

func (m *memory) put(key string, value any, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size += 200
	if e, ok := m.items[key]; ok {
		item := e.Value.(*memoryItem)
		m.used += size - item.size
		item.value, item.size = value, size
		m.order.MoveToFront(e)
	} else {
		m.items[key] = m.order.PushFront(&memoryItem{key, value, size})
		m.used += size
	}
	for m.used > m.limit && m.order.Len() > 1 {
		last := m.order.Back()
		item := last.Value.(*memoryItem)
		m.order.Remove(last)
		delete(m.items, item.key)
		m.used -= item.size
	}
}
