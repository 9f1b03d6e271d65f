package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"sluice/internal/blob"
	"sluice/internal/job"
	"sluice/internal/record"
)

// Leases is what the worker API needs of the service (api/worker.yaml).
type Leases interface {
	Claim(ctx context.Context, w record.Worker, lease string) (*job.Spec, error)
	Renew(ctx context.Context, lease string) (cancel bool, err error)
	AppendLog(ctx context.Context, lease string, start int64, data []byte) (int64, error)
	Finish(ctx context.Context, lease string, res job.Result) error
}

// Waits lets requests wait for what happens.
type Waits interface {
	// Jobs is signalled when a job can be claimed; Cancels gives leases whose job was cancelled.
	Jobs() (signal <-chan struct{}, stop func())
	Cancels() (leases <-chan string, stop func())
}

// WorkerToken is a worker by its token.
type WorkerToken struct {
	Name   string
	Token  string
	Labels []string
}

// maxLogChunk bounds a chunk of a log, in bytes.
const maxLogChunk = 8 << 20

// Workers serves the worker API.
type Workers struct {
	Leases  Leases
	Waits   Waits
	Blobs   blob.Store
	Tokens  []WorkerToken
	MaxBlob int64 // bytes
}

// Routes mounts the worker API on r.
func (s *Workers) Routes(r chi.Router) {
	r = r.With(s.authenticate)
	r.Post("/worker/v1/claim", s.claim)
	r.Post("/worker/v1/leases/{lease}/renew", s.renew)
	r.Get("/worker/v1/leases/{lease}/cancelled", s.cancelled)
	r.Post("/worker/v1/leases/{lease}/log", s.log)
	r.Post("/worker/v1/leases/{lease}/finish", s.finish)
	r.Put("/worker/v1/leases/{lease}/blobs/{digest}", s.putBlob)
	r.Head("/worker/v1/leases/{lease}/blobs/{digest}", s.headBlob)
	r.Get("/worker/v1/blobs/{digest}", s.getBlob)
}

type workerKey struct{}

func (s *Workers) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := sha256.Sum256([]byte(bearer(r)))
		for _, t := range s.Tokens {
			want := sha256.Sum256([]byte(t.Token))
			if t.Token != "" && subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), workerKey{}, t)))
				return
			}
		}
		problem(w, http.StatusUnauthorized, "no such worker", "the token is not one of the site file's workers")
	})
}

// bearer gives the token of a request, or "".
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// problem answers with an error as application/problem+json (RFC 9457).
func problem(w http.ResponseWriter, status int, title, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": title, "detail": detail})
}

