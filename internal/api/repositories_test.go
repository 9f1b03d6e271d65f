package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/api/apitest"
	"sluice/internal/blob"
	"sluice/internal/repo"
)

// fetch asks as a client of this name would.
func fetch(t *testing.T, w *apitest.World, method, path, agent string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, w.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", agent)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	c := *w.Server.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, data
}

// Every file of a publication is served to the byte, at all its addresses.
func TestRepositoryFiles(t *testing.T) {
	w := apitest.New(t, nil)
	s := w.Seed()
	id := w.Release(apitest.Deb, s.GoodBuildset.ID, s.Deb)
	p, err := w.Store.Publication(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	test, err := w.Store.TestRepository(context.Background(), s.GoodBuildset.ID, apitest.Deb)
	if err != nil {
		t.Fatal(err)
	}
	for base, digest := range map[string]string{
		"/repo/juno/debian-12/updates/": p.Manifest, fmt.Sprintf("/publication/%d/", id): p.Manifest,
		fmt.Sprintf("/test/%d/juno/debian-12/", s.GoodBuildset.ID): test.Manifest,
	} {
		m, err := repo.LoadManifest(context.Background(), w.Blobs, blob.Digest(digest))
		if err != nil {
			t.Fatal(err)
		}
		for name, entry := range m.All() {
			answer, data := fetch(t, w, "GET", base+name, "apt")
			h := answer.Header
			if answer.StatusCode != 200 || blob.DigestOf(data) != entry.SHA256 || h.Get("ETag") != `"`+string(entry.SHA256)+`"` || h.Get("Content-Type") != repo.ContentType(name) {
				t.Errorf("%s%s: %d, %d bytes, %v", base, name, answer.StatusCode, len(data), h)
			}
			forever := repo.Immutable(name) || strings.HasPrefix(base, "/publication/")
			if got := strings.Contains(h.Get("Cache-Control"), "immutable"); got != forever {
				t.Errorf("%s%s: Cache-Control %q", base, name, h.Get("Cache-Control"))
			}
		}
	}
	testRequests(t, w, id)
}

// testRequests asks in the ways that clients and people ask.
func testRequests(t *testing.T, w *apitest.World, id int64) {
	base := "/repo/juno/debian-12/updates/"
	_, whole := fetch(t, w, "GET", base+"dists/bookworm/InRelease", "apt")
	answer, part := fetch(t, w, "GET", base+"dists/bookworm/InRelease", "apt", "Range", "bytes=10-29")
	if answer.StatusCode != 206 || !bytes.Equal(part, whole[10:30]) {
		t.Errorf("a range: %d %q", answer.StatusCode, part)
	}
	answer, none := fetch(t, w, "GET", base+"dists/bookworm/InRelease", "apt", "If-Modified-Since", answer.Header.Get("Last-Modified"))
	if answer.StatusCode != 304 || len(none) > 0 {
		t.Errorf("the same again: %d, Last-Modified %q", answer.StatusCode, answer.Header.Get("Last-Modified"))
	}
	answer, none = fetch(t, w, "HEAD", base+"dists/bookworm/InRelease", "apt")
	if answer.StatusCode != 200 || answer.ContentLength != int64(len(whole)) || len(none) > 0 {
		t.Errorf("HEAD: %d, %d bytes", answer.StatusCode, answer.ContentLength)
	}
	for path, want := range map[string]string{
		base: `<a href="./dists/">`, base + "dists/bookworm/": `<a href="./InRelease">`, base + "sluice.sources": "Suites: bookworm", base + "key.asc": "BEGIN PGP PUBLIC KEY",
	} {
		if answer, text := fetch(t, w, "GET", path, "Mozilla"); answer.StatusCode != 200 || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %s", path, answer.StatusCode, text)
		}
	}
	for path, status := range map[string]int{
		strings.TrimSuffix(base, "/"): 301, base + "dists": 301, base + "nothing": 404, base + "nothing/": 404, "/repo/juno/el-9/updates/": 404,
		base + "dists/bookworm/%49nRelease": 200, "/repo/no/such/one/": 404, "/publication/999/key.asc": 404, "/publication/x/": 404, "/test/999/juno/debian-12/": 404, base + "..%2f..%2fetc/passwd": 404,
	} {
		answer, text := fetch(t, w, "GET", path, "apt")
		if answer.StatusCode != status || status == 404 && !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %d %s %q", path, answer.StatusCode, answer.Header.Get("Content-Type"), text)
		}
	}
}

// An RPM client is told once, by the list of mirrors, what it reads from then on,
// whatever the pointer does meanwhile and whichever replica it asks. A client of
// the pointer itself is served the newest.
func TestMirrorListAcrossASwitch(t *testing.T) {
	w := apitest.New(t, nil)
	s := w.Seed()
	const base = "/repo/juno/el-9/updates/"
	if answer, _ := fetch(t, w, "GET", base+"mirrorlist", "libdnf"); answer.StatusCode != 404 {
		t.Errorf("before there is a publication: %d", answer.StatusCode)
	}
	get := func(path string) []byte {
		t.Helper()
		answer, data := fetch(t, w, "GET", path, "libdnf")
		if answer.StatusCode != 200 {
			t.Fatalf("%s: %d", path, answer.StatusCode)
		}
		return data
	}
	at := func() string {
		return strings.TrimPrefix(strings.TrimSpace(string(get(base+"mirrorlist"))), w.URL)
	}
	first := w.Release(apitest.RPM, s.GoodBuildset.ID, w.RPMFile(t, "1-1"))
	begun := at()
	if begun != fmt.Sprintf("/publication/%d/", first) {
		t.Fatalf("the list says %s", begun)
	}
	xml := get(begun + "repodata/repomd.xml")
	second := w.Release(apitest.RPM, s.GoodBuildset.ID, w.RPMFile(t, "2-1"))
	if asc := get(begun + "repodata/repomd.xml.asc"); !bytes.Equal(asc, get(fmt.Sprintf("/publication/%d/repodata/repomd.xml.asc", first))) {
		t.Error("the signature does not fit what the client has begun to read")
	}
	if now := at(); now != fmt.Sprintf("/publication/%d/", second) {
		t.Errorf("a client that begins now is told of %s", now)
	}
	if now := get(base + "repodata/repomd.xml"); bytes.Equal(now, xml) {
		t.Error("the pointer still gives the first")
	}
	if _, repo := fetch(t, w, "GET", base+"sluice.repo", "curl"); !strings.Contains(string(repo), "mirrorlist="+w.URL+base+"mirrorlist\n") || strings.Contains(string(repo), "baseurl") {
		t.Errorf("what a client writes:\n%s", repo)
	}
}

func TestArtifacts(t *testing.T) {
	w := apitest.New(t, nil)
	s := w.Seed()
	answer, data := fetch(t, w, "GET", fmt.Sprintf("/blobs/%s/%s", s.Deb.Digest, s.Deb.Name), "curl")
	h := answer.Header
	if answer.StatusCode != 200 || string(blob.DigestOf(data)) != string(s.Deb.Digest) || h.Get("Content-Type") != "application/octet-stream" ||
		h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %v", answer.StatusCode, h)
	}
	secret, err := blob.PutBytes(context.Background(), w.Blobs, []byte("a blob that is nobody's artifact"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/blobs/" + string(secret) + "/x", "/blobs/xyz/x", "/blobs/" + strings.Repeat("0", 64) + "/x"} {
		if answer, _ := fetch(t, w, "GET", path, "curl"); answer.StatusCode != 404 {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
}
