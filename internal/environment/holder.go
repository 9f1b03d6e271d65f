package environment

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// holderName is argv[0] of our own program as the holder of an environment's
// network, mount and process namespaces. It is process 1 there, and waits
// until the worker closes its input or dies: then it ends, and the kernel kills
// every node with it.
const holderName = "sluice-environment-holder"

func init() {
	if len(os.Args) == 1 && os.Args[0] == holderName && os.Getpid() == 1 {
		if err := hold(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// hold is the life of the holder.
func hold() error {
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGCHLD) // orphans need no one to wait for them
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_PRIVATE | unix.MS_REC},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"run", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	in := json.NewDecoder(os.Stdin)
	var keep []string
	if err := in.Decode(&keep); err != nil {
		return err
	}
	if err := letGo(keep); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// letGo detaches the trees of all boxes but those to keep: a copy here would
// hold their files after they are closed.
func letGo(keep []string) error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(info)) {
		f := strings.Fields(line)
		if !strings.Contains(line, " - overlay sluice ") || len(f) < 5 || slices.Contains(keep, f[4]) {
			continue
		}
		if err := unix.Unmount(f[4], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmounting %s: %w", f[4], err)
		}
	}
	return nil
}

// holder is a running holder.
type holder struct {
	cmd  *exec.Cmd
	life io.WriteCloser
}

// newHolder starts a holder that has the trees to keep.
func newHolder(keep []string) (*holder, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{holderName}
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Setsid: true}
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("environment: new namespaces: %w", err)
	}
	h := &holder{cmd: cmd, life: life}
	if err := json.NewEncoder(life).Encode(keep); err != nil {
		h.close()
		return nil, err
	}
	if line, _ := bufio.NewReader(said).ReadString('\n'); line != "ready\n" {
		h.close()
		return nil, fmt.Errorf("environment: the holder of its namespaces failed: %q", line)
	}
	return h, nil
}

// enter gives a command in the environment's namespaces, in a process group
// of its own that ends with ctx.
func (h *holder) enter(ctx context.Context, args ...string) *exec.Cmd {
	pid := strconv.Itoa(h.cmd.Process.Pid)
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target=" + pid, "--net", "--pid", "--mount", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// ip runs ip(8) there, once for each line of arguments.
func (h *holder) ip(ctx context.Context, calls ...string) error {
	for _, c := range calls {
		cmd := h.enter(ctx, append([]string{"ip"}, strings.Fields(c)...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("environment: ip %s: %w: %s", c, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// hostPID gives the worker's number of the process that has the number pid in
// the holder's namespace.
func (h *holder) hostPID(pid int) (int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return 0, err
	}
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", h.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for _, file := range dirs {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(status), "\nNSpid:")
		line, _, _ := strings.Cut(rest, "\n")
		_, parent, _ := strings.Cut(string(status), "\nPPid:")
		parent, _, _ = strings.Cut(parent, "\n")
		ids := strings.Fields(line)
		if len(ids) < 2 || ids[1] != strconv.Itoa(pid) {
			continue
		}
		// Its parent, nspawn, is in this environment's network.
		if net, _ := os.Readlink("/proc/" + strings.TrimSpace(parent) + "/ns/net"); net == own {
			return strconv.Atoi(ids[0])
		}
	}
	return 0, fmt.Errorf("no process %d in the environment", pid)
}

// close ends the holder, and with it the namespace and the bridge.
func (h *holder) close() {
	h.life.Close()
	h.cmd.Process.Kill()
	h.cmd.Wait()
}
