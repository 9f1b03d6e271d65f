package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/api"
	"sluice/internal/api/apitest"
	"sluice/internal/job"
	"sluice/internal/postgres"
	"sluice/internal/record"
)

// open begins to read an answer; the test's end ends it.
func open(t *testing.T, w *apitest.World, path string) (*http.Response, *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	r, _ := http.NewRequestWithContext(ctx, "GET", w.URL+path, nil)
	answer, err := w.Server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer, bufio.NewReader(answer.Body)
}

func TestLog(t *testing.T) {
	w := apitest.New(t, nil)
	a := newAsker(t, w)
	s := w.Seed()
	path := fmt.Sprintf("/api/v1/jobs/%d/log", s.Build.ID)
	for query, want := range map[string]string{
		"": "building\nbuilt\n", "?offset=9": "built\n", "?offset=-3": "lt\n", "?attempt=1&offset=4": "ding\nbuilt\n", "?offset=1000": "", "?offset=9223372036854775807": "", "?follow=true": "building\nbuilt\n",
	} {
		status, h, data := a.do("GET", path+query, "", nil)
		if status != 200 || string(data) != want || h.Get("Sluice-Attempt") != "1" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %q %v", query, status, data, h)
		}
	}
	a.problem("GET", path+"?attempt=2", "", nil, 404)
	a.problem("GET", path+"?follow=true&attempt=9", "", nil, 404)
	if _, err := w.Store.Forget(context.Background(), postgres.Ages{Logs: time.Microsecond, TestRepositories: time.Hour, Artifacts: time.Hour, Events: time.Hour}); err != nil {
		t.Fatal(err)
	}
	a.problem("GET", path, "", nil, 410)
}

// A log is sent as it grows, and ends when the attempt ends.
func TestLogFollows(t *testing.T) {
	w := apitest.New(t, nil)
	s := w.Seed()
	answer, in := open(t, w, fmt.Sprintf("/api/v1/jobs/%d/log?follow=true", s.Running.ID))
	want := func(line string) {
		t.Helper()
		if got, err := in.ReadString('\n'); got != line {
			t.Fatalf("%q, %v; wanted %q", got, err, line)
		}
	}
	want("first line\n")
	if answer.Header.Get("Content-Encoding") != "" {
		t.Errorf("a log that grows is compressed")
	}
	size := w.Log(s.Lease, s.LogSize, "second line\n")
	want("second line\n")
	w.Log(s.Lease, size, "third line\n")
	want("third line\n")
	w.Finish(s.Lease, job.Result{Outcome: job.Passed}, nil)
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

// Following a job that waits begins with its first attempt.
func TestLogWaitsForTheFirstAttempt(t *testing.T) {
	w := apitest.New(t, nil)
	s := w.Seed()
	lint := w.Start(s.GoodBuildset, job.StageLint)
	type opened struct {
		text string
		err  error
	}
	read := make(chan opened, 1)
	asked := make(chan struct{})
	go func() {
		close(asked)
		answer, err := w.Server.Client().Get(fmt.Sprintf("%s/api/v1/jobs/%d/log?follow=true", w.URL, lint.ID))
		if err != nil {
			read <- opened{err: err}
			return
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		read <- opened{string(text), err}
	}()
	<-asked
	lease := w.Claim()
	w.Log(lease, 0, "lint\n")
	w.Finish(lease, job.Result{Outcome: job.Passed}, nil)
	if got := <-read; got.err != nil || got.text != "lint\n" {
		t.Errorf("%+v", got)
	}
}

// events reads the names and data of a stream, without its signs of life.
func events(t *testing.T, in *bufio.Reader, to chan<- string) {
	name := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			close(to)
			return
		}
		line = strings.TrimSpace(line)
		if kind, ok := strings.CutPrefix(line, "event: "); ok {
			name = kind
		}
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			to <- name + " " + strings.TrimSpace(data)
		}
	}
}

func TestEvents(t *testing.T) {
	w := apitest.New(t, nil)
	s := w.Seed()
	answer, in := open(t, w, "/api/v1/events")
	if answer.Header.Get("Content-Type") != "text/event-stream" || answer.Header.Get("Content-Encoding") != "" {
		t.Fatalf("%v", answer.Header)
	}
	got := make(chan string, 1000)
	go events(t, in, got)
	if first := <-got; first != "reset " {
		t.Fatalf("it begins with %q", first)
	}
	w.SQL(`SELECT pg_notify('sluice_feed', 'mark 1')`) // what Seed did is told before this
	for event := range got {
		if event == "mark 1" {
			break
		}
	}
	// Each step is told in the order in which it is done.
	size := w.Log(s.Lease, s.LogSize, "more\n")
	w.Log(s.Lease, size, "and more\n")
	w.Change(record.Change{Number: 4, Project: "packages/other", Subject: "Again", PatchSet: 2, Queue: "main"})
	w.Finish(s.Lease, job.Result{Outcome: job.Passed}, nil)
	w.Release(apitest.Deb, s.GoodBuildset.ID, s.Deb)
	wanted := []string{fmt.Sprintf("log %d", s.Running.ID), "change main~4", fmt.Sprintf("job %d", s.Running.ID), "repository juno/debian-12/updates"}
	for at := 0; at < len(wanted); {
		event, open := <-got
		if !open {
			t.Fatalf("the stream ended before %q", wanted[at])
		}
		for i := at + 1; i < len(wanted); i++ {
			if event == wanted[i] {
				t.Fatalf("%q came before %q", event, wanted[at])
			}
		}
		if event == wanted[at] {
			at++
		}
	}
}

// A stream shows that it lives while nothing changes.
func TestEventsHeartbeat(t *testing.T) {
	w := apitest.New(t, nil)
	_, in := open(t, w, "/api/v1/events")
	for beats := 0; beats < 2; {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, ":") {
			beats++
		}
	}
}

// Who does not read is disconnected, and holds nobody up.
func TestEventsDropASlowClient(t *testing.T) {
	over := make(chan struct{})
	w := apitest.New(t, func(o *api.Options) {
		o.Patience = 200 * time.Millisecond
		o.Log = slog.New(slog.NewTextHandler(said{"path=/api/v1/events", over}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	conn, err := net.Dial("tcp", w.Server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET /api/v1/events HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n")
	in := bufio.NewReader(conn)
	for line := ""; !strings.HasPrefix(line, "event: reset"); {
		if line, err = in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		w.SQL(`SELECT pg_notify('sluice_feed', 'many ' || repeat('x', 7000) || i) FROM generate_series(1, 200) AS i`)
	}
	select {
	case <-over: // the request is logged at its end
	case <-time.After(30 * time.Second):
		t.Error("the stream goes on, and nobody reads it")
	}
}

// said is closed when a text is logged; it is logged once.
type said struct {
	text string
	then chan struct{}
}

func (s said) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.text) {
		close(s.then)
	}
	return len(p), nil
}
