// Package worker is the agent on a machine that runs jobs. It claims a job,
// renews its lease, streams its log and finishes it, all over the worker API
// (api/worker.yaml): it never sees the database or a key.
//
// What holds at every moment: a job runs only under a lease that this worker
// has renewed within the last 40 of its 60 seconds. A worker that cannot renew
// kills its sandboxes before the service gives the job to another one. A
// cancel is pushed by a long poll and reaches the processes within a second.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/environment"
	"sluice/internal/job"
	"sluice/internal/sandbox"
	"sluice/internal/stage"
)

// Times of the lease protocol; the lease itself lasts 60 s by the database's clock.
const (
	renewEvery = 15 * time.Second
	killAfter  = 40 * time.Second // since the last renewal that was answered
)

// Options of a worker.
type Options struct {
	Service string // the service's address
	Token   string
	Dir     string // roots, layers, boxes; owned by this process alone
	Slots   int    // jobs at once; 0: one per processor
	Labels  []string
	Version string
	// Once ends the worker after its first job.
	Once bool
	// Idle, with Once, is how long to wait for that job; 0: for ever.
	Idle time.Duration
	Log  *slog.Logger
}

// Worker is a running agent.
type Worker struct {
	opt     Options
	client  *client
	sandbox *sandbox.Manager
	nodes   stage.Nodes

	answered atomic.Bool // a claim was: there is a sluice at the address
}

// Architectures gives what this machine can run, in the words of both formats.
func Architectures() []string {
	switch runtime.GOARCH {
	case "amd64":
		return []string{"amd64", "x86_64", "i386", "i686"}
	case "arm64":
		return []string{"arm64", "aarch64"}
	case "ppc64le":
		return []string{"ppc64el", "ppc64le"}
	}
	return []string{runtime.GOARCH}
}

// Run works until ctx is over. It then ends its jobs, so that they are tried
// again elsewhere, and leaves nothing behind. It fails when the service refuses
// the token or is no sluice; what runs then is not cut short.
func Run(ctx context.Context, opt Options) (err error) {
	if opt.Slots <= 0 {
		opt.Slots = runtime.NumCPU()
	}
	if opt.Once {
		opt.Slots = 1
	}
	if os.Geteuid() != 0 {
		return errors.New("a worker makes namespaces and mounts, for which it has to run as root")
	}
	uploads := filepath.Join(opt.Dir, "uploads")
	if err := os.RemoveAll(uploads); err != nil {
		return err
	}
	if err := os.MkdirAll(uploads, 0o700); err != nil {
		return fmt.Errorf("the worker's folder: %w", err)
	}
	c, err := newClient(opt.Service, opt.Token, uploads)
	if err != nil {
		return err
	}
	manager, err := sandbox.Open(ctx, filepath.Join(opt.Dir, "sandbox"), sandbox.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, manager.Close()) }()
	w := &Worker{opt: opt, client: c, sandbox: manager, nodes: environment.NewNspawn(manager)}
	opt.Log.Info("the worker is ready", "service", opt.Service, "slots", opt.Slots, "labels", opt.Labels)
	var slots sync.WaitGroup
	ends := make(chan error, opt.Slots)
	for range opt.Slots {
		slots.Go(func() { ends <- w.slot(ctx) })
	}
	slots.Wait()
	close(ends)
	for end := range ends {
		if end != nil {
			return end // they are all the same
		}
	}
	return nil
}

// slot does one job after another. It fails when there is no use in asking again.
func (w *Worker) slot(ctx context.Context) error {
	idleSince := time.Now()
	for ctx.Err() == nil {
		spec, err := w.client.claim(ctx, claim{Labels: w.opt.Labels, Architectures: Architectures(), Version: w.opt.Version, Wait: 30})
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			if end := w.hopeless(err); end != nil {
				return end
			}
			rest := 2 * time.Second
			if w.opt.Once && w.opt.Idle > 0 {
				left := w.opt.Idle - time.Since(idleSince)
				if left <= 0 {
					return fmt.Errorf("no job after %s, and no answer from %s: %w", w.opt.Idle, w.client.base.Redacted(), err)
				}
				rest = min(rest, left)
			}
			w.opt.Log.Warn("no answer to a claim", "error", err)
			pause(ctx, rest)
			continue
		}
		w.answered.Store(true)
		if spec == nil {
			if w.opt.Once && w.opt.Idle > 0 && time.Since(idleSince) > w.opt.Idle {
				return nil
			}
			continue
		}
		w.attempt(ctx, *spec)
		if w.opt.Once {
			return nil
		}
	}
	return nil
}

