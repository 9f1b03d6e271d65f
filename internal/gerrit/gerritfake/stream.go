package gerritfake

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// sshServer is stream-events.
type sshServer struct {
	listener net.Listener
	config   *ssh.ServerConfig

	mu       sync.Mutex // guards all below
	conns    map[net.Conn]bool
	readers  map[chan []byte]bool
	refusing bool
}

func (s *Server) listenSSH() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	host, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, _ ssh.PublicKey) (*ssh.Permissions, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.users[meta.User()] == nil {
			return nil, io.EOF
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	s.ssh = &sshServer{listener: listener, config: config, conns: map[net.Conn]bool{}, readers: map[chan []byte]bool{}}
	s.SSHAddr, s.HostKey = listener.Addr().String(), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(host.PublicKey())))
	go s.accept()
	return nil
}

func (s *sshServer) close() {
	s.listener.Close()
	s.cut(true)
}

func (s *sshServer) cut(refusing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = refusing
	if refusing {
		for conn := range s.conns {
			conn.Close()
		}
	}
}

// CutStream breaks all streams and lets nobody in until MendStream: events are lost.
func (s *Server) CutStream() { s.ssh.cut(true) }

// MendStream lets listeners in again.
func (s *Server) MendStream() { s.ssh.cut(false) }

// Listeners is how many read the stream now.
func (s *Server) Listeners() int {
	s.ssh.mu.Lock()
	defer s.ssh.mu.Unlock()
	return len(s.ssh.readers)
}

func (s *Server) accept() {
	for {
		conn, err := s.ssh.listener.Accept()
		if err != nil {
			return
		}
		go s.talk(conn)
	}
}

func (s *Server) talk(conn net.Conn) {
	defer conn.Close()
	s.ssh.mu.Lock()
	refusing := s.ssh.refusing
	if !refusing {
		s.ssh.conns[conn] = true
	}
	s.ssh.mu.Unlock()
	if refusing {
		return
	}
	defer func() {
		s.ssh.mu.Lock()
		defer s.ssh.mu.Unlock()
		delete(s.ssh.conns, conn)
	}()
	inner, channels, requests, err := ssh.NewServerConn(conn, s.ssh.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go s.session(inner.User(), channel, requests)
	}
}

func (s *Server) session(user string, channel ssh.Channel, requests <-chan *ssh.Request) {
	gone := make(chan struct{})
	started := false
	for r := range requests {
		var command struct{ Line string }
		if r.Type != "exec" || started || ssh.Unmarshal(r.Payload, &command) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		started = true
		_ = r.Reply(true, nil)
		s.mu.Lock()
		may := s.users[user].streams
		s.mu.Unlock()
		switch {
		case command.Line != "gerrit stream-events":
			fail(channel, "gerrit: not a command that the fake knows")
		case !may:
			fail(channel, "stream events not permitted")
		default:
			go s.stream(channel, gone)
		}
	}
	close(gone)
	channel.Close()
}

func fail(channel ssh.Channel, words string) {
	_, _ = io.WriteString(channel.Stderr(), words+"\n")
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{1}))
	channel.Close()
}

func (s *Server) stream(channel ssh.Channel, gone <-chan struct{}) {
	lines := make(chan []byte, 1024)
	s.ssh.mu.Lock()
	s.ssh.readers[lines] = true
	s.ssh.mu.Unlock()
	defer func() {
		s.ssh.mu.Lock()
		defer s.ssh.mu.Unlock()
		delete(s.ssh.readers, lines)
	}()
	for {
		select {
		case <-gone:
			return
		case line := <-lines:
			if _, err := channel.Write(line); err != nil {
				return
			}
		}
	}
}

// Emit sends a line to all listeners, whatever it holds.
func (s *Server) Emit(line []byte) {
	s.ssh.mu.Lock()
	defer s.ssh.mu.Unlock()
	for reader := range s.ssh.readers {
		select {
		case reader <- append(append([]byte{}, line...), '\n'):
		default: // a reader that is too slow loses events, as with Gerrit
		}
	}
}

func (s *Server) emit(event map[string]any) {
	event["eventCreatedOn"] = time.Now().Unix()
	if line, err := json.Marshal(event); err == nil {
		s.Emit(line)
	}
}

func (u *User) event() map[string]any {
	return map[string]any{"name": u.Full, "email": u.Name + "@example.com", "username": u.Name}
}

func (s *Server) refUpdated(by *User, project, ref, old, next string) {
	s.emit(map[string]any{"type": "ref-updated", "submitter": by.event(), "refUpdate": map[string]any{
		"oldRev": old, "newRev": next, "refName": ref, "project": project,
	}})
}

func (s *Server) changeEvent(kind string, c *change, event map[string]any) {
	ps := c.current()
	event["type"], event["project"], event["refName"] = kind, c.project, "refs/heads/"+c.branch
	event["changeKey"] = map[string]any{"id": c.id}
	event["patchSet"] = map[string]any{
		"number": ps.number, "revision": ps.revision, "parents": []string{ps.parent}, "ref": c.ref(ps), "kind": ps.kind,
		"uploader": ps.by.event(), "author": ps.by.event(), "createdOn": ps.at.Unix(),
	}
	described := map[string]any{
		"project": c.project, "branch": c.branch, "id": c.id, "number": c.number,
		"subject": strings.SplitN(ps.message, "\n", 2)[0], "owner": c.owner.event(), "commitMessage": ps.message,
		"createdOn": c.created.Unix(), "status": c.status,
	}
	for key, value := range map[string]bool{"wip": c.wip, "private": c.private} {
		if value {
			described[key] = true
		}
	}
	if c.topic != "" {
		described["topic"] = c.topic
	}
	event["change"] = described
	s.emit(event)
}
