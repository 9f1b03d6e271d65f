package gerrit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/crypto/ssh"
)

// Stream listens to Gerrit's stream-events over SSH.
type Stream struct {
	Addr string // host:port, usually port 29418
	User string
	Key  ssh.Signer // see [ReadKey]
	// HostKeys checks who answers; see [KnownHosts] and [HostKey].
	HostKeys HostKeys
	// Dial reaches Addr, through a proxy for instance; nil: directly.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// ConnectTimeout bounds connecting until Gerrit listens, 30 s when 0.
	ConnectTimeout time.Duration
	// KeepAlive is how often a silent connection is asked for a sign of life, 30 s when 0. One
	// that does not answer by the next time is given up.
	KeepAlive time.Duration
	// Wait is the first pause before connecting again, 0.5 s when 0; it grows
	// with each failure to MaxWait, 60 s when 0, each pause off by up to half at random.
	Wait, MaxWait time.Duration
	// MaxLine is the longest event, in bytes, 16 MiB when 0. A longer one is
	// delivered as malformed; the stream goes on behind it.
	MaxLine int

	// OnEvent gets each event, one after the other. If it fails, the
	// event counts as lost: the connection is dropped, and the next Connected asks for a reconcile.
	OnEvent func(context.Context, Event) error
	// OnState, if set, is told when the connection comes and goes.
	OnState func(State)
}

// State is how the connection stands. What happened while it was not Connected is
// lost: at each Connected, ask Gerrit what is true (G21).
type State struct {
	Connected bool
	Err       error         // why it is not
	Attempt   int           // failures in a row
	Retry     time.Duration // the pause until it is tried again
}

// settle is how long Gerrit may need between accepting the command and
// listening: it acknowledges first, and gives no sign of the second.
const settle = 250 * time.Millisecond

func (s *Stream) check() error {
	switch {
	case s.Key == nil:
		return errors.New("gerrit: stream: no SSH key given")
	case s.HostKeys == nil:
		return errors.New("gerrit: stream: no host key or known_hosts file given: who answers must be checked")
	case s.User == "" || s.Addr == "":
		return errors.New("gerrit: stream: the SSH user and address are needed")
	}
	return nil
}

// Run listens until ctx ends, and connects again whenever the connection is
// lost. It returns ctx's error, or at once an error in s itself.
func (s *Stream) Run(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval = orDefault(s.Wait, 500*time.Millisecond)
	pauses.MaxInterval = orDefault(s.MaxWait, time.Minute)
	for attempt := 0; ; {
		err := s.once(ctx, func() {
			attempt = 0
			pauses.Reset()
			s.state(State{Connected: true})
		})
		if ctx.Err() != nil {
			s.state(State{Err: ctx.Err()})
			return ctx.Err()
		}
		attempt++
		pause := pauses.NextBackOff()
		s.state(State{Err: err, Attempt: attempt, Retry: pause})
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
	}
}

func (s *Stream) state(now State) {
	if s.OnState != nil {
		s.OnState(now)
	}
}

// Probe connects, begins to listen, and leaves: nil means that events would come.
func (s *Stream) Probe(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(s.ConnectTimeout, 30*time.Second))
	defer cancel()
	probe := *s
	probe.OnEvent = func(context.Context, Event) error { return nil }
	connected := false
	err := probe.once(ctx, func() { connected = true; cancel() })
	if connected {
		return nil
	}
	return err
}

