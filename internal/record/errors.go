package record

import (
	"errors"
	"fmt"
	"time"
)

// ErrStale says that the row moved since it was read: read again, decide again.
var ErrStale = errors.New("the row has changed since it was read")

// ErrGap says that a chunk of a log begins beyond its end.
var ErrGap = errors.New("the chunk leaves a gap in the log")

// ErrNotFound says that no such row exists.
var ErrNotFound = errors.New("not found")

// Refusal is a command that the gate refused, in its words.
type Refusal string

// Error gives the gate's words.
func (r Refusal) Error() string { return string(r) }

// Later is an error of a task that asks for it to be done again after a while,
// without counting as a failure.
type Later struct {
	After time.Duration
	Why   string
}

// Error tells what is waited for.
func (l Later) Error() string { return fmt.Sprintf("later, after %s: %s", l.After, l.Why) }

// Needed is a job that another one waits for.
type Needed struct {
	ID       int64  `db:"id"`
	Name     string `db:"name"`
	State    string `db:"state"`
	Stage    string `db:"stage"`
	Ahead    bool   `db:"ahead"`
	Buildset *int64 `db:"buildset"`
}
