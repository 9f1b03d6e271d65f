package gerrit_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/internal/gerrit"
	"sluice/internal/gerrit/gerritfake"
)

// approved is a change that may be submitted.
func approved(t *testing.T, s *server) (n int, revision string) {
	t.Helper()
	n = s.propose(t, s.project(t), "main", "Mend", 0, nil)
	s.approve(t, n)
	s.vote(t, "gate", n, map[string]int{"Verified": 2})
	return n, read(t, s, n).Revision
}

func TestReadsAreRepeated(t *testing.T) {
	s := fake(t)
	n, _ := approved(t, s)
	c := s.client(t, "gate")
	ctx := context.Background()
	_, err := c.Self(ctx)
	check(t, err)
	s.fake.Fail("GET", "detail", gerritfake.Fault{Status: 503, Body: "restarting"})
	s.fake.Fail("GET", "detail", gerritfake.Fault{}) // no answer
	before := s.fake.Requests()
	_, err = c.Change(ctx, n)
	check(t, err)
	equal(t, "requests", s.fake.Requests()-before, 3)

	s.fake.Fail("GET", "detail", gerritfake.Fault{Status: 500, Body: "Internal server error", Times: 4})
	before = s.fake.Requests()
	_, err = c.Change(ctx, n)
	equal(t, "given up", [3]any{gerrit.IsTransient(err), strings.Contains(err.Error(), "500: Internal server error"), s.fake.Requests() - before}, [3]any{true, true, 4})

	s.fake.Fail("GET", "detail", gerritfake.Fault{Status: 400, Body: "bad"})
	before = s.fake.Requests()
	_, err = c.Change(ctx, n)
	equal(t, "not what will not pass", [2]any{gerrit.IsTransient(err), s.fake.Requests() - before}, [2]any{false, 1})

	s.fake.Fail("GET", "detail", gerritfake.Fault{Status: 409, Body: "project a has state HIDDEN does not permit read"})
	_, hidden := c.Change(ctx, n)
	equal(t, "what is hidden is not there", gerrit.IsNotFound(hidden), true)
}

// Each outside write: done is the conformance suite's; here failed and not done, and failed but done.
func TestWritesAreNotRepeated(t *testing.T) {
	ctx := context.Background()
	for name, f := range map[string]gerritfake.Fault{
		"no answer, not done": {}, "no answer, done": {Done: true}, "5xx, not done": {Status: 502}, "5xx, done": {Status: 500, Done: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := fake(t)
			c := s.client(t, "gate")
			n, revision := approved(t, s)
			s.fake.Fail("POST", "/review$", f)
			before := s.fake.Requests()
			_, err := c.Review(ctx, n, revision, gerrit.ReviewInput{EffectID: "e", Message: "ok"})
			equal(t, "review", [2]any{gerrit.IsTransient(err), s.fake.Requests() - before}, [2]any{true, 1})
			posted, err := c.Posted(ctx, n, "e")
			check(t, err)
			equal(t, "posted", posted, f.Done)

			s.fake.Fail("POST", "/submit$", f)
			before = s.fake.Requests()
			_, err = c.Submit(ctx, n, revision)
			equal(t, "submit", [2]any{gerrit.IsTransient(err), s.fake.Requests() - before}, [2]any{true, 1})
			equal(t, "merged", read(t, s, n).Status == gerrit.StatusMerged, f.Done)
		})
	}
}

func TestTimeoutAndCancel(t *testing.T) {
	s := fake(t)
	n, revision := approved(t, s)
	never := make(chan struct{})
	c, err := gerrit.New(gerrit.Config{URL: s.url, User: "gate", Token: s.token["gate"], Timeout: 50 * time.Millisecond, SubmitTimeout: 60 * time.Millisecond, Tries: 2})
	check(t, err)
	s.fake.Fail("POST", "/submit$", gerritfake.Fault{Until: never})
	_, err = c.Submit(context.Background(), n, revision)
	equal(t, "too slow", [2]bool{gerrit.IsTransient(err), strings.Contains(err.Error(), "no answer within 60ms")}, [2]bool{true, true})

	ctx, cancel := context.WithCancel(context.Background())
	s.fake.Fail("POST", "/submit$", gerritfake.Fault{Until: never})
	done := make(chan error)
	go func() { _, err := s.client(t, "gate").Submit(ctx, n, revision); done <- err }()
	cancel()
	err = <-done
	equal(t, "cancelled", [2]bool{gerrit.IsTransient(err), errors.Is(err, context.Canceled)}, [2]bool{false, true})
}

