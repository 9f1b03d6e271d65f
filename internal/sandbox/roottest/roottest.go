// Package roottest gives tests real roots: a Debian root from the machine's
// own apt sources, and roots of the small RPM distribution that
// scripts/rpm-distro.sh makes. Each is made once per machine by
// sandbox.MakeRoot, and kept in $SLUICE_TEST_CACHE or the user's cache folder
// under a lock, so that test programs that run side by side share them.
package roottest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// Cache is the folder that outlives tests.
func Cache() (string, error) {
	dir := os.Getenv("SLUICE_TEST_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "sluice-test")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// once calls make unless the path name in the cache is there; only one
// process of the machine does.
func once(name string, make func(path string) error) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, name)
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	part := path + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := make(part); err != nil {
		os.RemoveAll(part)
		return "", err
	}
	return path, os.Rename(part, path)
}

// Made is a root in the cache.
type Made struct {
	Path    string // of its tar.zst
	Archive job.Digest
	Digest  job.Digest // of its packages
}

// Open opens the archive.
func (m Made) Open(context.Context) (io.ReadCloser, error) { return os.Open(m.Path) }

// Root makes (or finds) the root of a recipe.
func Root(ctx context.Context, recipe job.Recipe, repos []job.Repository, h http.Handler) (Made, error) {
	key, err := json.Marshal([]any{"v4", recipe, repos})
	if err != nil {
		return Made{}, err
	}
	sum := sha256.Sum256(key)
	path, err := once("root-"+recipe.Name+"-"+hex.EncodeToString(sum[:6]), func(dir string) error {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		return makeRoot(ctx, dir, recipe, repos, h)
	})
	if err != nil {
		return Made{}, err
	}
	meta, err := os.ReadFile(path + "/meta.json")
	if err != nil {
		return Made{}, err
	}
	made := Made{Path: path + "/root.tar.zst"}
	var m [2]job.Digest
	err = json.Unmarshal(meta, &m)
	made.Archive, made.Digest = m[0], m[1]
	return made, err
}

func makeRoot(ctx context.Context, dir string, recipe job.Recipe, repos []job.Repository, h http.Handler) error {
	work, err := os.MkdirTemp("", "sluice-roottest-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	m, err := sandbox.Open(ctx, work, sandbox.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	f, err := os.Create(dir + "/root.tar.zst")
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(filepath.Dir(dir), "root-"+recipe.Name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	sum := sha256.New()
	digest, err := m.MakeRoot(ctx, recipe, repos, h, log, io.MultiWriter(f, sum))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%w (log: %s)", err, log.Name())
	}
	meta, err := json.Marshal([2]job.Digest{job.Digest(hex.EncodeToString(sum.Sum(nil))), digest})
	if err != nil {
		return err
	}
	return os.WriteFile(dir+"/meta.json", meta, 0o644)
}

// Debian gives the machine's own Debian (or relative) as an upstream
// repository, and what serves it.
func Debian(ctx context.Context) (job.Repository, http.Handler, error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages").Output()
	if err != nil {
		return job.Repository{}, nil, fmt.Errorf("apt-get indextargets: %w", err)
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return job.Repository{}, nil, err
	}
	var codename string
	for line := range strings.Lines(string(release)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			codename = strings.Trim(v, `"`)
		}
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[1] == codename && f[2] == "main" {
			site, err := url.Parse(f[0])
			repo := job.Repository{
				Kind: job.Upstream, Name: "debian", Path: "/upstream/debian/", Format: job.DEB,
				Suite: codename, Components: []string{"main"},
			}
			return repo, proxy(repo.Path, site), err
		}
	}
	return job.Repository{}, nil, fmt.Errorf("no apt source of this machine has the suite %q with the component main", codename)
}

// proxy serves site below prefix.
func proxy(prefix string, site *url.URL) http.Handler {
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, prefix)
		r.Out.URL.RawPath = ""
		r.SetURL(site)
		r.Out.Host = ""
	}}
	mux := http.NewServeMux()
	mux.Handle(prefix, p)
	return mux
}

// RPMDistribution gives the small RPM distribution as an upstream repository,
// and what serves it. scripts/rpm-distro.sh makes it in about a minute.
func RPMDistribution(ctx context.Context) (job.Repository, http.Handler, error) {
	dir, err := once("rpm-distro", func(dir string) error {
		_, here, _, _ := runtime.Caller(0)
		script := filepath.Join(filepath.Dir(here), "../../../scripts/rpm-distro.sh")
		out, err := exec.CommandContext(ctx, "bash", script, dir).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", script, err, out[max(0, len(out)-2000):])
		}
		return nil
	})
	if err != nil {
		return job.Repository{}, nil, err
	}
	repo := job.Repository{Kind: job.Upstream, Name: "distro", Path: "/upstream/distro/", Format: job.RPM}
	mux := http.NewServeMux()
	mux.Handle(repo.Path, http.StripPrefix(repo.Path, http.FileServer(http.Dir(dir+"/repo"))))
	return repo, mux, nil
}

// The recipes that tests share.
var (
	DebInstall = job.Recipe{Name: "debian-install", Method: "mmdebstrap", Kind: "install"}
	DebNode    = job.Recipe{Name: "debian-node", Method: "mmdebstrap", Kind: "node"}
	RPMInstall = job.Recipe{Name: "rpm-install", Method: "dnf", Kind: "install", Include: []string{"bash", "coreutils", "dnf", "rpm", "grep", "sed", "findutils"}}
	RPMNode    = job.Recipe{Name: "rpm-node", Method: "dnf", Kind: "node", Include: []string{"@core", "systemd-sysv", "python3"}}
)

// Find makes (or finds) one of the recipes above, and gives its upstream.
func Find(ctx context.Context, recipe job.Recipe) (Made, job.Repository, http.Handler, error) {
	upstream := Debian
	if recipe.Method == "dnf" {
		upstream = RPMDistribution
	}
	repo, h, err := upstream(ctx)
	if err != nil {
		return Made{}, repo, h, err
	}
	made, err := Root(ctx, recipe, []job.Repository{repo}, h)
	return made, repo, h, err
}

// Left says what m has on this machine now: processes, mounts, control groups,
// folders of boxes. Two equal answers mean that nothing was left behind.
func Left(m *sandbox.Manager) string {
	var processes []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		cmd, _ := os.ReadFile(d + "/cmdline")
		mounts, _ := os.ReadFile(d + "/mountinfo")
		status, _ := os.ReadFile(d + "/status")
		if ours(m, string(cmd), string(mounts), string(status)) {
			processes = append(processes, strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + sandbox.GroupPrefix(m.Dir()) + "*")
	boxes, _ := filepath.Glob(m.Dir() + "/boxes/*")
	return fmt.Sprintf("%d processes %q, %d mounts, groups %v, boxes %v",
		len(processes), processes, strings.Count(string(mounts), m.Dir()+"/"), groups, boxes)
}

// ours reports whether a process stands on a tree of m, was told a path of
// it, or holds an environment of this test program.
func ours(m *sandbox.Manager, cmd, mounts, status string) bool {
	if strings.Contains(cmd, m.Dir()+"/") {
		return true
	}
	if strings.HasPrefix(cmd, "sluice-environment-holder") {
		return strings.Contains(status, fmt.Sprintf("\nPPid:\t%d\n", os.Getpid()))
	}
	for line := range strings.Lines(mounts) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" && strings.Contains(line, m.Dir()+"/") {
			return true
		}
	}
	return false
}
