package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/api"
	"sluice/internal/client"
	"sluice/internal/history"
)

// recorded is where a history comes from: a file, or a service.
type recorded struct {
	connection
	Queue string `help:"The queue, of a service." default:"main"`
	From  string `help:"Begin with the decisions of this time (2026-01-31T12:00:00Z), or of so long ago (90m)." placeholder:"TIME"`
	To    string `help:"End with this time." placeholder:"TIME"`
	File  string `arg:"" optional:"" help:"A history that was exported; without it a service is asked, as an operator." type:"existingfile"`
}

// page is how many decisions are asked for at once.
const page = 200

// each calls f with each decision in order, after head with what is known beside
// them. Of what lies before From only what a replay needs is given.
func (c recorded) each(ctx context.Context, restricted bool, head func(history.Header) error, f func(json.RawMessage, history.Decision) error) error {
	from, err := when(c.From)
	if err != nil {
		return err
	}
	to, err := when(c.To)
	if err != nil {
		return err
	}
	if !to.IsZero() && to.Before(from) {
		return misused("--to %s is before --from %s", c.To, c.From)
	}
	if c.Queue == "" {
		return misused("--queue: a queue's name is wanted")
	}
	if c.File != "" {
		return eachOfFile(c.File, from, to, head, f)
	}
	service, err := c.client()
	if err != nil {
		return err
	}
	return eachOfService(ctx, service, c.Queue, restricted, from, to, head, f)
}

// when understands a time, or so long ago; "" is the zero time.
func when(word string) (time.Time, error) {
	if word == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(word); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, word)
	if err != nil {
		return t, misused("%q is no time: 2026-01-31T12:00:00Z, or 90m for so long ago is wanted", word)
	}
	return t, nil
}

func eachOfService(ctx context.Context, service *client.Client, queue string, restricted bool, from, to time.Time, head func(history.Header) error, f func(json.RawMessage, history.Decision) error) error {
	p := api.GetHistoryParams{Limit: new(page)}
	if restricted {
		p.Restricted = &restricted
	}
	if !from.IsZero() {
		p.From = &from
	}
	if !to.IsZero() {
		p.To = &to
	}
	for first := true; ; first = false {
		h, err := service.History(ctx, queue, p)
		if err != nil {
			return err
		}
		if first {
			info := history.Header{Queue: queue, Service: version}
			if h.Present != nil {
				info.Present = *h.Present
			}
			if err := head(info); err != nil {
				return err
			}
		}
		for _, text := range h.Decisions {
			var d history.Decision
			if err := json.Unmarshal(text, &d); err != nil {
				return fmt.Errorf("the service's answer: %w", err)
			}
			if err := f(text, d); err != nil {
				return err
			}
		}
		if !h.More {
			return nil
		}
		p.After, p.From = &h.Next, nil
	}
}

