package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/internal/postgres"
	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// program is the binary under test, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sluice-e2e-%d", os.Getpid()))
	cmd := exec.Command("go", "build", "-o", path, "sluice/cmd/sluice")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

var (
	counter    atomic.Int64
	notInNames = regexp.MustCompile(`[^a-z0-9]+`)
)

// patience is how long a story waits for what has to come. It says only when a
// test gives up.
const patience = 2 * time.Minute

// options change the site of a story.
type options struct {
	check, gate string        // stages: "build, publish, install"; "none" for an empty list
	reconcile   time.Duration // 0: 3 minutes, which is as good as never
	ssh         string        // another address of Gerrit's SSH port
	knownHosts  string
	gerrit      *testenv.GerritServer // nil: the shared one
	embedded    bool                  // the service's own Postgres
	rpm         bool                  // a second target, for RPMs
	more        string                // more of the site file
	window      string
	stages      string // more of the stages' rules
}

// site is one installation of sluice with its own database, projects and worker.
type site struct {
	t       testing.TB
	g       *testenv.GerritServer
	opt     options
	name    string // prefix of its projects
	dir     string
	dsn     string
	db      *pgxpool.Pool
	store   *postgres.Store
	feed    <-chan string
	worker  *worker
	servers []*server
}

// server is one running `sluice serve`.
type server struct {
	site   *site
	url    string
	config string
	log    *os.File
	cmd    *exec.Cmd
	ended  chan struct{}
}

