package environment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/internal/environment"
	"sluice/internal/job"
	"sluice/internal/sandbox"
	"sluice/internal/sandbox/roottest"
)

var shared *sandbox.Manager

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sluice-environment-test-")
	if err == nil {
		shared, err = sandbox.Open(context.Background(), dir, sandbox.Options{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := shared.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// start starts two nodes of a format, with the upstream as their repositories.
func start(t *testing.T, recipe job.Recipe) environment.Environment {
	t.Helper()
	made, repo, h, err := roottest.Find(t.Context(), recipe)
	if err != nil {
		t.Fatal(err)
	}
	root, err := shared.Root(t.Context(), made.Archive, made.Open)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var console bytes.Buffer
	env, err := environment.NewNspawn(shared).Start(t.Context(), environment.Request{
		Name: t.Name(), Nodes: []string{"server", "client"}, Layers: []sandbox.Layer{root},
		Repositories: h, Sources: []job.Repository{repo}, Log: &console,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("two nodes after %s", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := env.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(console.String())
		}
	})
	return env
}

func on(t *testing.T, env environment.Environment, node, script string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := env.Exec(ctx, environment.Command{Node: node, Args: []string{"sh", "-c", script}, Stdout: &out, Stderr: &out})
	return strings.TrimSpace(out.String()), err
}

// server is an HTTP server of a few lines that systemd starts.
const server = `cat > /etc/systemd/system/answer.service <<'E'
[Service]
ExecStart=/usr/bin/answer
[Install]
WantedBy=multi-user.target
E
systemctl daemon-reload && systemctl enable --now answer.service`

func testTwoNodes(t *testing.T, recipe job.Recipe, program string) {
	before := roottest.Left(shared)
	env := start(t, recipe)
	if out, err := on(t, env, "server", "cat /proc/1/comm; uname -n; systemctl --failed --no-legend; systemctl is-enabled systemd-remount-fs; cat /proc/self/uid_map | awk '{print ($2 > 0)}'"); err != nil || out != "systemd\nserver\nmasked-runtime\n1" {
		t.Errorf("the node: %q, %v", out, err)
	}
	if out, err := on(t, env, "server", "cat > /usr/bin/answer <<'E'\n"+program+"\nE\nchmod 755 /usr/bin/answer; "+server); err != nil {
		t.Fatal(out, err)
	}
	const ask = `for i in 1 2 3 4 5 6 7 8 9 10; do bash -c 'exec 3<>/dev/tcp/server/8080; printf "GET / HTTP/1.0\r\n\r\n" >&3; cat <&3' 2>/dev/null | tail -1 | grep . && exit; sleep 0.3; done; exit 9`
	if out, err := on(t, env, "client", ask); err != nil || out != "answer from server" {
		t.Errorf("asking from the other node: %q, %v", out, err)
	}
	if out, _ := on(t, env, "client", "bash -c 'exec 3<>/dev/tcp/192.0.2.1/53' 2>&1; ls /sys/class/net"); !strings.Contains(out, "nreachable") {
		t.Errorf("a way out: %q", out)
	}
	if out, err := on(t, env, "client", "exit 7"); err == nil || err.Error() != "sh: exit status 7" {
		t.Errorf("%q, %v", out, err)
	}
	began := time.Now()
	if err := env.Reboot(t.Context(), "server"); err != nil {
		t.Fatal(err)
	}
	t.Logf("reboot took %s", time.Since(began).Round(time.Millisecond))
	if out, err := on(t, env, "client", ask); err != nil || out != "answer from server" {
		t.Errorf("asking after the reboot: %q, %v", out, err)
	}
	var journal bytes.Buffer
	if err := env.Journal(t.Context(), "server", &journal); err != nil || strings.Count(journal.String(), "answer.service") < 2 {
		t.Errorf("the journal of %d bytes, %v", journal.Len(), err)
	}
	testCancel(t, env)
	if err := env.Close(); err != nil {
		t.Error(err)
	}
	if after := roottest.Left(shared); after != before {
		t.Errorf("left behind: %s before, %s after", before, after)
	}
	if _, err := on(t, env, "client", "true"); !errors.Is(err, environment.ErrDown) {
		t.Errorf("a command on a closed environment: %v", err)
	}
}

// testCancel: a cancelled command is dead within a second.
func testCancel(t *testing.T, env environment.Environment) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- env.Exec(ctx, environment.Command{Node: "client", Args: []string{"sh", "-c", "echo up; sleep 4321; sleep 1"}, Stdout: w})
	}()
	io.ReadFull(r, make([]byte, 3))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled command: %v", err)
	}
	if out, _ := on(t, env, "client", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o 'sleep 432[1]'"); out != "" {
		t.Errorf("it still runs: %s", out)
	}
}

func TestDebianNodes(t *testing.T) {
	testTwoNodes(t, roottest.DebNode, `#!/usr/bin/perl
use Socket; socket(S,PF_INET,SOCK_STREAM,0); setsockopt(S,SOL_SOCKET,SO_REUSEADDR,1); bind(S,sockaddr_in(8080,INADDR_ANY)) or die; listen(S,5);
while(accept(C,S)){ sysread(C,$b,1); syswrite(C,"HTTP/1.0 200 OK\r\n\r\nanswer from ".(split /\n/,`+"`uname -n`"+`)[0]."\n"); shutdown(C,1); 1 while sysread(C,$b,999); close C }`)
}

func TestRPMNodes(t *testing.T) {
	testTwoNodes(t, roottest.RPMNode, `#!/usr/bin/python3
import http.server, socket
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(("answer from %s\n" % socket.gethostname()).encode())
http.server.HTTPServer(("", 8080), H).serve_forever()`)
}

// The nodes install packages from the environment's repositories.
func TestNodesInstall(t *testing.T) {
	env := start(t, roottest.RPMNode)
	out, err := on(t, env, "client", "dnf "+strings.Join(env.PackageArgs(), " ")+" install unzip file && file /bin/sh")
	if err != nil || !strings.Contains(out, "/bin/sh: ") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestBadRequests(t *testing.T) {
	d := environment.NewNspawn(shared)
	for _, nodes := range [][]string{{}, {"a", "a"}, {"A"}, {"a b"}, {"localhost"}, {"../x"}} {
		if _, err := d.Start(t.Context(), environment.Request{Nodes: nodes}); err == nil {
			t.Errorf("%q was accepted", nodes)
		}
	}
}

// A root that cannot boot is an error with the console's last words, and
// leaves nothing.
func TestRootThatDoesNotBoot(t *testing.T) {
	made, _, _, err := roottest.Find(t.Context(), roottest.RPMInstall)
	if err != nil {
		t.Fatal(err)
	}
	root, err := shared.Root(t.Context(), made.Archive, made.Open)
	if err != nil {
		t.Fatal(err)
	}
	before := roottest.Left(shared)
	_, err = environment.NewNspawn(shared).Start(t.Context(), environment.Request{Name: "x", Nodes: []string{"a"}, Layers: []sandbox.Layer{root}})
	var n *environment.NodeError
	if !errors.As(err, &n) {
		t.Errorf("error %v", err)
	}
	t.Log(err)
	if after := roottest.Left(shared); after != before {
		t.Errorf("left behind: %s before, %s after", before, after)
	}
}
