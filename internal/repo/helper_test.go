package repo_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/blob"
	"sluice/internal/deb"
	"sluice/internal/deb/debtest"
	"sluice/internal/repo"
	"sluice/internal/rpm/rpmtest"
	"sluice/internal/signing"
)

var (
	t0  = time.Now().Add(-time.Hour).Truncate(time.Second)
	key = sync.OnceValue(func() *signing.Key {
		k, err := signing.Generate(signing.Template{Name: "repo test"}, t0.Add(-time.Hour))
		if err != nil {
			panic(err)
		}
		return k
	})
	identity = repo.Identity{Origin: "Sluice Test", Label: "Sluice", Suite: "bookworm", Codename: "bookworm"}
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// house is a store, a builder and a served repository.
type house struct {
	t       testing.TB
	store   *blob.FS
	builder *repo.Builder
	format  repo.Format

	mu      sync.Mutex // guards history
	history []moved
	misses  atomic.Int64
	url     string
}

// moved is a publication, and when the pointer came to it.
type moved struct {
	at       time.Time
	digest   blob.Digest
	manifest *repo.Manifest
}

func newHouse(t testing.TB, format repo.Format) *house {
	store, err := blob.OpenFS(filepath.Join(t.TempDir(), "blobs"))
	must(t, err)
	cache, err := repo.NewDirCache(filepath.Join(t.TempDir(), "cache"))
	must(t, err)
	h := &house{t: t, store: store, builder: repo.NewBuilder(store, cache, 0, t.TempDir()), format: format}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	h.url = server.URL + "/"
	return h
}

// ServeHTTP serves the present publication, each one for ever below its number,
// and the list of mirrors that names the present one.
func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	history := h.history
	h.mu.Unlock()
	if len(history) == 0 {
		http.NotFound(w, r)
		return
	}
	m := history[len(history)-1]
	if r.URL.Path == "/mirrorlist" {
		fmt.Fprintf(w, "%spublication/%d/\n", h.url, len(history))
		return
	}
	if below, ok := strings.CutPrefix(r.URL.Path, "/publication/"); ok {
		id, rest, _ := strings.Cut(below, "/")
		n, err := strconv.Atoi(id)
		if err != nil || n < 1 || n > len(history) {
			http.NotFound(w, r)
			return
		}
		m, r.URL.Path = history[n-1], "/"+rest
	}
	f, e, err := repo.Open(r.Context(), h.store, m.manifest, r.URL.Path)
	if err != nil {
		h.misses.Add(1)
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", repo.ContentType(r.URL.Path))
	w.Header().Set("ETag", `"`+string(e.SHA256)+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (h *house) last() moved {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.history) == 0 {
		return moved{}
	}
	return h.history[len(h.history)-1]
}

// put stores a file as a blob.
func (h *house) put(paths ...string) []repo.File {
	h.t.Helper()
	var out []repo.File
	for _, p := range paths {
		f, err := os.Open(p)
		must(h.t, err)
		d, _, err := h.store.Put(context.Background(), f, "")
		must(h.t, err)
		f.Close()
		out = append(out, repo.File{Name: filepath.Base(p), Digest: d})
	}
	return out
}

func (h *house) deb(p debtest.Package) repo.File {
	return h.put(debtest.Build(h.t, h.t.TempDir(), p))[0]
}

func (h *house) rpm(p rpmtest.Package) repo.File {
	binary, _ := rpmtest.Build(h.t, p)
	return h.put(binary)[0]
}

func (h *house) next(files ...repo.File) repo.Release {
	before := h.last()
	r := repo.Release{Format: h.format, Identity: identity, Architectures: []string{"amd64"}, Files: files, Previous: before.digest,
		Serial: 1, Signer: signing.NewSigner(key()), At: t0}
	if before.manifest != nil {
		r.Serial = before.manifest.Publication.Serial + 1
	}
	return r
}

// publish makes the next publication and moves the pointer.
func (h *house) publish(files ...repo.File) moved {
	h.t.Helper()
	return h.move(h.next(files...))
}

func (h *house) move(r repo.Release) moved {
	h.t.Helper()
	d, m, err := h.builder.BuildRelease(context.Background(), r)
	must(h.t, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	next := moved{time.Now(), d, m}
	h.history = append(h.history, next)
	return next
}

// fsck is the oracle.
func (h *house) fsck(export string) []repo.Problem {
	h.t.Helper()
	problems, err := repo.Fsck(context.Background(), h.store, repo.Check{Manifest: h.last().digest, Keys: []byte(key().PublicArmored()), Export: export})
	must(h.t, err)
	return problems
}

func (h *house) clean() {
	h.t.Helper()
	for _, p := range h.fsck("") {
		h.t.Error(p)
	}
}

// apt is a private APT: its own lists, cache and dpkg state.
type apt struct {
	t    testing.TB
	root string
	args []string
}

func newApt(t testing.TB, h *house, priority int) *apt {
	root := t.TempDir()
	for _, d := range []string{"etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/keyrings", "etc/apt/apt.conf.d", "state/lists/partial", "cache/archives/partial", "var/lib/dpkg/info", "var/lib/dpkg/updates", "log"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	put := func(name, text string) { must(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o644)) }
	put("var/lib/dpkg/status", "")
	put("etc/apt/keyrings/sluice.asc", key().PublicArmored())
	c := deb.Client{URL: h.url, Suite: identity.Suite, Components: []string{"main"}, KeyPath: root + "/etc/apt/keyrings/sluice.asc", Origin: identity.Origin, Sources: true}
	put("etc/apt/sources.list.d/sluice.sources", deb.SourcesFile(c))
	if priority > 0 {
		put("etc/apt/preferences.d/sluice", deb.Preferences(c, priority))
	}
	a := &apt{t: t, root: root}
	for _, o := range []string{"Dir::Etc=" + root + "/etc/apt", "Dir::State=" + root + "/state", "Dir::Cache=" + root + "/cache", "Dir::Log=" + root + "/log",
		"Dir::State::status=" + root + "/var/lib/dpkg/status", "APT::Architecture=amd64", "APT::Architectures=amd64", "APT::Sandbox::User=root", "APT::Update::Error-Mode=any",
		"DPkg::Options::=--root=" + root, "DPkg::Options::=--force-script-chrootless", "DPkg::Options::=--force-not-root", "DPkg::Path=" + os.Getenv("PATH"), "Debug::NoLocking=1", "Acquire::Retries=0"} {
		a.args = append(a.args, "-o", o)
	}
	return a
}

func (a *apt) try(name string, args ...string) (string, error) {
	cmd := exec.Command(name, append(append([]string{}, a.args...), args...)...)
	cmd.Dir = a.root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "APT_CONFIG=/dev/null", "HOME=" + a.root}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (a *apt) run(name string, args ...string) string {
	a.t.Helper()
	out, err := a.try(name, args...)
	if err != nil {
		a.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}
