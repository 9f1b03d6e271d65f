package testenv

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresStart bounds how long the server may take to accept connections.
const postgresStart = 60 * time.Second

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

// PostgresBin is the directory of Postgres' server programs: that of the PATH's own `postgres`, or the newest of
// Debian's.
func PostgresBin() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no Postgres server on this machine: run scripts/install.sh serve")
	}
	major := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return major(a) - major(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

// postgresCredential is whom the server runs as: Postgres refuses root.
func postgresCredential() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("Postgres refuses to run as root, and there is neither a user postgres nor nobody")
}

// startPostgres makes a cluster in a temporary directory, starts its server and registers the end of both. It returns
// the URL of the database `postgres`.
func startPostgres() (string, error) {
	bin, err := PostgresBin()
	if err != nil {
		return "", err
	}
	credential, err := postgresCredential()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "sluice-postgres-")
	if err != nil {
		return "", err
	}
	atEnd(func() { os.RemoveAll(dir) })
	if credential != nil {
		if err := os.Chown(dir, int(credential.Uid), int(credential.Gid)); err != nil {
			return "", err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "sluice", "--auth=trust", "--no-sync",
		"--no-instructions", "-E", "UTF8", "--locale=C")
	initdb.Dir, initdb.SysProcAttr = dir, &syscall.SysProcAttr{Credential: credential}
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data,
		"-c", "listen_addresses=", "-c", "unix_socket_directories="+dir, "-c", "max_connections=300",
		"-c", "shared_buffers=64MB", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off",
		"-c", "log_destination=stderr", "-c", "logging_collector=off", "-c", "lc_messages=C")
	server.Dir = dir
	// If the test process is killed, the kernel tells the server to end at once.
	server.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	if err := serve(server); err != nil {
		return "", err
	}
	return "postgres://sluice@/postgres?host=" + url.QueryEscape(dir), nil
}

// serve starts the server and returns when it says that it is ready, or has ended.
func serve(server *exec.Cmd) error {
	stderr, err := server.StderrPipe()
	if err != nil {
		return err
	}
	started, ready, ended := make(chan error), make(chan struct{}), make(chan struct{})
	var lines []string // written before ready or ended is closed
	go func() {
		// The death signal is tied to the thread that starts the child: keep it.
		runtime.LockOSThread()
		err := server.Start()
		started <- err
		if err != nil {
			return
		}
		isReady := false
		for scan := bufio.NewScanner(stderr); scan.Scan(); {
			if isReady {
				continue
			}
			lines = append(lines, scan.Text())
			if strings.Contains(scan.Text(), "ready to accept connections") {
				isReady = true
				close(ready)
			}
		}
		_ = server.Wait()
		close(ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	atEnd(func() {
		// Fast shutdown: sessions are ended, nothing is waited for.
		_ = server.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = server.Process.Kill()
			<-ended
		}
	})
	select {
	case <-ready:
		return nil
	case <-ended:
		return fmt.Errorf("postgres ended while starting:\n%s", strings.Join(lines, "\n"))
	case <-time.After(postgresStart):
		return fmt.Errorf("postgres was not ready after %v", postgresStart)
	}
}
