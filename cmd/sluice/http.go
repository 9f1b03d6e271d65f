package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"

	"sluice/internal/api"
	"sluice/internal/blob"
	"sluice/internal/gerrit"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/repo"
	"sluice/internal/upstream"
)

// leases joins what the engine and the store do for workers.
type leases struct{ *service }

func (l leases) Claim(ctx context.Context, w record.Worker, lease string) (*job.Spec, error) {
	return l.engine.Claim(ctx, w, lease)
}
func (l leases) Renew(ctx context.Context, lease string) (bool, error) {
	return l.db.store.Renew(ctx, lease)
}
func (l leases) AppendLog(ctx context.Context, lease string, start int64, data []byte) (int64, error) {
	return l.db.store.AppendLog(ctx, lease, start, data)
}
func (l leases) Finish(ctx context.Context, lease string, res job.Result) error {
	return l.engine.Finish(ctx, lease, res)
}

// handler is everything under the service's one address.
func (s *service) handler() http.Handler {
	r := chi.NewRouter()
	(&api.Workers{Leases: leases{s}, Waits: s.hub, Blobs: s.blobs, Tokens: s.tokens, MaxBlob: int64(s.site.Limits.Artifact)}).Routes(r)
	r.Handle(upstream.Prefix+"*", s.up)
	for _, g := range s.site.Gerrit {
		secret, err := g.WebhookSecret.Reveal()
		if err != nil {
			continue
		}
		r.Handle("/hooks/gerrit/"+g.Name, &gerrit.Webhook{Secret: secret, OnEvent: func(ctx context.Context, ev gerrit.Event) error {
			return s.engine.Event(ctx, g.Name, ev)
		}})
	}
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	r.Get("/test/{buildset}/{release}/{dist}/*", func(w http.ResponseWriter, r *http.Request) {
		var id int64
		fmt.Sscan(chi.URLParam(r, "buildset"), &id)
		t, err := s.db.store.TestRepository(r.Context(), id, chi.URLParam(r, "release")+"/"+chi.URLParam(r, "dist"))
		s.serveManifest(w, r, t.Manifest, err)
	})
	r.Get("/publication/{id}/*", func(w http.ResponseWriter, r *http.Request) {
		var id int64
		fmt.Sscan(chi.URLParam(r, "id"), &id)
		p, err := s.db.store.Publication(r.Context(), id)
		s.serveManifest(w, r, p.Manifest, err)
	})
	r.Get("/repo/{release}/{dist}/{channel}/*", func(w http.ResponseWriter, r *http.Request) {
		rp, err := s.db.store.Repository(r.Context(), strings.Join([]string{chi.URLParam(r, "release"), chi.URLParam(r, "dist"), chi.URLParam(r, "channel")}, "/"))
		if err != nil || rp.Publication == nil {
			http.NotFound(w, r)
			return
		}
		p, err := s.db.store.Publication(r.Context(), *rp.Publication)
		s.serveManifest(w, r, p.Manifest, err)
	})
	return r
}

func (s *service) serveManifest(w http.ResponseWriter, r *http.Request, manifest string, err error) {
	if err != nil {
		http.NotFound(w, r)
		return
	}
	m, err := repo.LoadManifest(r.Context(), s.blobs, blob.Digest(manifest))
	if err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	f, _, err := repo.Open(r.Context(), s.blobs, m, manifestPath(r))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	http.ServeContent(w, r, "", m.Publication.Date, f)
}

// manifestPath is the part of the path behind the route's fixed one, decoded.
func manifestPath(r *http.Request) string {
	rest := chi.URLParam(r, "*")
	if u, err := url.PathUnescape(rest); err == nil {
		rest = u
	}
	return rest
}