func TestOddServers(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		words   string
	}{
		"login page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html><form>Sign in</form></html>"))
		}, "is this URL Gerrit's, or a login page?"},
		"a proxy's page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<html><style>b{}</style><b>Not</b> for you</html>"))
		}, "403: Not for you"},
		"redirected": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example.com/", http.StatusFound)
		}, "redirected to https://elsewhere.example.com/"},
		"nothing said": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) }, "409: Conflict"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			block := make([]byte, 1<<20)
			for range 65 {
				_, _ = w.Write(block)
			}
		}, "larger than 64 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			t.Cleanup(server.Close)
			client, err := gerrit.New(gerrit.Config{URL: server.URL, User: "gate", Token: "t0ken"})
			check(t, err)
			_, err = client.Submit(ctx, 1, "abc")
			if err == nil || !strings.Contains(err.Error(), c.words) || gerrit.IsTransient(err) || strings.Contains(err.Error(), "t0ken") {
				t.Errorf("%v", err)
			}
		})
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	client, err := gerrit.New(gerrit.Config{URL: closed.URL, Tries: 1})
	check(t, err)
	_, err = client.ServerVersion(ctx)
	var wrong *net.OpError
	equal(t, "nobody there", [2]bool{gerrit.IsTransient(err), errors.As(err, &wrong)}, [2]bool{true, true})
	for _, url := range []string{"", "review.example.com", "ftp://x", "https://me:pass@review.example.com/"} {
		if _, err := gerrit.New(gerrit.Config{URL: url}); err == nil || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: %v", url, err)
		}
	}
	_, err = client.Review(ctx, 1, "abc", gerrit.ReviewInput{EffectID: "with space"})
	if err == nil || !strings.Contains(err.Error(), "cannot be an effect id") {
		t.Errorf("a wrong effect id: %v", err)
	}
}

// A Gerrit whose limit is low gives short pages, and one change twice when it moved up meanwhile.
func TestQueryPages(t *testing.T) {
	pages := map[string]string{
		"0": `[{"_number":3,"_more_changes":true}]`, "1": `[{"_number":2,"_more_changes":true}]`,
		"2": `[{"_number":2,"_more_changes":true}]`, "3": `[{"_number":1}]`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(")]}'\n" + pages[r.URL.Query().Get("S")]))
	}))
	t.Cleanup(server.Close)
	c, err := gerrit.New(gerrit.Config{URL: server.URL})
	check(t, err)
	for limit, want := range map[int]int{0: 3, 2: 2, 1: 1} {
		found, err := c.Query(context.Background(), "status:open", limit)
		check(t, err)
		equal(t, "found", len(found), want)
	}
}

// A Gerrit that takes less than most is given less, and the reader the address of all of it.
func TestALongMessageIsCutToWhatThisGerritTakes(t *testing.T) {
	s := fake(t)
	c := s.client(t, "gate")
	n, revision := approved(t, s)
	s.fake.Fail("POST", "review", gerritfake.Fault{Status: 400, Body: "one or more comments were rejected in validation: comment size exceeds limit (6000 > 2000)", Times: 3})
	before := s.fake.Requests()
	_, err := c.Review(context.Background(), n, revision, gerrit.ReviewInput{Message: strings.Repeat("word\n", 1200), Link: "https://gate.example.com/buildset/7", EffectID: "effect-1"})
	check(t, err)
	equal(t, "requests", s.fake.Requests()-before, 4)
	messages := read(t, s, n).Messages
	last := messages[len(messages)-1].Text
	equal(t, "cut", [3]bool{len(last) < 2000, strings.Contains(last, "all of it: https://gate.example.com/buildset/7]"), strings.HasSuffix(last, "(sluice effect-1)")}, [3]bool{true, true, true})
}