// leaseProblem answers for an error under a lease.
func leaseProblem(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, record.ErrStale), errors.Is(err, record.ErrNotFound):
		problem(w, http.StatusGone, "the lease is over", "another attempt may be running; kill this one")
	case errors.Is(err, record.ErrGap):
		problem(w, http.StatusConflict, "a gap in the log", err.Error())
	case errors.Is(err, context.Canceled):
		problem(w, http.StatusServiceUnavailable, "interrupted", "the service is stopping; try again")
	default:
		problem(w, http.StatusInternalServerError, "the service failed", err.Error())
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Workers) claim(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Labels, Architectures []string
		Version               string
		Wait                  int
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		badRequest(w, r, fmt.Errorf("not a claim: %w", err))
		return
	}
	if slices.ContainsFunc(append(in.Architectures, in.Version), unstorable) {
		problem(w, http.StatusBadRequest, "not a claim", "an architecture or the version holds a NUL")
		return
	}
	if in.Labels == nil || len(in.Architectures) == 0 || in.Wait < 0 || in.Wait > 60 {
		problem(w, http.StatusBadRequest, "not a claim", "labels and architectures say what the worker offers, and wait is from 0 to 60 seconds")
		return
	}
	token := r.Context().Value(workerKey{}).(WorkerToken)
	worker := record.Worker{Name: token.Name, Architectures: in.Architectures, Version: in.Version, Labels: allowed(in.Labels, token.Labels)}
	signal, stop := s.Waits.Jobs()
	defer stop()
	deadline := time.NewTimer(time.Duration(in.Wait) * time.Second)
	defer deadline.Stop()
	for {
		spec, err := s.Leases.Claim(r.Context(), worker, newLease())
		if err != nil {
			leaseProblem(w, err)
			return
		}
		if spec != nil {
			answer(w, spec)
			return
		}
		select {
		case <-signal:
		case <-time.After(5 * time.Second): // a retry that has become due
		case <-deadline.C:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// allowed keeps the labels that the site lets the worker have.
func allowed(offered, site []string) []string {
	var out []string
	for _, o := range offered {
		for _, s := range site {
			if o == s {
				out = append(out, o)
			}
		}
	}
	return out
}

func newLease() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

func (s *Workers) renew(w http.ResponseWriter, r *http.Request) {
	cancel, err := s.Leases.Renew(r.Context(), chi.URLParam(r, "lease"))
	if err != nil {
		leaseProblem(w, err)
		return
	}
	answer(w, map[string]bool{"cancel": cancel})
}

// cancelled is the long poll by which a cancel reaches the worker at once.
func (s *Workers) cancelled(w http.ResponseWriter, r *http.Request) {
	lease := chi.URLParam(r, "lease")
	leases, stop := s.Waits.Cancels()
	defer stop()
	cancel, err := s.Leases.Renew(r.Context(), lease)
	if err != nil {
		leaseProblem(w, err)
		return
	}
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for !cancel {
		select {
		case l := <-leases:
			cancel = l == lease
		case <-deadline.C:
			answer(w, map[string]bool{"cancel": false})
			return
		case <-r.Context().Done():
			return
		}
	}
	answer(w, map[string]bool{"cancel": true})
}

func (s *Workers) log(w http.ResponseWriter, r *http.Request) {
	start, err := strconv.ParseInt(r.URL.Query().Get("start"), 10, 64)
	if err != nil || start < 0 {
		problem(w, http.StatusBadRequest, "no offset", "start is the byte offset of the chunk in the log")
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLogChunk))
	if err != nil {
		badRequest(w, r, fmt.Errorf("the chunk: %w", err))
		return
	}
	if _, err := s.Leases.AppendLog(r.Context(), chi.URLParam(r, "lease"), start, data); err != nil {
		leaseProblem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Workers) finish(w http.ResponseWriter, r *http.Request) {
	var res job.Result
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<20))
	if err == nil {
		err = json.Unmarshal(escapes.ReplaceAllFunc(body, withoutNUL), &res)
	}
	if err == nil && !res.Outcome.Valid() {
		err = fmt.Errorf("outcome %.40q: it is passed, failed, error, cancelled or not_applicable", res.Outcome)
	}
	if err != nil {
		badRequest(w, r, fmt.Errorf("not a result: %w", err))
		return
	}
	if err := s.Leases.Finish(r.Context(), chi.URLParam(r, "lease"), res); err != nil {
		leaseProblem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// escapes are the backslash and the NUL as JSON writes them.
var escapes = regexp.MustCompile(`\\(\\|u0000)`)

// withoutNUL replaces the one character that Postgres stores in no text.
func withoutNUL(escape []byte) []byte {
	if string(escape) == `\u0000` {
		return []byte(`\ufffd`)
	}
	return escape
}

func (s *Workers) digest(w http.ResponseWriter, r *http.Request) (blob.Digest, bool) {
	d, err := blob.ParseDigest(chi.URLParam(r, "digest"))
	if err != nil {
		problem(w, http.StatusBadRequest, "not a digest", err.Error())
		return "", false
	}
	return d, true
}

func (s *Workers) putBlob(w http.ResponseWriter, r *http.Request) {
	d, ok := s.digest(w, r)
	if !ok {
		return
	}
	if _, err := s.Leases.Renew(r.Context(), chi.URLParam(r, "lease")); err != nil {
		leaseProblem(w, err)
		return
	}
	if _, _, err := s.Blobs.Put(r.Context(), http.MaxBytesReader(w, r.Body, s.MaxBlob), d); err != nil {
		badRequest(w, r, fmt.Errorf("the file was not stored: %w", err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Workers) headBlob(w http.ResponseWriter, r *http.Request) {
	d, ok := s.digest(w, r)
	if !ok {
		return
	}
	if _, err := s.Blobs.Stat(r.Context(), d); err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Workers) getBlob(w http.ResponseWriter, r *http.Request) {
	d, ok := s.digest(w, r)
	if !ok {
		return
	}
	f, size, err := s.Blobs.Open(r.Context(), d)
	if err != nil {
		problem(w, http.StatusNotFound, "no such blob", fmt.Sprintf("%s: %v", d, err))
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	_, _ = io.Copy(w, f)
}