func eachOfFile(name string, from, to time.Time, head func(history.Header) error, f func(json.RawMessage, history.Decision) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := history.NewReader(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := head(r.Header); err != nil {
		return err
	}
	var waiting []history.Decision // since the last whole one before from
	for {
		d, err := r.Next()
		if err == io.EOF || err == nil && !to.IsZero() && d.At.After(to) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if d.Before != nil && d.At.Before(from) {
			waiting = nil
		}
		waiting = append(waiting, d)
		if d.At.Before(from) {
			continue
		}
		if err := giveAll(waiting, f); err != nil {
			return err
		}
		waiting = nil
	}
	return giveAll(waiting, f)
}

func giveAll(some []history.Decision, f func(json.RawMessage, history.Decision) error) error {
	for _, d := range some {
		text, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if err := f(text, d); err != nil {
			return err
		}
	}
	return nil
}

// replayCommand decides a recorded history again.
type replayCommand struct {
	recorded
	Export     string `help:"Write the history to this file (.gz: compressed) instead, to be replayed elsewhere or sent with a report." placeholder:"FILE"`
	Restricted bool   `help:"With the subjects and topics of restricted changes; else an export has none."`
}

// Help is shown below the command's own.
func (replayCommand) Help() string {
	return "What each decision was made from is decided again, by the rules of this program, and compared with what was decided then. " +
		"Exit status: 0: all is the same; 1: something differs, and the first difference is shown, or it could not be replayed; 2: used wrongly."
}

// Run replays, or exports.
func (c *replayCommand) Run(ctx context.Context, o output) error {
	if c.Export != "" {
		return c.export(ctx, o)
	}
	r := &history.Replayer{}
	var queue string
	var first, last time.Time
	var found *history.Difference
	err := c.each(ctx, c.Restricted, func(h history.Header) error {
		queue = h.Queue
		return nil
	}, func(_ json.RawMessage, d history.Decision) (err error) {
		if found, err = r.Next(d); found != nil {
			return errSaid
		}
		if first.IsZero() {
			first = d.At
		}
		last = d.At
		return err
	})
	if found != nil {
		if err := c.say(o, found, func(t *table) { showDifference(t, found, r.Decided) }); err != nil {
			return err
		}
		return errSaid
	}
	if err != nil {
		return err
	}
	answer := map[string]any{"queue": queue, "decisions": r.Decided, "from": first, "to": last}
	return c.say(o, answer, func(t *table) {
		if r.Decided == 0 {
			t.line("Nothing was recorded of the queue %s.", queue)
			return
		}
		t.line("%d decisions of the queue %s, %s to %s, come out the same.", r.Decided, queue, stamp(first), stamp(last))
	})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// export writes a file, which is there as a whole or not at all.
func (c *replayCommand) export(ctx context.Context, o output) (err error) {
	part := c.Export + ".part"
	file, err := os.Create(part)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err == nil {
			err = os.Rename(part, c.Export)
		} else {
			_ = os.Remove(part)
		}
	}()
	var to io.Writer = file
	if strings.HasSuffix(c.Export, ".gz") {
		z := gzip.NewWriter(file)
		defer func() { err = errors.Join(err, z.Close()) }()
		to = z
	}
	var w *history.Writer
	n := 0
	err = c.each(ctx, c.Restricted, func(h history.Header) error {
		w, err = history.NewWriter(to, h)
		return err
	}, func(text json.RawMessage, d history.Decision) error {
		n++
		return w.Add(text)
	})
	if err != nil {
		return err
	}
	return c.say(o, map[string]any{"file": c.Export, "decisions": n}, func(t *table) { t.line("%d decisions are in %s.", n, c.Export) })
}

// showDifference shows what was known, what was decided, and what is decided now.
func showDifference(t *table, d *history.Difference, decided int) {
	t.line("Decision %d of the queue %s, of %s, is another now: its %s differ (it is the %d. that was compared).",
		d.Decision.Version, d.Decision.Queue, stamp(d.Decision.At), d.What, decided)
	t.head("What had changed since the decision before")
	for _, name := range sortedNames(d.Decision.Facts) {
		f := d.Decision.Facts[name]
		if f.Is != nil {
			t.row(name, cut(f.Is))
		}
		for _, pair := range f.Set {
			t.row(name, string(pair[0]), cut(pair[1]))
		}
		for _, key := range f.Gone {
			t.row(name, string(key), "is gone")
		}
	}
	tell := func(title string, parts []json.RawMessage) {
		t.head("%s", title)
		if len(parts) == 0 {
			t.row("nothing")
		}
		for _, text := range parts {
			t.row(cut(text))
		}
	}
	tell("What was decided then, and is not now", d.Was)
	tell("What is decided now, and was not then", d.Now)
}

// cut bounds a line.
func cut(text json.RawMessage) string {
	const most = 600
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

func sortedNames(d history.Delta) []string {
	var names []string
	for name := range d {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
