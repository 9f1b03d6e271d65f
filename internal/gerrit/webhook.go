package gerrit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxEvent is the largest event that is taken, in bytes, by stream or webhook.
const maxEvent = 16 << 20

// Webhook takes the POSTs of Gerrit's webhooks plugin: one event each.
//
// Whoever posts shows the secret in one of three ways: the header X-Sluice-Secret;
// the header X-Sluice-Signature with "sha256=" and the hex HMAC-SHA256 of the body; or
// ?secret= in the address, for the plugin itself can send no header (do not log the query).
// A webhook without a secret refuses everything.
//
// It answers 204 when OnEvent has the event, 503 when OnEvent failed (the plugin
// tries again), 400 for what is no event, 401, 405, 413.
type Webhook struct {
	Secret  string
	OnEvent func(context.Context, Event) error
}

// ServeHTTP takes one event.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "post an event here", http.StatusMethodNotAllowed)
		return
	}
	signature := r.Header.Get("X-Sluice-Signature")
	if signature == "" && !h.knows(r) { // before reading what a stranger sends
		http.Error(w, "the secret is missing or wrong", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, "the event is larger than 16 MiB", http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "the body could not be read", http.StatusBadRequest)
		return
	case signature != "" && !h.signed(body, signature):
		http.Error(w, "the signature is wrong", http.StatusUnauthorized)
		return
	}
	e := ParseEvent(body)
	if e.Type == TypeMalformed {
		http.Error(w, "this is no event: "+e.Problem, http.StatusBadRequest)
		return
	}
	if err := h.OnEvent(r.Context(), e); err != nil {
		http.Error(w, "the event could not be stored: send it again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Webhook) knows(r *http.Request) bool {
	given := orDefault(r.Header.Get("X-Sluice-Secret"), r.URL.Query().Get("secret"))
	// Of equal length, so that the comparison's time tells nothing.
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(h.Secret))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && h.Secret != ""
}

func (h *Webhook) signed(body []byte, signature string) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	if err != nil || h.Secret == "" {
		return false
	}
	mac := hmac.New(sha256.New, []byte(h.Secret))
	mac.Write(body)
	return hmac.Equal(mac.Sum(nil), given)
}
