package gerritfake

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"time"
)

// Version is what the fake says that it is.
const Version = "3.13.5-fake"

// User is an account. Its token is NAME-secret, the administrator's is "secret".
type User struct {
	ID          int
	Name, Full  string
	Token       string
	labels      map[string][2]int
	submits     bool
	admin       bool
	seesPrivate bool
	streams     bool
}

// Server is one fake Gerrit. Its methods may be called at any time.
type Server struct {
	URL        string // http://127.0.0.1:PORT
	SSHAddr    string // 127.0.0.1:PORT; any key of any user is let in
	HostKey    string // of the SSH server, a line "ssh-ed25519 AAAA…"
	WholeTopic bool   // submit whole topics; set before use

	http    *httptest.Server
	closing chan struct{} // closed by Close
	ssh     *sshServer

	mu       sync.Mutex // guards all below
	users    map[string]*User
	projects map[string]*project
	changes  map[int]*change
	next     int // number of the next change
	serial   int // for names that must differ
	last     time.Time
	faults   []*fault
	requests int
}

// New starts a fake; Close ends it.
func New() (*Server, error) {
	s := &Server{users: map[string]*User{}, projects: map[string]*project{}, changes: map[int]*change{}, next: 1, closing: make(chan struct{})}
	all := map[string][2]int{"Verified": {-2, 2}, "Code-Review": {-2, 2}, "Workflow": {-1, 1}}
	reviewer := map[string][2]int{"Code-Review": {-2, 2}, "Workflow": {-1, 1}}
	robot := map[string][2]int{"Verified": {-2, 2}, "Code-Review": {-1, 1}}
	anybody := map[string][2]int{"Code-Review": {-1, 1}}
	for i, u := range []*User{
		{Name: "admin", Full: "Administrator", Token: "secret", labels: all, submits: true, admin: true, seesPrivate: true, streams: true},
		{Name: "gate", Full: "Gating Bot", labels: robot, submits: true, seesPrivate: true, streams: true},
		{Name: "maintainer", Full: "Mai Maintainer", labels: reviewer},
		{Name: "reviewer", Full: "Rae Reviewer", labels: reviewer},
		{Name: "limited", Full: "Lou Limited", labels: anybody},
	} {
		u.ID = 1000000 + i
		if u.Token == "" {
			u.Token = u.Name + "-secret"
		}
		s.users[u.Name] = u
	}
	if err := s.listenSSH(); err != nil {
		return nil, err
	}
	s.http = httptest.NewServer(s.routes())
	s.URL = s.http.URL
	return s, nil
}

// Close ends all connections.
func (s *Server) Close() {
	close(s.closing)
	s.ssh.close()
	s.http.CloseClientConnections()
	s.http.Close()
}

// Requests is how many REST requests have come so far.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Fault is how a request goes wrong.
type Fault struct {
	// Status and Body are answered; with Status 0 the connection breaks.
	Status int
	Body   string
	// Done: the work is done first, only its answer is lost.
	Done bool
	// Until delays what happens until it is closed (or the client leaves).
	Until <-chan struct{}
	// Pass: after Until the request goes its normal way: slow, not broken.
	Pass bool
	// Times is how many requests are hit, 1 if 0.
	Times int
}

type fault struct {
	Fault
	method string
	path   *regexp.Regexp
	left   int
}

// Fail has the next requests of a method whose path (without /a) matches the expression go wrong.
func (s *Server) Fail(method, path string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{f, method, regexp.MustCompile(path), max(1, f.Times)})
}

func (s *Server) hit(r *http.Request) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	for _, f := range s.faults {
		if f.left > 0 && f.method == r.Method && f.path.MatchString(r.URL.Path) {
			f.left--
			return f
		}
	}
	return nil
}

// faulty goes wrong as Fail said, or hands on.
func (s *Server) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := s.hit(r)
		if f == nil {
			next.ServeHTTP(w, r)
			return
		}
		if f.Until != nil {
			// net/http notices that a client left only once its body is read.
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			select {
			case <-f.Until:
			case <-s.closing:
				panic(http.ErrAbortHandler)
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
		if f.Pass {
			next.ServeHTTP(w, r)
			return
		}
		if f.Done {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		if f.Status == 0 {
			panic(http.ErrAbortHandler)
		}
		http.Error(w, f.Body, f.Status)
	})
}

// refusal is an answer that is not a success, in Gerrit's words.
type refusal struct {
	status int
	words  string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.words) }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// now is a time that is later than any before, as the change's updated must be.
func (s *Server) now() time.Time {
	t := time.Now().UTC().Truncate(time.Microsecond)
	if !t.After(s.last) {
		t = s.last.Add(time.Microsecond)
	}
	s.last = t
	return t
}
