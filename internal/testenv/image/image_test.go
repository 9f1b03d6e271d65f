package image

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// healthyWithin is how long the image's service may take on a busy machine: it makes a database first.
const healthyWithin = 2 * time.Minute

func TestMain(m *testing.M) { testenv.Main(m) }

// store is a place of buildah's of this test alone.
type store struct {
	t    *testing.T
	args []string
}

func newStore(t *testing.T) *store {
	dir := t.TempDir()
	s := &store{t: t, args: []string{"--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", driver(t)}}
	t.Cleanup(func() {
		s.buildah("rm", "--all")
		s.buildah("rmi", "--all", "--force")
	})
	return s
}

// driver is overlay where the kernel has it for this file system, else vfs, which copies.
func driver(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	merged := filepath.Join(dir, "merged")
	options := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", dir, dir, dir)
	if exec.Command("mount", "-t", "overlay", "overlay", "-o", options, merged).Run() != nil {
		return "vfs"
	}
	if err := exec.Command("umount", merged).Run(); err != nil {
		t.Fatalf("umount %s: %v", merged, err)
	}
	return "overlay"
}

// buildah runs one of buildah's commands and returns its output.
func (s *store) buildah(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("buildah", append(s.args, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("buildah %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// run runs a program in the module's root and returns its output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = testenv.ModuleRoot(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// buildContext is a directory with what the Dockerfile copies.
func buildContext(t *testing.T) string {
	t.Helper()
	root, dir := testenv.ModuleRoot(t), t.TempDir()
	for _, name := range []string{"Dockerfile", "scripts/install.sh"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "go", "build", "-o", filepath.Join(dir, "bin", "sluice"), "./cmd/sluice")
	return dir
}

// The image is built offline on a base that holds the packages, and its own command line serves.
func TestImageServes(t *testing.T) {
	base := testenv.DebianRootTar(t, strings.Fields(run(t, "scripts/install.sh", "list", "serve"))...)
	g := testenv.Gerrit(t)
	s := newStore(t)
	s.buildah("from", "--name", "base", "scratch")
	s.buildah("add", "-q", "base", base, "/")
	s.buildah("commit", "-q", "--rm", "base", "localhost/sluice-base")
	s.buildah("build", "-q", "--isolation", "chroot", "--layers=false", "--pull-never",
		"--build-arg", "BASE=localhost/sluice-base", "-t", "localhost/sluice", buildContext(t))
	s.buildah("from", "-q", "--name", "sluice", "--pull-never", "localhost/sluice")
	root := s.buildah("mount", "sluice")

	command, env := says(s)
	if !slices.Contains(env, "SLUICE_LISTEN=0.0.0.0:8080") {
		t.Errorf("nobody outside the container reaches what listens in it: %q", env)
	}
	// The site file does not say where to listen: on loopback, but for the environment.
	port := freePort(t)
	writeSite(t, g, root, "127.0.0.2:"+port)
	serveUntilHealthy(t, root, append([]string{"SLUICE_LISTEN=0.0.0.0:" + port}, command...), "http://127.0.0.2:"+port+"/healthz")
}

// says gives what the image says that it runs, and in which environment.
func says(s *store) (command, env []string) {
	s.t.Helper()
	var image struct {
		OCIv1 struct {
			Config struct{ Entrypoint, Cmd, Env []string }
		}
	}
	text := s.buildah("inspect", "--type", "image", "localhost/sluice")
	if err := json.Unmarshal([]byte(text), &image); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	c := image.OCIv1.Config
	return append(c.Entrypoint, c.Cmd...), c.Env
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// writeSite puts the least site file and its secrets into the image's tree.
func writeSite(t *testing.T, g *testenv.GerritServer, root, addr string) {
	t.Helper()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	files := map[string]string{
		"key": read(g.Gate.Key), "token": g.Gate.Token, "known_hosts": read(g.KnownHosts),
		"sluice.yaml": fmt.Sprintf(`url: http://%s
data: /var/lib/sluice
gerrit:
  - name: main
    url: %s
    ssh: %s
    user: %s
    token: {file: /etc/sluice/token}
    key: {file: /etc/sluice/key}
    known_hosts: /etc/sluice/known_hosts
upstreams:
  - {name: debian, format: deb, host: true}
dists:
  - name: debian-12
    format: deb
    codename: bookworm
    suffix: "~deb12"
    upstreams: [debian]
    architectures: [{name: amd64}]
releases: [{name: juno}]
targets:
  - {release: juno, dist: debian-12}
projects:
  - {project: "packages/*", releases: [juno]}
`, addr, g.URL, g.SSHAddr, g.Gate.Name),
	}
	dir := filepath.Join(root, "etc/sluice")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serveUntilHealthy runs a command line in the tree, in mount and process namespaces of its own (all of it ends with the
// test), and waits for a good answer.
func serveUntilHealthy(t *testing.T, root string, command []string, url string) {
	t.Helper()
	const enter = `set -e; root=$1; shift
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/run"
cd "$root"; exec chroot "$root" /usr/bin/env -i -C /var/lib/sluice PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"`
	args := append([]string{"--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", enter, "sh", root}, command...)
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Kill() // --kill-child takes the whole process namespace along
		<-ended
	}()

	every, deadline := time.NewTicker(200*time.Millisecond), time.After(healthyWithin)
	defer every.Stop()
	for last := ""; ; {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%v ended: %v\n%s", command, err, contents(log))
		case <-deadline:
			t.Fatalf("not healthy after %v (last answer: %s)\n%s", healthyWithin, last, contents(log))
		case <-every.C:
			resp, err := http.Get(url)
			if err != nil {
				last = err.Error()
				continue
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
			last = resp.Status + " " + string(body)
		}
	}
}

func contents(file *os.File) string {
	text, err := os.ReadFile(file.Name())
	if err != nil {
		return err.Error()
	}
	return string(text)
}
