package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/job"
)

// Options say how a Manager uses its machine. The zero value works.
type Options struct {
	// UIDBase is the first of 65,536 host user and group ids that the boxes'
	// ids 0…65535 are mapped to; 0 means DefaultUIDBase. No account of the
	// host may own an id in that range.
	UIDBase int
	// CacheBytes bounds the roots and layers kept on disk; 0 means 20 GiB.
	// What a box uses is never evicted.
	CacheBytes int64
	// Limits are the defaults of every box; a zero field means the built-in
	// default (see DefaultLimits).
	Limits job.Limits
	// NoCgroups makes the boxes use rlimits and a watcher even where cgroups
	// could be used.
	NoCgroups bool
}

// DefaultUIDBase is where the boxes' user ids begin on the host.
const DefaultUIDBase = 0x4c550000

// idRange is how many user and group ids a box has.
const idRange = 65536

// DefaultLimits hold where neither the job nor the worker's options say more.
var DefaultLimits = job.Limits{
	Timeout:   30 * time.Minute,
	Processes: 2048,
	Memory:    4 << 30,
	Disk:      20 << 30,
}

// Manager owns a directory of roots, layers and boxes. One worker process has
// one Manager; the directory is locked while it is open.
//
//	DIR/lock          held with flock while the Manager is open
//	DIR/boot          the boot id that the caches were written under
//	DIR/roots/DIGEST  unpacked roots, read only
//	DIR/layers/KEY    layers, read only
//	DIR/boxes/N       upper, work and merged of each living box
type Manager struct {
	dir     string
	opt     Options
	lock    *os.File
	cgroups cgroupKind

	mu     sync.Mutex // guards the fields below
	closed bool
	boxes  map[*Box]bool
	serial int
	cache  map[string]*entry // by Layer.ID
}

// Open takes possession of dir (made if absent), and removes what a
// predecessor that died left there: mounts, control groups, processes, files.
// Roots and layers survive, unless the machine has been restarted since. It
// needs root. The error is ErrInUse if another process has dir open.
func Open(ctx context.Context, dir string, opt Options) (*Manager, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("sandbox: workers must run as root (in a user namespace of a container it is enough that 65,536 ids from UIDBase are mapped)")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if opt.UIDBase == 0 {
		opt.UIDBase = DefaultUIDBase
	}
	if opt.CacheBytes == 0 {
		opt.CacheBytes = 20 << 30
	}
	opt.Limits = orLimits(opt.Limits, DefaultLimits)
	for _, d := range []string{dir, dir + "/roots", dir + "/layers", dir + "/boxes"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("sandbox: %w", err)
		}
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(dir+"/lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	m := &Manager{dir: dir, opt: opt, lock: lock, boxes: map[*Box]bool{}, cache: map[string]*entry{}}
	if !opt.NoCgroups {
		m.cgroups = detectCgroups()
	}
	if err := m.sweep(); err != nil {
		lock.Close()
		return nil, err
	}
	return m, ctx.Err()
}

// Dir is the Manager's directory.
func (m *Manager) Dir() string { return m.dir }

// IDs gives the first host id of the boxes and how many there are.
func (m *Manager) IDs() (base, count int) { return m.opt.UIDBase, idRange }

// Close closes every box and gives the directory free. Roots and layers stay.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	var boxes []*Box
	for b := range m.boxes {
		boxes = append(boxes, b)
	}
	m.mu.Unlock()
	var errs []error
	for _, b := range boxes {
		errs = append(errs, b.Close())
	}
	errs = append(errs, m.lock.Close())
	return errors.Join(errs...)
}

// sweep removes what a dead predecessor left.
func (m *Manager) sweep() error {
	removeCgroups(m.cgroups, m.groupPrefix())
	if err := unmountBelow(m.dir); err != nil {
		return err
	}
	left, err := os.ReadDir(m.dir + "/boxes")
	if err != nil {
		return err
	}
	for _, e := range left {
		if err := os.RemoveAll(m.dir + "/boxes/" + e.Name()); err != nil {
			return fmt.Errorf("sandbox: removing what a predecessor left: %w", err)
		}
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	if old, _ := os.ReadFile(m.dir + "/boot"); string(old) != string(boot) {
		// Nothing in the caches was synced: a crash may have torn it.
		for _, d := range []string{"/roots", "/layers"} {
			if err := os.RemoveAll(m.dir + d); err != nil {
				return err
			}
			if err := os.Mkdir(m.dir+d, 0o700); err != nil {
				return err
			}
		}
		if err := os.WriteFile(m.dir+"/boot", boot, 0o600); err != nil {
			return err
		}
	}
	return m.loadCache()
}

// unmountBelow detaches every mount below dir, the newest first.
func unmountBelow(dir string) error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(info)) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasPrefix(unescape(f[4]), dir+"/") {
			points = append(points, unescape(f[4]))
		}
	}
	for i := len(points) - 1; i >= 0; i-- {
		if err := unix.Unmount(points[i], unix.MNT_DETACH); err != nil {
			return fmt.Errorf("sandbox: unmounting %s: %w", points[i], err)
		}
	}
	return nil
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// orLimits fills l's zero fields from d.
func orLimits(l, d job.Limits) job.Limits {
	if l.Timeout <= 0 {
		l.Timeout = d.Timeout
	}
	if l.Processes <= 0 {
		l.Processes = d.Processes
	}
	if l.Memory <= 0 {
		l.Memory = d.Memory
	}
	if l.Disk <= 0 {
		l.Disk = d.Disk
	}
	if l.LogBytes <= 0 {
		l.LogBytes = d.LogBytes
	}
	return l
}
