// Package embedded runs a Postgres server of our own, from the machine's programs: the service's where no other database
// is named, and that of the tests.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is the machine's own Postgres programs on a folder of ours, reached by
// a Unix socket that only its user and root can use. Postgres refuses to run as
// root, so it runs as the user postgres or nobody. It is our child, dies with
// us, and is started again if it dies alone.
type Server struct {
	bin        string
	dir        string
	settings   []string
	credential *syscall.Credential
	log        *slog.Logger
	stop       context.CancelFunc
	ended      chan struct{}
}

// DSN is the address of its database.
func (p *Server) DSN() string { return DSN(p.dir) }

// DSN is the address of the database of a server on dir.
func DSN(dir string) string {
	return fmt.Sprintf("host=%s user=sluice dbname=sluice", filepath.Join(dir, "run"))
}

// Runs reports whether a server on dir accepts connections, as that of a
// running service does.
func Runs(dir string) bool {
	conn, err := net.Dial("unix", filepath.Join(dir, "run", ".s.PGSQL.5432"))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Made reports whether there is a database in dir.
func Made(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "data", "PG_VERSION"))
	return err == nil
}

// Start starts the server on dir, which it makes where there is none, with more
// of its settings ("fsync=off"). It returns once the server answers.
func Start(ctx context.Context, dir string, log *slog.Logger, settings ...string) (*Server, error) {
	p := &Server{dir: dir, log: log, settings: settings, ended: make(chan struct{})}
	var err error
	if p.bin, err = serverPrograms(); err != nil {
		return nil, err
	}
	if p.credential, err = serverUser(); err != nil {
		return nil, err
	}
	if err := p.initialise(ctx); err != nil {
		return nil, err
	}
	if err := p.awaitPredecessor(ctx); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	go p.supervise(running)
	if err := p.await(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// Stop ends the server: open transactions are rolled back, nothing is lost.
func (p *Server) Stop() {
	p.stop()
	<-p.ended
}

// serverPrograms finds the folder of the server programs: the newest of
// Debian's versions, or that of the PATH.
func serverPrograms() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	major := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return major(a) - major(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", errors.New("there is no Postgres server on this machine: run scripts/install.sh serve, or set DATABASE_URL")
	}
	return filepath.Dir(path), nil
}

func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
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
	return nil, errors.New("Postgres refuses to run as root, and there is no user postgres or nobody to run it as; set DATABASE_URL")
}

func (p *Server) initialise(ctx context.Context) error {
	// Folders above are not the server's own, and its user has to come through.
	if err := os.MkdirAll(filepath.Dir(p.dir), 0o755); err != nil {
		return fmt.Errorf("the embedded database's folder: %w", err)
	}
	if closed := p.closed(filepath.Dir(p.dir)); closed != "" {
		return fmt.Errorf("the embedded database in %s: user %d, which its server runs as, may not enter %s: chmod o+x it, or set DATABASE_URL", p.dir, p.credential.Uid, closed)
	}
	for _, d := range []string{p.dir, filepath.Join(p.dir, "run")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("the embedded database's folder: %w", err)
		}
		if p.credential != nil {
			if err := os.Chown(d, int(p.credential.Uid), int(p.credential.Gid)); err != nil {
				return err
			}
		}
	}
	if Made(p.dir) {
		return nil
	}
	cmd := p.command(ctx, "initdb", "-D", filepath.Join(p.dir, "data"), "-U", "sluice", "--auth=trust", "-E", "UTF8",
		"--locale=C", "--no-instructions", "--data-checksums")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the embedded database in %s: %w: %s", p.dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// closed gives the first folder on the way to dir that the server's user may not
// enter, "" for none.
func (p *Server) closed(dir string) string {
	if p.credential == nil {
		return ""
	}
	if parent := filepath.Dir(dir); parent != dir {
		if above := p.closed(parent); above != "" {
			return above
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	enter := os.FileMode(0o001)
	switch owner := info.Sys().(*syscall.Stat_t); {
	case owner.Uid == p.credential.Uid:
		enter = 0o100
	case owner.Gid == p.credential.Gid:
		enter = 0o010
	}
	if info.Mode()&enter == 0 {
		return dir
	}
	return ""
}

// awaitPredecessor waits for the server of a service that was killed: the
// kernel has told it to end, and it still answers while it does.
func (p *Server) awaitPredecessor(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		pid := p.serverRuns()
		if pid == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another service uses the embedded database in %s: its server is process %d", p.dir, pid)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// serverRuns gives the process of a server that runs on the folder, or 0.
func (p *Server) serverRuns() int {
	text, err := os.ReadFile(filepath.Join(p.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return 0
	}
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil || !strings.HasPrefix(string(name), "postgres") {
		return 0 // the file is a dead server's; its number is free, or someone else's
	}
	return pid
}

func (p *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential, Setpgid: true}
	return cmd
}

// supervise keeps the server running until ctx is over.
func (p *Server) supervise(ctx context.Context) {
	defer close(p.ended)
	// The kernel ties Pdeathsig to the thread that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for ctx.Err() == nil {
		began := time.Now()
		err := p.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		p.log.Error("the embedded database ended; it is started again", "error", err, "log", filepath.Join(p.dir, "log"))
		if time.Since(began) < 5*time.Second {
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func (p *Server) serve(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"-D", filepath.Join(p.dir, "data"), "-k", filepath.Join(p.dir, "run")}
	for _, s := range append([]string{"listen_addresses=", "max_connections=200", "shared_buffers=128MB"}, p.settings...) {
		args = append(args, "-c", s)
	}
	cmd := p.command(ctx, "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Pdeathsig = syscall.SIGINT
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // fast shutdown
	cmd.WaitDelay = time.Minute
	return cmd.Run()
}

// await waits until the server answers, and makes the database the first time.
func (p *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		if last = p.ensureDatabase(ctx); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("the embedded database does not answer (see %s): %w", filepath.Join(p.dir, "log"), last)
}

func (p *Server) ensureDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s user=sluice dbname=postgres", filepath.Join(p.dir, "run")))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var there bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'sluice')`).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = conn.Exec(ctx, `CREATE DATABASE sluice`)
	return err
}
