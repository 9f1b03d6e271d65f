package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	contract "sluice/api"
)

// GetEvents tells what changes, as server-sent events.
func (s *server) GetEvents(ctx context.Context, _ contract.GetEventsRequestObject) (contract.GetEventsResponseObject, error) {
	return eventStream{s, ctx}, nil
}

// eventStream is an answer of GetEvents: it writes itself. Nothing is kept for
// a client that is away: each stream begins with "reset", on which the client
// reads again what it shows.
type eventStream struct {
	s   *server
	ctx context.Context
}

// VisitGetEventsResponse writes events until the client has gone, or is too slow.
func (e eventStream) VisitGetEventsResponse(w http.ResponseWriter) error {
	changes, stop := e.s.Feed.Feed()
	defer stop()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := &eventWriter{w: w, to: http.NewResponseController(w), patience: e.s.Patience}
	defer out.done()
	if !out.send("retry: 2000\n" + out.event("")) {
		return nil
	}
	beat := time.NewTicker(e.s.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return nil
		case <-beat.C:
			if !out.send(": \n\n") {
				return nil
			}
		case c := <-changes:
			if len(changes) >= cap(changes)-1 { // it was full
				return nil // too slow: something was, or will be, lost; it connects again
			}
			shown, err := e.s.shownEvents(e.ctx, gather(c, changes))
			if err != nil {
				return nil // it connects again
			}
			if len(shown) > 0 && !out.send(out.events(shown)) {
				return nil
			}
		}
	}
}

// gather takes what else is there already, each once, in the order of its first coming.
func gather(first string, more <-chan string) []string {
	all, seen := []string{first}, map[string]bool{first: true}
	for {
		select {
		case c := <-more:
			if !seen[c] {
				seen[c] = true
				all = append(all, c)
			}
		default:
			return all
		}
	}
}

type eventWriter struct {
	w        http.ResponseWriter
	to       *http.ResponseController
	patience time.Duration
	broken   bool
	last     int64 // number of the last event of this stream
}

func (o *eventWriter) events(changes []string) string {
	var b strings.Builder
	for _, c := range changes {
		b.WriteString(o.event(c))
	}
	return b.String()
}

// event is "kind id" in the stream's form; "": anything may have changed.
func (o *eventWriter) event(change string) string {
	kind, id, _ := strings.Cut(change, " ")
	if kind == "" {
		kind = "reset"
	}
	o.last++
	return fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", o.last, line(kind), line(id))
}

// line keeps a name from ending its line.
func line(s string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(s) }

// send writes a piece; false: the client has gone, or does not read.
func (o *eventWriter) send(text string) bool {
	_ = o.to.SetWriteDeadline(time.Now().Add(o.patience))
	if _, err := o.w.Write([]byte(text)); err != nil {
		o.broken = true
		return false
	}
	o.broken = o.to.Flush() != nil
	return !o.broken
}

// done leaves a sound connection as it was found: it may serve more.
func (o *eventWriter) done() {
	if !o.broken {
		_ = o.to.SetWriteDeadline(time.Time{})
	}
}
