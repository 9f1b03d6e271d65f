package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sluice/internal/job"
	"sluice/internal/testenv"
)

// balancer is the one address of several replicas; it asks them in turn.
type balancer struct {
	*httptest.Server
	mu    sync.Mutex // guards what follows
	to    []*url.URL
	asked []int // requests, by the replica
	turn  int
	held  *moment
}

// moment is in the middle of what a client reads: the answer to a path has been
// made, and the client does not have it yet.
type moment struct {
	path string
	come chan struct{}
	over chan struct{}
}

func newBalancer(t testing.TB) *balancer {
	b := &balancer{}
	on := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(b.next()) },
		ModifyResponse: func(r *http.Response) error {
			if m := b.meets(r.Request.URL.Path); m != nil && r.StatusCode == http.StatusOK {
				close(m.come)
				<-m.over
			}
			return nil
		},
	}
	b.Server = httptest.NewServer(on)
	t.Cleanup(b.Close)
	return b
}

func (b *balancer) next() *url.URL {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn = (b.turn + 1) % len(b.to)
	b.asked[b.turn]++
	return b.to[b.turn]
}

func (b *balancer) meets(path string) (m *moment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held != nil && strings.HasSuffix(path, b.held.path) {
		m, b.held = b.held, nil
	}
	return m
}

// during runs a client, and land in the middle of it: between the making of an
// answer to path and its arrival.
func (b *balancer) during(path string, client func() error, land func()) error {
	m := &moment{path, make(chan struct{}), make(chan struct{})}
	b.mu.Lock()
	b.held = m
	b.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- client() }()
	select {
	case <-m.come:
	case err := <-ended:
		return fmt.Errorf("it never read %s: %w", path, err)
	}
	func() {
		defer close(m.over)
		land()
	}()
	return <-ended
}

// aptAt is a private apt that knows one repository.
func aptAt(t testing.TB, sources string) (root string, apt func(args ...string) error) {
	root = t.TempDir()
	for _, d := range []string{"etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d", "state/lists/partial", "cache/archives/partial", "var/lib/dpkg/info", "var/lib/dpkg/updates", "log"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "etc/apt/sources.list.d/story.sources"), sources)
	write(t, filepath.Join(root, "var/lib/dpkg/status"), "")
	var options []string
	for _, o := range []string{"Dir::Etc=" + root + "/etc/apt", "Dir::State=" + root + "/state", "Dir::Cache=" + root + "/cache", "Dir::Log=" + root + "/log",
		"Dir::State::status=" + root + "/var/lib/dpkg/status", "APT::Architecture=amd64", "APT::Architectures=amd64", "APT::Sandbox::User=root", "APT::Update::Error-Mode=any",
		"DPkg::Options::=--root=" + root, "DPkg::Options::=--force-script-chrootless", "DPkg::Options::=--force-not-root", "DPkg::Path=" + os.Getenv("PATH"), "Debug::NoLocking=1", "Acquire::Retries=0", "Acquire::http::Timeout=300"} {
		options = append(options, "-o", o)
	}
	return root, func(args ...string) error {
		return quietly(root, "apt-get", append(options, args...), "APT_CONFIG=/dev/null", "DEBIAN_FRONTEND=noninteractive")
	}
}

// dnfAt is a private dnf that knows one repository.
func dnfAt(t testing.TB, sources string) (root string, dnf func(args ...string) error) {
	home := t.TempDir()
	root = filepath.Join(home, "root")
	for _, d := range []string{"repos", "root/dev"} {
		if err := os.MkdirAll(filepath.Join(home, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, home+"/repos/story.repo", sources)
	write(t, home+"/dnf.conf", "[main]\nplugins=0\ntimeout=300\n")
	options := []string{"-y", "--config=" + home + "/dnf.conf", "--setopt=reposdir=" + home + "/repos", "--setopt=cachedir=" + home + "/cache",
		"--setopt=persistdir=" + home + "/persist", "--setopt=logdir=" + home, "--installroot=" + root, "--releasever=9", "--setopt=tsflags=noscripts"}
	return root, func(args ...string) error { return quietly(home, "dnf", append(options, args...)) }
}

// quietly runs a program; its words are in the error.
func quietly(home, name string, args []string, env ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = home
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + home}, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args[len(args)-2:], " "), err, out)
	}
	return nil
}

