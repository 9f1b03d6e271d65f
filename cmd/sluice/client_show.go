package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/api"
	"sluice/internal/client"
)

// table writes lines and aligned columns.
type table struct {
	w *tabwriter.Writer
}

func newTable(w io.Writer) *table {
	return &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.DiscardEmptyColumns)}
}

// plain keeps what strangers wrote from steering the terminal.
var plain = strings.NewReplacer("\t", " ", "\v", " ", "\f", " ", "\r", "", "\x1b", "?", "\x9b", "?", "\x00", "?", "\x07", "?", "\x08", "?")

// line ends the columns above and writes a line of its own.
func (t *table) line(format string, args ...any) {
	_ = t.w.Flush()
	fmt.Fprintln(t.w, plain.Replace(fmt.Sprintf(format, args...)))
	_ = t.w.Flush()
}

// head writes a heading after an empty line.
func (t *table) head(format string, args ...any) {
	t.line("")
	t.line(format, args...)
}

// row writes one row of columns, indented.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(plain.Replace(c), "\n", " ")
	}
	fmt.Fprintln(t.w, "  "+strings.Join(cells, "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

// showCommand shows one thing.
type showCommand struct {
	connection
	Thing string `arg:"" help:"A change (1234, GERRIT~1234), queue/NAME, buildset/ID, job/ID, a repository (RELEASE/DIST/CHANNEL), or the address of one of these on the page."`
}

// Run asks and writes.
func (c *showCommand) Run(ctx context.Context, o output) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	kind, name := thing(c.Thing)
	switch kind {
	case "queue":
		if name == "" {
			return misused("%q is no queue: queue/NAME is wanted", c.Thing)
		}
		q, err := service.Queue(ctx, name)
		if err != nil {
			return err
		}
		return c.say(o, q, func(t *table) { showQueue(t, q) })
	case "job":
		id, err := jobNumber(name)
		if err != nil {
			return err
		}
		j, err := service.Job(ctx, id)
		if err != nil {
			return err
		}
		return c.say(o, j, func(t *table) { showJob(t, j) })
	case "buildset":
		id, err := strconv.ParseInt(name, 10, 64)
		if err != nil || id < 1 {
			return misused("%q is no buildset: its number is wanted", name)
		}
		b, err := service.Buildset(ctx, id)
		if err != nil {
			return err
		}
		return c.say(o, b, func(t *table) { showBuildset(t, b) })
	case "repository":
		return c.repository(ctx, service, o, name)
	}
	gerrit, number, err := findChange(ctx, service, name)
	if err != nil {
		return err
	}
	change, err := service.Change(ctx, gerrit, number)
	if err != nil {
		return err
	}
	return c.say(o, change, func(t *table) { showChange(t, change) })
}

func (c *showCommand) repository(ctx context.Context, service *client.Client, o output, name string) error {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return misused("%q is no repository: RELEASE/DIST/CHANNEL is wanted", name)
	}
	r, err := service.Repository(ctx, parts[0], parts[1], parts[2])
	if err != nil {
		return err
	}
	return c.say(o, r, func(t *table) { showRepository(t, r) })
}

// thing tells what a word names.
func thing(word string) (kind, name string) {
	if _, path, ok := strings.Cut(word, "://"); ok {
		_, word, _ = strings.Cut(path, "/")
		word, _, _ = strings.Cut(word, "#")
	}
	word = strings.Trim(word, "/")
	first, rest, _ := strings.Cut(word, "/")
	switch first {
	case "queue", "job", "buildset":
		return first, rest
	case "repository", "repositories", "repo":
		return "repository", rest
	case "change":
		return "change", strings.Replace(rest, "/", "~", 1)
	}
	if strings.Count(word, "/") == 2 {
		return "repository", word
	}
	return "change", word
}

func showStatus(t *table, s api.Status) {
	t.line("sluice %s: %d jobs run, %d wait for a worker, %d for other jobs; %d checks", s.Version, s.Jobs.Running, s.Jobs.Queued, s.Jobs.Waiting, s.Jobs.Checks)
	t.head("Queues")
	for _, q := range s.Queues {
		state := fmt.Sprintf("%d items, %d active, window %d", q.Items, q.Active, q.Window)
		if q.Lanes != nil {
			state += lanesInWords(*q.Lanes)
		}
		if q.Last != nil {
			state += "; the last one " + merges(*q.Last, s.Now)
		}
		if q.Paused != nil {
			state += fmt.Sprintf("; paused by %s: %s", q.Paused.Who, q.Paused.Why)
		}
		t.row(q.Name, state)
	}
	t.head("Workers")
	for _, w := range s.Workers {
		t.row(w.Name, fmt.Sprintf("%d running", w.Running), strings.Join(w.Labels, " "), strings.Join(w.Architectures, " "), w.Version, "seen "+ago(s.Now, w.SeenAt))
	}
	t.head("Gerrit")
	for _, g := range s.Streams {
		state := "connected"
		if !g.Connected {
			state = "not connected: " + g.Error
		}
		t.row(g.Gerrit, g.URL, state)
	}
}

// merges words an estimate: "merges in about 6 min (4 to 11 min)".
func merges(e api.Estimate, now time.Time) string {
	left := func(t time.Time) string { return span(max(t.Sub(now), 0)) }
	text := fmt.Sprintf("merges in about %s (%s to %s)", left(e.At), left(e.From), left(e.To))
	if e.Chance < 0.995 {
		text += fmt.Sprintf(", %.0f times of 100", 100*e.Chance)
	}
	return text
}

// ago says how long before now something was.
func ago(now, then time.Time) string {
	d := now.Sub(then)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(max(d, 0).Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	return then.UTC().Format("2006-01-02 15:04 MST")
}

func showWhy(t *table, c api.ChangeSummary, pipelines []api.PipelineReason) {
	t.line("%s  %s  (%s)", c.ID, c.Subject, c.URL)
	for _, p := range pipelines {
		t.line("%s", p.Pipeline)
		showReason(t, p.Reason, "  ")
		if p.Estimate != nil {
			t.line("  it %s", merges(*p.Estimate, time.Now()))
		}
	}
}

func showReason(t *table, r api.Reason, indent string) {
	text := r.Text
	if r.Who != "" {
		text += "  [" + r.Who + "]"
	}
	t.line("%s%s", indent, text)
	if r.Next != "" {
		t.line("%s→ %s", indent, r.Next)
	}
	for _, child := range r.Children {
		showReason(t, child, indent+"  ")
	}
}
