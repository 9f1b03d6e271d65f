package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
)

// How long /readyz waits for an answer: whoever asks it (a load balancer, a
// kubelet) waits little, and a Gerrit that hangs is not to make it late.
const (
	databaseTime = 3 * time.Second
	gerritTime   = 500 * time.Millisecond
)

// health mounts what machines ask about the service: /healthz, whether the
// process answers; /readyz, whether it can answer requests; /metrics.
func (s *server) health(r chi.Router) {
	alive := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintln(w, "ok")
	}
	for path, h := range map[string]http.HandlerFunc{"/healthz": alive, "/readyz": s.ready} {
		r.Get(path, h)
		r.Head(path, h)
	}
	r.Handle("/metrics", s.metrics())
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready    bool    `json:"ready"`
	Degraded bool    `json:"degraded"` // ready, but something is away that part of the work needs
	Checks   []check `json:"checks"`
}

// check is one thing that was looked at.
type check struct {
	Name     string `json:"name"`
	State    string `json:"state"`    // "ok", or what is wrong
	Required bool   `json:"required"` // without it the service is not ready
}

// ready answers 200 where the service can answer requests: the database answers
// and its schema is this program's; else 503. A Gerrit that is away makes it
// degraded, not unready: its changes wait, the others, the page and all
// repositories go on, and a load balancer that took away every replica would end
// these too.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	var gerrits []check
	var asked sync.WaitGroup
	asked.Go(func() { gerrits = s.gerritChecks(r.Context()) })
	out := readiness{Ready: true, Checks: s.databaseChecks(r.Context())}
	asked.Wait()
	out.Checks = append(out.Checks, gerrits...)
	for _, c := range out.Checks {
		wrong := c.State != "ok"
		out.Ready = out.Ready && !(wrong && c.Required)
		out.Degraded = out.Degraded || wrong
	}
	out.Degraded = out.Degraded && out.Ready
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !out.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (s *server) databaseChecks(ctx context.Context) []check {
	ctx, cancel := context.WithTimeout(ctx, databaseTime)
	defer cancel()
	database, schema := check{"database", "ok", true}, check{"schema", "not known", true}
	if s.Store.Ping(ctx) != nil {
		database.State = "does not answer"
		return []check{database, schema}
	}
	switch current, err := s.Store.SchemaCurrent(ctx); {
	case err != nil:
		schema.State = "cannot be read"
	case !current:
		schema.State = "older than this program: run sluice migrate"
	default:
		schema.State = "ok"
	}
	return []check{database, schema}
}

// gerritChecks asks all Gerrits at once.
func (s *server) gerritChecks(ctx context.Context) []check {
	ctx, cancel := context.WithTimeout(ctx, gerritTime)
	defer cancel()
	names := slices.Sorted(maps.Keys(s.Gerrits))
	out := make([]check, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			out[i] = check{Name: "gerrit " + name, State: "ok"}
			if err := s.Gerrits[name](ctx); err != nil {
				out[i].State = "not reached" // why is in the log: addresses are nobody's business
				s.Log.Debug("a Gerrit is not reached", "gerrit", name, "error", err)
			}
		})
	}
	all.Wait()
	return out
}
