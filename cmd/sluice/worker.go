package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/internal/worker"
)

// workerCommand runs the agent.
type workerCommand struct {
	Service   string        `help:"The service's address, http://sluice.example.com." required:"" env:"SLUICE_URL"`
	TokenFile string        `help:"File with the worker's token. Without it the token is the first line of standard input, and the worker ends with it." type:"existingfile"`
	Dir       string        `help:"Folder for roots and boxes." default:"/var/lib/sluice-worker"`
	Slots     int           `help:"Jobs at once; 0: one per processor."`
	Labels    []string      `help:"What this machine offers." default:"deb,rpm,nspawn"`
	Once      bool          `help:"End after one job, for Slurm and Kubernetes."`
	Idle      time.Duration `help:"With --once: end when there was no job for so long." default:"5m"`
	Debug     bool          `help:"Log more."`
}

// Validate refuses what no worker can be.
func (c *workerCommand) Validate() error {
	u, err := url.Parse(c.Service)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("--service %q (or SLUICE_URL): http://HOST or https://HOST is wanted", c.Service)
	case c.Slots < 0:
		return fmt.Errorf("--slots %d: 0 (one per processor) or more is wanted", c.Slots)
	case c.Idle <= 0:
		return fmt.Errorf("--idle %s: more than 0 is wanted", c.Idle)
	case slices.Contains(c.Labels, ""):
		return errors.New("--labels: one of them is empty")
	case c.Dir == "":
		return errors.New("--dir: a folder is wanted")
	}
	return nil
}

// Run works until it is told to stop.
func (c *workerCommand) Run(ctx context.Context, o output) error {
	token, ctx, err := c.token(ctx)
	if err != nil {
		return err
	}
	return worker.Run(ctx, worker.Options{
		Service: c.Service, Token: token, Dir: c.Dir, Slots: c.Slots, Labels: c.Labels,
		Version: version, Once: c.Once, Idle: c.Idle, Log: o.logger(c.Debug),
	})
}

// token reads the worker's token. From a pipe, the end of the pipe is the end
// of the parent, and so of this worker.
func (c *workerCommand) token(ctx context.Context) (string, context.Context, error) {
	if c.TokenFile != "" {
		text, err := os.ReadFile(c.TokenFile)
		token := strings.TrimSpace(string(text))
		if err == nil && token == "" {
			err = fmt.Errorf("%s is empty: the worker's token is wanted in it", c.TokenFile)
		}
		return token, ctx, err
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadString('\n')
	if err != nil && line == "" {
		return "", ctx, fmt.Errorf("no token on standard input (or give --token-file): %w", err)
	}
	running, cancel := context.WithCancelCause(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("the service has ended"))
	}()
	return strings.TrimSpace(line), running, nil
}
