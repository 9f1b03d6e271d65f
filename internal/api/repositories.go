package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"sluice/internal/blob"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/release"
	"sluice/internal/repo"
)

// A repository is served from a manifest: path → blob. /publication/ID/ is one
// publication for ever, /test/BUILDSET/TARGET/ a test repository, and
// /repo/TARGET/CHANNEL/ what the repository's pointer points at.
//
// A pointer that moves between two requests of one RPM client would give it an
// index and a signature that do not fit (see repo.Pins). So an RPM client is
// served, for the length of a burst of requests, what the pointer pointed at
// when the burst began.

// movesShown is how many moves of a pointer a burst can have begun before.
const movesShown = 50

// immutable is how long clients and proxies may keep what never changes.
const immutable = "public, max-age=31536000, immutable"

func (s *server) repositoryRoutes(r chi.Router) {
	both := func(pattern string, h http.HandlerFunc) {
		r.Get(pattern, h)
		r.Head(pattern, h)
	}
	both("/publication/{id}/*", s.servePublication)
	both("/test/{buildset}/{release}/{dist}/*", s.serveTest)
	both("/repo/{release}/{dist}/{channel}/*", s.serveRepository)
	for _, pattern := range []string{"/publication/{id}", "/test/{buildset}/{release}/{dist}", "/repo/{release}/{dist}/{channel}"} {
		both(pattern, addSlash)
	}
}

// addSlash sends to the folder, so that relative links in its listing work.
func addSlash(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, r.URL.EscapedPath()+"/", http.StatusMovedPermanently)
}

func number(r *http.Request, name string) int64 {
	n, _ := strconv.ParseInt(chi.URLParam(r, name), 10, 64) // 0 is nobody's number
	return n
}

// missing answers 404 in plain text, or says that the service failed.
func (s *server) missing(w http.ResponseWriter, r *http.Request, err error, what string) {
	switch {
	case errors.Is(err, record.ErrNotFound), errors.Is(err, repo.ErrNotFound):
		http.Error(w, "404: "+what, http.StatusNotFound)
	case r.Context().Err() != nil:
	default:
		s.Log.Error("a repository cannot be served", "path", r.URL.Path, "error", err)
		http.Error(w, "503: the service cannot read this now; its log says why", http.StatusServiceUnavailable)
	}
}

func (s *server) servePublication(w http.ResponseWriter, r *http.Request) {
	p, err := s.Store.Publication(r.Context(), number(r, "id"))
	if err != nil {
		s.missing(w, r, err, "no publication has this number")
		return
	}
	s.serveTree(w, r, tree{manifest: p.Manifest, forever: true})
}

func (s *server) serveTest(w http.ResponseWriter, r *http.Request) {
	id, target := number(r, "buildset"), chi.URLParam(r, "release")+"/"+chi.URLParam(r, "dist")
	t, err := s.Store.TestRepository(r.Context(), id, target)
	if err != nil {
		s.missing(w, r, err, "this buildset has no test repository for this target, or it has been removed")
		return
	}
	_, text := s.testSources(id, target)
	s.serveTree(w, r, tree{manifest: t.Manifest, sources: text, format: s.format(target)})
}

func (s *server) serveRepository(w http.ResponseWriter, r *http.Request) {
	name := strings.Join([]string{chi.URLParam(r, "release"), chi.URLParam(r, "dist"), chi.URLParam(r, "channel")}, "/")
	rp, err := s.Store.Repository(r.Context(), name)
	if err == nil && rp.Publication == nil {
		err = record.ErrNotFound
	}
	if err != nil {
		s.missing(w, r, err, "there is no such repository, or nothing has been published in it yet")
		return
	}
	manifest, err := s.current(r, rp)
	if err != nil {
		s.missing(w, r, err, "the publication is gone")
		return
	}
	_, text := s.releaseSources(rp)
	s.serveTree(w, r, tree{manifest: manifest, sources: text, format: rp.Format})
}

