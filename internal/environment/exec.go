package environment

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"sort"
	"strconv"
	"sync"
	"syscall"

	"sluice/internal/sandbox"
)

// Exec runs a command in the node's namespaces, as its root, outside of any
// unit of its systemd. A daemon that it leaves behind lives until the node ends.
func (e *nspawnEnv) Exec(ctx context.Context, c Command) error {
	if len(c.Args) == 0 {
		return errors.New("environment: no command")
	}
	n, err := e.node(c.Node)
	if err != nil {
		return err
	}
	l, err := n.running(ctx)
	if err != nil {
		return err
	}
	err = n.command(ctx, l, c).Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	failed := &sandbox.ExitError{Command: c.Args[0], Code: exit.ExitCode()}
	if status.Signaled() {
		failed.Signal = status.Signal().String()
	}
	return failed
}

// command enters first the environment's namespaces and then the node's.
func (n *node) command(ctx context.Context, l *life, c Command) *exec.Cmd {
	env := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "TERM": "dumb"}
	for k, v := range c.Env {
		env[k] = v
	}
	dir := c.Dir
	if dir == "" {
		dir = "/"
	}
	args := []string{"nsenter", "--target=" + strconv.Itoa(l.inner), "--user", "--mount", "--uts", "--ipc", "--net", "--pid", "--setuid=0", "--setgid=0",
		"--", "/bin/sh", "-c", `cd "$0" && exec "$@"`, dir, "/usr/bin/env", "-i"}
	for _, k := range sortedKeys(env) {
		args = append(args, k+"="+env[k])
	}
	cmd := n.env.holder.enter(ctx, append(args, c.Args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	return cmd
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Reboot restarts the node in order, or starts it if it is down.
func (e *nspawnEnv) Reboot(ctx context.Context, name string) error {
	n, err := e.node(name)
	if err != nil {
		return err
	}
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	select {
	case <-l.down:
		return n.boot(ctx)
	default:
	}
	// The command may be cut off by what it asks for.
	asked := n.command(ctx, l, Command{Args: []string{"systemctl", "reboot"}}).Run()
	select {
	case <-l.down:
	case <-ctx.Done():
		return errors.Join(ctx.Err(), asked)
	}
	return n.boot(ctx)
}

// Journal writes all of the node's journal, of every boot. The files are the
// node's own, so they are read in its box, not by the worker.
func (e *nspawnEnv) Journal(ctx context.Context, name string, w io.Writer) error {
	n, err := e.node(name)
	if err != nil {
		return err
	}
	n.mu.Lock()
	l := n.life
	n.mu.Unlock()
	if l != nil {
		select {
		case <-l.down:
		default:
			n.command(ctx, l, Command{Args: []string{"journalctl", "--sync"}}).Run()
		}
	}
	return n.box.Run(ctx, sandbox.Command{
		Args: []string{"journalctl", "--no-pager", "--output=short-precise", "--directory=/var/log/journal"}, Stdout: w, Stderr: w,
	})
}

// sharedLog lets the nodes' consoles write to one log.
type sharedLog struct {
	mu sync.Mutex // held while w is written to
	w  io.Writer
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// console passes on what a node prints, and keeps the end of it.
type console struct {
	name string
	log  io.Writer

	mu   sync.Mutex // guards what follows
	line []byte
	last [][]byte
}

// consoleTail is how many lines an error shows.
const consoleTail = 15

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line = append(c.line, p...)
	for {
		line, rest, found := bytes.Cut(c.line, []byte("\n"))
		if !found && len(c.line) < 4096 {
			return len(p), nil
		}
		line = bytes.TrimRight(line, "\r")
		if c.log != nil {
			io.WriteString(c.log, c.name+": "+string(line)+"\n")
		}
		c.last = append(c.last, bytes.Clone(line))
		if len(c.last) > consoleTail {
			c.last = c.last[1:]
		}
		c.line = append(c.line[:0], rest...)
	}
}

func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(bytes.Join(append(c.last[:len(c.last):len(c.last)], c.line), []byte("\n")))
}
