// Package webtest is a service of canned answers behind the page, in the
// contract's own types: for the tests of package web and for web/devserver. It
// answers what api/openapi.yaml lets anybody read, serves the page under the
// Content-Security-Policy of the real service, and can be told to change, to
// tell that it changed, and to be out of reach.
package webtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"sluice/api"
)

// csp is what internal/api sends too.
const csp = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// World is all that the service knows.
type World struct {
	Status       api.Status
	Queues       []api.Queue
	Changes      []api.Change // newest first
	Buildsets    map[int64]*api.Buildset
	Jobs         map[int64]*api.Job
	Logs         map[int64]*Log // by the job
	Repositories []api.Repository
}

// Log is what a job has written.
type Log struct {
	Text  []byte
	Ended bool
}

// Service serves a world.
type Service struct {
	page    fs.FS
	mu      sync.Mutex // guards what is below
	world   *World
	down    bool
	mute    bool
	streams map[chan string]func() // of notices, with what cuts each
	cutLogs chan struct{}          // closed and made anew to break the logs' streams
	changed chan struct{}          // closed and made anew with each change
	asked   map[string]int         // requests by path
}

// New serves the page with a world.
func New(page fs.FS, w *World) *Service {
	return &Service{page: page, world: w, streams: map[chan string]func(){}, changed: make(chan struct{}), cutLogs: make(chan struct{}), asked: map[string]int{}}
}

// Change changes the world, and tells it: "queue main", "job 7".
func (s *Service) Change(f func(*World), notices ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.world)
	close(s.changed)
	s.changed = make(chan struct{})
	for _, n := range notices {
		for c := range s.streams {
			select {
			case c <- n:
			default:
			}
		}
	}
}

// Down cuts all streams of notices and refuses every request of the API, or
// ends that.
func (s *Service) Down(down bool) { s.refuse(&s.down, down) }

// Mute cuts all streams of notices and refuses new ones, or ends that.
func (s *Service) Mute(mute bool) { s.refuse(&s.mute, mute) }

func (s *Service) refuse(what *bool, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*what = on
	if on {
		for _, cut := range s.streams {
			cut()
		}
	}
}

// CutLogs breaks the streams of all logs, as a network does.
func (s *Service) CutLogs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.cutLogs)
	s.cutLogs = make(chan struct{})
}

// Asked says how often a path of the API was read.
func (s *Service) Asked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// Listeners says how many pages listen to notices.
func (s *Service) Listeners() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Handler answers the page's requests.
func (s *Service) Handler() http.Handler {
	r := chi.NewRouter()
	r.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", csp)
			w.Header().Set("Cache-Control", "no-cache")
			next.ServeHTTP(w, r)
		})
	})
	r.Route("/api/v1", func(r chi.Router) {
		r.Use(s.counted)
		r.Get("/events", s.events)
		r.Get("/jobs/{id}/log", s.log)
		for pattern, f := range s.answers() {
			r.Get(pattern, s.answer(f))
		}
	})
	index := func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, s.page, "index.html") }
	for _, p := range []string{"/queue/*", "/change/*", "/changes", "/buildset/*", "/job/*", "/repositories", "/repository/*", "/workers", "/nowhere"} {
		r.Get(p, index)
	}
	r.Handle("/*", http.FileServerFS(s.page))
	return r
}

func (s *Service) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked[r.URL.Path]++
		down := s.down || s.mute && strings.HasSuffix(r.URL.Path, "/events")
		s.mu.Unlock()
		if down {
			problem(w, http.StatusServiceUnavailable, "the database is out of reach", "It is asked again each second.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Service) answer(f func(*World, *http.Request) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		data, err := encode(f(s.world, r))
		s.mu.Unlock()
		switch {
		case err != nil:
			problem(w, http.StatusInternalServerError, "the answer cannot be written", err.Error())
		case string(data) == "null":
			problem(w, http.StatusNotFound, "no such thing", "It is not there, or it is not shown.")
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(data)
		}
	}
}

func problem(w http.ResponseWriter, status int, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Problem{Status: status, Title: title, Detail: &detail})
}

