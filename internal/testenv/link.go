package testenv

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Link is a TCP connection's way from a loopback address of its own to a server, which a test can cut and mend: for
// what must survive a lost stream, a server out of reach, a database that goes away.
type Link struct {
	Addr string // host:port to connect to instead of the server's own

	target   string
	listener net.Listener
	mu       sync.Mutex // guards cut and open
	cut      bool
	open     map[net.Conn]bool
}

// NewLink makes a link to target (host:port), which lasts until the test ends.
func NewLink(t testing.TB, target string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testenv: link: %v", err)
	}
	l := &Link{Addr: listener.Addr().String(), target: target, listener: listener, open: map[net.Conn]bool{}}
	go l.accept()
	t.Cleanup(func() {
		listener.Close()
		l.Cut()
	})
	return l
}

// Cut breaks every connection and refuses new ones until Mend.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for conn := range l.open {
		conn.Close()
	}
	clear(l.open)
}

// Mend lets connections through again.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

// Connections is how many are open through the link now.
func (l *Link) Connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open) / 2
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		go l.carry(client)
	}
}

// carry copies both ways until one end closes or the link is cut.
func (l *Link) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer server.Close()
	if !l.keep(client, server) {
		return
	}
	defer l.drop(client, server)
	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go pipe(server, client)
	go pipe(client, server)
	<-done
}

// keep registers a pair, and refuses it while the link is cut.
func (l *Link) keep(pair ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	for _, conn := range pair {
		l.open[conn] = true
	}
	return true
}

func (l *Link) drop(pair ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range pair {
		delete(l.open, conn)
	}
}