// hopeless gives the worker's end where asking again changes nothing. An
// address that was a sluice's before is taken for one that will be so again.
func (w *Worker) hopeless(err error) error {
	var r *refusal
	if !errors.As(err, &r) {
		return nil
	}
	said := fmt.Sprintf("%d %s", r.status, http.StatusText(r.status))
	switch {
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
		return fmt.Errorf("the service at %s refuses this worker's token (%s)", w.client.base.Redacted(), said)
	case r.status == http.StatusNotFound && !w.answered.Load():
		return fmt.Errorf("there is no sluice at the address %s (%s)", w.client.base.Redacted(), said)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// attempt carries out one attempt and answers for it.
func (w *Worker) attempt(ctx context.Context, spec job.Spec) {
	log := w.opt.Log.With("job", spec.Job, "name", spec.Name, "attempt", spec.Attempt)
	log.Info("begins")
	began := time.Now()
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watchers sync.WaitGroup
	watchers.Go(func() { w.keepLease(running, spec.Lease, cancel) })
	watchers.Go(func() { w.awaitCancel(running, spec.Lease, cancel) })
	stream := newStream(running, w.client, spec.Lease, cancel)
	res := stage.Run(running, spec, stage.Env{
		Sandbox: w.sandbox, Nodes: w.nodes, Blobs: blobs{w.client, spec.Lease}, Repositories: repositories{w.client, spec.Lease}, Log: stream,
	})
	gone := errors.Is(context.Cause(running), errGone)
	logErr := stream.Close()
	cancel(nil)
	watchers.Wait()
	if gone {
		log.Warn("the lease is over; the attempt was killed")
		return
	}
	if logErr != nil && res.Outcome == job.Passed {
		res = job.Result{Outcome: job.Error, Cause: "the log could not be sent: " + logErr.Error()}
	}
	if ctx.Err() != nil && res.Outcome != job.Passed {
		res = job.Result{Outcome: job.Error, Cause: "the worker was stopped"}
	}
	answer, stop := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer stop()
	if err := w.client.finish(answer, spec.Lease, res); err != nil {
		log.Error("the result could not be delivered", "error", err)
		return
	}
	log.Info("ended", "outcome", res.Outcome, "cause", res.Cause, "took", time.Since(began).Round(time.Millisecond))
}

// keepLease renews the lease, and kills the attempt when that does not succeed in time.
func (w *Worker) keepLease(ctx context.Context, lease string, kill context.CancelCauseFunc) {
	last := time.Now()
	for {
		pause(ctx, renewEvery)
		if ctx.Err() != nil {
			return
		}
		try, stop := context.WithTimeout(ctx, 10*time.Second)
		cancelled, err := w.client.renew(try, lease)
		stop()
		switch {
		case errors.Is(err, errGone):
			kill(errGone)
			return
		case err == nil && cancelled:
			kill(context.Canceled)
			return
		case err == nil:
			last = time.Now()
		case time.Since(last) > killAfter:
			w.opt.Log.Error("the lease could not be renewed in time", "error", err)
			kill(errGone)
			return
		}
	}
}

// awaitCancel hears of a cancel at once.
func (w *Worker) awaitCancel(ctx context.Context, lease string, kill context.CancelCauseFunc) {
	for ctx.Err() == nil {
		cancelled, err := w.client.cancelled(ctx, lease)
		switch {
		case errors.Is(err, errGone):
			kill(errGone)
			return
		case err != nil:
			pause(ctx, time.Second) // renewing decides what an absent service means
		case cancelled:
			kill(context.Canceled)
			return
		}
	}
}
