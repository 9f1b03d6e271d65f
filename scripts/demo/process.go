package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/internal/trial"
)

// processes are the programs of the demo: none outlives it.
type processes struct {
	mu      sync.Mutex // guards running
	running []*trial.Process
}

// add has a program that runs on stopped at the end.
func (p *processes) add(run *trial.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = append(p.running, run)
}

// do runs a program to its end; its output goes to log, whose last lines are in the error.
func (p *processes) do(ctx context.Context, log string, env []string, name string, args ...string) error {
	out, err := p.output(ctx, env, name, args...)
	if writeErr := os.WriteFile(log, out, 0o644); writeErr != nil {
		return writeErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w; its last words (all of them: %s):\n%s", name, err, log, trial.LastLines(string(out), 15))
	}
	return nil
}

// output runs a program to its end, and gives all that it says.
func (p *processes) output(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	run, err := trial.Start(cmd)
	if err != nil {
		return nil, err
	}
	select {
	case <-run.Ended:
		return out.Bytes(), run.Err
	case <-ctx.Done():
		_ = syscall.Kill(-run.Pid(), syscall.SIGTERM)
		<-run.Ended
		return out.Bytes(), ctx.Err()
	}
}

// stopAll ends what runs, the last first.
func (p *processes) stopAll() {
	p.mu.Lock()
	running := slices.Clone(p.running)
	p.mu.Unlock()
	slices.Reverse(running)
	for _, r := range running {
		if err := r.Stop(); err != nil {
			say("%v; it was killed", err)
		}
	}
}
