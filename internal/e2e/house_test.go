package e2e

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/internal/postgres"
	"sluice/internal/postgres/embedded"
	"sluice/internal/testenv"
	"sluice/internal/trial"
)

func TestMain(m *testing.M) {
	if urls := os.Getenv(workerOf); urls != "" { // a test has started us as a machine that can be killed
		workAlone(strings.Fields(urls))
	}
	testenv.Main(m)
}

// program is the binary under test, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sluice-e2e-%d", os.Getpid()))
	return path, trial.Build(path)
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
	database    string                // another one than the shared
	rpm         bool                  // a second target, for RPMs
	more        string                // more of the site file
	branch      string                // of the common rule; main
	perBranch   bool                  // a queue for each branch
	localWorker bool                  // the service has its own worker
	root        string                // what the script does that makes a root
	retest      string                // which open changes are checked again on a merge; all
	window      string
	batch       string // ", batch: {size: 4}"
	stages      string // more of the stages' rules
	observe     bool
	label       string // the gate's, where it is not Verified; its votes are then +1 and -1
	approve     string // label values that the gate asks for: "Approved: 1"
	apt         string // the base distribution's Packages; its roots are then made of it
	gerritURL   string // another address of Gerrit's
	gerritMore  string // more of what is said of Gerrit
	projects    string // more rules of projects, before the common one; PREFIX is that of their names
	queues      string // more queues
	plainBlame  bool   // no evidence is asked for
	url         string // at which all replicas are reached, where it is not their own
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
	hub     *postgres.Hub
	feed    <-chan string
	queue   string // of the gate
	proxy   *proxy // to Gerrit, if there is one
	worker  *worker
	servers []*server
}

// server is one running `sluice serve`.
type server struct {
	trial.Service
	site *site
}

