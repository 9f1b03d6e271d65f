package stage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"sluice/internal/job"
)

// response writes the body of an answer of the job's repositories to w.
type response struct {
	w      io.Writer
	header http.Header
	status int
	err    error
}

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *response) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if r.status != http.StatusOK {
		return len(p), nil
	}
	n, err := r.w.Write(p)
	if err != nil {
		r.err = err
	}
	return n, err
}

// get asks the job's repositories for a path, from the worker's side, and
// writes what it is served to w. found is false after a 404.
func (a *attempt) get(ctx context.Context, p string, w io.Writer) (found bool, err error) {
	u := &url.URL{Scheme: "http", Host: "127.0.0.1:3142", Path: p}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false, err
	}
	req.RequestURI = u.RequestURI()
	req.RemoteAddr = "127.0.0.1:1"
	r := &response{w: w, header: http.Header{}}
	a.trace.next.ServeHTTP(r, req)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case r.err != nil:
		return false, r.err
	case r.status == http.StatusNotFound:
		return false, nil
	case r.status != http.StatusOK && r.status != 0:
		return false, outside("asking a repository for %s: HTTP status %d", p, r.status)
	}
	return true, nil
}

// states names the present state of each repository: the digest of the file
// that names all others. It is part of the key of what is made from them.
func (a *attempt) states(ctx context.Context, repos []job.Repository) (string, error) {
	var key strings.Builder
	for _, r := range repos {
		file := r.Path + "repodata/repomd.xml"
		if r.Format == job.DEB {
			file = r.Path + "dists/" + r.Suite + "/InRelease"
			if strings.HasSuffix(r.Suite, "/") { // a flat repository
				file = r.Path + strings.TrimPrefix(r.Suite, "./") + "InRelease"
			}
		}
		sum := sha256.New()
		found, err := a.get(ctx, file, sum)
		if err != nil {
			return "", err
		}
		state := "absent"
		if found {
			state = hex.EncodeToString(sum.Sum(nil))
		}
		fmt.Fprintf(&key, "%s %s %s %v %s %d %s %s\n", r.Name, r.Path, r.Suite, r.Components, r.Origin, r.Priority, r.Key, state)
	}
	return key.String(), nil
}

// upstream are the repositories of the base distribution, which seldom change.
func upstream(repos []job.Repository) []job.Repository {
	var out []job.Repository
	for _, r := range repos {
		if r.Kind == job.Upstream {
			out = append(out, r)
		}
	}
	return out
}