// answers are the readings of the contract that are one answer each; nil is "not found".
func (s *Service) answers() map[string]func(*World, *http.Request) any {
	return map[string]func(*World, *http.Request) any{
		"/status": func(w *World, _ *http.Request) any {
			st := w.Status
			st.Queues = summaries(w)
			return st
		},
		"/queues":                    func(w *World, _ *http.Request) any { return summaries(w) },
		"/queues/{name}":             oneQueue,
		"/changes":                   changes,
		"/changes/{gerrit}/{number}": oneChange,
		"/buildsets/{id}":            func(w *World, r *http.Request) any { return orNil(w.Buildsets[id(r)]) },
		"/jobs/{id}":                 func(w *World, r *http.Request) any { return orNil(w.Jobs[id(r)]) },
		"/repositories":              repositories,
		"/repositories/{release}/{dist}/{channel}": oneRepository,
	}
}

func orNil[T any](v *T) any {
	if v == nil {
		return nil
	}
	return v
}

func id(r *http.Request) int64 {
	n, _ := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	return n
}

func summaries(w *World) []api.QueueSummary {
	out := []api.QueueSummary{}
	for _, q := range w.Queues {
		if q.Kind == "dependent" {
			out = append(out, api.QueueSummary{Name: q.Name, Items: len(q.Items), Active: min(len(q.Items), q.Window), Window: q.Window, Paused: q.Paused})
		}
	}
	return out
}

func oneQueue(w *World, r *http.Request) any {
	for i := range w.Queues {
		if strings.EqualFold(w.Queues[i].Name, unescaped(chi.URLParam(r, "name"))) {
			return w.Queues[i]
		}
	}
	return nil
}

func unescaped(s string) string { return strings.ReplaceAll(s, "%2F", "/") }

func changes(w *World, r *http.Request) any {
	out := []api.ChangeSummary{}
	for _, c := range w.Changes {
		if open := r.URL.Query().Get("open"); open == "" || (c.Change.Status == api.Open) == (open == "true") {
			out = append(out, c.Change)
		}
	}
	return out
}

func oneChange(w *World, r *http.Request) any {
	for _, c := range w.Changes {
		if c.Change.Gerrit == chi.URLParam(r, "gerrit") && strconv.Itoa(c.Change.Number) == chi.URLParam(r, "number") {
			return c
		}
	}
	return nil
}

func repositories(w *World, _ *http.Request) any {
	out := []api.RepositorySummary{}
	for _, r := range w.Repositories {
		out = append(out, r.Repository)
	}
	return out
}

func oneRepository(w *World, r *http.Request) any {
	for _, one := range w.Repositories {
		if one.Repository.Name == chi.URLParam(r, "release")+"/"+chi.URLParam(r, "dist")+"/"+chi.URLParam(r, "channel") {
			return one
		}
	}
	return nil
}

// events sends notices as the real service does: reset first.
func (s *Service) events(w http.ResponseWriter, r *http.Request) {
	notices, cut := make(chan string, 1000), make(chan struct{})
	s.mu.Lock()
	s.streams[notices] = sync.OnceFunc(func() { close(cut) })
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, notices)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	to := http.NewResponseController(w)
	fmt.Fprint(w, "retry: 200\nevent: reset\ndata: \n\n")
	for to.Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-cut:
			return
		case n := <-notices:
			kind, of, _ := strings.Cut(n, " ")
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, of)
		}
	}
}

// log sends a job's log from an offset, and what comes.
func (s *Service) log(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	follow := r.URL.Query().Get("follow") == "true"
	to := http.NewResponseController(w)
	began := false
	for {
		s.mu.Lock()
		var text []byte
		l, changed, cut := s.world.Logs[id(r)], s.changed, s.cutLogs
		ended := !follow
		if l != nil {
			text, ended = bytes.Clone(l.Text[min(from, len(l.Text)):]), ended || l.Ended
		}
		s.mu.Unlock()
		if l == nil && !follow {
			problem(w, http.StatusNotFound, "no log", "The job has no such attempt.")
			return
		}
		if l != nil && !began {
			began = true
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Sluice-Job", chi.URLParam(r, "id"))
			w.Header().Set("Sluice-Attempt", "1")
			w.Header().Set("Sluice-Offset", strconv.Itoa(from))
		}
		if _, err := w.Write(text); err != nil {
			return
		}
		from += len(text)
		_ = to.Flush()
		if ended {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-cut:
			panic(http.ErrAbortHandler)
		case <-changed:
		}
	}
}

// encode writes JSON in which a list is never null.
func encode(v any) ([]byte, error) {
	if v == nil {
		return []byte("null"), nil
	}
	p := reflect.New(reflect.TypeOf(v))
	p.Elem().Set(reflect.ValueOf(v))
	fill(p.Elem())
	return json.Marshal(p.Interface())
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fill(v.Elem())
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		if v.IsNil() && v.CanSet() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			fill(v.Index(i))
		}
	}
}
