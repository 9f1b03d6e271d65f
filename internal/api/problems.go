package api

import (
	"context"
	"errors"
	"net/http"

	"sluice/internal/record"
)

// problemError is an error that says itself how it is answered.
type problemError struct {
	status        int
	title, detail string
}

func (p *problemError) Error() string { return p.title + ": " + p.detail }

// notFound is the answer for what is not there, or is not shown.
func notFound(title, detail string) error {
	return &problemError{http.StatusNotFound, title, detail}
}

// none turns the record's "not found" into a problem that says what was looked for.
func none(err error, title, detail string) error {
	if errors.Is(err, record.ErrNotFound) {
		return notFound(title, detail)
	}
	return err
}

// badRequest answers a request that cannot be read.
func badRequest(w http.ResponseWriter, _ *http.Request, err error) {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		problem(w, http.StatusRequestEntityTooLarge, "the request is too large", err.Error())
		return
	}
	problem(w, http.StatusBadRequest, "the request cannot be read", err.Error())
}

// failed answers for an error that a handler gave; what is not meant for
// outsiders goes to the log.
func (s *server) failed(w http.ResponseWriter, r *http.Request, err error) {
	var p *problemError
	switch {
	case errors.As(err, &p):
		problem(w, p.status, p.title, p.detail)
	case errors.Is(err, record.ErrNotFound):
		problem(w, http.StatusNotFound, "not found", "there is nothing of this name or number")
	case errors.Is(err, context.DeadlineExceeded):
		problem(w, http.StatusServiceUnavailable, "it took too long", "the database is slow; try again")
	case r.Context().Err() != nil: // the client has gone
	default:
		s.Log.Error("a request failed", "method", r.Method, "path", logPath(r), "error", err)
		problem(w, http.StatusInternalServerError, "the service failed", "the cause is in its log; try again, or tell an administrator")
	}
}