// newSite prepares a site; nothing runs yet.
func newSite(t testing.TB, opt options) *site {
	t.Helper()
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, g: opt.gerrit, opt: opt, dir: t.TempDir(), queue: "main"}
	if s.g == nil {
		s.g = testenv.Gerrit(t)
	}
	s.name = fmt.Sprintf("%s-%d", strings.Trim(notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-"), "-"), counter.Add(1))
	switch {
	case opt.database != "":
		s.dsn = opt.database
	case opt.embedded:
		s.dsn = embedded.DSN(filepath.Join(open(t, s.dir), "data", "postgres"))
	default:
		s.dsn = testenv.Postgres(t)
	}
	s.worker = newWorker(s)
	return s
}

// open lets a Postgres, which has a user of its own, into a folder of a test.
func open(t testing.TB, dir string) string {
	t.Helper()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
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
	srv.Program, _ = program()
	srv.More = []string{"--debug"}
	if s.opt.observe {
		srv.More = append(srv.More, "--observe")
	}
	srv.URL = "http://" + freeAddress(s.t)
	srv.Config = filepath.Join(s.dir, fmt.Sprintf("site-%d.yaml", len(s.servers)))
	if !s.opt.embedded {
		srv.Database = s.dsn
	}
	if s.opt.url != "" {
		srv.More = append(srv.More, "--listen", strings.TrimPrefix(srv.URL, "http://"))
	}
	write(s.t, srv.Config, s.config(cmp.Or(s.opt.url, srv.URL)))
	s.servers = append(s.servers, srv)
	srv.start()
	if len(s.servers) > 1 {
		return srv
	}
	s.connect()
	s.worker.start()
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
	s.hub = s.store.NewHub()
	running, stop := context.WithCancel(ctx)
	var feeding sync.WaitGroup
	feeding.Go(func() { s.hub.Run(running) })
	feed, unfeed := s.hub.Feed()
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
	s.replay()
	s.worker.stop()
	for _, srv := range s.servers {
		srv.stop()
	}
	if s.t.Failed() {
		for _, srv := range s.servers {
			s.t.Logf("log of %s:\n%s", srv.URL, trial.Tail(srv.Log, 150))
		}
	}
}

// wideWindow has every item of a story active.
const wideWindow = "{start: 20, floor: 3, ceiling: 100}"

func (s *site) config(url string) string {
	reconcile := s.opt.reconcile
	if reconcile == 0 {
		reconcile = 3 * time.Minute
	}
	g := s.g.Named(filepath.Join(s.dir, "token"))
	g.URL = cmp.Or(s.opt.gerritURL, g.URL)
	if s.opt.ssh != "" {
		g.SSH, g.KnownHostsFile = s.opt.ssh, s.opt.knownHosts
	}
	write(s.t, g.TokenFile, s.g.Gate.Token)
	write(s.t, filepath.Join(s.dir, "worker"), workerToken)
	root := filepath.Join(s.dir, "make-root")
	write(s.t, root, "#!/bin/sh\n"+s.opt.root)
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
	roots := fmt.Sprintf("{build: {method: script, script: %[1]s}, install: {method: script, script: %[1]s}}", root)
	if s.opt.apt != "" {
		roots = "{build: {method: mmdebstrap}, install: {method: mmdebstrap}}"
		s.writeAPT(s.opt.apt)
	}
	label, votes := "Verified", "{passed: 2, failed: -2}"
	if s.opt.label != "" {
		label, votes = s.opt.label, "{passed: 1, failed: -1}"
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
	return trial.Site(url, filepath.Join(s.dir, "data"), g) + fmt.Sprintf(`    reconcile: %[2]s
    label: %[18]s%[12]s
upstreams:
  - {name: apt, format: deb, path: %[1]s/apt, suites: [bookworm], trusted: true}
  - {name: rpm, format: rpm, path: %[1]s/rpm, trusted: true}
dists:
  - name: debian-12
    format: deb
    codename: bookworm
    suffix: "~deb12"
    upstreams: [apt]
    architectures: [{name: amd64}]
    roots: %[3]s%[4]s
releases: [{name: juno}]
targets:
  - {release: juno, dist: debian-12}%[5]s
projects:%[13]s
  - {project: "%[6]s/**", branch: "%[19]s", releases: [juno], queue: main}
pipelines:
  check: {stages: [%[7]s], votes: {passed: 1, failed: -1}, retest: %[20]s}
  gate: {stages: [%[8]s], votes: %[16]s, approve: {%[17]s}, fail_fast: true, evidence: %[15]t}
stages:
  root: {voting: true}%[11]s
queues:
  - {name: main, per_branch: %[21]v, window: %[9]s%[22]s}%[14]s
workers:
  - {name: tester, token: {file: %[1]s/worker}, labels: [deb, rpm, nspawn]}
local_worker: {enabled: %[23]v}
repositories: {origin: Story, label: Story, export: %[1]s/export}
%[10]s
`, s.dir, reconcile, roots, rpmDist, rpmTarget, s.name,
		stages(s.opt.check, "build, publish, install"), stages(s.opt.gate, "build, publish, install"), cmp.Or(s.opt.window, wideWindow),
		s.opt.more, s.opt.stages, s.opt.gerritMore, strings.ReplaceAll(s.opt.projects, "PREFIX", s.name), s.opt.queues,
		!s.opt.plainBlame, votes, s.opt.approve, label, cmp.Or(s.opt.branch, "main"), cmp.Or(s.opt.retest, "all"), s.opt.perBranch, s.opt.batch, s.opt.localWorker)
}

// start runs the program and returns once it answers.
func (v *server) start() {
	v.site.t.Helper()
	if err := v.Serve(context.Background(), v.Config+".log", "/healthz"); err != nil {
		v.site.t.Fatal(err)
	}
}

// stop ends it in order.
func (v *server) stop() {
	if err := v.Stop(); err != nil {
		v.site.t.Error(err)
	}
}

// kill ends it at once.
func (v *server) kill() { v.Kill() }

// fsck is the oracle.
func (s *site) fsck() {
	s.t.Helper()
	srv := s.servers[0].Service
	srv.Database = s.dsn
	if err := srv.Fsck(); err != nil {
		s.t.Error(err)
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
