package trial

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Process is a program that was started.
type Process struct {
	cmd   *exec.Cmd
	Log   string        // the file of its words, if they go to one
	Ended chan struct{} // closed once it has ended
	Err   error         // how; valid once Ended is closed
}

// StopTime is how long a program may take to end in order.
const StopTime = 40 * time.Second

// Start starts a program so that it does not outlive us: it is sent SIGTERM by
// the kernel when we die, by whatever way. It has a process group of its own, so
// that Ctrl-C reaches only us, who then stop it in order.
func Start(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, Ended: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	}
	cmd.SysProcAttr.Setpgid = true
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel's promise holds for the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.Err = cmd.Wait()
			close(p.Ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return p, nil
}

// StartLogged is Start with the program's words added to the end of a file.
func StartLogged(cmd *exec.Cmd, log string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	p, err := Start(cmd)
	if err == nil {
		p.Log = log
	}
	return p, err
}

// Pid is its number.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stop ends it in order, or by force if it has not ended in time, which is an error.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Ended:
		return nil
	case <-time.After(StopTime):
		_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
		<-p.Ended
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.cmd.Path, StopTime)
	}
}

// Kill ends it at once.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.Ended
}

// Tail is the last lines of a file.
func Tail(file string, lines int) string {
	text, _ := os.ReadFile(file)
	return LastLines(string(text), lines)
}

// LastLines are the last lines of a text.
func LastLines(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
