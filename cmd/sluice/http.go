package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"sluice/internal/api"
	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/web"
)

// leases joins what the engine and the store do for workers.
type leases struct{ *service }

// Claim gives a worker its next job.
func (l leases) Claim(ctx context.Context, w record.Worker, lease string) (*job.Spec, error) {
	return l.engine.Claim(ctx, w, lease)
}

// Renew extends a lease.
func (l leases) Renew(ctx context.Context, lease string) (bool, error) {
	return l.db.store.Renew(ctx, lease)
}

// AppendLog adds to an attempt's log.
func (l leases) AppendLog(ctx context.Context, lease string, start int64, data []byte) (int64, error) {
	return l.db.store.AppendLog(ctx, lease, start, data)
}

// Finish takes a worker's answer.
func (l leases) Finish(ctx context.Context, lease string, res job.Result) error {
	return l.engine.Finish(ctx, lease, res)
}

// estimates says when the changes of a queue are expected to merge.
func (s *service) estimates(ctx context.Context, queue string) (map[gate.ChangeID]gate.Outlook, time.Time, error) {
	x, err := s.engine.Expect(ctx, queue)
	return x.Changes, x.At, err
}

// streamStates remembers how each Gerrit's events are heard.
type streamStates struct {
	mu     sync.Mutex // guards states
	states map[string]api.StreamState
}

func (s *streamStates) set(name string, st gerrit.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := api.StreamState{Gerrit: name, Connected: st.Connected, Since: time.Now()}
	if st.Err != nil {
		now.Err = st.Err.Error()
	}
	if before, ok := s.states[name]; ok && before.Connected == now.Connected {
		now.Since = before.Since
	}
	s.states[name] = now
}

func (s *streamStates) all() []api.StreamState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]api.StreamState, 0, len(s.states))
	for _, st := range s.states {
		out = append(out, st)
	}
	return out
}

// handler is everything under the service's one address.
func (s *service) handler() (http.Handler, error) {
	o := api.Options{
		Site: s.site, Version: version, Store: s.db.store, Blobs: s.blobs, Feed: s.hub, Facts: s.engine.Facts,
		Estimates: s.estimates, Model: s.engine.Model,
		Workers: &api.Workers{Leases: leases{s}, Waits: s.hub, Blobs: s.blobs, Tokens: s.tokens, MaxBlob: int64(s.site.Limits.Artifact)},
		Streams: s.states.all, Gerrits: map[string]func(context.Context) error{}, Hooks: map[string]http.Handler{},
		Upstream: s.up, Page: web.Files, Log: s.log,
	}
	var err error
	if o.ReleaseKey, o.TestKey, err = s.engine.Repos.PublicKeys(); err != nil {
		return nil, err
	}
	for name, g := range s.engine.Gerrits {
		o.Gerrits[name] = func(ctx context.Context) error {
			_, err := g.ServerVersion(ctx)
			return err
		}
	}
	for _, g := range s.site.Gerrit {
		if g.WebhookSecret.IsZero() {
			continue
		}
		secret, err := g.WebhookSecret.Reveal()
		if err != nil {
			return nil, err
		}
		o.Hooks[g.Name] = &gerrit.Webhook{Secret: secret, OnEvent: func(ctx context.Context, ev gerrit.Event) error {
			return s.engine.Event(ctx, g.Name, ev)
		}}
	}
	return api.Handler(o)
}

// waitsEnd ends, once running is over, the requests that only wait for what
// happens: a worker's claim and its look out for a cancel, events, a log that is
// followed. All others are carried out; a stop need not last as long as a wait.
func waitsEnd(running context.Context, next http.Handler) http.Handler {
	waits := func(r *http.Request) bool {
		p := r.URL.Path
		return p == "/worker/v1/claim" || p == "/api/v1/events" || strings.HasPrefix(p, "/worker/v1/leases/") && strings.HasSuffix(p, "/cancelled") ||
			strings.HasPrefix(p, "/api/v1/jobs/") && strings.HasSuffix(p, "/log")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if waits(r) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(running, cancel)()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}
