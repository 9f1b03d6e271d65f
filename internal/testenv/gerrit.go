package testenv

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sluice/internal/trial"
)

// GerritServer is a real Gerrit of this test process, set up by scripts/gerrit.sh: read there which accounts, labels
// and rights it has. Its methods fail the test rather than return an error, but for those that say otherwise.
type GerritServer struct {
	Version    string
	URL        string // http://127.0.0.1:PORT, without a slash at the end
	SSHAddr    string // 127.0.0.1:PORT
	KnownHosts string // path of a known_hosts file with the server's keys for SSHAddr

	Admin      User // administrator
	Gate       User // the gate's account
	Maintainer User // proposes changes
	Reviewer   User // approves them
	Limited    User // may propose, may not approve, sees no private change

	site   string
	pushes sync.Once // the administrator's right to push past review was given
	env    []string  // of scripts/gerrit.sh
}

// User is one account of a Gerrit.
type User struct {
	Name  string
	Token string // of HTTP basic authentication, REST and git alike
	Key   string // path of the private SSH key (ed25519, OpenSSH's format)
}

// servers holds this process's Gerrits.
var servers = struct {
	mu        sync.Mutex // guards byVersion, and is held while one starts
	byVersion map[string]*GerritServer
}{byVersion: map[string]*GerritServer{}}

// Gerrit is this process's Gerrit of the newest version that a Java on this machine can run.
func Gerrit(t testing.TB) *GerritServer { return GerritVersion(t, "") }

// GerritVersion is this process's Gerrit of one version, such as "3.10.2".
func GerritVersion(t testing.TB, version string) *GerritServer {
	t.Helper()
	needMain(t)
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if g := servers.byVersion[version]; g != nil {
		return g
	}
	g, err := startGerrit(t, version)
	if err != nil {
		t.Fatalf("testenv: Gerrit: %v", err)
	}
	servers.byVersion[version], servers.byVersion[g.Version] = g, g
	return g
}

// NewGerrit starts one more Gerrit, of this test alone: for what changes the server's rights or settings. settings are
// variables of scripts/gerrit.sh, such as "GERRIT_SUBMIT_WHOLE_TOPIC=true".
func NewGerrit(t testing.TB, settings ...string) *GerritServer {
	t.Helper()
	needMain(t)
	g, err := startGerrit(t, "", settings...)
	if err != nil {
		t.Fatalf("testenv: Gerrit: %v", err)
	}
	t.Cleanup(func() { _, _ = script(t, g.env, "gerrit.sh", "purge") })
	return g
}

// startGerrit starts a server on free ports. A port can be taken between our look and Gerrit's: then it tries others.
func startGerrit(t testing.TB, version string, settings ...string) (*GerritServer, error) {
	dir, err := os.MkdirTemp("", "sluice-gerrit-")
	if err != nil {
		return nil, err
	}
	atEnd(func() { os.RemoveAll(dir) })
	var out string
	for range 3 {
		ports, err := freePorts(2)
		if err != nil {
			return nil, err
		}
		g := &GerritServer{site: filepath.Join(dir, "site")}
		g.env = append([]string{
			"GERRIT_SITE=" + g.site, "GERRIT_VERSION=" + version, "GERRIT_CACHE=" + filepath.Join(CacheDir(t), "gerrit"),
			"HTTP_PORT=" + ports[0], "SSH_PORT=" + ports[1], "GERRIT_OWNER_PID=" + strconv.Itoa(os.Getpid()),
		}, settings...)
		if out, err = script(t, g.env, "gerrit.sh", "up"); err == nil {
			atEnd(func() { _, _ = script(t, g.env, "gerrit.sh", "purge") })
			return g, g.read(out)
		}
		if text := err.Error(); !strings.Contains(text, "is taken") && !strings.Contains(text, "already in use") {
			return nil, err
		}
		_, _ = script(t, g.env, "gerrit.sh", "purge")
	}
	return nil, fmt.Errorf("no free ports found in three attempts")
}

// freePorts finds n loopback ports that nothing listens on now.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

// read takes over what `gerrit.sh up` printed.
func (g *GerritServer) read(out string) error {
	values := map[string]string{}
	for scan := bufio.NewScanner(strings.NewReader(out)); scan.Scan(); {
		if key, value, ok := strings.Cut(scan.Text(), "="); ok {
			values[key] = value
		}
	}
	g.Version, g.URL, g.KnownHosts = values["GERRIT_VERSION"], values["GERRIT_URL"], values["GERRIT_KNOWN_HOSTS"]
	g.SSHAddr = net.JoinHostPort(values["GERRIT_SSH_HOST"], values["GERRIT_SSH_PORT"])
	for name, user := range map[string]*User{
		"ADMIN": &g.Admin, "GATE": &g.Gate, "MAINTAINER": &g.Maintainer, "REVIEWER": &g.Reviewer, "LIMITED": &g.Limited,
	} {
		*user = User{Name: values[name+"_USER"], Token: values[name+"_TOKEN"], Key: values[name+"_KEY"]}
		if user.Name == "" || user.Token == "" || user.Key == "" {
			return fmt.Errorf("scripts/gerrit.sh up did not say who %s is:\n%s", name, out)
		}
	}
	return nil
}

// Named is the server as a site file names it, with the file of the gate's token.
func (g *GerritServer) Named(tokenFile string) trial.Gerrit {
	return trial.Gerrit{URL: g.URL, SSH: g.SSHAddr, User: g.Gate.Name, TokenFile: tokenFile, KeyFile: g.Gate.Key, KnownHostsFile: g.KnownHosts}
}

// Stop takes the server down; its data stays. The test that stops a shared server starts it again.
func (g *GerritServer) Stop(t testing.TB) { g.script(t, "down") }

// Start brings a stopped server up again, on the same ports.
func (g *GerritServer) Start(t testing.TB) { g.script(t, "up") }

func (g *GerritServer) script(t testing.TB, args ...string) {
	t.Helper()
	if _, err := script(t, g.env, "gerrit.sh", args...); err != nil {
		t.Fatalf("testenv: Gerrit: %v", err)
	}
}

// SSHLink is a way to the server's SSH port that can be cut, and the known_hosts file for its address.
func (g *GerritServer) SSHLink(t testing.TB) (link *Link, knownHosts string) {
	t.Helper()
	link = NewLink(t, g.SSHAddr)
	keys, err := os.ReadFile(g.KnownHosts)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	knownHosts = filepath.Join(t.TempDir(), "known_hosts")
	text := strings.ReplaceAll(string(keys), bracketed(g.SSHAddr), bracketed(link.Addr))
	if err := os.WriteFile(knownHosts, []byte(text), 0o644); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return link, knownHosts
}

// bracketed is known_hosts' way to write host:port.
func bracketed(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return "[" + host + "]:" + port
}
