package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// feed tells, within tx, everybody who watches that something changed. The
// payload is "kind id", small enough for NOTIFY; who cares reads again.
func feed(ctx context.Context, tx pgx.Tx, kind, id string) error {
	_, err := tx.Exec(ctx, `SELECT pg_notify('sluice_feed', $1)`, kind+" "+id)
	return err
}

// Notice is one notification: Channel is "decide", "jobs", "cancel" or "feed".
type Notice struct {
	Channel string
	Payload string
}

// Hub spreads the database's notifications to the goroutines of this process.
// A listener that is slow loses notices rather than holding others up; every
// user of a hub therefore also looks by itself now and then.
type Hub struct {
	store *Store

	mu        sync.Mutex // guards listeners
	listeners map[chan Notice]func(Notice) bool
}

// NewHub makes a hub; Run has to be running for it to hear anything.
func (s *Store) NewHub() *Hub {
	return &Hub{store: s, listeners: map[chan Notice]func(Notice) bool{}}
}

// Listen gives the notices that want accepts, until stop is called.
func (h *Hub) Listen(want func(Notice) bool) (notices <-chan Notice, stop func()) {
	ch := make(chan Notice, 256)
	h.mu.Lock()
	h.listeners[ch] = want
	h.mu.Unlock()
	return ch, func() {
		h.mu.Lock()
		delete(h.listeners, ch)
		h.mu.Unlock()
	}
}

// Run listens until ctx is over. A lost connection is made anew; what was
// missed meanwhile is made up for by the users' own looking: each gets a
// notice with an empty payload on every channel.
func (h *Hub) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := h.run(ctx)
		if ctx.Err() != nil {
			return
		}
		_ = err // the pool's next user reports a database that is away
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (h *Hub) run(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, h.store.dsn)
	if err != nil {
		return fmt.Errorf("listen to the database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, c := range []string{"decide", "jobs", "cancel", "feed"} {
		if _, err := conn.Exec(ctx, "LISTEN sluice_"+c); err != nil {
			return err
		}
		h.spread(Notice{Channel: c})
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		h.spread(Notice{Channel: strings.TrimPrefix(n.Channel, "sluice_"), Payload: n.Payload})
	}
}

func (h *Hub) spread(n Notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch, want := range h.listeners {
		if !want(n) {
			continue
		}
		select {
		case ch <- n:
		default:
		}
	}
}

// Decisions gives the names of queues that have to decide; "": any may have to.
func (h *Hub) Decisions() (queues <-chan string, stop func()) {
	return relay(h, "decide", func(payload string) string { return payload })
}

// Jobs is signalled when a job can be claimed.
func (h *Hub) Jobs() (signal <-chan struct{}, stop func()) {
	return relay(h, "jobs", func(string) struct{} { return struct{}{} })
}

// Cancels gives the leases whose job was cancelled.
func (h *Hub) Cancels() (leases <-chan string, stop func()) {
	return relay(h, "cancel", func(payload string) string { return payload })
}

// Feed gives what has changed, as "kind id".
func (h *Hub) Feed() (changes <-chan string, stop func()) {
	return relay(h, "feed", func(payload string) string { return payload })
}

// relay gives the notices of a channel in another form.
func relay[T any](h *Hub, channel string, form func(string) T) (<-chan T, func()) {
	notices, stop := h.Listen(func(n Notice) bool { return n.Channel == channel })
	out, done := make(chan T, 256), make(chan struct{})
	go func() {
		for {
			select {
			case n := <-notices:
				select {
				case out <- form(n.Payload):
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	return out, func() { stop(); close(done) }
}
