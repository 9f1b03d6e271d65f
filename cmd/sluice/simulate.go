package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/internal/gate"
	"sluice/internal/history"
)

// simulateCommand plays what-if.
type simulateCommand struct {
	recorded
	Window      *int     `help:"What if the window began with so many items." placeholder:"N"`
	Floor       *int     `help:"What if it never shrank below so many." placeholder:"N"`
	Ceiling     *int     `help:"What if it never grew above so many." placeholder:"N"`
	FailFast    *bool    `help:"What if the first failing job cancelled the item's others, or did not." negatable:""`
	FailureRate *float64 `help:"What if this share of items failed, 0 to 1." placeholder:"P"`
	Workers     *int     `help:"What if so many jobs ran at once." placeholder:"N"`
	Runs        int      `help:"How often it is played, 1 to 1000." default:"30"`
	Seed        uint64   `help:"Of what is drawn; the same seed gives the same answer." default:"1"`
	Items       int      `help:"How many items are played; 0: all." default:"200"`
}

// Help is shown below the command's own.
func (simulateCommand) Help() string {
	return "The queue is played forward from now on, or a history from its start with the changes that came then, in a world made of what was measured: " +
		"as the site is, and as it would be with what is given. Nothing is changed. " + exitStatus
}

// Validate refuses what cannot be played.
func (c *simulateCommand) Validate() error {
	for _, least := range []struct {
		name  string
		value *int
	}{{"window", c.Window}, {"floor", c.Floor}, {"ceiling", c.Ceiling}, {"workers", c.Workers}} {
		if least.value != nil && *least.value < 1 {
			return fmt.Errorf("--%s %d: at least 1 is wanted", least.name, *least.value)
		}
	}
	switch p := c.FailureRate; {
	case above(c.Floor, c.Ceiling):
		return fmt.Errorf("--floor %d is above --ceiling %d", *c.Floor, *c.Ceiling)
	case above(c.Floor, c.Window):
		return fmt.Errorf("--floor %d is above --window %d", *c.Floor, *c.Window)
	case above(c.Window, c.Ceiling):
		return fmt.Errorf("--window %d is above --ceiling %d", *c.Window, *c.Ceiling)
	case p != nil && !(*p >= 0 && *p <= 1): // so written, NaN is refused too
		return fmt.Errorf("--failure-rate %v: it is from 0 to 1", *p)
	case c.Runs < 1 || c.Runs > maxRuns:
		return fmt.Errorf("--runs %d: 1 to %d is wanted", c.Runs, maxRuns)
	case c.Items < 0:
		return fmt.Errorf("--items %d: 0 (all) or more is wanted", c.Items)
	}
	return nil
}

// maxRuns bounds how often a queue is played: more says nothing new, and takes long.
const maxRuns = 1000

// above reports whether both are given, and a is the greater.
func above(a, b *int) bool { return a != nil && b != nil && *a > *b }

// played is a simulation's answer.
type played struct {
	Now    gate.Forecast  `json:"now"`
	WhatIf *gate.Forecast `json:"what_if,omitempty"`
}

// Run simulates and writes both side by side.
func (c *simulateCommand) Run(ctx context.Context, o output) error {
	sim, err := c.read(ctx)
	if err != nil {
		return err
	}
	sim.Runs, sim.Seed, sim.Limit = c.Runs, c.Seed, c.Items
	out := played{Now: gate.Simulate(sim)}
	if other, differs := c.whatIf(sim); differs {
		f := gate.Simulate(other)
		out.WhatIf = &f
	}
	return c.say(o, out, func(t *table) { showPlayed(t, sim, out) })
}

// read gives the present queue, or the start of a history and what came after it.
func (c *simulateCommand) read(ctx context.Context) (gate.Simulation, error) {
	var head history.Header
	var past history.Scenario
	err := c.each(ctx, false, func(h history.Header) error {
		if head = h; c.File == "" && c.From == "" {
			return errSaid // the present is all that is wanted
		}
		return nil
	}, func(_ json.RawMessage, d history.Decision) error { return past.Add(d) })
	if err != nil && !errors.Is(err, errSaid) {
		return gate.Simulation{}, err
	}
	if head.Present == nil {
		return gate.Simulation{}, errors.New("nothing was measured of this queue yet: a simulation needs a queue of the gate that has tested something")
	}
	var now history.Present
	if err := json.Unmarshal(head.Present, &now); err != nil {
		return gate.Simulation{}, fmt.Errorf("the queue as it is: %w", err)
	}
	if !past.Known() {
		return gate.Simulation{State: now.State, Facts: now.Facts, Model: now.Model}, nil
	}
	now.Model.Tasks = nil // they are of the items of now
	return gate.Simulation{State: past.State, Facts: past.Facts, Model: now.Model, Arrivals: past.Arrivals}, nil
}

