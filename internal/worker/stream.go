package worker

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The log goes out when this much has gathered, or this much time has passed.
const (
	chunkBytes = 64 << 10
	chunkEvery = 250 * time.Millisecond
	// pendingBytes is how far the log may be ahead of what is sent; a writer waits then.
	pendingBytes = 4 << 20
)

// stream sends a job's log as it grows.
type stream struct {
	client *client
	lease  string
	kill   context.CancelCauseFunc
	done   chan struct{}

	mu      sync.Mutex // guards what follows
	room    *sync.Cond // signalled when pending has shrunk
	pending []byte
	sent    int64
	closed  bool
	err     error
	wake    chan struct{}
}

func newStream(ctx context.Context, c *client, lease string, kill context.CancelCauseFunc) *stream {
	s := &stream{client: c, lease: lease, kill: kill, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	s.room = sync.NewCond(&s.mu)
	go s.run(context.WithoutCancel(ctx))
	return s
}

// Write adds to the log. It never fails: what cannot be sent is told by Close.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) > pendingBytes && s.err == nil && !s.closed {
		s.room.Wait()
	}
	if s.err == nil {
		s.pending = append(s.pending, p...)
	}
	if len(s.pending) >= chunkBytes {
		s.poke()
	}
	return len(p), nil
}

func (s *stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close sends the rest.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.poke()
	<-s.done
	return s.err
}

func (s *stream) run(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case <-s.wake:
		case <-time.After(chunkEvery):
		}
		if s.flush(ctx) {
			return
		}
	}
}

// flush sends what is pending; it reports whether the stream has ended.
func (s *stream) flush(ctx context.Context) bool {
	s.mu.Lock()
	chunk, start, closed := s.pending, s.sent, s.closed
	s.pending = nil
	s.room.Broadcast()
	s.mu.Unlock()
	var err error
	if len(chunk) > 0 {
		err = s.client.log(ctx, s.lease, start, chunk)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent += int64(len(chunk))
	if err != nil {
		s.err = err
		s.room.Broadcast()
		if errors.Is(err, errGone) {
			s.kill(errGone)
		}
		return true
	}
	return closed && len(s.pending) == 0
}
