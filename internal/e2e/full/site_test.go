//go:build full

package full

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// patience is how long the story waits for one thing. It only says when the
// test gives up.
const patience = 10 * time.Minute

// tokens of the two workers.
var tokens = map[string]string{"first": "first-worker-of-the-full-story", "second": "second-worker-of-the-full-story"}

// site is one installation: the service, its database, its Gerrit.
type site struct {
	t       *testing.T
	g       *testenv.GerritServer
	dir     string
	program string
	dsn     string
	db      *pgxpool.Pool
	network *network
	url     string
	config  string
	serve   *process
}

// newSite prepares a site; nothing of it runs yet.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, g: testenv.Gerrit(t), dir: t.TempDir(), dsn: testenv.Postgres(t)}
	s.program = filepath.Join(s.dir, "sluice")
	build := exec.Command("go", "build", "-o", s.program, "sluice/cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var err error
	if s.db, err = pgxpool.New(t.Context(), s.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	s.network = newNetwork(t)
	s.url = fmt.Sprintf("http://%s:%d", s.network.host, s.network.freePort())
	files := map[string]string{"token": s.g.Gate.Token}
	for name, token := range tokens {
		files["worker-"+name] = token
	}
	for name, text := range files {
		write(t, filepath.Join(s.dir, name), text)
	}
	return s
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// text is the site file; stages are its rules of stages.
func (s *site) text(stages string) string {
	distro := filepath.Join(testenv.RPMDistro(s.t), "repo")
	return fmt.Sprintf(`
listen: %[1]s
url: http://%[1]s
data: %[2]s/data
database: {env: DATABASE_URL}
gerrit:
  - name: main
    url: %[3]s
    ssh: %[4]s
    user: %[5]s
    token: {file: %[2]s/token}
    key: {file: %[6]s}
    known_hosts: %[7]s
upstreams:
  - {name: debian, format: deb, host: true}
  - {name: distro, format: rpm, path: %[8]s}
dists:
  - name: debian-12
    format: deb
    codename: bookworm
    suffix: "~deb12"
    upstreams: [debian]
    architectures: [{name: amd64}]
    roots:
      build: {method: mmdebstrap, variant: buildd, include: [debhelper]}
      install: {method: mmdebstrap, variant: minbase}
      node: {method: mmdebstrap, variant: minbase}
  - name: rb-12
    format: rpm
    codename: "12"
    suffix: ".rb12"
    upstreams: [distro]
    architectures: [{name: x86_64}]
    roots:
      build: {method: dnf, include: [buildsys-build, dnf, dnf-plugins-core]}
      install: {method: dnf, include: [basesystem, rpm, dnf]}
      node: {method: dnf, include: [basesystem, systemd, rpm, dnf, dbus]}
releases: [{name: juno}]
targets:
  - {release: juno, dist: debian-12}
  - {release: juno, dist: rb-12}
projects:
  - {project: "full/**", branch: main, releases: [juno], queue: main}
pipelines:
  check: {stages: [build, publish, install], votes: {passed: 1, failed: -1}}
  gate: {stages: [build, publish, lint, install, upgrade, systest], approve: {Workflow: 1}, votes: {passed: 2, failed: -2}, fail_fast: true}
stages: {%[9]s}
limits: {log: 1MB}
queues: [{name: main}]
workers:
  - {name: first, token: {file: %[2]s/worker-first}, labels: [deb, rpm, nspawn]}
  - {name: second, token: {file: %[2]s/worker-second}, labels: [deb, rpm, nspawn]}
local_worker: {enabled: false}
repositories: {origin: Full, label: Full, export: %[2]s/export}
`, strings.TrimPrefix(s.url, "http://"), s.dir, s.g.URL, s.g.SSHAddr, s.g.Gate.Name, s.g.Gate.Key, s.g.KnownHosts, distro, stages)
}

// start serves with the given rules of stages.
func (s *site) start(stages string) {
	s.t.Helper()
	s.config = filepath.Join(s.dir, "site.yaml")
	write(s.t, s.config, s.text(stages))
	s.serve = run(s.t, filepath.Join(s.dir, "serve.log"), func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), "DATABASE_URL="+s.dsn)
	}, s.program, "serve", "--config", s.config)
	s.until("sluice serve answers", func() string {
		resp, err := http.Get(s.url + "/healthz")
		if err != nil {
			return err.Error()
		}
		resp.Body.Close()
		return ""
	})
}

// fsck is the oracle.
func (s *site) fsck() {
	s.t.Helper()
	cmd := exec.Command(s.program, "fsck", "--config", s.config)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+s.dsn)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("clean")) {
		s.t.Errorf("sluice fsck: %v\n%s", err, out)
	}
}

// until waits until check gives "". What it gives else says what is missing.
func (s *site) until(what string, check func() string) {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		missing := check()
		if missing == "" {
			return
		}
		select {
		case <-look.C:
		case <-deadline.C:
			s.t.Fatalf("%s: %s\n%s", what, missing, s.state())
		case <-s.ended():
			s.t.Fatalf("%s: sluice serve has ended", what)
		}
	}
}

func (s *site) ended() <-chan struct{} {
	if s.serve == nil {
		return nil
	}
	return s.serve.ended
}

// row reads one value from the database; absent is its zero value.
func row[T any](s *site, query string, args ...any) T {
	s.t.Helper()
	all := rows[T](s, query, args...)
	if len(all) == 0 {
		var none T
		return none
	}
	return all[0]
}

func rows[T any](s *site, query string, args ...any) []T {
	s.t.Helper()
	r, err := s.db.Query(context.Background(), query, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	all, err := pgx.CollectRows(r, pgx.RowTo[T])
	if err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return all
}

// state is what a person would look at when the story does not go on.
func (s *site) state() string {
	jobs := rows[string](s, `SELECT format('%s %s %s %s %s', id, coalesce(buildset, 0), name, state, cause) FROM jobs ORDER BY id`)
	effects := rows[string](s, `SELECT message FROM effects WHERE message <> '' ORDER BY id DESC LIMIT 5`)
	return "jobs:\n  " + strings.Join(jobs, "\n  ") + "\nlast messages:\n" + strings.Join(effects, "\n--\n")
}

// get reads an address of the service.
func (s *site) get(path string, header ...string) []byte {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s %v\n%.500s", path, resp.Status, err, body)
	}
	return body
}

// process is a program that was started and is ended, whatever becomes of the test.
type process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{}
}

// run starts a program with its words in a file. The kernel ends it if the test
// is killed.
func run(t *testing.T, log string, adjust func(*exec.Cmd), args ...string) *process {
	t.Helper()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := &process{cmd: exec.Command(args[0], args[1:]...), log: log, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if adjust != nil {
		adjust(p.cmd)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the death signal is tied to the thread that starts the child
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
		close(p.ended)
	}()
	if err := <-started; err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the end of %s:\n%s", filepath.Base(log), tail(log, 120))
		}
	})
	return p
}

// stop ends it in order.
func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Errorf("%s did not end within a minute of SIGTERM\n%s", p.cmd.Path, tail(p.log, 40))
		p.kill()
	}
}

// kill ends it at once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func tail(file string, lines int) string {
	text, _ := os.ReadFile(file)
	all := strings.Split(string(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
