// Package upstream serves the base distributions to workers: a caching mirror in
// front of every job (R131), so that a worker needs nothing but the service.
//
// An upstream is a folder, an address, or this machine's own apt sources. What
// was fetched is kept in files: packages and by-hash indices for as long as
// retention says, since they never change; other indices for a short while,
// after which they are asked for again. An upstream that is away is answered
// for from what is kept, however old (R142).
package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"sluice/internal/config"
	"sluice/internal/job"
)

// Prefix is where upstreams are below the service's address.
const Prefix = "/upstream/"

// Server serves the site's upstreams. It is an http.Handler for paths below Prefix.
type Server struct {
	sources map[string]*source // by name
	dir     string
	client  *http.Client
	log     *slog.Logger
	flights singleflight.Group
}

// source is one upstream: where it is, and what it is made of.
type source struct {
	config.Upstream
	places []place
}

// place is one address of an upstream and the APT suites that are there.
type place struct {
	address    string // URL with a slash at the end, or "" for a folder
	folder     string
	suites     []string
	components []string
}

// New makes a server with its cache in dir. client fetches, through the site's
// proxies and with its certificates.
func New(upstreams []config.Upstream, dir string, client *http.Client, log *slog.Logger) (*Server, error) {
	s := &Server{sources: map[string]*source{}, dir: dir, client: client, log: log}
	for _, u := range upstreams {
		src := &source{Upstream: u}
		switch {
		case u.Host:
			places, err := hostPlaces("/etc/apt", "/etc/os-release")
			if err != nil {
				return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
			}
			src.places = places
		case u.Path != "":
			if _, err := os.Stat(u.Path); err != nil {
				return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
			}
			src.places = []place{{folder: u.Path, suites: u.Suites, components: u.Components}}
		default:
			src.places = []place{{address: strings.TrimSuffix(u.URL, "/") + "/", suites: u.Suites, components: u.Components}}
		}
		s.sources[u.Name] = src
	}
	return s, nil
}

// Repositories gives an upstream's repositories for an architecture, with paths
// below the service's address.
func (s *Server) Repositories(name, architecture string) ([]job.Repository, error) {
	src, ok := s.sources[name]
	if !ok {
		return nil, fmt.Errorf("no upstream %q in the site file", name)
	}
	key := ""
	if src.Key != "" {
		text, err := os.ReadFile(src.Key)
		if err != nil {
			return nil, fmt.Errorf("key of upstream %s: %w", name, err)
		}
		if strings.HasPrefix(string(text), "-----BEGIN PGP PUBLIC KEY BLOCK-----") {
			key = string(text)
		}
	}
	var out []job.Repository
	for i, p := range src.places {
		base := fmt.Sprintf("%s%s/%d/%s/", Prefix, name, i, architecture)
		r := job.Repository{Kind: job.Upstream, Name: name, Path: base, Format: src.Format, Key: key, Priority: 500}
		if src.Format == job.RPM {
			r.Priority = 99
			out = append(out, r)
			continue
		}
		for _, suite := range p.suites {
			r.Suite, r.Components = suite, p.components
			r.Name = name + "-" + strings.ReplaceAll(suite, "/", "-")
			out = append(out, r)
		}
	}
	return out, nil
}

// ServeHTTP answers /upstream/NAME/PLACE/ARCHITECTURE/PATH.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, err := s.locate(r.Context(), r.URL.Path)
	var refused *statusError
	switch {
	case errors.Is(err, os.ErrNotExist):
		http.NotFound(w, r)
	case errors.As(err, &refused):
		http.Error(w, refused.Error(), refused.status)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
	default:
		serveFile(w, r, file)
	}
}

// Open opens the file at a path below the service's address, from the cache or
// from upstream.
func (s *Server) Open(ctx context.Context, p string) (io.ReadCloser, error) {
	file, err := s.locate(ctx, p)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s: %w", p, os.ErrNotExist))
	}
	return f, nil
}

// locate has the file at a path below the service's address on this machine.
func (s *Server) locate(ctx context.Context, p string) (file string, err error) {
	nothing := fmt.Errorf("%s: %w", p, os.ErrNotExist)
	parts := strings.SplitN(strings.TrimPrefix(p, Prefix), "/", 4)
	if len(parts) != 4 || parts[3] == "" || path.Clean("/"+parts[3]) != "/"+parts[3] {
		return "", nothing
	}
	src, ok := s.sources[parts[0]]
	var number int
	if _, err := fmt.Sscanf(parts[1], "%d", &number); !ok || err != nil || number < 0 || number >= len(src.places) {
		return "", nothing
	}
	at := src.places[number]
	if at.folder != "" {
		return filepath.Join(strings.ReplaceAll(at.folder, "$arch", parts[2]), filepath.FromSlash(parts[3])), nil
	}
	file, err = s.fetch(ctx, src, at, number, parts[2], parts[3])
	if err != nil {
		return "", fmt.Errorf("upstream %s: %w", src.Name, err)
	}
	return file, nil
}

func serveFile(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.Open(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// statusError is an answer of the upstream other than a file.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// immutable reports whether the file at a path never changes.
func immutable(p string) bool {
	base := path.Base(p)
	return strings.Contains(p, "/by-hash/") || strings.HasSuffix(base, ".deb") || strings.HasSuffix(base, ".rpm") ||
		strings.Contains(p, "repodata/") && !strings.HasPrefix(base, "repomd.xml")
}

// fetch has a file in the cache and gives its name there.
func (s *Server) fetch(ctx context.Context, src *source, p place, number int, architecture, name string) (string, error) {
	file := filepath.Join(s.dir, src.Name, fmt.Sprint(number), architecture, filepath.FromSlash(name))
	info, err := os.Stat(file)
	kept := err == nil && info.Mode().IsRegular()
	if kept && (immutable(name) || time.Since(info.ModTime()) < src.Cache.D()) {
		return file, nil
	}
	address := strings.NewReplacer("$arch", architecture, "$basearch", architecture).Replace(p.address) + (&url.URL{Path: name}).EscapedPath()
	_, err, _ = s.flights.Do(file, func() (any, error) {
		return nil, s.download(context.WithoutCancel(ctx), address, file)
	})
	var refused *statusError
	if err != nil && kept && !(errors.As(err, &refused) && refused.status == http.StatusNotFound) {
		s.log.Warn("an upstream is out of reach; what was kept of it is served", "upstream", src.Name, "path", name, "error", err)
		return file, nil
	}
	return file, err
}

func (s *Server) download(ctx context.Context, address, file string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "sluice")
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		status := http.StatusBadGateway
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusForbidden {
			status = http.StatusNotFound
		}
		return &statusError{status, fmt.Sprintf("%s: %s", address, resp.Status)}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".fetch-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	n, err := io.Copy(tmp, resp.Body)
	if err == nil && resp.ContentLength >= 0 && n != resp.ContentLength {
		err = fmt.Errorf("%s ended after %d of %d bytes", address, n, resp.ContentLength)
	}
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// Prune removes what has not been fetched anew for longer than age. It gives how many files.
func (s *Server) Prune(age time.Duration) (removed int, err error) {
	err = filepath.WalkDir(s.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		info, err := d.Info()
		if err == nil && time.Since(info.ModTime()) > age {
			removed++
			return os.Remove(name)
		}
		return nil
	})
	return removed, err
}
