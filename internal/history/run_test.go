package history_test

import (
	"io"
	"os"
	"testing"

	"sluice/internal/gate"
	"sluice/internal/history"
)

// testdata/run.jsonl is the history of a real run. Where rules were changed on
// purpose, look at the first difference, and then record it again:
//
//	SLUICE_RECORD=$PWD/internal/history/testdata/run.jsonl go test ./internal/e2e -run TestReplayARun
const run = "testdata/run.jsonl"

func eachOfRun(t *testing.T, f func(d history.Decision)) {
	t.Helper()
	file, err := os.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := history.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for {
		d, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f(d)
	}
}

// A run of yesterday is decided today as it was.
func TestRecordedRun(t *testing.T) {
	r := &history.Replayer{}
	eachOfRun(t, func(d history.Decision) {
		diff, err := r.Next(d)
		if err != nil {
			t.Fatal(err)
		}
		if diff != nil {
			t.Fatalf("decision %d differs in its %s:\nwas %s\nnow %s\nknown %s\nIf that is meant, record the run again: see %s", d.Version, diff.What, diff.Was, diff.Now, encode(d.Facts), "run_test.go")
		}
	})
	if r.Decided < 12 {
		t.Errorf("%d decisions", r.Decided)
	}
}

// Without subjects and topics it comes out the same.
func TestConceal(t *testing.T) {
	r, names, seen := &history.Replayer{}, 0, map[gate.ChangeID]bool{}
	eachOfRun(t, func(d history.Decision) {
		d, err := history.Conceal(d, func(id gate.ChangeID) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		if diff, err := r.Next(d); diff != nil || err != nil {
			t.Fatal(diff, err)
		}
		_, facts := r.Now()
		for id, c := range facts.Changes {
			if seen[id] = true; c.Subject != "(restricted)" || c.Revision == "" {
				names++
			}
		}
	})
	if names > 0 || len(seen) < 5 {
		t.Errorf("%d subjects of %d changes are left", names, len(seen))
	}
}

// A run can be played from its start: those that came come.
func TestScenario(t *testing.T) {
	var s history.Scenario
	eachOfRun(t, func(d history.Decision) {
		if err := s.Add(d); err != nil {
			t.Fatal(err)
		}
	})
	if !s.Known() || len(s.Arrivals) < 3 {
		t.Fatalf("%d arrivals", len(s.Arrivals))
	}
	f := gate.Simulate(gate.Simulation{State: s.State, Facts: s.Facts, Arrivals: s.Arrivals, Runs: 2})
	if f.Merged < 4 {
		t.Errorf("%v merge", f.Merged)
	}
}
