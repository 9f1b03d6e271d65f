package environment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/sandbox"
)

// rebootStatus is what nspawn exits with, under --keep-unit, when the node
// asked to be restarted.
const rebootStatus = 133

// bootTimeout bounds one boot: a node that hangs is an error, not a wait.
const bootTimeout = 90 * time.Second

// node is one machine.
type node struct {
	env     *nspawnEnv
	name    string
	index   int
	address string
	box     *sandbox.Box
	console *console

	mu   sync.Mutex // guards life: one boot or stop at a time
	life *life
}

// life is a node from one boot to its end.
type life struct {
	cmd     *exec.Cmd
	leader  int // host's number of its process 1
	inner   int // the same in the holder's namespace
	server  *http.Server
	release func()
	down    chan struct{} // closed when nspawn has ended
	reboots bool          // valid after down: the node asked for a restart
}

// prepare makes the node's files.
func (n *node) prepare(ctx context.Context) (err error) {
	r := n.env.r
	n.console = &console{name: n.name, log: r.Log}
	n.box, err = n.env.m.New(ctx, sandbox.BoxOptions{Name: r.Name + " " + n.name, Layers: r.Layers, Limits: r.Limits})
	if err != nil {
		return err
	}
	if len(r.Sources) > 0 {
		if n.env.args, err = n.box.ConfigureRepositories(ctx, r.Sources); err != nil {
			return err
		}
	}
	if err := n.box.MkdirAll("/var/log/journal", sandbox.Root); err != nil {
		return err
	}
	for file, text := range map[string]string{"/etc/hosts": n.env.hosts(), "/etc/hostname": n.name + "\n"} {
		if err := n.box.Remove(file); err != nil {
			return err
		}
		if err := n.box.WriteFile(file, []byte(text), 0o644, sandbox.Root); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) fail(what string, err error) error {
	return &NodeError{Node: n.name, What: what, Err: err, Console: n.console.tail()}
}

// boot starts the node and waits until its systemd says that it is ready.
func (n *node) boot(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, bootTimeout, fmt.Errorf("it did not boot within %s", bootTimeout))
	defer cancel()
	socket := filepath.Join(n.env.run, n.name)
	os.Remove(socket)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return n.fail("listening for its readiness", err)
	}
	defer notify.Close()
	l, err := n.start(socket)
	if err != nil {
		return n.fail("starting systemd-nspawn", err)
	}
	n.life = l
	stop := context.AfterFunc(ctx, func() { notify.Close() })
	defer stop()
	go func() { <-l.down; notify.Close() }()
	if err := n.greet(ctx, l, notify); err != nil {
		l.kill()
		<-l.down
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return n.fail("booting", err)
	}
	return nil
}

// start starts nspawn, confined before it does anything.
func (n *node) start(socket string) (*life, error) {
	base, count := n.env.m.IDs()
	const wait = `read _ && exec "$@" </dev/null`
	cmd := n.env.holder.enter(context.Background(), "sh", "-c", wait, "sh",
		"systemd-nspawn", "--boot", "--keep-unit", "--register=no", "--settings=no", "--notify-ready=yes", "--console=pipe",
		"--directory="+n.box.Merged(), fmt.Sprintf("--machine=sluice-%d-%s", n.index, n.name), "--hostname="+n.name,
		fmt.Sprintf("--private-users=%d:%d", base, count), "--private-users-ownership=off",
		"--network-bridge=br0", "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--suppress-sync=yes",
		"systemd.mask=systemd-remount-fs.service") // the node's root is ours to mount; whether it may be remounted depends on the machine
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	cmd.Stdout, cmd.Stderr = n.console, n.console
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	l := &life{cmd: cmd, down: make(chan struct{})}
	l.release, err = n.box.Confine(cmd.Process.Pid)
	if err == nil {
		_, err = io.WriteString(hold, "go\n")
	}
	hold.Close()
	go func() {
		cmd.Wait()
		l.reboots = cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == rebootStatus
		if l.server != nil {
			l.server.Close()
		}
		if l.release != nil {
			l.release()
		}
		close(l.down)
	}()
	return l, err
}

// greet reads nspawn's notifications: first the number of the node's process
// 1, upon which its network is made, in the end that it is ready.
func (n *node) greet(ctx context.Context, l *life, notify *net.UnixConn) error {
	buf := make([]byte, 4096)
	for {
		size, err := notify.Read(buf)
		if err != nil {
			return errors.New("systemd-nspawn ended, or said nothing")
		}
		ready := false
		for _, line := range strings.Split(string(buf[:size]), "\n") {
			if pid, ok := strings.CutPrefix(line, "X_NSPAWN_LEADER_PID="); ok && l.leader == 0 {
				if err := n.connect(ctx, l, pid); err != nil {
					return err
				}
			}
			ready = ready || line == "READY=1"
		}
		if ready && l.leader != 0 {
			return nil
		}
	}
}

// connect gives the node its address and its repositories.
func (n *node) connect(ctx context.Context, l *life, pid string) (err error) {
	if l.inner, err = strconv.Atoi(pid); err != nil {
		return err
	}
	if l.leader, err = n.env.holder.hostPID(l.inner); err != nil {
		return err
	}
	for _, c := range []string{"link set lo up", "addr add " + n.address + "/24 dev host0", "link set host0 up"} {
		args := append([]string{"nsenter", "--target=" + pid, "--net", "ip"}, strings.Fields(c)...)
		if out, err := n.env.holder.enter(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, bytes.TrimSpace(out))
		}
	}
	if n.env.r.Repositories == nil {
		return nil
	}
	listener, err := sandbox.ListenIn(l.leader, sandbox.Address)
	if err != nil {
		return err
	}
	l.server = &http.Server{Handler: n.env.r.Repositories, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: time.Minute}
	go l.server.Serve(listener)
	return nil
}

// kill ends the node at once: nspawn clears up after its process 1.
func (l *life) kill() {
	if l.leader != 0 {
		unix.Kill(l.leader, unix.SIGKILL)
		select {
		case <-l.down:
			return
		case <-time.After(3 * time.Second):
		}
	}
	unix.Kill(-l.cmd.Process.Pid, unix.SIGKILL)
}

// stop ends the node if it runs.
func (n *node) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life == nil {
		return
	}
	select {
	case <-n.life.down:
	default:
		n.life.kill()
	}
}

// remove removes the node's files, once nothing of it runs.
func (n *node) remove() error {
	if n.life != nil {
		<-n.life.down
	}
	if n.box == nil {
		return nil
	}
	return n.box.Close()
}

// running gives the node's present life. A node that has restarted itself is
// waited for.
func (n *node) running(ctx context.Context) (*life, error) {
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	if l == nil {
		return nil, n.fail("not started", ErrDown)
	}
	select {
	case <-l.down:
	default:
		return l, nil
	}
	if !l.reboots {
		return nil, n.fail("not running", ErrDown)
	}
	if err := n.boot(ctx); err != nil {
		return nil, err
	}
	return n.life, nil
}
