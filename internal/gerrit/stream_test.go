package gerrit_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice/internal/gerrit"
	"sluice/internal/testenv"
)

// A stream that is cut comes back by itself, from a real Gerrit.
func TestStreamComesBack(t *testing.T) {
	g := testenv.Gerrit(t)
	s := of(t, g)
	p := s.project(t)
	link, knownHosts := g.SSHLink(t)
	stream := s.stream("gate")
	stream.Addr, stream.HostKeys = link.Addr, gerrit.KnownHosts(knownHosts)
	l := listen(t, stream)
	l.state(true)
	l.event("patchset-created", s.propose(t, p, "main", "Before", 0, nil))
	link.Cut()
	down := l.state(false)
	if down.Err == nil || down.Attempt != 1 || down.Retry <= 0 {
		t.Errorf("down: %+v", down)
	}
	lost := s.propose(t, p, "main", "Lost", 0, nil)
	l.state(false) // it tries
	link.Mend()
	l.state(true)
	// Whoever listens asks now what is true (G21).
	found, err := s.client(t, "gate").Query(context.Background(), "status:open project:"+gerrit.Quote(p), 0)
	check(t, err)
	equal(t, "the lost one", found[0].Number, lost)
	l.event("patchset-created", s.propose(t, p, "main", "After", 0, nil))
}

func TestStreamOddLines(t *testing.T) {
	s := fake(t)
	stream := s.stream("gate")
	stream.MaxLine = 100_000
	l := listen(t, stream)
	l.state(true)
	s.fake.Emit([]byte("this is no event"))
	if e := l.event(gerrit.TypeMalformed, 0); e.Problem == "" || string(e.Raw) != `"this is no event"` {
		t.Errorf("%+v", e)
	}
	s.fake.Emit([]byte(`{"type":"big","x":"` + strings.Repeat("x", 300_000) + `"}`))
	if e := l.event(gerrit.TypeMalformed, 0); !strings.Contains(e.Problem, "longer than 100000 bytes") || len(e.Raw) > 70_000 {
		t.Errorf("%s, %d bytes", e.Problem, len(e.Raw))
	}
	s.fake.Emit(nil)
	s.fake.Emit([]byte(`{"type":"plugin-said","x":1}`))
	equal(t, "the stream goes on", string(l.event("plugin-said", 0).Raw), `{"type":"plugin-said","x":1}`)
}

func TestStreamEventNotTaken(t *testing.T) {
	s := fake(t)
	stream := s.stream("gate")
	l := listen(t, stream)
	l.state(true)
	var failed atomic.Bool
	taken := make(chan gerrit.Event, 10)
	other := s.stream("gate")
	states := make(chan gerrit.State, 100)
	other.OnState = func(s gerrit.State) { states <- s }
	other.OnEvent = func(_ context.Context, e gerrit.Event) error {
		if failed.CompareAndSwap(false, true) {
			return errors.New("database away")
		}
		taken <- e
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- other.Run(ctx) }()
	equal(t, "up", (<-states).Connected, true)
	s.fake.Emit([]byte(`{"type":"one"}`))
	down := <-states
	equal(t, "down", [2]bool{down.Connected, strings.Contains(down.Err.Error(), "database away")}, [2]bool{false, true})
	equal(t, "up again", (<-states).Connected, true)
	s.fake.Emit([]byte(`{"type":"two"}`))
	equal(t, "taken", (<-taken).Type, "two")
	cancel()
	equal(t, "ends with its context", errors.Is(<-ended, context.Canceled), true)
}

// frozen carries bytes until it is told to carry none, without closing anything:
// what a firewall that forgot the connection does.
func frozen(t *testing.T, target string) (addr string, freeze func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { listener.Close() })
	var stuck atomic.Bool
	carry := func(to, from net.Conn) {
		defer to.Close()
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			if stuck.Load() {
				continue
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			go carry(server, client)
			go carry(client, server)
		}
	}()
	return listener.Addr().String(), func() { stuck.Store(true) }
}

func TestStreamSilentConnection(t *testing.T) {
	s := fake(t)
	stream := s.stream("gate")
	var freeze func()
	stream.Addr, freeze = frozen(t, s.sshAddr)
	stream.KeepAlive, stream.ConnectTimeout = 300*time.Millisecond, 300*time.Millisecond
	l := listen(t, stream)
	l.state(true)
	freeze()
	if down := l.state(false); !strings.Contains(down.Err.Error(), "no sign of life") {
		t.Errorf("down: %v", down.Err)
	}
	if down := l.state(false); !strings.Contains(down.Err.Error(), "no SSH session in time") {
		t.Errorf("connecting to silence: %v", down.Err)
	}
}

func TestStreamSettings(t *testing.T) {
	s := fake(t)
	key := s.key["gate"]
	for words, stream := range map[string]*gerrit.Stream{
		"no SSH key":             {Addr: s.sshAddr, User: "gate", HostKeys: s.hostKeys},
		"no host key":            {Addr: s.sshAddr, User: "gate", Key: key},
		"user and address":       {Addr: s.sshAddr, Key: key, HostKeys: s.hostKeys},
		"not a line like":        {Addr: s.sshAddr, User: "gate", Key: key, HostKeys: gerrit.HostKey("garbage")},
		"known_hosts: open":      {Addr: s.sshAddr, User: "gate", Key: key, HostKeys: gerrit.KnownHosts("/nonexistent/known_hosts")},
		"has no key for":         {Addr: s.sshAddr, User: "gate", Key: key, HostKeys: gerrit.KnownHosts(knownHosts(t, "[127.0.0.1]:1 "+s.fake.HostKey))},
		"unable to authenticate": {Addr: s.sshAddr, User: "nobody", Key: key, HostKeys: s.hostKeys},
		"the connection ended by hand": {Addr: s.sshAddr, User: "gate", Key: key, HostKeys: s.hostKeys, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("the connection ended by hand")
		}},
	} {
		if err := stream.Probe(context.Background()); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	good := s.stream("gate")
	host, port, err := net.SplitHostPort(s.sshAddr)
	check(t, err)
	good.HostKeys = gerrit.KnownHosts(knownHosts(t, "["+host+"]:"+port+" "+s.fake.HostKey))
	check(t, good.Probe(context.Background()))
}

func knownHosts(t *testing.T, line string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	check(t, os.WriteFile(file, []byte(line+"\n"), 0o600))
	return file
}

func TestReadKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if _, err := gerrit.ReadKey(file, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("absent: %v", err)
	}
	check(t, os.WriteFile(file, []byte("garbage"), 0o600))
	if _, err := gerrit.ReadKey(file, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("garbage: %v", err)
	}
	key, err := gerrit.ReadKey(testenv.Gerrit(t).Gate.Key, nil)
	check(t, err)
	equal(t, "type", key.PublicKey().Type(), ssh.KeyAlgoED25519)
}
