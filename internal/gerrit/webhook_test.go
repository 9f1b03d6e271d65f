package gerrit_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/gerrit"
)

func TestWebhook(t *testing.T) {
	var got []gerrit.Event
	var fail error
	hook := &gerrit.Webhook{Secret: "s3cret", OnEvent: func(_ context.Context, e gerrit.Event) error {
		got = append(got, e)
		return fail
	}}
	event := string(recorded(t)[1])
	sign := func(secret string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(event))
		return "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	for _, c := range []struct {
		name, method, target, body string
		header                     [2]string
		fail                       error
		status, events             int
	}{
		{"header", "POST", "/", event, [2]string{"X-Sluice-Secret", "s3cret"}, nil, 204, 1},
		{"address", "POST", "/?secret=s3cret", event, [2]string{}, nil, 204, 1},
		{"signature", "POST", "/", event, [2]string{"X-Sluice-Signature", sign("s3cret")}, nil, 204, 1},
		{"no secret", "POST", "/", event, [2]string{}, nil, 401, 0},
		{"wrong secret", "POST", "/?secret=s3cre", event, [2]string{}, nil, 401, 0},
		{"wrong signature", "POST", "/?secret=s3cret", event, [2]string{"X-Sluice-Signature", sign("other")}, nil, 401, 0},
		{"bad signature", "POST", "/", event, [2]string{"X-Sluice-Signature", "sha256=zz"}, nil, 401, 0},
		{"not a post", "GET", "/?secret=s3cret", "", [2]string{}, nil, 405, 0},
		{"no event", "POST", "/?secret=s3cret", "{", [2]string{}, nil, 400, 0},
		{"too large", "POST", "/?secret=s3cret", strings.Repeat("x", 16<<20+1), [2]string{}, nil, 413, 0},
		{"not stored", "POST", "/?secret=s3cret", event, [2]string{}, errors.New("database away"), 503, 1},
	} {
		got, fail = nil, c.fail
		r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
		if c.header[0] != "" {
			r.Header.Set(c.header[0], c.header[1])
		}
		w := httptest.NewRecorder()
		hook.ServeHTTP(w, r)
		equal(t, c.name, [2]int{w.Code, len(got)}, [2]int{c.status, c.events})
		if len(got) == 1 {
			equal(t, c.name+": the same as from the stream", got[0], gerrit.ParseEvent([]byte(event)))
		}
	}
	open := &gerrit.Webhook{OnEvent: hook.OnEvent}
	w := httptest.NewRecorder()
	open.ServeHTTP(w, httptest.NewRequest("POST", "/?secret=", strings.NewReader(event)))
	equal(t, "a hook without a secret", w.Code, http.StatusUnauthorized)
}
