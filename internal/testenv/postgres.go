package testenv

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"sluice/internal/postgres/embedded"
)

var (
	postgresServer = sync.OnceValues(startPostgres)
	unique         atomic.Int64 // numbers what this process names
	notInName      = regexp.MustCompile(`[^a-z0-9]+`)
)

// Postgres returns the URL of a fresh, empty database on a real server; the database is dropped when the test ends.
//
// The server is this process's own, without fsync, on a Unix socket; or the one that SLUICE_TEST_DATABASE_URL names,
// whose user must be allowed to create databases.
func Postgres(t testing.TB) (dsn string) {
	t.Helper()
	admin := os.Getenv("SLUICE_TEST_DATABASE_URL")
	if admin == "" {
		needMain(t)
		var err error
		if admin, err = postgresServer(); err != nil {
			t.Fatalf("testenv: Postgres: %v", err)
		}
	}
	name := notInName.ReplaceAllString(strings.ToLower(t.Name()), "_")
	name = fmt.Sprintf("t%d_%d_%.30s", os.Getpid(), unique.Add(1), name)
	adminExec(t, admin, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8'")
	t.Cleanup(func() { adminExec(t, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })

	u, err := url.Parse(admin)
	if err != nil {
		t.Fatalf("testenv: SLUICE_TEST_DATABASE_URL is not a URL: %v", err)
	}
	u.Path = "/" + name
	return u.String()
}

// adminExec runs one statement as the server's administrator.
func adminExec(t testing.TB, dsn, sql string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("testenv: Postgres: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("testenv: Postgres: %s: %v", sql, err)
	}
}

// startPostgres starts a server in a temporary directory and registers the end of both. It returns the URL of the
// database `postgres`.
func startPostgres() (string, error) {
	dir, err := os.MkdirTemp("", "sluice-postgres-")
	if err != nil {
		return "", err
	}
	atEnd(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // for the server's own user
		return "", err
	}
	server, err := embedded.Start(context.Background(), filepath.Join(dir, "pg"), slog.New(slog.DiscardHandler),
		"max_connections=300", "shared_buffers=64MB", "fsync=off", "full_page_writes=off", "synchronous_commit=off", "lc_messages=C")
	if err != nil {
		return "", err
	}
	atEnd(server.Stop)
	return "postgres://sluice@/postgres?host=" + url.QueryEscape(filepath.Join(dir, "pg", "run")), nil
}