// current gives the manifest that a client is served of a repository.
func (s *server) current(r *http.Request, rp record.Repository) (string, error) {
	if rp.Format == job.RPM {
		moves, err := s.Store.PointerMoves(r.Context(), rp.Name, movesShown)
		if err != nil {
			return "", err
		}
		if m, ok := s.pins.choose(rp.Name, r, s.Now(), moves); ok {
			return m.Manifest, nil
		}
	}
	p, err := s.Store.Publication(r.Context(), *rp.Publication)
	return p.Manifest, err
}

// pinned remembers what the clients in a burst are served. A move's time is
// that of its transaction's begin: one that began before a burst and became
// visible within it must not change what the burst is served.
type pinned struct {
	pins   *repo.Pins
	mu     sync.Mutex // guards chosen
	chosen map[burst]record.PointerMove
}

type burst struct {
	repository, client, agent string
	began                     time.Time
}

func (p *pinned) choose(repository string, r *http.Request, now time.Time, moves []record.PointerMove) (record.PointerMove, bool) {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	began := p.pins.As(client+" "+repository, r.UserAgent(), now)
	p.mu.Lock()
	defer p.mu.Unlock()
	key := burst{repository, client, r.UserAgent(), began}
	if m, ok := p.chosen[key]; ok {
		return m, true
	}
	m, ok := release.AsOf(moves, func(m record.PointerMove) time.Time { return m.At }, began)
	if !ok {
		return m, false
	}
	for k := range p.chosen {
		if now.Sub(k.began) > repo.PinMost+repo.PinIdle {
			delete(p.chosen, k)
		}
	}
	if p.chosen == nil {
		p.chosen = map[burst]record.PointerMove{}
	}
	p.chosen[key] = m
	return m, true
}

// tree is a repository to serve.
type tree struct {
	manifest string
	forever  bool   // nothing below ever changes
	sources  string // what a client writes to use it; "" for none
	format   job.Format
}

func (t tree) sourcesName() string {
	if t.format == job.RPM {
		return "sluice.repo"
	}
	return "sluice.sources"
}

// below is the part of a path behind the route's own, decoded: where a client
// encodes what need not be (apt asks for %7e), the router matches the path as
// it was sent.
func below(r *http.Request) (string, error) {
	name := chi.URLParam(r, "*")
	if r.URL.RawPath == "" {
		return name, nil
	}
	return url.PathUnescape(name)
}

// serveTree answers for a path below a repository: a file, what a client
// writes, or a folder's listing.
func (s *server) serveTree(w http.ResponseWriter, r *http.Request, t tree) {
	name, err := below(r)
	if err != nil {
		http.Error(w, "404: the path is not one: "+err.Error(), http.StatusNotFound)
		return
	}
	m, err := s.manifests.load(r.Context(), blob.Digest(t.manifest))
	if err != nil {
		s.missing(w, r, err, "the publication's manifest is gone")
		return
	}
	if t.sources != "" && name == t.sourcesName() {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(t.sources))
		return
	}
	if name == "" || strings.HasSuffix(name, "/") {
		s.serveFolder(w, r, m, name, t)
		return
	}
	f, entry, err := repo.Open(r.Context(), s.Blobs, m, name)
	if errors.Is(err, repo.ErrNotFound) && len(folder(m, name+"/")) > 0 {
		addSlash(w, r)
		return
	}
	if err != nil {
		s.missing(w, r, err, "this repository has no such file")
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", repo.ContentType(name))
	h.Set("ETag", fmt.Sprintf("%q", entry.SHA256))
	h.Set("Cache-Control", "no-cache")
	if t.forever || repo.Immutable(name) {
		h.Set("Cache-Control", immutable)
	}
	http.ServeContent(w, r, "", m.Publication.Date, f)
}

// format is a target's package format.
func (s *server) format(target string) job.Format {
	if t, ok := s.Site.Target(target); ok {
		if d, ok := s.Site.Dist(t.Dist); ok {
			return d.Format
		}
	}
	return job.DEB
}
