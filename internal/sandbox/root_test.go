package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"

	"sluice/internal/job"
	"sluice/internal/sandbox"
	"sluice/internal/sandbox/roottest"
)

var shared struct {
	dir string
	m   *sandbox.Manager
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("SLUICE_TEST_WORKER"); dir != "" {
		fmt.Fprintln(os.Stderr, workUntilKilled(dir))
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "sluice-sandbox-test-")
	if err == nil {
		shared.m, err = sandbox.Open(context.Background(), dir, sandbox.Options{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := shared.m.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// workUntilKilled is a worker that runs a command in a box for ever.
func workUntilKilled(dir string) error {
	ctx := context.Background()
	made, _, _, err := roottest.Find(ctx, roottest.DebInstall)
	if err != nil {
		return err
	}
	m, err := sandbox.Open(ctx, dir, sandbox.Options{})
	if err != nil {
		return err
	}
	root, err := m.Root(ctx, made.Archive, made.Open)
	if err != nil {
		return err
	}
	b, err := m.New(ctx, sandbox.BoxOptions{Layers: []sandbox.Layer{root}})
	if err != nil {
		return err
	}
	return b.Run(ctx, sandbox.Command{Args: []string{"sh", "-c", "trap '' TERM HUP; echo up; setsid sleep 600 & sleep 600"}, Stdout: os.Stdout})
}

// system is a root of one format, unpacked, with its upstream.
type system struct {
	layer   sandbox.Layer
	repo    job.Repository
	handler http.Handler
	made    roottest.Made
}

var debian = sync.OnceValues(func() (system, error) { return load(roottest.DebInstall) })
var rpmDistro = sync.OnceValues(func() (system, error) { return load(roottest.RPMInstall) })

func load(recipe job.Recipe) (s system, err error) {
	ctx := context.Background()
	if s.made, s.repo, s.handler, err = roottest.Find(ctx, recipe); err == nil {
		s.layer, err = shared.m.Root(ctx, s.made.Archive, s.made.Open)
	}
	return s, err
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
