package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// place is the demo's folder, and what is kept in it for the next run.
type place struct {
	dir  string
	lock *os.File

	Run   int            `json:"run"`   // number of this run, from 1
	Ports map[string]int `json:"ports"` // on loopback, by what listens there
}

// openPlace takes the folder for this run.
func openPlace(ctx context.Context) (*place, error) {
	dir := os.Getenv("DEMO_DIR")
	if dir == "" {
		dir = ".demo"
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	p := &place{dir: dir, Ports: map[string]int{}}
	if p.lock, err = os.OpenFile(p.path("lock"), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600); err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(p.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another demo runs in %s: end it, or set DEMO_DIR", dir)
	}
	if text, err := os.ReadFile(p.path("state.json")); err == nil {
		if err := json.Unmarshal(text, p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.path("state.json"), err)
		}
	}
	p.Run++
	if err := p.endLeftover(ctx); err != nil {
		return nil, err
	}
	for _, name := range []string{"service", "gerrit", "ssh"} {
		if p.Ports[name], err = choosePort(ctx, p.Ports[name]); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.path("state.json"), text, 0o644)
}

func (p *place) path(parts ...string) string {
	return filepath.Join(append([]string{p.dir}, parts...)...)
}

// endLeftover ends the service of a run that was killed, if it still runs: it
// has been told to by the kernel, and may not have done so yet.
func (p *place) endLeftover(ctx context.Context) error {
	text, err := readFile(p.path("serve.pid"))
	if err != nil {
		return nil
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(text))
	ours := func() bool {
		line, err := readFile("/proc", strconv.Itoa(pid), "cmdline")
		return err == nil && strings.Contains(line, p.path("sluice.yaml"))
	}
	for try := range 300 {
		if pid <= 0 || !ours() {
			return os.Remove(p.path("serve.pid"))
		}
		switch try {
		case 0:
			_ = syscall.Kill(pid, syscall.SIGTERM)
		case 250:
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the service of the last run (process %d) does not end", pid)
}

// choosePort keeps the port of the last run if it is free, or becomes so soon.
func choosePort(ctx context.Context, last int) (int, error) {
	for try := 0; last != 0 && try < 50; try++ {
		if port, err := listen(last); err == nil {
			return port, nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return listen(0)
}

// listen gives a free port: this one, or any for 0.
func listen(port int) (int, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	a, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("not a TCP address")
	}
	return a.Port, nil
}

// pause waits between two looks at what only looking tells.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
