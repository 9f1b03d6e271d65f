package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"sync"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// proxy stands between the service and the real Gerrit, and does what networks
// and busy servers do. A fault is about one change or project, so that stories
// share a proxy.
type proxy struct {
	*httptest.Server
	mu     sync.Mutex // guards faults and what is in them
	faults []*fault
}

// fault is what happens to the next requests of a kind.
type fault struct {
	p     *proxy
	what  *regexp.Regexp // of "METHOD /path"
	left  int            // how many requests it still meets
	met   int
	bring func(w http.ResponseWriter, r *http.Request, on http.Handler)
}

// newProxy stands before a Gerrit.
func newProxy(t testing.TB, g *testenv.GerritServer) *proxy {
	t.Helper()
	to, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	on := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }, // as nginx answers for a Gerrit that is down
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := p.meets(r); f != nil {
			f.bring(w, r, on)
			return
		}
		on.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) meets(r *http.Request) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		if f.left > 0 && f.what.MatchString(r.Method+" "+r.URL.EscapedPath()) {
			f.left--
			f.met++
			return f
		}
	}
	return nil
}

// next says what happens to the next n requests that fit.
func (p *proxy) next(n int, what string, bring func(http.ResponseWriter, *http.Request, http.Handler)) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &fault{p: p, what: regexp.MustCompile(what), left: n, bring: bring}
	p.faults = append(p.faults, f)
	return f
}

// times gives how many requests it has met.
func (f *fault) times() int {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	return f.met
}

// Requests about a change, and about a project's git repository.
func submitOf(c *testenv.Pushed) string {
	return fmt.Sprintf(`^POST /a/changes/%d/revisions/.*/submit$`, c.Number)
}
func reviewOf(c *testenv.Pushed) string {
	return fmt.Sprintf(`^POST /a/changes/%d/revisions/.*/review$`, c.Number)
}
func readOf(c *testenv.Pushed) string { return fmt.Sprintf(`^GET /a/changes/%d\b`, c.Number) }
func fetchOf(project string) string {
	return `/a/` + regexp.QuoteMeta(project) + `/(info/refs|git-upload-pack)`
}

// answers is a Gerrit, or what stands before it, that answers without having done anything.
func answers(status int, text string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}
}

// reset is a connection that breaks before the request has come through.
func reset(w http.ResponseWriter, _ *http.Request, _ http.Handler) { breakOff(w) }

// lost is an answer that is lost: the request was carried out.
func lost(w http.ResponseWriter, r *http.Request, on http.Handler) {
	on.ServeHTTP(httptest.NewRecorder(), r)
	breakOff(w)
}

// silent carries the request out and never answers, until whoever asked gives up.
func silent(_ http.ResponseWriter, r *http.Request, on http.Handler) {
	on.ServeHTTP(httptest.NewRecorder(), r)
	<-r.Context().Done()
}

func breakOff(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		conn.Close()
	}
}

// slow is a Gerrit that takes its time.
func slow(d time.Duration) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		pause(r.Context(), d)
		on.ServeHTTP(w, r)
	}
}

// stop holds requests until they are let go.
func (p *proxy) stop(what string) (f *fault, release func()) {
	gate := make(chan struct{})
	f = p.next(1, what, func(w http.ResponseWriter, r *http.Request, on http.Handler) {
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		on.ServeHTTP(w, r)
	})
	return f, sync.OnceFunc(func() { close(gate) })
}
