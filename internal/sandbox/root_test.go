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