// whatIf is the simulation with what was given, and whether anything was.
func (c *simulateCommand) whatIf(sim gate.Simulation) (gate.Simulation, bool) {
	p := &sim.Facts.Policy
	differs := false
	set := func(to, v *int) {
		if v != nil {
			*to, differs = *v, true
		}
	}
	set(&p.Start, c.Window)
	set(&sim.State.Window, c.Window)
	set(&p.Floor, c.Floor)
	set(&p.Ceiling, c.Ceiling)
	if c.Window != nil { // a window that is asked for is not held back by the site's bounds
		if c.Ceiling == nil {
			p.Ceiling = max(p.Ceiling, *c.Window)
		}
		if c.Floor == nil {
			p.Floor = min(p.Floor, *c.Window)
		}
	}
	set(&sim.Model.Slots, c.Workers)
	if c.FailFast != nil {
		p.FailFast, differs = *c.FailFast, true
	}
	if c.FailureRate != nil {
		sim.Model.Fails, differs = *c.FailureRate, true
	}
	return sim, differs
}

func showPlayed(t *table, sim gate.Simulation, p played) {
	from := fmt.Sprintf("%d items of the queue %s", len(sim.State.Items), sim.State.Queue)
	if len(sim.Arrivals) > 0 {
		from += fmt.Sprintf(", and %d that come later", len(sim.Arrivals))
	}
	t.line("%s, from %s on; %.0f %% of the items fail", from, stamp(sim.Facts.Now), 100*sim.Model.Fails)
	rows := func(what string, value func(gate.Forecast) string) {
		cells := []string{what, value(p.Now)}
		if p.WhatIf != nil {
			cells = append(cells, value(*p.WhatIf))
		}
		t.row(cells...)
	}
	if p.WhatIf != nil {
		t.row("", "as it is", "what if")
	}
	rows("merged", func(f gate.Forecast) string { return fmt.Sprintf("%.1f", f.Merged) })
	rows("merged per hour", func(f gate.Forecast) string { return fmt.Sprintf("%.1f", f.PerHour) })
	rows("left without merging", func(f gate.Forecast) string { return fmt.Sprintf("%.1f", f.Failed) })
	rows("all done after", func(f gate.Forecast) string { return span(f.Lasted) })
	rows("begun anew", func(f gate.Forecast) string { return fmt.Sprintf("%.1f", f.Resets) })
	rows("time of jobs", func(f gate.Forecast) string { return span(f.Worked) })
	rows("of it for nothing", func(f gate.Forecast) string { return span(f.Wasted) })
	t.head("Expected to merge after (four of five within)")
	shown := expectedOrder(p.Now)
	for _, id := range shown[:min(len(shown), 20)] {
		rows(string(id), func(f gate.Forecast) string { return outlook(f.Changes, id) })
	}
	if len(shown) > 20 {
		t.line("  and %d more (--json has all)", len(shown)-20)
	}
}

func expectedOrder(f gate.Forecast) []gate.ChangeID {
	var ids []gate.ChangeID
	for id := range f.Changes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b gate.ChangeID) int {
		return cmp.Or(cmp.Compare(f.Changes[a].Median, f.Changes[b].Median), cmp.Compare(a, b))
	})
	return ids
}

func outlook(all map[gate.ChangeID]gate.Outlook, id gate.ChangeID) string {
	o, ok := all[id]
	if !ok {
		return "never"
	}
	s := fmt.Sprintf("%s (%s–%s)", span(o.Median), span(o.Early), span(o.Late))
	if o.Merges < 0.995 {
		s += fmt.Sprintf(", %.0f %%", 100*o.Merges)
	}
	return s
}

// span words a length of time: "40 s", "6 min", "2 h 30 min".
func span(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 90*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}
