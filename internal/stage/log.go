package stage

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"sluice/internal/job"
)

// DefaultLogBytes is how much of a log is kept where the job's limits do not
// say it.
const DefaultLogBytes = 16 << 20

// tailBytes is how much of the end of a log that is too long is kept.
const tailBytes = 32 << 10

// maxLine bounds what the finders see of one line; the log keeps all of it.
const maxLine = 4096

// Log is the log of one attempt. It counts lines, marks steps, and hands each
// line to the scanner. It keeps the first bytes up to its limit; of the rest
// it counts all and keeps the last lines, written by Close behind a notice.
// It may be written to by several goroutines.
type Log struct {
	now func() time.Time

	mu      sync.Mutex // guards the fields below
	out     io.Writer
	err     error // of out; the log goes on counting
	left    int64 // bytes that may still be written
	line    int   // lines begun in the log, as it is kept
	partial []byte
	scan    *scanner
	steps   []job.Step
	began   time.Time
	cut     bool
	lost    int64 // bytes after the cut
	lines   int   // lines after the cut
	tail    [][]byte
	tailLen int
}

// NewLog makes a log that keeps limit bytes (0: DefaultLogBytes) in out.
func NewLog(out io.Writer, limit int64, now func() time.Time) *Log {
	if limit <= 0 {
		limit = DefaultLogBytes
	}
	return &Log{now: now, out: out, left: max(limit-tailBytes, 4<<10), scan: newScanner()}
}

// Write adds to the log. It never fails: a log that cannot be stored must not
// fail the job; Err tells.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			l.add(p)
			break
		}
		l.add(p[:end+1])
		p = p[end+1:]
	}
	return n, nil
}

// add takes a piece of one line, with its newline if it ends here. A line
// without end is passed on in pieces of 64 KiB, so memory is bounded.
func (l *Log) add(piece []byte) {
	l.partial = append(l.partial, piece...)
	if piece[len(piece)-1] != '\n' && len(l.partial) < 64<<10 {
		return
	}
	l.flush()
}

// flush ends the current line.
func (l *Log) flush() {
	line := l.partial
	if len(line) == 0 {
		return
	}
	if line[len(line)-1] != '\n' {
		line = append(line, '\n')
	}
	l.partial = nil
	if l.cut || int64(len(line)) > l.left {
		l.overflow(line)
	} else {
		l.left -= int64(len(line))
		l.line++
		l.emit(line)
	}
	l.scan.feed(l.line, string(line[:min(len(line), maxLine)]))
}

// overflow counts a line that is not kept, and remembers it for the tail.
func (l *Log) overflow(line []byte) {
	if !l.cut {
		l.cut = true
		l.line++ // the notice
		l.emit([]byte("==> the log is too long: what follows is counted and not kept, but for its last lines\n"))
	}
	l.lost += int64(len(line))
	l.lines++
	l.tail = append(l.tail, line)
	l.tailLen += len(line)
	for l.tailLen > tailBytes {
		l.tailLen -= len(l.tail[0])
		l.tail = l.tail[1:]
	}
}

func (l *Log) emit(line []byte) {
	if l.err == nil {
		_, l.err = l.out.Write(line)
	}
}

// Printf writes one line of sluice's own words.
func (l *Log) Printf(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	fmt.Fprintf(l, "%s\n", text)
}

// Step begins a step: it ends the one before, and prints "==> name". What the
// finders saw before belongs to the step before.
func (l *Log) Step(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	l.endStep()
	l.began = l.now()
	l.partial = append(l.partial, "==> "+name+"\n"...)
	l.flush()
	l.scan.begin()
	l.steps = append(l.steps, job.Step{Name: name, LogLine: l.line})
}

func (l *Log) endStep() {
	if n := len(l.steps); n > 0 && l.steps[n-1].Elapsed == 0 {
		l.steps[n-1].Elapsed = max(l.now().Sub(l.began), 1)
	}
}

// StepName is the present step's name.
func (l *Log) StepName() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.steps) == 0 {
		return ""
	}
	return l.steps[len(l.steps)-1].Name
}

// Line is the number of lines so far, as a reader of the log counts them.
func (l *Log) Line() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line
}

// begin makes the finders forget: what follows is a command of its own.
func (l *Log) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	l.scan.begin()
}

// found gives what the finders saw since begin or Step, the true cause first.
func (l *Log) found() scanned {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	return l.scan.result()
}

// Close ends the last step and writes the end of a log that was cut. It gives
// the steps, and the first error in storing the log.
func (l *Log) Close() ([]job.Step, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	l.endStep()
	if l.cut {
		kept := len(l.tail)
		l.emit(fmt.Appendf(nil, "==> %d lines (%d bytes) are not kept; the last %d are:\n", l.lines-kept, l.lost-int64(l.tailLen), kept))
		for _, line := range l.tail {
			l.emit(line)
		}
		l.tail = nil
		l.cut = false
	}
	return l.steps, l.err
}
