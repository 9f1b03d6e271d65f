//go:build full

package full

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/internal/trial"
)

// network is a network namespace whose one way out is a pair of interfaces: at
// the other end is the address that the service listens on. There is no route
// beyond it and nobody who knows names.
type network struct {
	t          *testing.T
	holder     *trial.Process
	host, peer string // addresses of both ends
	link       string // the host's end
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	id := os.Getpid() & 0x3fff
	n := &network{t: t, link: fmt.Sprintf("slf%d", id)}
	// 198.18.0.0/15 is set aside for tests of network devices (RFC 2544).
	n.host, n.peer = fmt.Sprintf("198.18.%d.%d", id>>6, id&0x3f<<2|1), fmt.Sprintf("198.18.%d.%d", id>>6, id&0x3f<<2|2)
	n.holder = run(t, filepath.Join(t.TempDir(), "holder.log"), exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"))
	sh(t, "", fmt.Sprintf(`
until test "$(readlink /proc/%[1]d/ns/net)" != "$(readlink /proc/self/ns/net)"; do :; done
ip link add %[2]s type veth peer name up0 netns %[1]d
ip addr add %[3]s/30 dev %[2]s
ip link set %[2]s up
nsenter --net=/proc/%[1]d/ns/net ip addr add %[4]s/30 dev up0
nsenter --net=/proc/%[1]d/ns/net ip link set up0 up`, n.holder.Pid(), n.link, n.host, n.peer))
	return n
}

// enter is what runs a program in the namespace.
func (n *network) enter(args ...string) []string {
	return append([]string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", n.holder.Pid()), "--"}, args...)
}

func (n *network) freePort() int {
	n.t.Helper()
	l, err := net.Listen("tcp", n.host+":0")
	if err != nil {
		n.t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// worker is `sluice worker` on a machine of its own, as far as it can tell.
type worker struct {
	*trial.Process
	s    *site
	name string
	dir  string // its /tmp and its folder, as the host sees them
	self string // its folder, as it sees it
}

// enterMachine makes the worker's file system: the machine's programs, a /tmp
// of its own with the program and the token, its folder; nothing of the
// service, of the tests or of the users is there.
const enterMachine = `
mount -t tmpfs tmpfs /srv
mkdir "$SELF"
mount --bind "$DIR/work" "$SELF"
mount --bind /dev/null "$(realpath /etc/resolv.conf)"
mount -t tmpfs tmpfs /root
mount -t tmpfs tmpfs /home
mount --bind "$DIR/tmp" /tmp
cd /
exec env -i PATH="$PATH" /tmp/sluice worker --service "$URL" --token-file /tmp/token --dir "$SELF" --slots 6
`

// worker prepares one; start starts it.
func (s *site) worker(name string) *worker {
	s.t.Helper()
	w := &worker{s: s, name: name, dir: filepath.Join(s.t.TempDir(), name), self: fmt.Sprintf("/srv/sluice-full-%d-%s", os.Getpid(), name)}
	for _, d := range []string{"tmp", "work"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(w.dir, "tmp"), 0o1777|fs.ModeSticky); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Link(s.service.Program, filepath.Join(w.dir, "tmp", "sluice")); err != nil {
		s.t.Fatal(err)
	}
	write(s.t, filepath.Join(w.dir, "tmp", "token"), tokens[name]+"\n")
	return w
}

func (w *worker) start() {
	w.s.t.Helper()
	args := w.s.network.enter("unshare", "--mount", "--propagation", "private", "sh", "-ec", enterMachine)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DIR="+w.dir, "SELF="+w.self, "URL="+w.s.service.URL)
	w.Process = run(w.s.t, filepath.Join(w.dir, "worker.log"), cmd)
}

// blind makes sure that the worker sees no file of the service, of the tests or
// of the machine's users, and that it is ready.
func (w *worker) blind() {
	w.s.t.Helper()
	w.s.until("worker "+w.name+" is ready", func() string {
		if log := readAll(w.Log); !strings.Contains(log, "the worker is ready") {
			return "it is not, and says: " + log
		}
		return ""
	})
	root := fmt.Sprintf("/proc/%d/root", w.Pid())
	for _, hidden := range []string{w.s.dir, w.dir, w.s.g.Gate.Key} {
		if _, err := os.Stat(root + hidden); err == nil {
			w.s.t.Errorf("worker %s sees %s", w.name, hidden)
		}
	}
	if names, err := os.ReadFile(root + "/etc/resolv.conf"); err != nil || len(names) > 0 {
		w.s.t.Errorf("worker %s has somebody to ask for names: %v %s", w.name, err, names)
	}
}

// processes are those that have to do with the worker: they were told of its
// folder, or have mounts from there. A box and a node show it in their root.
func (w *worker) processes() []string {
	var out []string
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		cmd, _ := os.ReadFile(p + "/cmdline")
		mounts, _ := os.ReadFile(p + "/mountinfo")
		if strings.Contains(string(cmd), w.self) || strings.Contains(string(mounts), w.self) {
			out = append(out, filepath.Base(p)+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return out
}

// processes are those in the workers' network, and in networks below it
// that they have made, but for the one that holds it.
func (n *network) processes() []string {
	var out []string
	own, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", n.holder.Pid()))
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		if ns, err := os.Readlink(p + "/ns/net"); err == nil && ns == own && filepath.Base(p) != fmt.Sprint(n.holder.Pid()) {
			cmd, _ := os.ReadFile(p + "/cmdline")
			out = append(out, filepath.Base(p)+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return out
}

// left is all that there is of the worker on this machine, but for its caches.
func (w *worker) left() []string {
	out := append(w.processes(), w.groups()...)
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, w.self) || strings.Contains(line, w.dir) {
			out = append(out, "mount "+line)
		}
	}
	caches := map[string]bool{"sandbox/roots": true, "sandbox/layers": true}
	known := []string{"", "tmp", "tmp/sluice", "tmp/token", "work", "work/uploads", "work/sandbox", "work/sandbox/boot", "work/sandbox/lock", "work/sandbox/boxes", "worker.log"}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, w.dir), "/")
		if caches[strings.TrimPrefix(name, "work/")] {
			return fs.SkipDir
		}
		if !slices.Contains(known, name) {
			out = append(out, "file "+name)
		}
		return nil
	})
	if err != nil {
		out = append(out, err.Error())
	}
	return out
}

// groups are its control groups. Their names begin with a hash of the folder,
// as the worker sees it, and of its inode.
func (w *worker) groups() []string {
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(w.dir, "work", "sandbox"), &st); err != nil {
		return []string{err.Error()}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/sandbox %d", w.self, st.Ino))
	var out []string
	for _, pattern := range []string{"/sys/fs/cgroup/sluice-", "/sys/fs/cgroup/*/sluice-", "/sys/fs/cgroup/*/*/sluice-"} {
		found, _ := filepath.Glob(pattern + hex.EncodeToString(sum[:6]) + "*")
		for _, f := range found {
			out = append(out, "group "+f)
		}
	}
	return out
}

// nothingLeft fails the test if there is anything of the worker.
func (w *worker) nothingLeft(when string) {
	w.s.t.Helper()
	if left := w.left(); len(left) > 0 {
		w.s.t.Errorf("%s this is left of worker %s:\n  %s", when, w.name, strings.Join(left, "\n  "))
	}
}

// sh runs a shell script that has to succeed, and gives what it printed.
func sh(t testing.TB, dir, script string, env ...string) string {
	t.Helper()
	out, err := trySh(dir, script, env...)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return out
}

func trySh(dir, script string, env ...string) (string, error) {
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
