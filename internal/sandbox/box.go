package sandbox

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"sluice/internal/job"
)

// BoxOptions describe a box.
type BoxOptions struct {
	Name   string  // for messages
	Layers []Layer // the lowest first; at least one
	Limits job.Limits
	// Repositories serves http://127.0.0.1:3142/ inside the box, during
	// commands that ask for it; nil: never.
	Repositories http.Handler
}

// Box is a throw-away root: everything that is written in it goes to its own
// upper directory, and is gone when it is closed. Commands run in it one
// after another, each in namespaces of its own; what a command leaves running
// is killed when it ends. A Box may be used by several goroutines.
type Box struct {
	m      *Manager
	opt    BoxOptions
	dir    string // …/boxes/N
	group  string // name of its control groups
	host   *hostTools
	root   *tree // its merged tree
	closed chan struct{}

	run   sync.Mutex // held while a command runs: one at a time
	once  sync.Once
	cause error
}

// New makes a box on the given layers.
func (m *Manager) New(ctx context.Context, opt BoxOptions) (*Box, error) {
	if len(opt.Layers) == 0 {
		return nil, fmt.Errorf("sandbox: box %q has no layers", opt.Name)
	}
	if err := m.hold(opt.Layers); err != nil {
		return nil, err
	}
	b, err := m.newBox(opt, nil)
	if err == nil && ctx.Err() != nil {
		b.Close()
		err = ctx.Err()
	}
	if err != nil && b == nil {
		m.release(opt.Layers)
	}
	return b, err
}

// newBox makes the directories and the mount. With host, the box has no
// layers, and its root is the tools of the worker's own system.
func (m *Manager) newBox(opt BoxOptions, host *hostTools) (*Box, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, ErrClosed
	}
	m.serial++
	id := strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(m.serial)
	m.mu.Unlock()

	opt.Limits = orLimits(opt.Limits, m.opt.Limits)
	b := &Box{m: m, opt: opt, host: host, dir: filepath.Join(m.dir, "boxes", id), group: m.groupPrefix() + id, closed: make(chan struct{})}
	for _, d := range []string{b.dir, b.Upper(), b.dir + "/work", b.dir + "/merged"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, setup("making box "+opt.Name, err)
		}
	}
	if err := m.own(b.Upper()); err != nil {
		return nil, err
	}
	if host == nil {
		if err := b.mount(); err != nil {
			os.RemoveAll(b.dir)
			return nil, setup("mounting the overlay of box "+opt.Name, err)
		}
	}
	root, err := openTree(b.merged(), m.opt.UIDBase)
	if err != nil {
		b.Close()
		return nil, err
	}
	b.root = root
	m.mu.Lock()
	m.boxes[b] = true
	m.mu.Unlock()
	return b, nil
}

// mount mounts the overlay. Its options make an upper directory usable as a
// lower one later; volatile leaves out every sync.
func (b *Box) mount() error {
	var lower []string
	for i := len(b.opt.Layers) - 1; i >= 0; i-- {
		dir := b.opt.Layers[i].Dir
		if strings.ContainsAny(dir, ":,\\") {
			return fmt.Errorf("the path %s holds a colon, comma or backslash, which overlayfs cannot take: choose another folder for the worker", dir)
		}
		lower = append(lower, dir)
	}
	data := "lowerdir=" + strings.Join(lower, ":") + ",upperdir=" + b.Upper() + ",workdir=" + b.dir + "/work" +
		",redirect_dir=off,index=off,metacopy=off,volatile"
	if len(data) >= os.Getpagesize() {
		return fmt.Errorf("%d layers are too many for one mount", len(lower))
	}
	return unix.Mount("sluice", b.merged(), "overlay", unix.MS_NODEV, data)
}

func (b *Box) merged() string {
	if b.host != nil {
		return b.Upper()
	}
	return b.dir + "/merged"
}

// Upper is the directory on the worker that holds what was written in the
// box. It may be hostile: read it with the Box's own methods.
func (b *Box) Upper() string { return b.dir + "/upper" }

// detach ends the box's mount and keeps its upper directory.
func (b *Box) detach() error {
	b.run.Lock()
	defer b.run.Unlock()
	if b.root != nil {
		b.root.close()
	}
	if b.host != nil {
		return nil
	}
	return unix.Unmount(b.merged(), unix.MNT_DETACH)
}

// Close kills what runs in the box, unmounts and removes it. It may be called
// more than once.
func (b *Box) Close() error {
	b.once.Do(func() {
		close(b.closed) // ends a running command
		b.run.Lock()
		defer b.run.Unlock()
		if b.root != nil {
			b.root.close()
		}
		if b.host == nil {
			unix.Unmount(b.merged(), unix.MNT_DETACH)
		}
		b.cause = os.RemoveAll(b.dir)
		b.m.mu.Lock()
		delete(b.m.boxes, b)
		b.m.mu.Unlock()
		b.m.release(b.opt.Layers)
	})
	return b.cause
}