// once is one connection: it ends with an error, always.
func (s *Stream) once(ctx context.Context, connected func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("gerrit: ssh to %s@%s: %w", s.User, s.Addr, err)
	}
	var done sync.WaitGroup
	defer done.Wait()
	defer client.Close()
	done.Go(func() { <-ctx.Done(); client.Close() })
	defer cancel()

	session, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("gerrit: stream: %w", err)
	}
	defer session.Close()
	out, err := session.StdoutPipe()
	if err != nil {
		return fmt.Errorf("gerrit: stream: %w", err)
	}
	complaint := &tail{}
	session.Stderr = complaint
	if err := session.Start("gerrit stream-events"); err != nil {
		return fmt.Errorf("gerrit: stream-events: %w", err)
	}
	lines := make(chan []byte)
	var readErr error
	done.Go(func() {
		defer close(lines)
		readErr = readLines(ctx, out, orDefault(s.MaxLine, maxEvent), lines)
	})
	dead := make(chan error, 1)
	done.Go(func() { dead <- s.keepAlive(ctx, client) })
	if err := s.deliver(ctx, lines, dead, connected); err != nil {
		return err
	}
	if readErr != nil {
		return fmt.Errorf("gerrit: stream: %w", readErr)
	}
	ended := make(chan error, 1)
	done.Go(func() { ended <- session.Wait() })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-dead:
		return err
	case err := <-ended:
		if words := complaint.String(); words != "" || err != nil {
			return fmt.Errorf("gerrit: stream-events: %s", orDefault(words, fmt.Sprint(err)))
		}
		return errors.New("gerrit: stream: Gerrit closed it")
	}
}

// deliver hands the lines on until there are no more (nil), or something breaks.
func (s *Stream) deliver(ctx context.Context, lines <-chan []byte, dead <-chan error, connected func()) error {
	settled := time.NewTimer(settle)
	defer settled.Stop()
	up := false
	rise := func() {
		if !up {
			up = true
			connected()
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-dead:
			return err
		case <-settled.C:
			rise()
		case line, more := <-lines:
			if !more {
				return nil
			}
			rise()
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			e := ParseEvent(line)
			if len(line) > orDefault(s.MaxLine, maxEvent) {
				e = malformed(line, fmt.Sprintf("it is longer than %d bytes", orDefault(s.MaxLine, maxEvent)))
			}
			if err := s.OnEvent(ctx, e); err != nil {
				return fmt.Errorf("gerrit: stream: an event could not be taken: %w", err)
			}
		}
	}
}

// readLines sends each line. Of one longer than limit it sends the first limit+1
// bytes, and reads on behind it, so that memory stays bounded.
func readLines(ctx context.Context, r io.Reader, limit int, lines chan<- []byte) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if room := limit + 1 - len(line); room > 0 {
			line = append(line, part[:min(room, len(part))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil || len(line) > 0 {
			select {
			case lines <- bytes.TrimSuffix(line, []byte("\n")):
				line = nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// keepAlive asks for a sign of life now and then; any answer will do. It
// returns when none came in time.
func (s *Stream) keepAlive(ctx context.Context, client *ssh.Client) error {
	every := orDefault(s.KeepAlive, 30*time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	answers := make(chan error, 1)
	waiting := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-answers:
			if err != nil {
				return fmt.Errorf("gerrit: stream: %w", err)
			}
			waiting = false
		case <-tick.C:
			if waiting {
				return fmt.Errorf("gerrit: stream: no sign of life from %s within %v", s.Addr, every)
			}
			waiting = true
			go func() {
				_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
				answers <- err
			}()
		}
	}
}

func (s *Stream) connect(ctx context.Context) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, orDefault(s.ConnectTimeout, 30*time.Second))
	defer cancel()
	dial := s.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	conn, err := dial(ctx, "tcp", s.Addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // the handshake knows no context
	defer stop()
	check, algorithms, err := s.HostKeys(s.Addr)
	if err != nil {
		conn.Close()
		return nil, err
	}
	inner, channels, requests, err := ssh.NewClientConn(conn, s.Addr, &ssh.ClientConfig{
		User: s.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.Key)},
		HostKeyCallback: check, HostKeyAlgorithms: algorithms, ClientVersion: "SSH-2.0-sluice",
	})
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("no SSH session in time: %w", ctx.Err())
		}
		return nil, err
	}
	return ssh.NewClient(inner, channels, requests), nil
}

// tail keeps the last words of a command that failed.
type tail struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - 4<<10; over > 0 {
		t.kept = t.kept[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "\uFFFD"))
}
