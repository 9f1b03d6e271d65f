package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/job"
)

// cgroupKind is what this machine offers for limiting all processes of a box
// together. With v2 the groups are made below our own group, which must be
// delegated to us (systemd: Delegate=yes) or the root of the hierarchy; with
// v1 below the controllers' roots. Where there is neither, rlimits and the
// watcher (watch.go) hold the same limits less exactly.
type cgroupKind struct {
	v2      string            // our own group's directory
	v1      map[string]string // controller → directory
	enabled bool
}

const cgroupRoot = "/sys/fs/cgroup"

// detectCgroups finds out by making a group and looking at its files.
func detectCgroups() cgroupKind {
	if k := detectV2(); k.enabled {
		return k
	}
	k := cgroupKind{v1: map[string]string{}}
	for _, c := range []string{"pids", "memory", "cpu"} {
		probe := filepath.Join(cgroupRoot, c, fmt.Sprintf("sluice-probe-%d", os.Getpid()))
		if os.Mkdir(probe, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(probe + "/cgroup.procs"); err == nil {
			k.v1[c] = filepath.Join(cgroupRoot, c)
		}
		unix.Rmdir(probe)
	}
	k.enabled = k.v1["pids"] != "" && k.v1["memory"] != ""
	return k
}

// detectV2 enables the controllers below our group. A group that has
// processes cannot do so unless it is the root: ours, if it holds this
// process alone, is moved to a leaf first, as systemd asks of delegates.
func detectV2() cgroupKind {
	var none cgroupKind
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return none
	}
	var path string
	for line := range strings.Lines(string(own)) {
		if rest, ok := strings.CutPrefix(line, "0::"); ok {
			path = strings.TrimSuffix(strings.TrimSpace(rest), "/sluice-worker")
		}
	}
	dir := filepath.Join(cgroupRoot, path)
	have, err := os.ReadFile(dir + "/cgroup.controllers")
	if err != nil || !bytes.Contains(have, []byte("memory")) || !bytes.Contains(have, []byte("pids")) {
		return none
	}
	enable := func() error {
		return os.WriteFile(dir+"/cgroup.subtree_control", []byte("+memory +pids +cpu"), 0)
	}
	err = enable()
	if errors.Is(err, unix.EBUSY) {
		procs, _ := os.ReadFile(dir + "/cgroup.procs")
		if strings.TrimSpace(string(procs)) != strconv.Itoa(os.Getpid()) {
			return none
		}
		leaf := dir + "/sluice-worker"
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return none
		}
		if os.WriteFile(leaf+"/cgroup.procs", procs, 0) != nil {
			return none
		}
		err = enable()
	}
	return cgroupKind{v2: dir, enabled: err == nil}
}

// groupPrefix begins the name of every group of this Manager, and of no
// other's: two workers in containers of one machine can have folders of the
// same name and share the groups, so the folder's inode counts, too.
func (m *Manager) groupPrefix() string { return GroupPrefix(m.dir) }

// GroupPrefix begins the names of the control groups of the Manager that owns dir.
func GroupPrefix(dir string) string {
	var st unix.Stat_t
	_ = unix.Stat(dir, &st) // a folder that is not there has no Manager
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", dir, st.Ino))
	return "sluice-" + hex.EncodeToString(sum[:6]) + "-"
}

// cgroup is the groups of one box, while a command runs. A nil cgroup limits
// nothing.
type cgroup struct {
	kind cgroupKind
	name string
}

// dirs are the group's directories: one with v2, one per controller with v1.
func (g *cgroup) dirs() []string {
	if g.kind.v2 != "" {
		return []string{filepath.Join(g.kind.v2, g.name)}
	}
	var all []string
	for _, d := range g.kind.v1 {
		all = append(all, filepath.Join(d, g.name))
	}
	return all
}

// newCgroup makes the groups with the limits, or gives nil where there are none.
func (m *Manager) newCgroup(name string, l job.Limits) (*cgroup, error) {
	if !m.cgroups.enabled {
		return nil, nil
	}
	g := &cgroup{kind: m.cgroups, name: name}
	for _, d := range g.dirs() {
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			g.remove()
			return nil, fmt.Errorf("control group: %w", err)
		}
	}
	memory, pids := strconv.FormatInt(l.Memory, 10), strconv.FormatInt(l.Processes+1, 10) // init is one
	set := [][2]string{{"memory/memory.limit_in_bytes", memory}, {"pids/pids.max", pids}, {"cpu/cpu.shares", "512"}}
	if g.kind.v2 != "" {
		set = [][2]string{{"/memory.max", memory}, {"/pids.max", pids}, {"/memory.swap.max", "0"}, {"/cpu.weight", "50"}, {"/memory.oom.group", "0"}}
	}
	for _, s := range set {
		if err := os.WriteFile(g.file(s[0]), []byte(s[1]), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			g.remove()
			return nil, fmt.Errorf("control group: %w", err)
		}
	}
	return g, nil
}

