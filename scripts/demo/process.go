package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// processes starts programs so that none outlives the demo: each is sent
// SIGTERM by the kernel when the demo dies, by whatever way, and each has a
// process group of its own, so that Ctrl-C reaches only the demo, which then
// stops them in order.
type processes struct {
	once    sync.Once
	starts  chan func()
	mu      sync.Mutex // guards running
	running []*process
}

type process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // valid once ended is closed
}

// start starts a command. The kernel's promise holds for the thread that
// started it: one thread starts all, and never ends.
func (p *processes) start(cmd *exec.Cmd) error {
	p.once.Do(func() {
		p.starts = make(chan func())
		go func() {
			runtime.LockOSThread()
			for f := range p.starts {
				f()
			}
		}()
	})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	result := make(chan error)
	p.starts <- func() { result <- cmd.Start() }
	return <-result
}

// keep starts a program that runs on; its output goes to log.
func (p *processes) keep(log string, env []string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	r := &process{name: args[0], cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr, r.cmd.Env = out, out, append(os.Environ(), env...)
	if err := p.start(r.cmd); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.running = append(p.running, r)
	p.mu.Unlock()
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	return r, nil
}

// do runs a program to its end; its output goes to log, whose last lines are in the error.
func (p *processes) do(ctx context.Context, log string, env []string, name string, args ...string) error {
	out, err := p.output(ctx, env, name, args...)
	if writeErr := os.WriteFile(log, out, 0o644); writeErr != nil {
		return writeErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w; its last words (all of them: %s):\n%s", name, err, log, lastLines(string(out), 15))
	}
	return nil
}

// output runs a program to its end, and gives all that it says.
func (p *processes) output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	if err := p.start(cmd); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ended:
		case <-ctx.Done():
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		}
	}()
	err := cmd.Wait()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.Bytes(), err
}

// stopAll ends what runs, the last first.
func (p *processes) stopAll() {
	p.mu.Lock()
	running := slices.Clone(p.running)
	p.mu.Unlock()
	slices.Reverse(running)
	for _, r := range running {
		_ = r.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-r.ended:
		case <-time.After(40 * time.Second):
			say("%s does not end; it is killed", r.name)
			_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
			<-r.ended
		}
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
