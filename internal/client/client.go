// Package client asks the service what it knows and tells it what operators
// want, over api/openapi.yaml. It is what the command line is made of.
//
// It is a thin layer over the generated api.Client: answers are the contract's
// own types, and every answer that is not a success is an Error with the
// service's words. Tokens are sent and never shown.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sluice/api"
)

const (
	maxAnswer   = 64 << 20         // bytes of an answer that is no log
	answerTime  = 60 * time.Second // for an answer that is no log
	maxAttempts = 5                // at following a log, in a row without a byte
)

// Error is an answer that is no success.
type Error struct {
	Status        int // HTTP
	Title, Detail string
}

// Error gives the service's words.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Title
	}
	return e.Title + ": " + e.Detail
}

// Unreachable is an address at which no service answered.
type Unreachable struct {
	Address string
	Err     error
}

// Error says how another address is given, since the usual one is only a guess.
func (u *Unreachable) Error() string {
	return fmt.Sprintf("no service at %s: %v; --url or SLUICE_URL says where it is", u.Address, u.Err)
}

// Unwrap gives why.
func (u *Unreachable) Unwrap() error { return u.Err }

// Client speaks to one service.
type Client struct {
	raw     *api.Client
	address string
	token   string
}

// Do sends a request; an error is Unreachable.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultClient.Do(r)
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the address of each request
	}
	if err != nil {
		return nil, &Unreachable{c.address, err}
	}
	return answer, nil
}

// New makes a client of the service at address (http://sluice.example.com); token may be empty for reading.
func New(address, token string) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the service's address %q (--url, SLUICE_URL): http://HOST or https://HOST is wanted", address)
	}
	c := &Client{address: u.Redacted(), token: token}
	c.raw, err = api.NewClient(strings.TrimSuffix(u.String(), "/"), api.WithHTTPClient(c), api.WithRequestEditorFn(c.authorize))
	return c, err
}

// authorize adds the token, without which nothing is commanded and nothing
// restricted is shown.
func (c *Client) authorize(_ context.Context, r *http.Request) error {
	r.Header.Set("User-Agent", "sluice")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	} else if r.Method == http.MethodPost || strings.HasSuffix(r.URL.Path, "/history") {
		return errors.New("this needs an operator's token: set SLUICE_TOKEN or give --token")
	}
	return nil
}

// decode reads an answer.
func decode[T any](r *http.Response, err error) (T, error) {
	var v T
	if err != nil {
		return v, err
	}
	defer r.Body.Close()
	if err := problem(r); err != nil {
		return v, err
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(&v); err != nil {
		return v, fmt.Errorf("the answer of %s cannot be read: %w", r.Request.URL.Redacted(), err)
	}
	return v, nil
}

// problem gives the error of an answer that is no success.
func problem(r *http.Response) error {
	if r.StatusCode >= 200 && r.StatusCode < 300 {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var p api.Problem
	if kind != "application/problem+json" || json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&p) != nil {
		return &Error{Status: r.StatusCode, Title: fmt.Sprintf("%s answers %s; is a sluice there? --url or SLUICE_URL says where it is", r.Request.URL.Redacted(), r.Status)}
	}
	out := &Error{Status: r.StatusCode, Title: p.Title}
	if p.Detail != nil {
		out.Detail = *p.Detail
	}
	return out
}

func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, answerTime)
}

// Status tells how the service is.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Status](c.raw.GetStatus(ctx))
}

// Queue gives a queue with its items.
func (c *Client) Queue(ctx context.Context, name string) (api.Queue, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Queue](c.raw.GetQueue(ctx, name))
}

// History gives a page of what a queue decided.
func (c *Client) History(ctx context.Context, queue string, p api.GetHistoryParams) (api.History, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.History](c.raw.GetHistory(ctx, queue, &p))
}

// Changes gives the changes that moved last.
func (c *Client) Changes(ctx context.Context, p api.ListChangesParams) ([]api.ChangeSummary, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[[]api.ChangeSummary](c.raw.ListChanges(ctx, &p))
}

// Change gives a change and all that was done with it.
func (c *Client) Change(ctx context.Context, gerrit string, number int) (api.Change, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Change](c.raw.GetChange(ctx, gerrit, number))
}

// Why explains where a change is.
func (c *Client) Why(ctx context.Context, gerrit string, number int) (api.Why, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Why](c.raw.GetWhy(ctx, gerrit, number))
}

// Buildset gives a buildset.
func (c *Client) Buildset(ctx context.Context, id int64) (api.Buildset, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Buildset](c.raw.GetBuildset(ctx, id))
}

// Job gives a job.
func (c *Client) Job(ctx context.Context, id int64) (api.Job, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Job](c.raw.GetJob(ctx, id))
}

// Repositories gives the released repositories.
func (c *Client) Repositories(ctx context.Context) ([]api.RepositorySummary, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[[]api.RepositorySummary](c.raw.ListRepositories(ctx))
}

// Repository gives a released repository.
func (c *Client) Repository(ctx context.Context, release, dist, channel string) (api.Repository, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Repository](c.raw.GetRepository(ctx, release, dist, channel))
}

// Pause and Resume a queue.
func (c *Client) Pause(ctx context.Context, queue, why string) (api.Answer, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Answer](c.raw.PauseQueue(ctx, queue, api.PauseQueueJSONRequestBody{Why: why}))
}

// Resume undoes a pause.
func (c *Client) Resume(ctx context.Context, queue, why string) (api.Answer, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Answer](c.raw.ResumeQueue(ctx, queue, api.ResumeQueueJSONRequestBody{Why: why}))
}

// Enqueue lets a change enter the gate.
func (c *Client) Enqueue(ctx context.Context, gerrit string, number int, why string) (api.Answer, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Answer](c.raw.EnqueueChange(ctx, gerrit, number, api.EnqueueChangeJSONRequestBody{Why: why}))
}

// Dequeue takes a change out of the gate.
func (c *Client) Dequeue(ctx context.Context, gerrit string, number int, why string) (api.Answer, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Answer](c.raw.DequeueChange(ctx, gerrit, number, api.DequeueChangeJSONRequestBody{Why: why}))
}

// Promote moves a change to the head of its queue.
func (c *Client) Promote(ctx context.Context, gerrit string, number int, why string) (api.Answer, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Answer](c.raw.PromoteChange(ctx, gerrit, number, api.PromoteChangeJSONRequestBody{Why: why}))
}

// Retry tests a change again; pipeline is "check", "gate", or "" to let the service choose.
func (c *Client) Retry(ctx context.Context, gerrit string, number int, pipeline, why string) (api.Answer, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	var p api.RetryChangeParams
	if pipeline != "" {
		p.Pipeline = &pipeline
	}
	return decode[api.Answer](c.raw.RetryChange(ctx, gerrit, number, &p, api.RetryChangeJSONRequestBody{Why: why}))
}

// RetryJob runs a job once more.
func (c *Client) RetryJob(ctx context.Context, id int64, why string) (api.Answer, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	return decode[api.Answer](c.raw.RetryJob(ctx, id, api.RetryJobJSONRequestBody{Why: why}))
}
