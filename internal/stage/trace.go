package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"sluice/internal/job"
)

// recorder passes requests on to the job's repositories, and notes each
// package that was served whole: name, version, digest, repository. That is
// the job's trace.
type recorder struct {
	next  http.Handler
	repos []job.Repository

	mu  sync.Mutex // guards got
	got map[string]job.Served
}

func newRecorder(repos []job.Repository) *recorder {
	return &recorder{repos: repos, got: map[string]job.Served{}}
}

// ServeHTTP serves whole files only, so that each can be hashed.
func (t *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, version, ok := packageOf(path.Base(r.URL.Path))
	if !ok {
		t.next.ServeHTTP(w, r)
		return
	}
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	r.Header.Del("If-Range")
	r.Header.Del("Accept-Encoding")
	h := &hashed{ResponseWriter: w, sum: sha256.New()}
	t.next.ServeHTTP(h, r)
	if h.status == http.StatusOK && r.Method == http.MethodGet {
		t.note(name, job.Served{Version: version, Digest: job.Digest(hex.EncodeToString(h.sum.Sum(nil))), Repository: t.repository(r.URL.Path)})
	}
}

func (t *recorder) note(name string, s job.Served) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got[name] = s
}

// served is a copy of what was noted so far.
func (t *recorder) served() map[string]job.Served {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]job.Served, len(t.got))
	for k, v := range t.got {
		out[k] = v
	}
	return out
}

// correct sets the full versions, with epochs, which file names do not show.
func (t *recorder) correct(versions map[string]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, s := range t.got {
		if v, ok := versions[name]; ok && withoutEpoch(v) == withoutEpoch(s.Version) {
			s.Version = v
			t.got[name] = s
		}
	}
}

func withoutEpoch(v string) string {
	if _, rest, ok := strings.Cut(v, ":"); ok {
		return rest
	}
	return v
}

// repository is the name of the one whose path a URL's path is below.
func (t *recorder) repository(p string) string {
	best, name := 0, ""
	for _, r := range t.repos {
		if strings.HasPrefix(p, r.Path) && len(r.Path) > best {
			best, name = len(r.Path), r.Name
		}
	}
	return name
}

// packageOf reads name and version from the file name of a package.
func packageOf(file string) (name, version string, ok bool) {
	if u, err := url.PathUnescape(file); err == nil {
		file = u
	}
	if base, found := strings.CutSuffix(file, ".deb"); found {
		parts := strings.Split(base, "_")
		if len(parts) != 3 {
			return "", "", false
		}
		v, err := url.PathUnescape(parts[1])
		if err != nil {
			v = parts[1]
		}
		return parts[0], v, true
	}
	base, found := strings.CutSuffix(file, ".rpm")
	if !found {
		return "", "", false
	}
	arch := strings.LastIndexByte(base, '.')
	if arch < 0 {
		return "", "", false
	}
	base = base[:arch]
	release := strings.LastIndexByte(base, '-')
	if release <= 0 {
		return "", "", false
	}
	ver := strings.LastIndexByte(base[:release], '-')
	if ver <= 0 {
		return "", "", false
	}
	return base[:ver], base[ver+1:], true
}

// hashed is a response whose body is hashed on its way.
type hashed struct {
	http.ResponseWriter
	sum    hash.Hash
	status int
}

func (h *hashed) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
	h.ResponseWriter.WriteHeader(status)
}

func (h *hashed) Write(p []byte) (int, error) {
	if h.status == 0 {
		h.status = http.StatusOK
	}
	n, err := h.ResponseWriter.Write(p)
	h.sum.Write(p[:n])
	if err != nil {
		h.status = http.StatusBadGateway // not served whole
	}
	return n, err
}
