package gate_test

import (
	"testing"
	"time"

	"sluice/internal/gate"
)

func TestHappyPathSmoke(t *testing.T) {
	ch := func(n int, id string, needs ...gate.Need) gate.Change {
		return gate.Change{ID: gate.ChangeID(id), Number: n, PatchSet: 1, Revision: id, Status: gate.Open, Ready: true,
			ReadyAt: time.Unix(int64(n), 0), Queue: "q", Needs: needs}
	}
	f := gate.Facts{Now: time.Unix(100, 0), Changes: map[gate.ChangeID]gate.Change{
		"a": ch(1, "a", gate.Need{Kind: gate.Parent, ID: "b"}), "b": ch(2, "b"), "c": ch(3, "c")}}
	s, e := gate.Decide(gate.State{Queue: "q", Kind: gate.Dependent}, f)
	for _, x := range e {
		t.Logf("%+v", x)
	}
	f.Buildsets = map[gate.BuildsetID]gate.BuildsetFacts{}
	for i := 1; i < 4; i++ {
		f.Buildsets[gate.BuildsetID(i)] = gate.BuildsetFacts{Prepared: true, Jobs: []gate.Job{{Name: "x", Voting: true, State: gate.JobPassed}}}
	}
	for i := 0; i < 4; i++ {
		s, e = gate.Decide(s, f)
		for _, x := range e {
			t.Logf("%d %+v", i, x)
			if x.Kind == gate.SubmitChanges {
				f.Submits = map[gate.ItemID]gate.SubmitOutcome{x.Item: {Serial: x.Serial, Result: gate.SubmitLanded}}
			}
		}
	}
	if len(s.Items) != 0 {
		t.Fatal(s.Items)
	}
}
