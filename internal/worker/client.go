package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"sluice/internal/job"
)

// errGone says that a lease is over: what runs under it is to be killed.
var errGone = errors.New("the lease is over")

// refusal is an answer that is no success.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// client speaks the worker API (api/worker.yaml).
type client struct {
	base  *url.URL
	token string
	http  *http.Client
	dir   string // for files on their way
}

func newClient(address, token, dir string) (*client, error) {
	base, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("the service's address %q is not a URL", address)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &client{base: base, token: token, http: &http.Client{Transport: transport}, dir: dir}, nil
}

func (c *client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	return req, nil
}

// send does one request; any status but 2xx is an error.
func (c *client) send(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	var problem struct{ Title, Detail string }
	text := string(said)
	if json.Unmarshal(said, &problem) == nil && problem.Title != "" {
		text = strings.TrimSpace(problem.Title + ": " + problem.Detail)
	}
	err = &refusal{resp.StatusCode, fmt.Sprintf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, strings.TrimSpace(text))}
	switch {
	case resp.StatusCode == http.StatusGone:
		return nil, backoff.Permanent(fmt.Errorf("%w: %w", errGone, err))
	case resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests:
		return nil, backoff.Permanent(err)
	}
	return nil, err
}

// again repeats f while the service is away or busy, for as long as a lease lasts.
func again[T any](ctx context.Context, f func() (T, error)) (T, error) {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = 100*time.Millisecond, 5*time.Second
	return backoff.Retry(ctx, f, backoff.WithBackOff(b), backoff.WithMaxElapsedTime(time.Minute))
}

// post sends JSON, or raw bytes, and decodes the answer into out if there is one.
func (c *client) post(ctx context.Context, path string, in, out any) (status int, err error) {
	body, kind := []byte(nil), "application/json"
	switch v := in.(type) {
	case []byte:
		body, kind = v, "application/octet-stream"
	default:
		if body, err = json.Marshal(in); err != nil {
			return 0, err
		}
	}
	req, err := c.request(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := c.send(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if out != nil && resp.StatusCode == http.StatusOK {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	return resp.StatusCode, err
}

type claim struct {
	Labels        []string `json:"labels"`
	Architectures []string `json:"architectures"`
	Version       string   `json:"version"`
	Wait          int      `json:"wait"`
}

// claim waits a while for a job; nil when there is none.
func (c *client) claim(ctx context.Context, in claim) (*job.Spec, error) {
	var spec job.Spec
	status, err := c.post(ctx, "/worker/v1/claim", in, &spec)
	if err != nil || status == http.StatusNoContent {
		return nil, err
	}
	return &spec, nil
}

func (c *client) renew(ctx context.Context, lease string) (cancel bool, err error) {
	var out struct{ Cancel bool }
	_, err = c.post(ctx, "/worker/v1/leases/"+lease+"/renew", struct{}{}, &out)
	return out.Cancel, err
}

// cancelled waits until the job is cancelled or some time has passed.
func (c *client) cancelled(ctx context.Context, lease string) (bool, error) {
	req, err := c.request(ctx, http.MethodGet, "/worker/v1/leases/"+lease+"/cancelled", nil)
	if err != nil {
		return false, err
	}
	resp, err := c.send(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var out struct{ Cancel bool }
	err = json.NewDecoder(resp.Body).Decode(&out)
	return out.Cancel, err
}

func (c *client) log(ctx context.Context, lease string, start int64, data []byte) error {
	_, err := again(ctx, func() (int, error) {
		return c.post(ctx, fmt.Sprintf("/worker/v1/leases/%s/log?start=%d", lease, start), data, nil)
	})
	return err
}

func (c *client) finish(ctx context.Context, lease string, res job.Result) error {
	_, err := again(ctx, func() (int, error) {
		return c.post(ctx, "/worker/v1/leases/"+lease+"/finish", res, nil)
	})
	return err
}

// blobs reads and stores files for one attempt.
type blobs struct {
	*client
	lease string
}

// Open reads a blob; what is read is checked against its digest at the end.
func (b blobs) Open(ctx context.Context, digest job.Digest) (io.ReadCloser, error) {
	resp, err := again(ctx, func() (*http.Response, error) {
		req, err := b.request(ctx, http.MethodGet, "/worker/v1/blobs/"+string(digest), nil)
		if err != nil {
			return nil, err
		}
		return b.send(req)
	})
	if err != nil {
		return nil, err
	}
	return &checked{ReadCloser: resp.Body, want: digest, sum: sha256.New()}, nil
}

// checked is a reader whose end is an error if the bytes are not what they should be.
type checked struct {
	io.ReadCloser
	want job.Digest
	sum  hash.Hash
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.sum.Write(p[:n])
	if err == io.EOF {
		if got := hex.EncodeToString(c.sum.Sum(nil)); got != string(c.want) {
			return n, fmt.Errorf("blob %.12s… arrived as %.12s…: it was damaged on its way", c.want, got)
		}
	}
	return n, err
}

// Put stores what it reads under its digest.
func (b blobs) Put(ctx context.Context, name string, r io.Reader) (job.File, error) {
	tmp, err := os.CreateTemp(b.dir, "upload-")
	if err != nil {
		return job.File{}, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(tmp, sum), r)
	if err != nil {
		return job.File{}, err
	}
	f := job.File{Name: name, Digest: job.Digest(hex.EncodeToString(sum.Sum(nil))), Size: size}
	_, err = again(ctx, func() (struct{}, error) { return struct{}{}, b.upload(ctx, tmp, f) })
	if err != nil {
		return job.File{}, fmt.Errorf("upload %s: %w", name, err)
	}
	return f, nil
}

func (b blobs) upload(ctx context.Context, file *os.File, f job.File) error {
	path := "/worker/v1/leases/" + b.lease + "/blobs/" + string(f.Digest)
	if req, err := b.request(ctx, http.MethodHead, path, nil); err == nil {
		if resp, err := b.http.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusNoContent {
				return nil // the service has it
			}
		}
	}
	req, err := b.request(ctx, http.MethodPut, path, io.NewSectionReader(file, 0, f.Size))
	if err != nil {
		return err
	}
	req.ContentLength = f.Size
	resp, err := b.send(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// repositories are those of one attempt.
type repositories struct {
	*client
	lease string
}

// Handler passes requests for a job's repositories on to the service, and none
// for anything else. The worker's token does not go along: repositories are
// read as anybody reads them, or by the lease of the attempt where they are
// restricted (G25).
func (c repositories) Handler(_ context.Context, repos []job.Repository) (http.Handler, error) {
	proxy := &httputil.ReverseProxy{
		Transport: c.http.Transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(c.base)
			r.Out.Host = c.base.Host
			r.Out.Header.Del("Authorization")
			r.Out.Header.Set("Sluice-Lease", c.lease)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "the service is out of reach: "+err.Error(), http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "repositories are read only", http.StatusMethodNotAllowed)
			return
		}
		for _, repo := range repos {
			if strings.HasPrefix(r.URL.Path, repo.Path) && !strings.Contains(r.URL.Path, "/../") {
				proxy.ServeHTTP(w, r)
				return
			}
		}
		http.Error(w, "not one of this job's repositories", http.StatusForbidden)
	}), nil
}
