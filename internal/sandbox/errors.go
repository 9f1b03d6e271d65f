package sandbox

import (
	"errors"
	"fmt"
	"time"
)

// ErrClosed is the error of every method of a Box or Manager after Close.
var ErrClosed = errors.New("sandbox: closed")

// ErrInUse is Open's error when a living worker owns the directory.
var ErrInUse = errors.New("sandbox: the directory belongs to a worker that is running; give each worker a directory of its own")

// ErrLayerGone is New's error when a layer was evicted since it was asked
// for: ask Root or Layer again.
var ErrLayerGone = errors.New("sandbox: the layer is no longer on disk; ask for it again")

// ExitError says how a command ended that did not exit with 0.
type ExitError struct {
	Command string // its first argument
	Code    int    // exit code, or -1 when a signal ended it
	Signal  string // "killed", "segmentation fault", …; empty when it exited
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return fmt.Sprintf("%s: ended by signal: %s", e.Command, e.Signal)
	}
	return fmt.Sprintf("%s: exit status %d", e.Command, e.Code)
}

// Limit names what a command used too much of.
type Limit string

// The limits.
const (
	LimitTime      Limit = "time"
	LimitProcesses Limit = "processes"
	LimitMemory    Limit = "memory"
	LimitDisk      Limit = "disk"
)

// LimitError says that a command was ended (or failed) because it reached a
// limit of its box. It is the fault of what ran, not of the worker.
type LimitError struct {
	Command string
	Limit   Limit
	Allowed int64 // processes, bytes, or nanoseconds
}

func (e *LimitError) Error() string {
	switch e.Limit {
	case LimitTime:
		return fmt.Sprintf("%s: stopped after %s, the time limit", e.Command, time.Duration(e.Allowed))
	case LimitProcesses:
		return fmt.Sprintf("%s: stopped at %d processes, the limit", e.Command, e.Allowed)
	}
	return fmt.Sprintf("%s: stopped at %d MiB of %s, the limit", e.Command, e.Allowed>>20, e.Limit)
}

// A SetupError is a failure of the sandbox itself before the command ran: the
// worker's fault, never the package's (G12).
type SetupError struct {
	What string
	Err  error
}

func (e *SetupError) Error() string { return "sandbox: " + e.What + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *SetupError) Unwrap() error { return e.Err }

func setup(what string, err error) error {
	if err == nil {
		return nil
	}
	return &SetupError{What: what, Err: err}
}