// Two replicas behind one address, asked in turn, and a publication that lands
// while a client is in the middle of reading the one before: no client mixes the
// two. Each installs what it had begun to read, and the next time what is new.
func TestClientsOfTwoReplicasWhilePublishing(t *testing.T) {
	t.Parallel()
	b := newBalancer(t)
	s := newSite(t, options{check: "none", rpm: true, url: b.URL})
	s.projectWith("both", files("both", map[string]string{"both.spec": "Name: both\nVersion: 1.0\nRelease: 1%{?dist}\nSummary: both\nLicense: MIT\nBuildArch: noarch\n%description\nboth\n%files\n"}))
	for range 2 {
		to, err := url.Parse(s.serve().URL)
		if err != nil {
			t.Fatal(err)
		}
		b.to, b.asked = append(b.to, to), append(b.asked, 0)
	}
	published := 0
	next := func() (land func()) { // the next change has been tested; it lands when it is told to
		published++
		release := s.worker.hold("install both")
		c := s.edit("both", "next", fmt.Sprintln(published))
		s.approve(c)
		s.tested(c, 0)
		return func() {
			release()
			s.merged(c)
			s.empty()
		}
	}
	next()()

	text := func(path string) string {
		status, text := s.get(path)
		if status != http.StatusOK || !strings.Contains(text, b.URL) {
			t.Fatalf("%s: %d\n%s", path, status, text)
		}
		return text
	}
	root, apt := aptAt(t, text("/repo/juno/debian-12/updates/sluice.sources"))
	installed := func(where, target string, n int) {
		t.Helper()
		data, _ := os.ReadFile(where)
		s.isVersion(strings.TrimSpace(string(data)), target, n)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	deb := root + "/usr/share/doc/both/tree"
	ok(b.during("/InRelease", func() error { return apt("update", "-q") }, next()))
	ok(apt("install", "-y", "both"))
	installed(deb, "juno/debian-12", 1)
	ok(apt("update", "-q"))
	ok(apt("upgrade", "-y"))
	installed(deb, "juno/debian-12", 2)

	sources := text("/repo/juno/el-9/updates/sluice.repo")
	home, dnf := dnfAt(t, sources)
	rpm := home + "/usr/share/both/tree"
	ok(b.during("/repodata/repomd.xml", func() error { return dnf("install", "both") }, next()))
	installed(rpm, "juno/el-9", 2)
	ok(b.during("/mirrorlist", func() error { return dnf("--refresh", "upgrade") }, next()))
	installed(rpm, "juno/el-9", 4) // it looks whether what it has is old, and if so asks for the list again

	z := testenv.NewZypper(t, sources)
	zypper := func(args ...string) error {
		out, err := z.Try(args...)
		if err != nil {
			err = fmt.Errorf("zypper %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return err
	}
	ok(b.during("/repodata/repomd.xml.asc", func() error { return zypper("--gpg-auto-import-keys", "refresh") }, next()))
	ok(zypper("install", "--no-recommends", "both"))
	s.isVersion(strings.TrimSpace(z.Read("usr/share/both/tree")), "juno/el-9", 4)
	if b.asked[0] == 0 || b.asked[1] == 0 {
		t.Errorf("the replicas were asked %d times: this proves nothing", b.asked)
	}
}

// isVersion holds a tree, as a package of both has it, to be that of its n-th version.
func (s *site) isVersion(tree, target string, n int) {
	s.t.Helper()
	var trees []string
	for _, r := range s.worker.runs(job.StageBuild, "both") {
		if r.Target == target && (len(trees) == 0 || trees[len(trees)-1] != r.Tip) {
			trees = append(trees, r.Tip)
		}
	}
	if n > len(trees) || trees[n-1] != tree {
		s.t.Errorf("on %s the tree %q is installed, and the %d. of %q was to be", target, tree, n, trees)
	}
}