// newSite prepares a site; nothing runs yet.
func newSite(t testing.TB, opt options) *site {
	t.Helper()
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, g: opt.gerrit, opt: opt, dir: t.TempDir()}
	if s.g == nil {
		s.g = testenv.Gerrit(t)
	}
	s.name = fmt.Sprintf("%s-%d", strings.Trim(notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-"), "-"), counter.Add(1))
	if !opt.embedded {
		s.dsn = testenv.Postgres(t)
	} else {
		s.dsn = postgres.EmbeddedDSN(filepath.Join(s.dir, "data", "postgres"))
		for _, d := range []string{s.dir, filepath.Dir(s.dir)} { // for the server's own user
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.worker = newWorker(s)
	return s
}

// start makes a site and serves it.
func start(t testing.TB, opt options, packages ...string) *site {
	t.Helper()
	s := newSite(t, opt)
	for _, p := range packages {
		s.project(p)
	}
	s.serve()
	return s
}

// serve starts a replica and waits until it answers.
func (s *site) serve() *server {
	s.t.Helper()
	srv := &server{site: s}
	address := freeAddress(s.t)
	srv.url = "http://" + address
	srv.config = filepath.Join(s.dir, fmt.Sprintf("site-%d.yaml", len(s.servers)))
	write(s.t, srv.config, s.config(address))
	s.servers = append(s.servers, srv)
	srv.start()
	if len(s.servers) > 1 {
		return srv
	}
	s.connect()
	s.worker.start(8)
	s.t.Cleanup(func() { s.finish() })
	return srv
}

// connect opens the test's own view of the database.
func (s *site) connect() {
	s.t.Helper()
	ctx := context.Background()
	var err error
	if s.db, err = pgxpool.New(ctx, s.dsn); err != nil {
		s.t.Fatal(err)
	}
	if s.store, err = postgres.Open(ctx, s.dsn); err != nil {
		s.t.Fatal(err)
	}
	hub := s.store.NewHub()
	running, stop := context.WithCancel(ctx)
	var feeding sync.WaitGroup
	feeding.Go(func() { hub.Run(running) })
	feed, unfeed := hub.Feed()
	s.feed = feed
	s.t.Cleanup(func() {
		unfeed()
		stop()
		feeding.Wait()
		s.store.Close()
		s.db.Close()
	})
}

// finish ends a story: the oracle has to be content, while the service still
// runs, and all that was started is stopped.
func (s *site) finish() {
	s.fsck()
	s.worker.stop()
	for _, srv := range s.servers {
		srv.stop()
	}
	if s.t.Failed() {
		for _, srv := range s.servers {
			s.t.Logf("log of %s:\n%s", srv.url, tail(srv.log.Name(), 150))
		}
	}
}

func (s *site) config(address string) string {
	g := s.g
	ssh, known := g.SSHAddr, g.KnownHosts
	if s.opt.ssh != "" {
		ssh, known = s.opt.ssh, s.opt.knownHosts
	}
	reconcile := s.opt.reconcile
	if reconcile == 0 {
		reconcile = 3 * time.Minute
	}
	token := filepath.Join(s.dir, "token")
	write(s.t, token, g.Gate.Token)
	write(s.t, filepath.Join(s.dir, "worker"), workerToken)
	root := filepath.Join(s.dir, "make-root")
	write(s.t, root, "#!/bin/sh\n")
	for _, d := range []string{"apt", "rpm"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	stages := func(text, fallback string) string {
		switch text {
		case "":
			return fallback
		case "none":
			return ""
		}
		return text
	}
	window := s.opt.window
	if window == "" {
		window = "{start: 20, floor: 3, ceiling: 100}"
	}
	rpmDist, rpmTarget := "", ""
	if s.opt.rpm {
		rpmDist = fmt.Sprintf(`
  - name: el-9
    format: rpm
    codename: "9"
    suffix: ".el9"
    upstreams: [rpm]
    architectures: [{name: x86_64}]
    roots: {build: {method: script, script: %[1]s}, install: {method: script, script: %[1]s}}`, root)
		rpmTarget = "\n  - {release: juno, dist: el-9}"
	}
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
    reconcile: %[8]s
upstreams:
  - {name: apt, format: deb, path: %[2]s/apt, suites: [bookworm], trusted: true}
  - {name: rpm, format: rpm, path: %[2]s/rpm, trusted: true}
dists:
  - name: debian-12
    format: deb
    codename: bookworm
    suffix: "~deb12"
    upstreams: [apt]
    architectures: [{name: amd64}]
    roots: {build: {method: script, script: %[9]s}, install: {method: script, script: %[9]s}}%[10]s
releases: [{name: juno}]
targets:
  - {release: juno, dist: debian-12}%[11]s
projects:
  - {project: "%[12]s/**", branch: main, releases: [juno], queue: main}
pipelines:
  check: {stages: [%[13]s], votes: {passed: 1, failed: -1}}
  gate: {stages: [%[14]s], votes: {passed: 2, failed: -2}, fail_fast: true}
stages:
  root: {voting: true}%[17]s
queues:
  - {name: main, window: %[15]s}
workers:
  - {name: tester, token: {file: %[2]s/worker}, labels: [deb, rpm, nspawn]}
local_worker: {enabled: false}
repositories: {origin: Story, label: Story, export: %[2]s/export}
%[16]s
`, address, s.dir, g.URL, ssh, g.Gate.Name, g.Gate.Key, known, reconcile, root, rpmDist, rpmTarget, s.name,
		stages(s.opt.check, "build, publish, install"), stages(s.opt.gate, "build, publish, install"), window, s.opt.more, s.opt.stages)
}

// start runs the program and returns once it answers.
func (v *server) start() {
	t := v.site.t
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(v.config+".log", os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	v.log, v.ended = log, make(chan struct{})
	v.cmd = exec.Command(path, "serve", "--config", v.config)
	v.cmd.Stdout, v.cmd.Stderr = log, log
	v.cmd.Env = append(os.Environ(), "DATABASE_URL=")
	if !v.site.opt.embedded {
		v.cmd.Env = append(os.Environ(), "DATABASE_URL="+v.site.dsn)
	}
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := v.ended
	go func() { _ = v.cmd.Wait(); close(ended) }()
	deadline := time.Now().Add(patience)
	for {
		resp, err := http.Get(v.url + "/healthz")
		if err == nil {
			resp.Body.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("sluice serve ended at its start:\n%s", tail(log.Name(), 40))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("sluice serve does not answer:\n%s", tail(log.Name(), 40))
		}
	}
}

// stop ends it in order.
func (v *server) stop() {
	_ = v.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-v.ended:
	case <-time.After(40 * time.Second):
		v.site.t.Errorf("sluice serve did not end within 40 s of SIGTERM")
		v.kill()
	}
	v.log.Close()
}

// kill ends it at once.
func (v *server) kill() {
	_ = v.cmd.Process.Kill()
	<-v.ended
}

// fsck is the oracle.
func (s *site) fsck() {
	s.t.Helper()
	path, _ := program()
	cmd := exec.Command(path, "fsck", "--config", s.servers[0].config)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+s.dsn)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("clean")) {
		s.t.Errorf("sluice fsck: %v\n%s", err, out)
	}
}

// until waits until check gives "", looking again at each change that the
// database tells of. What check gives else says what is still missing.
func (s *site) until(what string, check func() string) {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(250 * time.Millisecond) // for what Gerrit alone knows
	defer look.Stop()
	for {
		missing := check()
		if missing == "" {
			return
		}
		select {
		case <-s.feed:
		case <-look.C:
		case <-deadline.C:
			s.t.Fatalf("%s: %s\n%s", what, missing, s.state())
		}
	}
}

// state is what a person would look at when a story does not go on.
func (s *site) state() string {
	var b strings.Builder
	dump := func(title, query string, args ...any) {
		rows, err := s.db.Query(context.Background(), query, args...)
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", title, err)
			return
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		fmt.Fprintf(&b, "%s: %v\n  %s\n", title, err, strings.Join(lines, "\n  "))
	}
	dump("queues", `SELECT name || ' ' || state::text FROM queues WHERE state->'items' <> '[]' OR kind = 'dependent'`)
	dump("changes", `SELECT id || ' ' || status || ' ' || facts::text FROM changes ORDER BY number`)
	dump("jobs", `SELECT format('%s %s %s %s %s attempts %s %s', id, coalesce(buildset, 0), name, state, waits_for, attempts, cause) FROM jobs ORDER BY id`)
	dump("buildsets", `SELECT format('%s %s item %s %s %s %s', id, queue, item, state, broken, conflict) FROM buildsets ORDER BY id`)
	dump("tasks", `SELECT format('%s %s %s %s', id, state, args, errors[array_upper(errors, 1)]->>'error') FROM river_job WHERE state NOT IN ('completed')`)
	return b.String()
}

func tail(file string, lines int) string {
	text, _ := os.ReadFile(file)
	all := strings.Split(string(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func write(t testing.TB, file, text string) {
	t.Helper()
	mode := os.FileMode(0o600)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
