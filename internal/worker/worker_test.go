package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/job"
)

// service is the least of a service: it keeps logs and blobs, and can fail.
type service struct {
	mu    sync.Mutex // guards all below
	log   bytes.Buffer
	blobs map[string][]byte
	fails int  // so many requests are answered with 503
	gone  bool // leases are over
	paths []string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	body, _ := io.ReadAll(r.Body)
	last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch {
	case s.fails > 0:
		s.fails--
		http.Error(w, "busy", http.StatusServiceUnavailable)
	case s.gone:
		w.WriteHeader(http.StatusGone)
	case last == "log":
		start, _ := strconv.Atoi(r.URL.Query().Get("start"))
		if start != s.log.Len() {
			http.Error(w, fmt.Sprintf("a gap: %d, not %d", start, s.log.Len()), http.StatusConflict)
			return
		}
		s.log.Write(body)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		s.blobs[last] = body
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodHead && s.blobs[last] != nil:
		w.WriteHeader(http.StatusNoContent)
	case s.blobs[last] != nil:
		_, _ = w.Write(s.blobs[last])
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func connect(t *testing.T) (*service, *client) {
	t.Helper()
	s := &service{blobs: map[string][]byte{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c, err := newClient(server.URL+"/", "secret", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// The log arrives whole and in order, though the service is busy now and then.
func TestLogArrivesWhole(t *testing.T) {
	s, c := connect(t)
	s.fails = 2
	stream := newStream(context.Background(), c, "lease", func(error) {})
	var want bytes.Buffer
	for i := range 5000 {
		line := fmt.Sprintf("line %d of a log that is longer than one chunk\n", i)
		want.WriteString(line)
		if _, err := io.WriteString(stream, line); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.log.Bytes(), want.Bytes()) {
		t.Errorf("%d of %d bytes arrived", s.log.Len(), want.Len())
	}
}

// A lease that is over ends the attempt; its log is lost without holding it up.
func TestLogUnderALeaseThatIsOver(t *testing.T) {
	s, c := connect(t)
	s.gone = true
	killed := make(chan error, 1)
	stream := newStream(context.Background(), c, "lease", func(err error) { killed <- err })
	_, _ = io.WriteString(stream, "late\n")
	if err := <-killed; !errors.Is(err, errGone) {
		t.Errorf("killed with %v", err)
	}
	if err := stream.Close(); !errors.Is(err, errGone) {
		t.Errorf("closed with %v", err)
	}
}

// What is stored is named by its digest; what is damaged on its way is noticed.
func TestBlobs(t *testing.T) {
	s, c := connect(t)
	b := blobs{c, "lease"}
	ctx := context.Background()
	f, err := b.Put(ctx, "a.deb", strings.NewReader("bytes"))
	sum := sha256.Sum256([]byte("bytes"))
	if err != nil || f.Size != 5 || string(f.Digest) != hex.EncodeToString(sum[:]) {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := b.Put(ctx, "b.deb", strings.NewReader("bytes")); err != nil {
		t.Fatal(err)
	}
	puts := 0
	for _, p := range s.paths {
		if strings.HasPrefix(p, "PUT") {
			puts++
		}
	}
	if puts != 1 {
		t.Errorf("sent %d times what the service had", puts)
	}
	read := func() (string, error) {
		r, err := b.Open(ctx, f.Digest)
		if err != nil {
			return "", err
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		return string(text), err
	}
	if text, err := read(); err != nil || text != "bytes" {
		t.Errorf("%q, %v", text, err)
	}
	s.blobs[string(f.Digest)] = []byte("bytez")
	if _, err := read(); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged: %v", err)
	}
	if _, err := b.Open(ctx, job.Digest(strings.Repeat("0", 64))); err == nil {
		t.Error("opened what is not there")
	}
}

// A sandbox reaches its job's repositories and nothing else, without the worker's token.
func TestOnlyTheJobsRepositories(t *testing.T) {
	s, c := connect(t)
	s.blobs["Packages"] = []byte("index")
	h, err := repositories{c, "lease"}.Handler(context.Background(), []job.Repository{{Path: "/test/7/juno/debian-12/"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/test/7/juno/debian-12/dists/Packages", 200},
		{"GET", "/test/8/juno/debian-12/dists/Packages", 403},
		{"GET", "/test/7/juno/debian-12/../../../8/Packages", 403},
		{"GET", "/test/7/juno/debian-12/%2e%2e/%2e%2e/Packages", 403},
		{"GET", "/worker/v1/blobs/Packages", 403},
		{"GET", "/test/7/juno/debian-1234/Packages", 403},
		{"PUT", "/test/7/juno/debian-12/dists/Packages", 405},
	} {
		answer := httptest.NewRecorder()
		req := httptest.NewRequest(r.method, r.path, nil)
		req.Header.Set("Authorization", "Bearer secret")
		h.ServeHTTP(answer, req)
		if answer.Code != r.want {
			t.Errorf("%s %s: %d, not %d", r.method, r.path, answer.Code, r.want)
		}
	}
	if len(s.paths) != 1 || strings.Contains(s.paths[0], "secret") {
		t.Errorf("the service was asked %q", s.paths)
	}
}

func TestAddress(t *testing.T) {
	if _, err := newClient("sluice.example.com", "x", ""); err == nil {
		t.Error("an address without a scheme is taken")
	}
}

// A refused token and an address that is no sluice end the worker; an outage does not, but for --once.
func TestClaimsThatAreRefused(t *testing.T) {
	for _, r := range []struct {
		name     string
		status   int
		answered bool
		opt      Options
		want     string // "": it goes on
	}{
		{"no such token", 401, true, Options{}, "token"},
		{"not a worker's token", 403, false, Options{}, "token"},
		{"no sluice", 404, false, Options{}, "no sluice at the address http://"},
		{"a sluice that is away", 404, true, Options{}, ""},
		{"busy", 503, false, Options{}, ""},
		{"idle but not once", 503, false, Options{Idle: time.Millisecond}, ""},
		{"busy for too long", 503, false, Options{Once: true, Idle: 50 * time.Millisecond}, "no answer from http://"},
	} {
		t.Run(r.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "some\nlines", r.status)
			}))
			defer server.Close()
			c, err := newClient(server.URL, "secret", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			limit := 10 * time.Second
			if r.want == "" {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			r.opt.Log = slog.New(slog.DiscardHandler)
			w := &Worker{opt: r.opt, client: c}
			w.answered.Store(r.answered)
			err = w.slot(ctx)
			if r.want == "" {
				if err != nil || ctx.Err() == nil {
					t.Errorf("ended with %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), r.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("ended with %v", err)
			}
		})
	}
}
