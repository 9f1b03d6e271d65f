package upstream

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/config"
	"sluice/internal/job"
)

func TestHostSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("os-release", "NAME=x\nVERSION_CODENAME=bookworm\n")
	write("sources.list", "# deb http://no.example/ bookworm main\ndeb [arch=amd64 signed-by=/k] http://a.example/debian bookworm-backports main # c\ndeb-src http://a.example/debian bookworm main\n")
	write("sources.list.d/debian.sources", "Types: deb deb-src\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\nTypes: deb\n# c\nURIs: http://s.example/security/\nSuites: bookworm-security\nComponents: main contrib\n\nEnabled: no\nTypes: deb\nURIs: http://off.example/\nSuites: bookworm\nComponents: main\n")
	write("sources.list.d/other.list", "deb https://vendor.example/apt stable main\n")
	got, err := hostPlaces(dir, filepath.Join(dir, "os-release"))
	if err != nil {
		t.Fatal(err)
	}
	want := []place{
		{address: "http://a.example/debian/", suites: []string{"bookworm-backports", "bookworm", "bookworm-updates"}, components: []string{"main"}},
		{address: "http://s.example/security/", suites: []string{"bookworm-security"}, components: []string{"main", "contrib"}},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(place{})); d != "" {
		t.Error(d)
	}
}

// R131, R142: what never changes is fetched once; an upstream that is away is answered for.
func TestCache(t *testing.T) {
	var asked atomic.Int64
	away := atomic.Bool{}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/debian/x86_64/dists/bookworm/InRelease" || r.URL.Path == "/debian/x86_64/pool/h/hello_1+b1_amd64.deb" {
			io.WriteString(w, "bytes of "+r.URL.Path)
			return
		}
		http.NotFound(w, r)
	}))
	defer origin.Close()
	s, err := New([]config.Upstream{{Name: "debian", Format: job.DEB, URL: origin.URL + "/debian/$arch", Suites: []string{"bookworm"}, Components: []string{"main"}}},
		t.TempDir(), origin.Client(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	get := func(p string) (int, string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, p, nil))
		return w.Code, w.Body.String()
	}
	repos, err := s.Repositories("debian", "x86_64")
	if err != nil || len(repos) != 1 || repos[0].Path != "/upstream/debian/0/x86_64/" || repos[0].Suite != "bookworm" {
		t.Fatalf("%+v %v", repos, err)
	}
	deb := repos[0].Path + "pool/h/hello_1+b1_amd64.deb"
	for range 2 {
		if code, body := get(deb); code != 200 || body != "bytes of /debian/x86_64/pool/h/hello_1+b1_amd64.deb" {
			t.Fatal(code, body)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("a package was fetched %d times", n)
	}
	index := repos[0].Path + "dists/bookworm/InRelease"
	get(index)
	get(index) // Cache is 0 here: it is asked for again
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
	away.Store(true)
	if code, _ := get(index); code != 200 {
		t.Errorf("an upstream that is away: %d", code)
	}
	if code, _ := get(repos[0].Path + "pool/other.deb"); code != http.StatusBadGateway {
		t.Errorf("what was never fetched: %d", code)
	}
	for _, p := range []string{"/upstream/debian/0/x86_64/../../../etc/passwd", "/upstream/none/0/x/y", "/upstream/debian/9/x/y", "/upstream/debian/0/x86_64/"} {
		if code, _ := get(p); code != http.StatusNotFound {
			t.Errorf("%s: %d", p, code)
		}
	}
	if n, err := s.Prune(time.Hour); n != 0 || err != nil {
		t.Error(n, err)
	}
}
