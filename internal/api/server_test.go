package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/api"
	"sluice/internal/api/apitest"
	"sluice/internal/gate"
)

// lines is a log that a test reads while it is written.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestHealth(t *testing.T) {
	w := apitest.New(t, nil)
	if answer, text := fetch(t, w, "GET", "/healthz", "probe"); answer.StatusCode != 200 || string(text) != "ok\n" {
		t.Errorf("/healthz: %d %s", answer.StatusCode, text)
	}
	for _, path := range []string{"/healthz", "/readyz"} { // as some load balancers ask
		if answer, text := fetch(t, w, "HEAD", path, "probe"); answer.StatusCode != 200 || len(text) > 0 {
			t.Errorf("HEAD %s: %d %s", path, answer.StatusCode, text)
		}
	}
	ready := func(status int, want string) {
		t.Helper()
		answer, text := fetch(t, w, "GET", "/readyz", "probe")
		if answer.StatusCode != status || strings.TrimSpace(string(text)) != want {
			t.Errorf("/readyz: %d %s; wanted %d %s", answer.StatusCode, text, status, want)
		}
	}
	checks := func(database, schema string) string {
		return fmt.Sprintf(`"checks":[{"name":"database","state":%q,"required":true},{"name":"schema","state":%q,"required":true},{"name":"gerrit main","state":"not reached","required":false}]}`, database, schema)
	}
	ready(200, `{"ready":true,"degraded":true,`+checks("ok", "ok"))
	if err := w.Store.MigrateDown(context.Background()); err != nil {
		t.Fatal(err)
	}
	ready(503, `{"ready":false,"degraded":false,`+checks("ok", "older than this program: run sluice migrate"))
	w.Store.Close()
	ready(503, `{"ready":false,"degraded":false,`+checks("does not answer", "not known"))
	if answer, _ := fetch(t, w, "GET", "/healthz", "probe"); answer.StatusCode != 200 {
		t.Errorf("/healthz without a database: %d", answer.StatusCode)
	}
	if answer, text := fetch(t, w, "GET", "/metrics", "probe"); answer.StatusCode != 200 || !strings.Contains(string(text), "sluice_database_read 0") {
		t.Errorf("/metrics without a database: %d", answer.StatusCode)
	}
}

