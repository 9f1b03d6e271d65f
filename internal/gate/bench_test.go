package gate_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"sluice/internal/gate"
)

// standing makes a queue of n items in chains of five, its window full of running
// attempts, and the facts of it.
func standing(n int) (gate.State, gate.Facts) {
	f := gate.Facts{
		Now: time.Unix(2_000_000, 0), Policy: gate.Policy{Start: 20, Floor: 3, Ceiling: 100},
		Changes: map[gate.ChangeID]gate.Change{}, Buildsets: map[gate.BuildsetID]gate.BuildsetFacts{},
	}
	for i := 1; i <= n; i++ {
		c := gate.Change{
			ID: cid(i), Number: i, Branch: gate.Branch{Project: fmt.Sprintf("g:p%d", i%200), Branch: "main"}, PatchSet: 1,
			Revision: fmt.Sprint(i), Status: gate.Open, Ready: true, ReadyAt: time.Unix(int64(i), 0), Queue: "main",
		}
		if i%5 > 0 && i > 1 {
			c.Needs = []gate.Need{{Kind: gate.Parent, ID: cid(i - 1), PatchSet: 1}}
		}
		f.Changes[c.ID] = c
	}
	s, _ := gate.Decide(gate.State{Queue: "main", Kind: gate.Dependent, Window: 100}, f)
	for _, it := range s.Items[:100] {
		f.Buildsets[it.Buildset.ID] = gate.BuildsetFacts{Prepared: true, Jobs: []gate.Job{
			{Name: "build", Voting: true, State: gate.JobPassed}, {Name: "install", Voting: true, State: gate.JobRunning},
		}}
	}
	return s, f
}

// cpu is the time that this process has had a processor for: on a busy machine
// it says more than the clock.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDecide5000 is one event against a queue of 5,000 items: a job that
// passed and changes little, the landing of the head, the failure of the head
// that resets the whole window.
func BenchmarkDecide5000(b *testing.B) {
	quiet := func(gate.State, gate.Facts) {}
	events := []struct {
		name  string
		apply func(s gate.State, f gate.Facts)
	}{
		{"nothing", quiet},
		{"upload", func(s gate.State, f gate.Facts) {
			c := f.Changes[cid(2501)]
			c.PatchSet, c.Revision = 2, "new"
			f.Changes[c.ID] = c
		}},
		{"pass", func(s gate.State, f gate.Facts) {
			f.Buildsets[s.Items[0].Buildset.ID].Jobs[1].State = gate.JobPassed
		}},
		{"fail", func(s gate.State, f gate.Facts) {
			f.Buildsets[s.Items[0].Buildset.ID].Jobs[1].State = gate.JobFailed
		}},
	}
	for _, event := range events {
		b.Run(event.name, func(b *testing.B) {
			s, f := standing(5000)
			event.apply(s, f)
			b.ReportAllocs()
			began := cpu(b)
			for b.Loop() {
				gate.Decide(s, f)
			}
			b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
	b.Run("fill", func(b *testing.B) {
		_, f := standing(5000)
		for b.Loop() {
			gate.Decide(gate.State{Queue: "main", Kind: gate.Dependent}, f)
		}
	})
	b.Run("explain", func(b *testing.B) {
		s, f := standing(5000)
		for b.Loop() {
			gate.Explain(s, f, cid(2500))
		}
	})
}
