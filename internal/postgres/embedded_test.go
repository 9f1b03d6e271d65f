package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/postgres"
)

// embeddedFolder is one that the server's user can reach, with a path that is
// short enough for a socket.
func embeddedFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice-pg-")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "pg")
}

// killPostmaster kills the server at once.
func killPostmaster(t *testing.T, data string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	must(t, err)
	pid, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0])
	must(t, err)
	must(t, syscall.Kill(pid, syscall.SIGKILL))
}

// await tries until the database is there again.
func await(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// kept reads what was stored before, once the database answers.
func kept(t *testing.T, s *postgres.Store, want int) (got int) {
	t.Helper()
	await(t, func(ctx context.Context) error { return s.Setting(ctx, "kept", &got) })
	if got != want {
		t.Fatalf("kept is %d, not %d", got, want)
	}
	return got
}
