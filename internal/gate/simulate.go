package gate

import (
	"slices"
	"time"
)

// Model is what a simulation is told of the world: what was measured of it.
type Model struct {
	// Tasks are the jobs that an item's next attempt will have, of the items
	// whose jobs are known. Any other has one of Usual, each as likely.
	Tasks map[ItemID][]Task `json:"tasks,omitempty"`
	Usual [][]Task          `json:"usual,omitempty"`
	// Prepare is how long a merge and its planning take, Submit how long a submit.
	Prepare Times `json:"prepare,omitempty"`
	Submit  Times `json:"submit,omitempty"`
	// Fails is the share of items whose own tests fail.
	Fails float64 `json:"fails"`
	// Reused is the share of jobs that need not run, since an earlier result
	// stands for them: of an item's first attempt, and of its later ones (G10).
	Reused float64 `json:"reused"`
	Again  float64 `json:"again"`
	// Slots is how many jobs run at once; 0: as many as there are.
	Slots int `json:"slots,omitempty"`
}

// Task is a job as a simulation sees it.
type Task struct {
	Name   string `json:"name"`
	Voting bool   `json:"voting"`
	// Rank orders the jobs of an attempt: a job begins when all of a lower rank have passed.
	Rank  int   `json:"rank"`
	Takes Times `json:"takes,omitempty"`
	// Ran is how long it has been running, in the present attempt.
	Ran time.Duration `json:"ran,omitempty"`
	// Batch: it runs once for a batch of items, where the policy has these.
	Batch bool `json:"batch,omitempty"`
}

// Arrival is a change that becomes known, or otherwise known, some time after the start.
type Arrival struct {
	After  time.Duration `json:"after"`
	Change Change        `json:"change"`
}

// Simulation is what is to be played.
type Simulation struct {
	State State
	Facts Facts
	Model Model
	// Arrivals come in the order of their time.
	Arrivals []Arrival
	// Runs is how often it is played; 0: 20. Equal seeds give equal forecasts.
	Runs int
	Seed uint64
	// Limit is how many items are played, from the head; those behind are
	// extrapolated from the pace of these. 0: all.
	Limit int
}

// Outlook is what a simulation expects of a change.
type Outlook struct {
	// Merges is the share of the runs in which it merged. In these it took
	// Median from now on, and was between Early and Late in four of five.
	Merges              float64
	Early, Median, Late time.Duration
}

// Forecast is what the runs of a simulation came to. Numbers are means of the runs.
type Forecast struct {
	Changes map[ChangeID]Outlook
	// Merged and Failed count the items that were played to their end. Lasted
	// is the time from the start to the last of them.
	Merged, Failed float64
	Lasted         time.Duration
	// PerHour is how many merged in an hour.
	PerHour float64
	// Resets counts the attempts that were begun anew on another base.
	Resets float64
	// Worked is the time that jobs ran, Wasted that of attempts that were dropped.
	Worked, Wasted time.Duration
}

// Simulate plays a queue forward, with this package's own rules in a world made
// of the model, and says what is to be expected. It is pure: equal simulations
// give equal forecasts, and nothing that is given is modified.
func Simulate(sim Simulation) Forecast {
	if sim.Runs <= 0 {
		sim.Runs = 20
	}
	sim.Facts.Policy = sim.Facts.Policy.filled()
	behind := cut(&sim)
	merged := map[ChangeID][]time.Duration{}
	f := Forecast{Changes: map[ChangeID]Outlook{}}
	for run := range sim.Runs {
		p := newPlay(&sim, uint64(run))
		p.run()
		for id, at := range p.merged {
			merged[id] = append(merged[id], at)
		}
		for id, at := range p.extrapolate(behind) {
			merged[id] = append(merged[id], at)
		}
		f.add(p)
	}
	f.mean(sim.Runs)
	if f.Lasted > 0 {
		f.PerHour = f.Merged / f.Lasted.Hours()
	}
	for id, times := range merged {
		slices.Sort(times)
		all := Times(times)
		f.Changes[id] = Outlook{
			Merges: float64(len(times)) / float64(sim.Runs), Early: all.at(0.1), Median: all.at(0.5), Late: all.at(0.9),
		}
	}
	return f
}

func (f *Forecast) add(p *play) {
	f.Merged += float64(p.landed)
	f.Failed += float64(p.failed)
	f.Resets += float64(p.resets)
	f.Lasted += p.last
	f.Worked += p.worked
	f.Wasted += p.wasted
}

// mean divides the sums by the number of runs.
func (f *Forecast) mean(runs int) {
	n := float64(runs)
	f.Merged, f.Failed, f.Resets = f.Merged/n, f.Failed/n, f.Resets/n
	f.Lasted, f.Worked, f.Wasted = f.Lasted/time.Duration(runs), f.Worked/time.Duration(runs), f.Wasted/time.Duration(runs)
}

// cut leaves only the items in the state that are to be played, and only the
// changes in the facts that matter to them, and gives the items behind.
func cut(sim *Simulation) []*Item {
	items := sim.State.Items
	if sim.Limit <= 0 || sim.Limit >= len(items) {
		return nil
	}
	sim.State.Items = items[:sim.Limit:sim.Limit]
	all, kept := sim.Facts.Changes, map[ChangeID]Change{}
	var keep func(id ChangeID)
	keep = func(id ChangeID) {
		c, ok := all[id]
		if _, done := kept[id]; done || !ok {
			return
		}
		kept[id] = c
		for _, n := range c.Needs {
			keep(n.ID)
		}
	}
	for _, it := range sim.State.Items {
		for _, r := range it.Changes {
			keep(r.ID)
		}
	}
	for _, it := range items[sim.Limit:] {
		for _, r := range it.Changes {
			delete(kept, r.ID)
		}
	}
	sim.Facts.Changes = kept
	return items[sim.Limit:]
}

// extrapolate gives when those behind merge if all goes on at the pace of the
// second half of what was played.
func (p *play) extrapolate(behind []*Item) map[ChangeID]time.Duration {
	n := len(p.landings)
	if n < 2 || len(behind) == 0 {
		return nil
	}
	half := n / 2
	pace := (p.landings[n-1] - p.landings[half-1]) / time.Duration(n-half)
	out := map[ChangeID]time.Duration{}
	at := p.landings[n-1]
	for _, it := range behind {
		if p.share() < p.sim.Model.Fails {
			continue
		}
		at += pace
		for _, r := range it.Changes {
			out[r.ID] = at
		}
	}
	return out
}
