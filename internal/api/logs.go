package api

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	contract "sluice/api"
	"sluice/internal/blob"
	"sluice/internal/record"
)

const (
	logChunk = 1 << 20     // bytes read of a log at once
	logTick  = time.Second // looked again, should a notice be lost
)

// GetLog gives the log of an attempt, and what is added to it while it runs.
func (s *server) GetLog(ctx context.Context, r contract.GetLogRequestObject) (contract.GetLogResponseObject, error) {
	j, _, _, err := s.jobShown(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if j.ReusedFrom != nil {
		if j, _, _, err = s.jobShown(ctx, *j.ReusedFrom); err != nil {
			return nil, err
		}
	}
	l := &logStream{s: s, ctx: ctx, job: j.ID, follow: r.Params.Follow != nil && *r.Params.Follow}
	if r.Params.Attempt != nil {
		l.number = *r.Params.Attempt
	}
	if r.Params.Offset != nil {
		l.from = *r.Params.Offset
	}
	if l.follow {
		var stop func()
		l.changes, stop = s.Feed.Feed()
		context.AfterFunc(ctx, stop)
	}
	return l, l.begin()
}

// logStream is an answer of GetLog: it writes itself.
type logStream struct {
	s       *server
	ctx     context.Context
	job     int64
	number  int // of the attempt; 0: the last
	from    int64
	follow  bool
	changes <-chan string
	attempt record.Attempt
}

// begin finds the attempt; when following it waits for the first.
func (l *logStream) begin() error {
	for {
		attempts, err := l.s.Store.Attempts(l.ctx, l.job)
		if err != nil {
			return err
		}
		for _, a := range attempts { // oldest first
			if l.number == 0 || a.Number == l.number {
				l.attempt = a
			}
		}
		if l.attempt.ID != 0 {
			if d := l.attempt.LogDigest; d != "" && !blob.Digest(d).Valid() {
				return &problemError{http.StatusGone, "the log has been removed", "its time was over (retention.logs of the site file)"}
			}
			if l.from < 0 {
				l.from = max(0, l.attempt.LogSize+l.from)
			}
			return nil
		}
		j, err := l.s.Store.Job(l.ctx, l.job)
		if err != nil {
			return err
		}
		if !l.follow || j.EndedAt != nil || l.number > j.Attempts+1 {
			return notFound("no log", "the job has no such attempt; a job that waits, or that the service does itself, has none")
		}
		if !l.wait() {
			return l.ctx.Err()
		}
	}
}

// wait returns when something may have come; false: the client has gone.
func (l *logStream) wait() bool {
	tick := time.NewTimer(logTick)
	defer tick.Stop()
	log, job := "log "+strconv.FormatInt(l.job, 10), "job "+strconv.FormatInt(l.job, 10)
	for {
		select {
		case <-l.ctx.Done():
			return false
		case c := <-l.changes:
			if c == log || c == job || c == "" {
				return true
			}
		case <-tick.C:
			return true
		}
	}
}

// VisitGetLogResponse writes the log, as it comes.
func (l *logStream) VisitGetLogResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	h.Set("Sluice-Job", strconv.FormatInt(l.job, 10))
	h.Set("Sluice-Attempt", strconv.Itoa(l.attempt.Number))
	h.Set("Sluice-Offset", strconv.FormatInt(l.from, 10))
	w.WriteHeader(http.StatusOK)
	to := http.NewResponseController(w)
	_ = to.Flush()
	for {
		data, done, err := l.read()
		if err != nil {
			l.s.Log.Error("a log cannot be read", "job", l.job, "error", err)
			panic(http.ErrAbortHandler) // the answer has begun: cut it, so that it does not look complete
		}
		if len(data) > 0 {
			_ = to.SetWriteDeadline(time.Now().Add(l.s.Patience))
			if _, err := w.Write(data); err != nil {
				return nil // the client has gone
			}
			_ = to.Flush()
			l.from += int64(len(data))
		}
		switch {
		case done, len(data) == 0 && (!l.follow || !l.wait()):
			_ = to.SetWriteDeadline(time.Time{}) // the connection may serve more
			return nil
		}
	}
}

// read gives the next bytes; done says that nothing will follow. Of an old
// attempt the log is a blob.
func (l *logStream) read() (data []byte, done bool, err error) {
	data, done, err = l.s.Store.ReadLog(l.ctx, l.attempt.ID, l.from, logChunk)
	if l.ctx.Err() != nil {
		return nil, true, nil
	}
	if err != nil || len(data) > 0 || l.attempt.LogDigest == "" {
		return data, done, err
	}
	f, size, err := l.s.Blobs.Open(l.ctx, blob.Digest(l.attempt.LogDigest))
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if l.from >= size {
		return nil, true, nil
	}
	data = make([]byte, min(size-l.from, logChunk))
	if _, err := f.ReadAt(data, l.from); err != nil && err != io.EOF {
		return nil, false, err
	}
	return data, l.from+int64(len(data)) >= size, nil
}
