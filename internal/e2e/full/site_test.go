//go:build full

package full

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"sluice/internal/testenv"
	"sluice/internal/trial"
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
	db      *pgxpool.Pool
	network *network
	service *trial.Service
}

// newSite prepares a site; nothing of it runs yet.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, g: testenv.Gerrit(t), dir: t.TempDir()}
	s.service = &trial.Service{Program: filepath.Join(s.dir, "sluice"), Config: filepath.Join(s.dir, "site.yaml"), Database: testenv.Postgres(t)}
	if err := trial.Build(s.service.Program); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.db, err = pgxpool.New(t.Context(), s.service.Database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	s.network = newNetwork(t)
	s.service.URL = fmt.Sprintf("http://%s:%d", s.network.host, s.network.freePort())
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

// rest is the end of the site file; %[2]s are its rules of stages.
const rest = `
stages: {%[2]s}
limits: {log: 1MB}
workers:
  - {name: first, token: {file: %[1]s/worker-first}, labels: [deb, rpm, nspawn]}
  - {name: second, token: {file: %[1]s/worker-second}, labels: [deb, rpm, nspawn]}
local_worker: {enabled: false}
repositories: {origin: Full, label: Full, export: %[1]s/export}
`

// start serves with the given rules of stages; edits are pairs of what is in the
// site file and what takes its place.
func (s *site) start(stages string, edits ...string) {
	s.t.Helper()
	text := trial.Site(s.service.URL, filepath.Join(s.dir, "data"), s.g.Named(filepath.Join(s.dir, "token"))) +
		trial.RealDists(testenv.RPMDistro(s.t), "full/**") + fmt.Sprintf(rest, s.dir, stages)
	for i := 0; i+1 < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			s.t.Fatalf("%q is not in the site file:\n%s", edits[i], text)
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	write(s.t, s.service.Config, text)
	log := filepath.Join(s.dir, "serve.log")
	err := s.service.Serve(s.t.Context(), log, "/healthz")
	if s.service.Process != nil {
		ended(s.t, s.service.Process)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// fsck is the oracle.
func (s *site) fsck() {
	s.t.Helper()
	if err := s.service.Fsck(); err != nil {
		s.t.Error(err)
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
		case <-s.service.Ended:
			s.t.Fatalf("%s: sluice serve has ended", what)
		}
	}
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
	req, err := http.NewRequest(http.MethodGet, s.service.URL+path, nil)
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

// run starts a program with its words in a file.
func run(t *testing.T, log string, cmd *exec.Cmd) *trial.Process {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // what is in it dies with it
	p, err := trial.StartLogged(cmd, log)
	if err != nil {
		t.Fatal(err)
	}
	ended(t, p)
	return p
}

// ended has a program ended, whatever becomes of the test.
func ended(t *testing.T, p *trial.Process) {
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of %s:\n%s", filepath.Base(p.Log), trial.Tail(p.Log, 120))
		}
	})
}

// stop ends one in order.
func stop(t *testing.T, p *trial.Process) {
	t.Helper()
	if err := p.Stop(); err != nil {
		t.Errorf("%v\n%s", err, trial.Tail(p.Log, 40))
	}
}
