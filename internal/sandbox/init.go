package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// initName is argv[0] of a program of ours that is to be process 1 of a box.
// Every program that imports this package can be: see init below.
const initName = "sluice-box-init"

// Files that init is started with, after stdin, stdout and stderr.
const (
	ordersFD   = 3
	answerFD   = 4
	firstMount = 5 // the box's root; binds follow
)

// orders are what init does; it reads them from ordersFD. The end of that
// file means that the worker has died, or wants the box dead.
type orders struct {
	Args     []string
	Env      []string
	Dir      string
	UID, GID int
	Binds    []bind
	Full     bool // keep every capability (over the box's own namespaces)
	Rlimits  []rlimit
	Shared   int64 // bytes of /dev/shm
}

type bind struct {
	FD     int
	Target string
}

type rlimit struct {
	Resource int
	Value    uint64
}

// answer is what init says on answerFD.
type answer struct {
	Setup   string `json:",omitempty"` // what failed before the command ran
	Missing string `json:",omitempty"` // the command could not be executed
	Code    int
	Signal  int
}

func init() {
	if len(os.Args) == 1 && os.Args[0] == initName && os.Getpid() == 1 {
		runtime.LockOSThread()
		beInit()
	}
}

// beInit is the life of process 1.
func beInit() {
	// Nothing that the worker was started with gets into the box.
	if err := unix.CloseRange(ordersFD, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		os.Exit(1)
	}
	say := func(a answer) {
		json.NewEncoder(os.NewFile(answerFD, "answer")).Encode(a)
		os.Exit(0)
	}
	var o orders
	in := json.NewDecoder(os.NewFile(ordersFD, "orders"))
	if err := in.Decode(&o); err != nil {
		os.Exit(1)
	}
	go func() {
		var more orders
		in.Decode(&more)
		os.Exit(1)
	}()
	if err := o.enter(); err != nil {
		say(answer{Setup: err.Error()})
	}
	program, err := o.lookPath()
	if err != nil {
		say(answer{Missing: err.Error()})
	}
	attr := &syscall.ProcAttr{
		Dir: o.Dir, Env: o.Env, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{
			Credential: &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)},
			Setsid:     true,
		},
	}
	pid, err := syscall.ForkExec(program, o.Args, attr)
	if err != nil {
		say(answer{Missing: err.Error()})
	}
	say(reap(pid))
}

// reap waits for pid, and for every orphan meanwhile.
func reap(pid int) answer {
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return answer{Setup: "wait: " + err.Error()}
		case got == pid && ws.Signaled():
			return answer{Signal: int(ws.Signal())}
		case got == pid && ws.Exited():
			return answer{Code: ws.ExitStatus()}
		}
	}
}

// enter makes the box's root the process's, and gives up what a command may
// not have.
func (o *orders) enter() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("dumpable: %w", err)
	}
	if err := unix.Sethostname([]byte("sluice")); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if err := o.newRoot(); err != nil {
		return err
	}
	unix.Umask(0o022)
	for _, r := range o.Rlimits {
		if err := unix.Setrlimit(r.Resource, &unix.Rlimit{Cur: r.Value, Max: r.Value}); err != nil {
			var now unix.Rlimit
			unix.Getrlimit(r.Resource, &now)
			if now.Max > r.Value {
				return fmt.Errorf("rlimit %d to %d (now %d): %w", r.Resource, r.Value, now.Max, err)
			}
		}
	}
	if o.Full {
		return nil
	}
	return o.drop()
}

// newRoot builds the mounts below newRootAt and pivots into it. In the end
// nothing of the host's tree is left in the namespace.
func (o *orders) newRoot() error {
	const at = "/tmp"
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.MoveMount(firstMount, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount of the root: %w", err)
	}
	if err := os.Chdir(at); err != nil {
		return err
	}
	for _, b := range o.Binds {
		if err := attach(b); err != nil {
			return err
		}
	}
	if err := directory("proc"); err != nil {
		return err
	}
	if err := unix.Mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("/proc (the worker's own /proc must not be covered in part, as containers do that are not privileged): %w", err)
	}
	if err := o.newDev(); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the host's tree: %w", err)
	}
	return os.Chdir("/")
}

// attach binds one of the host's paths at the same path of the new root.
func attach(b bind) error {
	target := "." + b.Target
	var st unix.Stat_t
	if err := unix.Fstat(b.FD, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
	} else {
		if err := os.MkdirAll(path.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(target, nil, 0o644); err != nil {
			return err
		}
	}
	if err := unix.MoveMount(b.FD, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount %s: %w", b.Target, err)
	}
	return nil
}

// directory makes sure that name is a directory, not a link that a package put there.
func directory(name string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return os.Mkdir(name, 0o755)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("/%s is not a directory in this root", name)
	}
	return err
}

// devices are all the device nodes that a box has.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

func (o *orders) newDev() error {
	if err := directory("dev"); err != nil {
		return err
	}
	if err := unix.Mount("dev", "dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k,nr_inodes=256"); err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	for _, d := range devices {
		if err := os.WriteFile("dev/"+d, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+d, "dev/"+d, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("/dev/%s: %w", d, err)
		}
	}
	for _, d := range []string{"dev/pts", "dev/shm"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", "dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"); err != nil {
		return fmt.Errorf("/dev/pts: %w", err)
	}
	if err := unix.Mount("shm", "dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size="+strconv.FormatInt(o.Shared, 10)); err != nil {
		return fmt.Errorf("/dev/shm: %w", err)
	}
	for name, to := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, "dev/"+name); err != nil {
			return err
		}
	}
	return nil
}

// capabilities are all that a command of root has, over the box's own user
// namespace alone: what dpkg, rpm and maintainer scripts use.
var capabilities = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL, unix.CAP_SETGID,
	unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_SETFCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT, unix.CAP_AUDIT_WRITE,
}

// drop leaves this thread, and the command that it starts, the capabilities
// above and the system calls of the filter.
func (o *orders) drop() error {
	if err := o.filter(); err != nil {
		return err
	}
	var keep uint64
	for _, c := range capabilities {
		keep |= 1 << c
	}
	for c := range 64 {
		if keep&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(keep), uint32(keep>>32)
	data := [2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	if o.UID == 0 {
		return nil
	}
	// No setuid program gives the builder root.
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// lookPath finds the program as the command's PATH says.
func (o *orders) lookPath() (string, error) {
	os.Clearenv()
	for _, kv := range o.Env {
		for i := range kv {
			if kv[i] == '=' {
				os.Setenv(kv[:i], kv[i+1:])
				break
			}
		}
	}
	if o.Dir == "" {
		o.Dir = "/"
	}
	if err := os.Chdir(o.Dir); err != nil {
		return "", err
	}
	return exec.LookPath(o.Args[0])
}

// loopbackUp raises lo in this thread's network namespace.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	request.flags = unix.IFF_UP | unix.IFF_RUNNING
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return errno
	}
	return nil
}
