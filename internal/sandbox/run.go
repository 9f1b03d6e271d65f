package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The users of a box. Builder has an account in every root.
const (
	Root    = "root"
	Builder = "builder"
)

// BuilderID is the builder's user and group id inside a box.
const BuilderID = 1000

// Address is where a box finds its repositories: the only thing that listens
// in its network.
const Address = "127.0.0.1:3142"

// Command is one command in a box.
type Command struct {
	Args []string          // the program (looked up in PATH inside the box) and its arguments
	Env  map[string]string // added to a small default; nothing of the worker's environment is passed
	Dir  string            // inside the box; "/" if empty
	User string            // Root or Builder; Root if empty
	// Repositories: the listener at Address is up during this command.
	Repositories bool
	// Timeout ends the command with a LimitError; 0 means the box's limit.
	Timeout        time.Duration
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run runs one command and waits for it. Everything that it started is dead
// when Run returns, whatever the outcome, and within a second when ctx is
// cancelled or the box is closed. Errors:
//
//   - *ExitError: the command failed;
//   - *LimitError: it reached a limit of the box;
//   - ctx's error, or ErrClosed, when it was stopped;
//   - *SetupError: the sandbox failed, not the command.
func (b *Box) Run(ctx context.Context, c Command) error {
	if len(c.Args) == 0 {
		return setup("running", errors.New("no command"))
	}
	if c.Repositories && b.opt.Repositories == nil {
		return setup("running "+c.Args[0], errors.New("this box has no repositories"))
	}
	b.run.Lock()
	defer b.run.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-b.closed:
		return ErrClosed
	default:
	}
	p, err := b.start(c)
	if err != nil {
		return setup("starting "+c.Args[0], err)
	}
	return p.wait(ctx)
}

// process is a running command with what must end with it.
type process struct {
	box     *Box
	c       Command
	cmd     *exec.Cmd
	pid     int      // of init
	life    *os.File // our end: init dies when it closes
	status  *os.File // init's answer
	group   *cgroup
	network *network
	mounts  []*os.File
}

// start starts init in new namespaces, held until it is told what to run.
func (b *Box) start(c Command) (p *process, err error) {
	p = &process{box: b, c: c}
	defer func() {
		if err != nil {
			p.end()
		}
	}()
	orders, life, err := os.Pipe()
	if err != nil {
		return p, err
	}
	p.life = life
	defer orders.Close()
	status, answer, err := os.Pipe()
	if err != nil {
		return p, err
	}
	p.status = status
	defer answer.Close()
	binds, err := p.openMounts()
	if err != nil {
		return p, err
	}
	if p.group, err = b.m.newCgroup(b.group, b.opt.Limits); err != nil {
		return p, err
	}
	p.cmd = b.initCommand(append([]*os.File{orders, answer}, p.mounts...))
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return p, fmt.Errorf("new namespaces: %w", err)
	}
	p.pid = p.cmd.Process.Pid
	if err := p.group.add(p.pid); err != nil {
		return p, err
	}
	if c.Repositories {
		if p.network, err = listen(p.pid, b.opt.Repositories); err != nil {
			return p, err
		}
	}
	return p, json.NewEncoder(life).Encode(p.orders(binds))
}

// openMounts opens the box's root, and the host's tools if it has them, as
// mounts that init can attach in its own namespace.
func (p *process) openMounts() ([]bind, error) {
	root, err := cloneMount(p.box.merged(), false)
	if err != nil {
		return nil, err
	}
	p.mounts = append(p.mounts, root)
	var binds []bind
	if p.box.host != nil {
		for _, path := range p.box.host.paths {
			f, err := cloneMount(path, true)
			if err != nil {
				return nil, err
			}
			p.mounts = append(p.mounts, f)
			binds = append(binds, bind{FD: firstMount + len(p.mounts) - 1, Target: path})
		}
	}
	return binds, nil
}

// cloneMount gives a detached copy of the mount at path.
func cloneMount(path string, readOnly bool) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open_tree %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if readOnly {
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, attr); err != nil {
			f.Close()
			return nil, fmt.Errorf("mount_setattr %s: %w", path, err)
		}
	}
	return f, nil
}

// initCommand is our own program as process 1 of new namespaces.
func (b *Box) initCommand(files []*os.File) *exec.Cmd {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: b.m.opt.UIDBase, Size: idRange}}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{initName}
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}
	cmd.Dir = "/"
	cmd.ExtraFiles = files
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
		Setsid:     true,
	}
	return cmd
}