// A Gerrit that hangs makes the answer neither late nor bad: a probe waits for a
// second, and what it takes away is every replica.
func TestReadyWhileGerritHangs(t *testing.T) {
	w := apitest.New(t, func(o *api.Options) {
		o.Gerrits = map[string]func(context.Context) error{
			"slow": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			"well": func(context.Context) error { return nil },
		}
	})
	c := *w.Server.Client()
	c.Timeout = 5 * time.Second // far below what a Gerrit may take, for a busy machine
	answer, err := c.Get(w.URL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 || !strings.Contains(string(text), `{"name":"gerrit slow","state":"not reached","required":false},{"name":"gerrit well","state":"ok","required":false}`) {
		t.Errorf("%d %s %v", answer.StatusCode, text, err)
	}
}

func TestMetrics(t *testing.T) {
	w := apitest.New(t, nil)
	w.Seed()
	answer, text := fetch(t, w, "GET", "/metrics", "prometheus")
	if answer.StatusCode != 200 {
		t.Fatalf("%d %s", answer.StatusCode, text)
	}
	for _, want := range []string{
		`sluice_queue_items{queue="main"} 3`, `sluice_queue_active_items{queue="main"} 3`, `sluice_queue_paused{queue="main"} 0`, "sluice_checks 1",
		`sluice_jobs{stage="build",state="passed"} 2`, `sluice_jobs{stage="build",state="running"} 1`, `sluice_job_seconds{quantile="0.5",stage="build"}`,
		`sluice_jobs_ended_last_hour{stage="install"} 1`, `sluice_gate_seconds{quantile="0.95",span="first_job"}`, `sluice_stream_connected{gerrit="main"} 1`,
		`sluice_worker_seen_seconds{worker="anvil"}`, `sluice_worker_running{worker="anvil"} 1`, "sluice_database_read 1", "go_goroutines",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", text)
	}
}

func TestPage(t *testing.T) {
	w := apitest.New(t, nil)
	for _, path := range []string{"/", "/queue/main", "/change/main/1", "/buildset/1", "/job/1", "/repositories", "/repositories/juno/debian-12/updates", "/index.html"} {
		answer, text := fetch(t, w, "GET", path, "Mozilla")
		if answer.StatusCode != 200 || !strings.Contains(string(text), "<title>sluice") || !strings.Contains(answer.Header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s: %d %v", path, answer.StatusCode, answer.Header)
		}
	}
	answer, text := fetch(t, w, "GET", "/assets/app.js", "Mozilla")
	if answer.StatusCode != 200 || string(text) != "void 0" || !strings.Contains(answer.Header.Get("Content-Type"), "javascript") {
		t.Errorf("a file of the page: %d %v", answer.StatusCode, answer.Header)
	}
	if again, _ := fetch(t, w, "GET", "/assets/app.js", "Mozilla", "If-None-Match", answer.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("the same again: %d", again.StatusCode)
	}
	for _, path := range []string{"/assets/other.js", "/assets/", "/nothing"} {
		if answer, _ := fetch(t, w, "GET", path, "Mozilla"); answer.StatusCode != 404 {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
}

// What other packages serve is reached, what it is asked is not logged, a
// mistake in one request leaves the service up, and answers are compressed.
func TestTheRest(t *testing.T) {
	log := &lines{}
	w := apitest.New(t, func(o *api.Options) {
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		say := func(what string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, what, " ", r.URL.Path) })
		}
		o.Hooks = map[string]http.Handler{"main": say("hook")}
		o.Upstream = say("upstream")
		facts := o.Facts
		o.Facts = func(ctx context.Context, queue string) (gate.State, gate.Facts, error) {
			if queue == "main" {
				panic("a mistake")
			}
			return facts(ctx, queue)
		}
	})
	a := newAsker(t, w)
	for path, want := range map[string]string{"/hooks/gerrit/main?secret=hush": "hook /hooks/gerrit/main", "/upstream/debian/0/amd64/x": "upstream /upstream/debian/0/amd64/x"} {
		if answer, text := fetch(t, w, "POST", path, "gerrit"); answer.StatusCode != 200 || string(text) != want {
			t.Errorf("%s: %d %s", path, answer.StatusCode, text)
		}
	}
	if answer, _ := fetch(t, w, "POST", "/hooks/gerrit/other", "gerrit"); answer.StatusCode != 404 {
		t.Errorf("a hook of no Gerrit: %d", answer.StatusCode)
	}
	if answer, _ := fetch(t, w, "POST", "/worker/v1/claim", "worker"); answer.StatusCode != 401 {
		t.Errorf("a worker without a token: %d", answer.StatusCode)
	}
	a.problem("GET", "/api/v1/queues/main", "", nil, 500)
	get[map[string]any](a, "/api/v1/status")
	answer, packed := fetch(t, w, "GET", "/api/v1/openapi.yaml", "curl")
	if answer.StatusCode != 200 || !bytes.HasPrefix(packed, []byte("openapi: 3")) {
		t.Errorf("the contract: %d", answer.StatusCode)
	}
	answer, packed = fetch(t, w, "GET", "/api/v1/status", "curl", "Accept-Encoding", "gzip")
	in, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil || answer.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("not compressed: %v %v", err, answer.Header)
	}
	if _, err := io.ReadAll(in); err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Contains(text, "hush") || !strings.Contains(text, "path=/hooks/gerrit/main") || !strings.Contains(text, "a mistake") {
		t.Errorf("the log: %s", text)
	}
}
