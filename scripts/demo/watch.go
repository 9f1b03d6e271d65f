package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/api"
)

// outcome is what became of a change in the gate.
type outcome struct {
	result   string
	finding  string // the first one, or the files of a conflict; empty if it landed
	buildset int64  // the last one
}

// watcher follows changes through the gate and says what is new, each thing once.
type watcher struct {
	d       *demo
	all     []*change
	byNum   map[int]*change
	stacks  map[int][]int // change → the changes that it was last seen on
	said    map[string]bool
	serials map[string]int // repository → number of its publication
	moved   time.Time      // when something was said last
}

// watch follows the changes until each has an outcome, and what landed is published.
func (d *demo) watch(ctx context.Context, all []*change) error {
	w := &watcher{d: d, all: all, byNum: map[int]*change{}, stacks: map[int][]int{}, said: map[string]bool{}, serials: map[string]int{}, moved: time.Now()}
	for _, c := range all {
		w.byNum[c.number] = c
	}
	if err := w.repositories(ctx, false); err != nil {
		return err
	}
	for {
		done, err := w.look(ctx)
		if err != nil || done {
			return err
		}
		if time.Since(w.moved) > patience {
			return fmt.Errorf("nothing has happened for %s; %s", patience, w.stuck(ctx))
		}
		if err := d.service.wait(ctx); err != nil {
			return err
		}
	}
}

// once says a thing if it was not said before.
func (w *watcher) once(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if w.said[text] {
		return
	}
	w.said[text] = true
	w.moved = time.Now()
	say("%s", text)
}

// look reads the state and says what is new; done: all have an outcome.
func (w *watcher) look(ctx context.Context) (done bool, err error) {
	queue, err := get[api.Queue](ctx, w.d.service, "queues/main")
	if err != nil {
		return false, err
	}
	numbers := map[int64]int{} // item → change
	for _, item := range queue.Items {
		if len(item.Changes) > 0 {
			numbers[item.ID] = item.Changes[0].Number
		}
	}
	changes, err := get[[]api.ChangeSummary](ctx, w.d.service, "changes?limit=100")
	if err != nil {
		return false, err
	}
	done = true
	for _, s := range changes {
		c := w.byNum[s.Number]
		if c == nil {
			continue
		}
		if c.told == nil && s.Gate != nil && !s.Gate.Present {
			if err := w.left(ctx, c, *s.Gate); err != nil {
				return false, err
			}
		}
	}
	for _, c := range w.all {
		done = done && c.told != nil
	}
	for _, item := range queue.Items {
		if c := w.byNum[numbers[item.ID]]; c != nil {
			w.item(c, item, numbers)
		}
	}
	if err := w.repositories(ctx, true); err != nil || !done {
		return false, err
	}
	return w.published(ctx)
}

// item says where a change stands and what its jobs found.
func (w *watcher) item(c *change, item api.Item, numbers map[int64]int) {
	if item.Buildset == nil || item.Buildset.State == "preparing" {
		return
	}
	var stack []int
	for _, id := range item.Behind {
		stack = append(stack, numbers[id])
	}
	before, known := w.stacks[c.number]
	w.stacks[c.number] = stack
	conflict := item.Buildset.Conflict
	switch {
	case conflict != nil:
		w.once("%s does not merge with what is ahead of it: %s", c, strings.Join(conflict.Files, ", "))
	case !known:
		w.once("%s is tested %s", c, onTop(stack))
	default:
		w.rebased(c, before, stack, numbers)
	}
	for _, j := range item.Buildset.Jobs {
		w.job(c, j)
	}
}

// onTop says what a change is tested on.
func onTop(stack []int) string {
	switch n := len(stack); {
	case n == 0:
		return "on the branches as they are"
	case n > 4:
		return fmt.Sprintf("on top of %d changes, %d to %d", n, stack[0], stack[n-1])
	}
	return "on top of " + numbered(stack)
}

