// Package trial is an installation of the service to try it with: the site file, the program and its process. The demo
// and the tests of the whole service share it.
package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// Build makes the program, as it is shipped.
func Build(path string) error {
	cmd := exec.Command("go", "build", "-o", path, "sluice/cmd/sluice")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// Service is a running `sluice serve`.
type Service struct {
	*Process
	Program  string
	URL      string
	Config   string   // the site file
	Database string   // its address; "" for the embedded one
	More     []string // further arguments of serve
}

// ready is how long a service may take until it answers: it may have to make
// its database first.
const ready = 5 * time.Minute

// Serve starts the service, and returns once it answers at path ("/healthz": it
// runs; "/readyz": it can do its work).
func (s *Service) Serve(ctx context.Context, log, path string) error {
	cmd := exec.Command(s.Program, append([]string{"serve", "--config", s.Config}, s.More...)...)
	cmd.Env = s.environment()
	var err error
	if s.Process, err = StartLogged(cmd, log); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	for !s.answers(ctx, path) {
		select {
		case <-s.Ended:
			return fmt.Errorf("sluice serve ended at its start: %w\n%s", errors.Join(s.Err, ctx.Err()), Tail(log, 40))
		case <-ctx.Done():
			return fmt.Errorf("sluice serve does not answer: %w\n%s", ctx.Err(), Tail(log, 40))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (s *Service) environment() []string { return append(os.Environ(), "DATABASE_URL="+s.Database) }

func (s *Service) answers(ctx context.Context, path string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Fsck asks the oracle, beside the running service; what it finds is an error,
// which holds all that it says.
func (s *Service) Fsck() error {
	cmd := exec.Command(s.Program, "fsck", "--config", s.Config)
	cmd.Env = s.environment()
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("clean")) {
		return fmt.Errorf("sluice fsck: %w\n%s", err, out)
	}
	return nil
}
