package gerrit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	gg "github.com/andygrunwald/go-gerrit"
	"github.com/cenkalti/backoff/v5"
)

// Config is how a Gerrit is reached.
type Config struct {
	// URL of the Gerrit, with the path it lives under: "https://review.example.com/r/".
	URL string
	// WebURLs are other addresses of the same Gerrit that people may paste into
	// a Depends-On footer (the canonical web URL, if REST goes another way).
	WebURLs []string
	// User and Token are for HTTP basic authentication. An empty User asks as anybody.
	User, Token string
	// HTTP brings proxy and CA bundle; nil is http.DefaultClient's transport.
	HTTP *http.Client
	// Timeout of one request, 30 s when 0; a submit has SubmitTimeout, 5 min when 0.
	Timeout, SubmitTimeout time.Duration
	// Tries of a read that fails in passing, 4 when 0. Writes are tried once.
	Tries uint
	// MessageLimit is Gerrit's change.commentSizeLimit in bytes, 16384 when 0.
	MessageLimit int
}

// maxAnswer is the largest answer that is read, in bytes.
const maxAnswer = 64 << 20

// Client is one Gerrit, seen by one account. It may be used concurrently.
type Client struct {
	cfg Config
	gg  *gg.Client

	mu   sync.Mutex // guards self
	self *Account   // who we are, once asked
}

// New makes a client; it asks nothing yet. It fails on a URL that cannot be one,
// or that holds a password (which would end up in logs).
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("gerrit: %q is not the URL of a Gerrit: write https://host/", cfg.URL)
	}
	if u.User != nil {
		return nil, errors.New("gerrit: give the user and the token by themselves, not in the URL")
	}
	cfg.Timeout = orDefault(cfg.Timeout, 30*time.Second)
	cfg.SubmitTimeout = orDefault(cfg.SubmitTimeout, 5*time.Minute)
	cfg.Tries = orDefault(cfg.Tries, 4)
	cfg.MessageLimit = orDefault(cfg.MessageLimit, 16384)
	c := &Client{cfg: cfg}
	c.gg, err = gg.NewClient(context.Background(), cfg.URL, httpClient(cfg.HTTP))
	if err != nil {
		return nil, fmt.Errorf("gerrit: %s: %w", cfg.URL, err)
	}
	if cfg.User != "" {
		c.gg.Authentication.SetBasicAuth(cfg.User, cfg.Token)
	}
	return c, nil
}

// httpClient is a copy of the given one that does not follow the redirect of a
// write: net/http would turn it into a GET, which looks like a success.
func httpClient(given *http.Client) *http.Client {
	c := http.Client{}
	if given != nil {
		c = *given
	}
	follow := c.CheckRedirect
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		switch {
		case via[0].Method != http.MethodGet:
			return http.ErrUseLastResponse
		case follow != nil:
			return follow(req, via)
		case len(via) >= 10:
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
	return &c
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// get reads path (with its query) into out, and tries again what fails in passing.
func (c *Client) get(ctx context.Context, path string, out any) error {
	try := func() (struct{}, error) {
		err := c.call(ctx, c.cfg.Timeout, http.MethodGet, path, nil, out)
		if err != nil && (ctx.Err() != nil || !IsTransient(err)) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 5*time.Second
	_, err := backoff.Retry(ctx, try, backoff.WithBackOff(wait), backoff.WithMaxTries(c.cfg.Tries))
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		return permanent.Err
	}
	return err
}

// post sends body once, and reads the answer into out.
func (c *Client) post(ctx context.Context, limit time.Duration, path string, body, out any) error {
	return c.call(ctx, limit, http.MethodPost, path, body, out)
}

// call is one request and its answer. All of REST goes through here.
func (c *Client) call(ctx context.Context, limit time.Duration, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := c.gg.NewRequest(ctx, method, path, body)
	if err != nil {
		return fmt.Errorf("gerrit: %s %s: %w", method, path, err)
	}
	answer := limited{left: maxAnswer}
	resp, err := c.gg.Do(req, &answer)
	if resp != nil {
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			return refusal(req, resp.Response)
		}
	}
	if err != nil {
		return noAnswer(req, limit, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(stripPrefix(answer.body), out); err != nil {
		return &Error{
			Status: resp.StatusCode, Method: method, Path: req.URL.Path, cause: err,
			Message: fmt.Sprintf("the answer is not Gerrit's JSON (%v): is this URL Gerrit's, or a login page?", err),
		}
	}
	return nil
}

func noAnswer(req *http.Request, limit time.Duration, err error) *Error {
	e := &Error{Method: req.Method, Path: req.URL.Path, cause: err}
	var inner *url.Error
	switch {
	case errors.Is(err, errTooLarge):
		e.Status, e.Message = http.StatusOK, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		e.Message = fmt.Sprintf("no answer within %v", limit)
	case errors.As(err, &inner):
		e.Message = inner.Err.Error() // without the URL, which Path has
	default:
		e.Message = err.Error()
	}
	return e
}

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB: ask for less", maxAnswer>>20)

// limited is a buffer that refuses to grow beyond what is left.
type limited struct {
	body []byte
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errTooLarge
	}
	l.left -= len(p)
	l.body = append(l.body, p...)
	return len(p), nil
}

// stripPrefix takes away the line )]}' that Gerrit puts before its JSON.
func stripPrefix(body []byte) []byte {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	rest, found := bytes.CutPrefix(body, []byte(")]}'"))
	if !found {
		return body
	}
	return bytes.TrimLeft(rest, "\r\n")
}

// Self is the account that the client speaks for; an anonymous client has none (IsDenied).
// It is asked once and remembered.
func (c *Client) Self(ctx context.Context) (Account, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.self != nil {
		return *c.self, nil
	}
	var who Account
	if err := c.get(ctx, "accounts/self", &who); err != nil {
		return Account{}, err
	}
	c.self = &who
	return who, nil
}

// ServerVersion is Gerrit's own: "3.13.5".
func (c *Client) ServerVersion(ctx context.Context) (string, error) {
	var v string
	err := c.get(ctx, "config/server/version", &v)
	return v, err
}

// BaseURL is the Gerrit's address, ending in a slash.
func (c *Client) BaseURL() string { return strings.TrimRight(c.cfg.URL, "/") + "/" }