func numbered(all []int) string {
	var words []string
	for _, n := range all {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}

// rebased says that a change is tested without one that fails. That those
// ahead have landed is no news: their landing is.
func (w *watcher) rebased(c *change, before, stack []int, numbers map[int64]int) {
	var without []int
	present := slices.Collect(maps.Values(numbers))
	for _, n := range before {
		if slices.Contains(stack, n) || w.byNum[n] == nil {
			continue
		}
		if told := w.byNum[n].told; told != nil && told.result != lands || told == nil && slices.Contains(present, n) {
			without = append(without, n)
		}
	}
	if len(without) == 0 {
		return
	}
	w.once("%s is now tested without %s, %s", c, numbered(without), onTop(stack))
}

// job says what is worth saying of a job that ended.
func (w *watcher) job(c *change, j api.JobSummary) {
	if strings.HasPrefix(j.Cause, "not run") {
		return
	}
	switch {
	case j.State == "failed" && j.Voting:
		w.once("%s: %s failed on %s: %s", c, j.Stage, j.Target, why(j))
	case j.State == "error":
		w.once("%s: %s on %s could not be done: %s", c, j.Stage, j.Target, why(j))
	case j.State == "passed" && (j.Stage == "build" || j.Stage == "systest"):
		w.once("%s: %s passed on %s", c, j.Stage, j.Target)
	}
}

func why(j api.JobSummary) string {
	text := j.Cause
	if j.Finding != nil {
		text = j.Finding.Text
	}
	return strings.Join(strings.Fields(text), " ")
}

// left says what became of a change that left the gate.
func (w *watcher) left(ctx context.Context, c *change, o api.Outcome) error {
	c.told = &outcome{result: o.Result}
	if o.Buildset != nil {
		c.told.buildset = *o.Buildset
	}
	if o.Result != lands {
		if err := c.told.find(ctx, w.d.service, o); err != nil {
			return err
		}
	}
	text := c.told.finding
	if text != "" {
		text = ": " + text
	}
	w.once("%s: %s%s", c, o.Result, text)
	return nil
}

// find reads the first finding.
func (o *outcome) find(ctx context.Context, s *service, gate api.Outcome) error {
	o.finding = gate.Reason
	if o.buildset == 0 {
		return nil
	}
	b, err := get[api.Buildset](ctx, s, "buildsets/%d", o.buildset)
	if err != nil {
		return err
	}
	switch {
	case b.Buildset.Conflict != nil:
		o.finding = "conflict in " + strings.Join(b.Buildset.Conflict.Files, ", ")
		if _, number, named := strings.Cut(b.Buildset.Conflict.With, "~"); named {
			o.finding = "conflict with change " + number + strings.TrimPrefix(o.finding, "conflict")
		}
	case b.Buildset.Finding != nil:
		o.finding = strings.Join(strings.Fields(b.Buildset.Finding.Text), " ")
	case b.Buildset.Broken != "":
		o.finding = b.Buildset.Broken
	}
	return nil
}

// published reports whether all that landed is in the repositories.
func (w *watcher) published(ctx context.Context) (bool, error) {
	for _, c := range w.all {
		if c.told.result != lands {
			continue
		}
		b, err := get[api.Buildset](ctx, w.d.service, "buildsets/%d", c.told.buildset)
		if err != nil || b.Buildset.PublishedAt == nil {
			return false, err
		}
	}
	return true, w.repositories(ctx, true)
}

// repositories says which repositories have a new publication.
func (w *watcher) repositories(ctx context.Context, tell bool) error {
	all, err := get[[]api.RepositorySummary](ctx, w.d.service, "repositories")
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Publication == nil || r.Publication.Serial == w.serials[r.Name] {
			continue
		}
		w.serials[r.Name] = r.Publication.Serial
		if tell {
			w.once("published: %s is at publication %d, %d packages, signed", r.Name, r.Publication.Serial, r.Packages)
		}
	}
	return nil
}

// stuck says what the service says of the changes that have no outcome.
func (w *watcher) stuck(ctx context.Context) string {
	var words []string
	for _, c := range w.all {
		if c.told != nil {
			continue
		}
		y, err := get[api.Why](ctx, w.d.service, "changes/main/%d/why", c.number)
		if err != nil {
			words = append(words, err.Error())
			continue
		}
		for _, p := range y.Pipelines {
			words = append(words, fmt.Sprintf("%s, %s: %s", c, p.Pipeline, p.Reason.Text))
		}
	}
	return strings.Join(words, "; ")
}
