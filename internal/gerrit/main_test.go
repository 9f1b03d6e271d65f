package gerrit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/ssh"

	"sluice/internal/gerrit"
	"sluice/internal/gerrit/gerritfake"
	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// server is a Gerrit, real or fake, as the conformance suite sees it. Both have
// the accounts of scripts/gerrit.sh.
type server struct {
	url, sshAddr string
	hostKeys     gerrit.HostKeys
	token        map[string]string
	key          map[string]ssh.Signer
	version      string
	fake         *gerritfake.Server // nil: it is real
}

var users = []string{"admin", "gate", "maintainer", "reviewer", "limited"}

// real is the real Gerrit of a version, "" for the newest that runs here.
func real(t *testing.T, version string) *server {
	t.Helper()
	g := testenv.GerritVersion(t, version)
	return of(t, g)
}

func of(t *testing.T, g *testenv.GerritServer) *server {
	t.Helper()
	s := &server{
		url: g.URL, sshAddr: g.SSHAddr, hostKeys: gerrit.KnownHosts(g.KnownHosts), version: g.Version,
		token: map[string]string{}, key: map[string]ssh.Signer{},
	}
	for _, u := range []testenv.User{g.Admin, g.Gate, g.Maintainer, g.Reviewer, g.Limited} {
		key, err := gerrit.ReadKey(u.Key, nil)
		check(t, err)
		s.token[u.Name], s.key[u.Name] = u.Token, key
	}
	return s
}

// fake is a new fake Gerrit.
func fake(t *testing.T) *server {
	t.Helper()
	f, err := gerritfake.New()
	check(t, err)
	t.Cleanup(f.Close)
	s := &server{
		url: f.URL, sshAddr: f.SSHAddr, hostKeys: gerrit.HostKey(f.HostKey), version: gerritfake.Version, fake: f,
		token: map[string]string{"admin": "secret"}, key: map[string]ssh.Signer{},
	}
	for _, name := range users {
		if name != "admin" {
			s.token[name] = name + "-secret"
		}
		_, private, err := ed25519.GenerateKey(nil)
		check(t, err)
		s.key[name], err = ssh.NewSignerFromKey(private)
		check(t, err)
	}
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// client is a client for an account, "" for nobody's.
func (s *server) client(t testing.TB, user string) *gerrit.Client {
	t.Helper()
	c, err := gerrit.New(gerrit.Config{URL: s.url, User: user, Token: s.token[user]})
	check(t, err)
	return c
}

// try is a request as a user; it gives the status and the body behind the prefix.
func (s *server) try(t testing.TB, user, method, path string, body any) (int, []byte) {
	t.Helper()
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		check(t, err)
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+"/a"+path, payload)
	check(t, err)
	req.SetBasicAuth(user, s.token[user])
	if body != nil {
		req.Header.Set("Content-Type", "application/json; charset=UTF-8")
	}
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, bytes.TrimPrefix(data, []byte(")]}'\n"))
}

// do is try for what must succeed.
func (s *server) do(t testing.TB, user, method, path string, body, into any) {
	t.Helper()
	status, data := s.try(t, user, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s as %s: %d %s", method, path, user, status, data)
	}
	if into != nil {
		check(t, json.Unmarshal(data, into))
	}
}

var serial atomic.Int64

// project makes one, with its branches (main if none).
func (s *server) project(t testing.TB, branches ...string) string {
	t.Helper()
	if len(branches) == 0 {
		branches = []string{"main"}
	}
	name := fmt.Sprintf("suite/p%d", serial.Add(1))
	s.do(t, "admin", "PUT", "/projects/"+escape(name), map[string]any{
		"create_empty_commit": true, "branches": branches, "submit_type": "MERGE_IF_NECESSARY",
	}, nil)
	return name
}

func escape(name string) string {
	return string(bytes.ReplaceAll([]byte(name), []byte("/"), []byte("%2F")))
}

// propose makes a change as the maintainer, on another one if on is not 0.
func (s *server) propose(t testing.TB, project, branch, message string, on int, more map[string]any) int {
	t.Helper()
	in := map[string]any{"project": project, "branch": branch, "subject": message}
	if on != 0 {
		in["base_change"] = fmt.Sprint(on)
	}
	for k, v := range more {
		in[k] = v
	}
	var made struct {
		Number int `json:"_number"`
	}
	s.do(t, "maintainer", "POST", "/changes/", in, &made)
	return made.Number
}

func (s *server) vote(t testing.TB, user string, number int, labels map[string]int) {
	t.Helper()
	s.do(t, user, "POST", fmt.Sprintf("/changes/%d/revisions/current/review", number), map[string]any{"labels": labels}, nil)
}

// approve gives what the gate waits for.
func (s *server) approve(t testing.TB, numbers ...int) {
	t.Helper()
	for _, n := range numbers {
		s.vote(t, "reviewer", n, map[string]int{"Code-Review": 2, "Workflow": 1})
	}
}

func (s *server) act(t testing.TB, user string, number int, action string) {
	t.Helper()
	s.do(t, user, "POST", fmt.Sprintf("/changes/%d/%s", number, action), map[string]any{}, nil)
}