// file gives the path of "controller/file" in this group.
func (g *cgroup) file(name string) string {
	c, f, _ := strings.Cut(name, "/")
	if g.kind.v2 != "" {
		return filepath.Join(g.kind.v2, g.name, f)
	}
	if g.kind.v1[c] == "" {
		return "/nonexistent/" + f
	}
	return filepath.Join(g.kind.v1[c], g.name, f)
}

func (g *cgroup) add(pid int) error {
	if g == nil {
		return nil
	}
	for _, d := range g.dirs() {
		if err := os.WriteFile(d+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
	}
	return nil
}

// count reads a number, or the number after key in a "key number" file.
func (g *cgroup) count(name, key string) int64 {
	b, err := os.ReadFile(g.file(name))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 1 && key == "" || len(f) == 2 && f[0] == key {
			n, _ := strconv.ParseInt(f[len(f)-1], 10, 64)
			return n
		}
	}
	return 0
}

// exceeded says which limit the group ran into, or nil.
func (g *cgroup) exceeded(p *process) *LimitError {
	if g == nil {
		return nil
	}
	killed := g.count("memory/memory.oom_control", "oom_kill")
	if g.kind.v2 != "" {
		killed = g.count("memory/memory.events", "oom_kill")
	}
	if killed > 0 {
		return p.limit(LimitMemory, p.box.opt.Limits.Memory)
	}
	if g.count("pids/pids.events", "max") > 0 {
		return p.limit(LimitProcesses, p.box.opt.Limits.Processes)
	}
	return nil
}

// remove removes the groups. Their processes have been killed; the kernel
// may need a moment to forget them.
func (g *cgroup) remove() {
	if g == nil {
		return
	}
	for _, d := range g.dirs() {
		removeGroup(d)
	}
}

func removeGroup(dir string) {
	for try := range 200 {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return
		}
		if try > 0 {
			time.Sleep(5 * time.Millisecond)
		}
		// A node's systemd has made groups of its own: from the leaves up.
		var below []string
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				below = append(below, path)
			}
			return nil
		})
		for _, d := range slices.Backward(below) {
			killGroup(d)
			unix.Rmdir(d)
		}
	}
}

// killGroup kills the processes of one group.
func killGroup(dir string) {
	procs, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return
	}
	for _, f := range strings.Fields(string(procs)) {
		if pid, _ := strconv.Atoi(f); pid > 1 && pid != os.Getpid() {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// removeCgroups removes all groups whose name begins with prefix, and kills
// what is in them.
func removeCgroups(k cgroupKind, prefix string) {
	g := cgroup{kind: k, name: prefix + "*"}
	patterns := g.dirs()
	if k.v2 == "" && k.enabled {
		patterns = append(patterns, filepath.Join(cgroupRoot, "systemd", g.name))
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern)
		for _, dir := range found {
			removeGroup(dir)
		}
	}
}

// Confine puts a process that is not one of the box's commands (a node's
// supervisor) under the box's limits; what it starts later is, too. release
// kills what is left of them.
func (b *Box) Confine(pid int) (release func(), err error) {
	g, err := b.m.newCgroup(b.group, b.opt.Limits)
	if err != nil || g == nil {
		return func() {}, err
	}
	if g.kind.v2 == "" {
		// systemd in a node makes its own tree there.
		g.kind.v1 = maps.Clone(g.kind.v1)
		if own := filepath.Join(cgroupRoot, "systemd"); os.Mkdir(filepath.Join(own, g.name), 0o755) == nil {
			g.kind.v1["name=systemd"] = own
		}
	}
	if err := g.add(pid); err != nil {
		g.remove()
		return nil, err
	}
	return g.remove, nil
}

// Merged is the directory on the worker at which the box's tree is mounted.
// Nothing but a container that starts in it may follow paths there.
func (b *Box) Merged() string { return b.merged() }
