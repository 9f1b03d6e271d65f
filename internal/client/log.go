package client

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"sluice/api"
)

// LogOptions say which log, and from where.
type LogOptions struct {
	Attempt int   // 0: the last
	Offset  int64 // bytes; negative: from the end
	Follow  bool  // until the attempt has ended
}

// Log writes the log of a job's attempt to w. When following, a connection that
// is lost is made anew where it ended.
func (c *Client) Log(ctx context.Context, w io.Writer, job int64, o LogOptions) error {
	lost := 0
	for {
		next, n, err := c.log(ctx, w, job, o)
		if err == nil || !o.Follow || ctx.Err() != nil {
			return err
		}
		refused, isRefusal := err.(*Error)
		if lost++; n > 0 {
			lost = 0
		}
		if lost > maxAttempts || isRefusal && refused.Status < 500 {
			return err
		}
		o = next
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// log asks once; next is how to ask for the rest.
func (c *Client) log(ctx context.Context, w io.Writer, job int64, o LogOptions) (next LogOptions, written int64, err error) {
	p := api.GetLogParams{Offset: &o.Offset, Follow: &o.Follow}
	if o.Attempt > 0 {
		p.Attempt = &o.Attempt
	}
	r, err := c.raw.GetLog(ctx, job, &p)
	if err != nil {
		return o, 0, err
	}
	defer r.Body.Close()
	if err := problem(r); err != nil {
		return o, 0, err
	}
	next = o
	if next.Attempt, err = strconv.Atoi(r.Header.Get("Sluice-Attempt")); err != nil {
		return o, 0, fmt.Errorf("the answer of %s is no log of a sluice", r.Request.URL.Redacted())
	}
	begin, err := strconv.ParseInt(r.Header.Get("Sluice-Offset"), 10, 64)
	if err != nil {
		return o, 0, fmt.Errorf("the answer of %s is no log of a sluice", r.Request.URL.Redacted())
	}
	written, err = io.Copy(w, r.Body)
	next.Offset = begin + written
	return next, written, err
}
