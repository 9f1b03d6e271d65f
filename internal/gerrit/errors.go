package gerrit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxErrorBody is how much of a refusal is kept, in bytes.
const maxErrorBody = 8 << 10

// Error is an answer of Gerrit that is not a success, or that no answer came.
type Error struct {
	Status  int    // HTTP status; 0 when there was no answer
	Method  string // of the request
	Path    string // of the request, without its query
	Message string // Gerrit's own words, or what failed on the way
	cause   error
}

// Error says what was asked and what Gerrit said.
func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("gerrit: %s %s: %s", e.Method, e.Path, e.Message)
	}
	return fmt.Sprintf("gerrit: %s %s: %d: %s", e.Method, e.Path, e.Status, e.Message)
}

// Unwrap gives the error of the transport, if there was one.
func (e *Error) Unwrap() error { return e.cause }

func status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return -1
}

// IsConflict reports a 409: Gerrit understood and refuses; its message says why.
func IsConflict(err error) bool { return status(err) == http.StatusConflict }

// IsNotFound reports a 404: what was named does not exist, or the account may not see it. So does a 409 to a read: the
// project is hidden, which nobody may read.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusConflict && e.Method == http.MethodGet)
}

// IsDenied reports a 401 or 403: the account's token or rights do not allow it.
func IsDenied(err error) bool {
	s := status(err)
	return s == http.StatusUnauthorized || s == http.StatusForbidden
}

// IsTransient reports a failure that may pass by itself: no answer, a time-out,
// a 5xx, "too many requests". After a write it means that nobody knows whether
// it was done. A call that its own caller cancelled is not transient.
func IsTransient(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	s := status(err)
	return s == 0 || s >= 500 || s == http.StatusTooManyRequests || s == http.StatusRequestTimeout
}

var (
	tags   = regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>|<[^>]*>`)
	spaces = regexp.MustCompile(`\s*\n\s*\n\s*|[ \t\r]+`)
)

// refusal reads the body of an answer that is not a success; it closes nothing.
func refusal(req *http.Request, resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, Method: req.Method, Path: req.URL.Path}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil && len(body) == 0 {
		e.cause = err
	}
	text := strings.ToValidUTF8(string(body), "\uFFFD")
	if strings.Contains(resp.Header.Get("Content-Type"), "html") {
		text = tags.ReplaceAllString(text, " ")
		text = spaces.ReplaceAllString(text, " ")
	}
	e.Message = strings.TrimSpace(text)
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		e.Message = "redirected to " + to + ": set the Gerrit's URL to where it really is"
	}
	if e.Message == "" {
		e.Message = http.StatusText(resp.StatusCode)
	}
	return e
}

// cut shortens s to at most n bytes, between two runes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