// orders is what init is told.
func (p *process) orders(binds []bind) orders {
	b, c := p.box, p.c
	o := orders{
		Args: c.Args, Dir: c.Dir, Binds: binds,
		Full: b.host != nil,
		Rlimits: []rlimit{
			{unix.RLIMIT_FSIZE, uint64(b.opt.Limits.Disk)},
			{unix.RLIMIT_CORE, 0},
			{unix.RLIMIT_NOFILE, 65536},
			{unix.RLIMIT_MEMLOCK, 8 << 20},
			{unix.RLIMIT_MSGQUEUE, 819200},
		},
		Shared: b.opt.Limits.Memory / 2,
	}
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME": "/root", "USER": Root, "LOGNAME": Root, "SHELL": "/bin/sh", "LANG": "C.UTF-8", "TERM": "dumb",
	}
	if c.User == Builder {
		o.UID, o.GID = BuilderID, BuilderID
		env["HOME"], env["USER"], env["LOGNAME"] = "/home/"+Builder, Builder, Builder
	}
	for k, v := range c.Env {
		env[k] = v
	}
	for k, v := range env {
		o.Env = append(o.Env, k+"="+v)
	}
	sort.Strings(o.Env)
	if p.group == nil { // else the group limits all together, and says so when the limit is reached
		o.Rlimits = append(o.Rlimits, rlimit{unix.RLIMIT_DATA, uint64(b.opt.Limits.Memory)}, rlimit{unix.RLIMIT_NPROC, uint64(b.opt.Limits.Processes)})
	}
	return o
}

// wait waits for the command, or stops it, and says how it ended.
func (p *process) wait(ctx context.Context) error {
	defer p.end()
	timeout := p.c.Timeout
	if timeout <= 0 {
		timeout = p.box.opt.Limits.Timeout
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	stopWatch := make(chan struct{})
	over := make(chan *LimitError, 1)
	watched := make(chan struct{})
	go func() { defer close(watched); p.watch(stopWatch, over) }()
	answer := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(p.status, 1<<16))
		answer <- string(b)
	}()

	var stopped error
	var said string
	select {
	case said = <-answer:
	case <-ctx.Done():
		stopped = ctx.Err()
	case <-p.box.closed:
		stopped = ErrClosed
	case <-timer.C:
		stopped = p.limit(LimitTime, int64(timeout))
		if e := p.group.exceeded(p); e != nil {
			stopped = e // the nearer reason
		}
	case e := <-over:
		stopped = e
	}
	p.kill()
	close(stopWatch)
	<-watched
	if stopped != nil {
		return stopped
	}
	return p.verdict(said)
}

// verdict reads init's answer.
func (p *process) verdict(said string) error {
	var a answer
	if err := json.Unmarshal([]byte(said), &a); err != nil {
		// Init itself was killed: by the kernel for memory, or from outside.
		if e := p.group.exceeded(p); e != nil {
			return e
		}
		return setup("running "+p.c.Args[0], fmt.Errorf("the box was killed from outside (%q)", said))
	}
	switch {
	case a.Setup != "":
		return setup("running "+p.c.Args[0], errors.New(a.Setup))
	case a.Missing != "":
		return &ExitError{Command: p.c.Args[0] + " (" + a.Missing + ")", Code: 127}
	case a.Signal == 0 && a.Code == 0:
		return nil
	}
	if e := p.group.exceeded(p); e != nil {
		return e
	}
	if used, _ := diskUsage(p.box.Upper()); used > p.box.opt.Limits.Disk || a.Signal == int(unix.SIGXFSZ) {
		return p.limit(LimitDisk, p.box.opt.Limits.Disk)
	}
	e := &ExitError{Command: p.c.Args[0], Code: a.Code}
	if a.Signal != 0 {
		e.Code, e.Signal = -1, syscall.Signal(a.Signal).String()
	}
	return e
}

func (p *process) limit(l Limit, allowed int64) *LimitError {
	return &LimitError{Command: p.c.Args[0], Limit: l, Allowed: allowed}
}

// kill kills process 1, and with it, by the kernel, all of its namespace, and
// waits until they are gone.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.cmd = nil
}

// end frees everything. It may be called at any state of p.
func (p *process) end() {
	if p.cmd != nil {
		p.kill()
	}
	if p.network != nil {
		p.network.close()
	}
	for _, f := range append(p.mounts, p.life, p.status) {
		if f != nil {
			f.Close()
		}
	}
	p.group.remove()
}
