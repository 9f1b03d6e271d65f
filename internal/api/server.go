package api

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	contract "sluice/api"
	"sluice/internal/blob"
	"sluice/internal/config"
	"sluice/internal/gate"
)

const (
	maxRequest  = 64 << 10         // bytes of a request to the API
	readTimeout = 30 * time.Second // of one answer of the API that is no stream
)

// Options is what the server is made of. What is marked optional may be nil.
type Options struct {
	Site    *config.Site
	Version string
	Store   Store
	Blobs   blob.Store
	Feed    Feed
	// Facts gives state and facts of a queue as a decision would see them now.
	Facts     func(ctx context.Context, queue string) (gate.State, gate.Facts, error)
	Estimates Estimates // optional
	// Model is what was measured of the world, for a simulation of a queue; optional.
	Model func(ctx context.Context, state gate.State) (m gate.Model, known bool, err error)
	// ReleaseKey and TestKey are the armoured public keys of the repositories.
	ReleaseKey, TestKey string
	Workers             *Workers                               // optional
	Streams             func() []StreamState                   // optional
	Gerrits             map[string]func(context.Context) error // optional: asks each Gerrit whether it is there
	Hooks               map[string]http.Handler                // optional: by the Gerrit's name
	Upstream            http.Handler                           // optional: answers below /upstream/
	Page                fs.FS                                  // optional: index.html and what it needs
	Log                 *slog.Logger
	Now                 func() time.Time // optional: time.Now
	// AnswerWait is how long a command waits for its queue's decision; 0: 3 s.
	AnswerWait time.Duration
	// Heartbeat is the time between two signs of life of an event stream; 0: 15 s.
	Heartbeat time.Duration
	// Patience is how long a client may take to read a piece of a stream; 0: 20 s.
	Patience time.Duration
}

// StreamState is how the events of one Gerrit are heard.
type StreamState struct {
	Gerrit    string
	Connected bool
	Since     time.Time
	Err       string // why it is not connected
}

// server answers the requests.
type server struct {
	Options
	operators []operator
	all       Store // without regard for who asks: only where a key or a lease says that he may
	manifests *manifests
}

// Handler is everything under the service's one address. An error is a secret
// of the site that cannot be read.
func Handler(o Options) (http.Handler, error) {
	s := &server{Options: o, manifests: newManifests(o.Blobs, 64)}
	s.all, s.Store = o.Store, visible{o.Store}
	s.Facts = s.facts(o.Facts)
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.AnswerWait == 0 {
		s.AnswerWait = 3 * time.Second
	}
	if s.Heartbeat == 0 {
		s.Heartbeat = 15 * time.Second
	}
	if s.Patience == 0 {
		s.Patience = 20 * time.Second
	}
	var err error
	if s.operators, err = readOperators(o.Site); err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	r.Use(s.logged, s.recovered, secured, readable, s.identified)
	refuses(r)
	s.health(r)
	s.repositoryRoutes(r)
	s.blobRoutes(r)
	if o.Workers != nil {
		o.Workers.Routes(r)
	}
	for name, h := range o.Hooks {
		r.Handle("/hooks/gerrit/"+name, h)
	}
	if o.Upstream != nil {
		r.Handle("/upstream/*", o.Upstream)
	}
	if err := s.contract(r); err != nil {
		return nil, err
	}
	if err := s.pageRoutes(r); err != nil {
		return nil, err
	}
	return r, nil
}

// contract serves api/openapi.yaml. Who asks for what is not there, or by a
// method that is not for it, is told so before he is asked who he is.
func (s *server) contract(r chi.Router) error {
	ops, err := readOperations()
	if err != nil {
		return err
	}
	r = r.With(middleware.Compress(5, "application/json"), limited)
	r.Get("/api/v1/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(contract.Spec)
	})
	strict := contract.NewStrictHandlerWithOptions(s, nil, contract.StrictHTTPServerOptions{
		RequestErrorHandlerFunc: badRequest, ResponseErrorHandlerFunc: s.failed,
	})
	contract.HandlerWithOptions(strict, contract.ChiServerOptions{BaseRouter: r.With(ops.operate, ops.strict), ErrorHandlerFunc: badRequest})
	return nil
}

// methods are all that are asked for; a router tells which it has for a path.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	http.MethodOptions, http.MethodConnect, http.MethodTrace,
}

// refuses has a router say of a path that it is not there, and of one that is
// there for other methods, for which.
func refuses(r chi.Router) {
	absent := func(w http.ResponseWriter, q *http.Request) {
		problem(w, http.StatusNotFound, "no such path", "there is nothing at "+q.URL.Path+"; /api/v1/openapi.yaml says what is")
	}
	r.NotFound(absent)
	r.MethodNotAllowed(func(w http.ResponseWriter, q *http.Request) {
		path := q.URL.RawPath
		if path == "" {
			path = q.URL.Path
		}
		allowed := slices.DeleteFunc(slices.Clone(methods), func(m string) bool { return !r.Match(chi.NewRouteContext(), m, path) })
		if len(allowed) == 0 {
			absent(w, q)
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		problem(w, http.StatusMethodNotAllowed, "no such method", q.Method+" is not for "+q.URL.Path+", but "+strings.Join(allowed, ", "))
	})
}

// capability is the form of leases and of the keys of test repositories: who
// knows one may do what it stands for. Digests are longer.
var capability = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

// logPath is a request's path as it may be in a log: without the query and
// without what a reader could use.
func logPath(r *http.Request) string { return capability.ReplaceAllString(r.URL.Path, "…") }

// logged writes a line for each request.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.Now()
		to := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() {
			level := slog.LevelDebug
			if to.Status() >= 500 || r.Method == http.MethodPost && !strings.HasPrefix(r.URL.Path, "/worker/") {
				level = slog.LevelInfo
			}
			s.Log.Log(r.Context(), level, "request", "method", r.Method, "path", logPath(r), "status", to.Status(),
				"bytes", to.BytesWritten(), "took", s.Now().Sub(began), "from", r.RemoteAddr)
		}()
		next.ServeHTTP(to, r)
	})
}

// recovered keeps a mistake in one request from ending the service.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause == http.ErrAbortHandler {
				panic(cause)
			}
			s.Log.Error("a request panicked", "method", r.Method, "path", logPath(r), "cause", cause, "stack", string(debug.Stack()))
			problem(w, http.StatusInternalServerError, "the service failed", "the cause is in its log")
		}()
		next.ServeHTTP(w, r)
	})
}

// secured says to browsers what they may do with what they get.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// readable refuses paths and queries that hold what no name can: Postgres
// stores it in no text.
func readable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		texts := []string{r.URL.Path}
		if again, err := url.PathUnescape(r.URL.Path); err == nil { // as the contract's router reads a parameter
			texts = append(texts, again)
		}
		for name, values := range r.URL.Query() {
			texts = append(append(texts, name), values...)
		}
		if slices.ContainsFunc(texts, unstorable) {
			problem(w, http.StatusBadRequest, "not a text", "the path or the query holds a NUL, or is not UTF-8")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unstorable reports whether Postgres would refuse a text.
func unstorable(text string) bool { return strings.ContainsRune(text, 0) || !utf8.ValidString(text) }

// limited bounds what a request may send and, unless it streams, how long it takes.
func limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		w.Header().Set("Cache-Control", "no-cache")
		if !strings.HasSuffix(r.URL.Path, "/events") && !strings.HasSuffix(r.URL.Path, "/log") {
			ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}
