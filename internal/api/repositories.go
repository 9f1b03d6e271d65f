package api

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"sluice/internal/blob"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/repo"
)

// A repository is served from a manifest: path → blob. /publication/ID/ is one
// publication for ever, /test/BUILDSET/TARGET/ a test repository, and
// /repo/TARGET/CHANNEL/ what the repository's pointer points at.
//
// A pointer that moves between two requests of one RPM client would give it an
// index and a signature that do not fit. So what we hand out to RPM clients is no
// baseurl but the address of a list of mirrors, mirrorList: at the begin of each
// run it names the present publication, from which the client then reads all.
// No replica has to know what another one has answered.

// mirrorList is the file of an RPM repository that names its present publication.
const mirrorList = "mirrorlist"

// immutable is how long clients and proxies may keep what never changes.
const immutable = "public, max-age=31536000, immutable"

func (s *server) repositoryRoutes(r chi.Router) {
	r = r.With(recognized)
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
		s.Log.Error("a repository cannot be served", "path", logPath(r), "error", err)
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
	t, err := s.testAsked(r)
	if err != nil {
		s.missing(w, r, err, "this buildset has no test repository for this target, or it has been removed")
		return
	}
	_, text := s.testSources(t)
	s.serveTree(w, r, tree{manifest: t.Manifest, sources: text, format: s.format(t.Target), private: t.Restricted})
}

// leaseHeader is how a worker shows for which attempt it fetches.
const leaseHeader = "Sluice-Lease"

// testAsked gives the test repository that a request means, if who asks may have
// it: everybody may who knows its key, and a job that was told to read it. For
// all others a restricted one is not there (G25).
func (s *server) testAsked(r *http.Request) (record.TestRepository, error) {
	ctx, target := r.Context(), chi.URLParam(r, "release")+"/"+chi.URLParam(r, "dist")
	id, key, keyed := strings.Cut(chi.URLParam(r, "buildset"), "-")
	buildset, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return record.TestRepository{}, record.ErrNotFound
	}
	t, err := s.all.TestRepository(ctx, buildset, target)
	switch {
	case err != nil, !t.Restricted && !keyed, !keyed && viewing(ctx).restricted:
		return t, err
	case keyed && subtle.ConstantTimeCompare([]byte(key), []byte(t.Key)) == 1:
		return t, nil
	}
	if lease := r.Header.Get(leaseHeader); lease != "" && !keyed {
		if reads, err := s.Store.LeaseReads(ctx, lease, t.Path()); err != nil || reads {
			return t, err
		}
	}
	return record.TestRepository{}, record.ErrNotFound
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
	if rp.Format == job.RPM && chi.URLParam(r, "*") == mirrorList {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintln(w, s.address("/publication/%d/", *rp.Publication))
		return
	}
	p, err := s.Store.Publication(r.Context(), *rp.Publication)
	if err != nil {
		s.missing(w, r, err, "the publication is gone")
		return
	}
	_, text := s.releaseSources(rp)
	s.serveTree(w, r, tree{manifest: p.Manifest, sources: text, format: rp.Format})
}

// tree is a repository to serve.
type tree struct {
	manifest string
	forever  bool   // nothing below ever changes
	private  bool   // not for a cache that others share
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
	switch {
	case t.private:
		h.Set("Cache-Control", "private, no-store")
	case t.forever || repo.Immutable(name):
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
