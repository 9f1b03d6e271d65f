package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
)

// probeTime bounds each question of /readyz.
const probeTime = 3 * time.Second

// health mounts what machines ask about the service: /healthz, whether the
// process answers; /readyz, whether it can do its work; /metrics.
func (s *server) health(r chi.Router) {
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintln(w, "ok")
	})
	r.Get("/readyz", s.ready)
	r.Handle("/metrics", s.metrics())
}

// readiness is the answer of /readyz: "ok", or what is wrong.
type readiness struct {
	Ready    bool              `json:"ready"`
	Database string            `json:"database"`
	Schema   string            `json:"schema"`
	Gerrit   map[string]string `json:"gerrit"`
}

// ready answers 200 where the database answers and its schema is this
// program's, else 503. A Gerrit that is away is told and no failure: its
// changes wait, the others and all repositories go on.
func (s *server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTime)
	defer cancel()
	out := readiness{Database: word(s.Store.Ping(ctx)), Schema: "unknown", Gerrit: s.probe(ctx)}
	if out.Database == "ok" {
		current, err := s.Store.SchemaCurrent(ctx)
		if out.Schema = word(err); err == nil && !current {
			out.Schema = "older than this program: run sluice migrate"
		}
	}
	out.Ready = out.Database == "ok" && out.Schema == "ok"
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !out.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(out)
}

// probe asks all Gerrits at once.
func (s *server) probe(ctx context.Context) map[string]string {
	out := map[string]string{}
	var mu sync.Mutex // guards out
	var all sync.WaitGroup
	for name, ask := range s.Gerrits {
		all.Go(func() {
			state := "ok"
			if err := ask(ctx); err != nil {
				state = "not reached" // why is in the log: addresses are nobody's business
				s.Log.Debug("a Gerrit is not reached", "gerrit", name, "error", err)
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = state
		})
	}
	all.Wait()
	return out
}

func word(err error) string {
	if err != nil {
		return "does not answer"
	}
	return "ok"
}
