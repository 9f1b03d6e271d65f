package gate_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/internal/gate"
)

// TestTotal: whatever state and facts are given, also such as no engine would
// store, there is an answer; and the same facts change nothing a second time.
func TestTotal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, f := nonsense(rt)
		s, _ = gate.Decide(s, f)
		f.Commands = nil
		again, effects := gate.Decide(s, f)
		if len(effects) > 0 || encode(again) != encode(s) {
			rt.Fatalf("no rest: %s\n%s\n%s", encode(effects), encode(s), encode(again))
		}
		gate.Order(s, f)
		gate.Simulate(gate.Simulation{State: s, Facts: f, Model: alike(gate.Times{1}, nil), Runs: 1, Limit: rapid.IntRange(0, 4).Draw(rt, "limit")})
		for i := range 8 {
			if r := gate.Explain(s, f, cid(i)); r.Text == "" {
				rt.Fatalf("no reason for %d", i)
			}
		}
	})
}

func nonsense(rt *rapid.T) (gate.State, gate.Facts) {
	small := func(label string) int { return rapid.IntRange(0, 6).Draw(rt, label) }
	yes := func(label string) bool { return rapid.Bool().Draw(rt, label) }
	s := gate.State{
		Queue: "main", Kind: rapid.SampledFrom([]gate.Kind{gate.Dependent, gate.Dependent, gate.Independent, "odd"}).Draw(rt, "kind"),
		Change: cid(small("checked")), Window: small("window") - 1, NextItem: 20, NextBuildset: 20,
		Done: map[gate.ChangeID]gate.Done{}, Held: map[gate.ChangeID]gate.Note{}, Forced: map[gate.ChangeID]gate.Note{},
	}
	f := gate.Facts{
		Now: time.Unix(50, 0), Changes: map[gate.ChangeID]gate.Change{}, Buildsets: map[gate.BuildsetID]gate.BuildsetFacts{},
		Submits: map[gate.ItemID]gate.SubmitOutcome{}, Policy: gate.Policy{Start: small("start"), Floor: small("floor"), Ceiling: small("ceiling"), Observe: yes("observe"), FailFast: yes("fast"), WholeTopics: yes("topics"), Evidence: yes("evidence"), Batch: small("batch"), Lanes: yes("lanes")},
		Closures: map[gate.ChangeID]gate.Closure{},
	}
	for i := range small("changes") {
		c := gate.Change{
			ID: cid(i), Number: i, PatchSet: 1, Queue: rapid.SampledFrom([]string{"main", "main", "", "x"}).Draw(rt, "queue"), Ready: yes("ready"),
			Status: rapid.SampledFrom([]gate.Status{gate.Open, gate.Open, gate.Merged, gate.Abandoned, gate.Gone, "odd"}).Draw(rt, "status"),
			Topic:  rapid.SampledFrom([]string{"", "t"}).Draw(rt, "topic"), Restricted: yes("restricted"),
		}
		for range rapid.IntRange(0, 2).Draw(rt, "needs") {
			c.Needs = append(c.Needs, gate.Need{Kind: gate.Parent, ID: cid(small("need")), PatchSet: rapid.IntRange(0, 2).Draw(rt, "on")})
		}
		f.Changes[c.ID] = c
		if yes("surveyed") {
			f.Closures[c.ID] = gate.Closure{Provides: []string{fmt.Sprint(small("makes"))}, Needs: []string{fmt.Sprint(small("reads"))}}
		}
	}
	for i := range small("items") {
		it := &gate.Item{ID: gate.ItemID(i + 1), Verify: rapid.IntRange(0, 5).Draw(rt, "verify") == 5, FellOut: yes("fell"), Rebases: small("rebases")}
		if i < len(f.Changes) || yes("unknown") {
			it.Changes = []gate.Ref{{ID: cid(i), Number: i, PatchSet: 1}}
		}
		if yes("red") {
			it.Red = []string{fmt.Sprint(small("red"))}
		}
		if yes("buildset") {
			it.Buildset = &gate.Buildset{ID: gate.BuildsetID(i + 1), Overtaken: yes("overtaken"), Proving: yes("proving")}
			for j := range i {
				if yes("stands on") {
					it.Buildset.Stack = append(it.Buildset.Stack, gate.ItemID(j+1))
				}
			}
			if yes("batch asked") {
				it.Buildset.Batch = append(slices.Clone(it.Buildset.Stack), it.ID)
			}
			f.Buildsets[it.Buildset.ID] = results(rt)
			if it.Verify && yes("part") {
				it.Part = []gate.ItemID{it.ID}
				it.Before = []gate.Ref{{ID: cid(small("landed before"))}}
			}
		}
		if rapid.IntRange(0, 5).Draw(rt, "in flight") == 5 {
			it.Submit, it.Submits = &gate.Submit{Serial: 1}, 1
			f.Submits[it.ID] = gate.SubmitOutcome{
				Serial: rapid.IntRange(0, 2).Draw(rt, "serial"), TreeDiffers: yes("differs"),
				Result: rapid.SampledFrom([]gate.SubmitResult{gate.SubmitLanded, gate.SubmitMoved, gate.SubmitRefused, "odd"}).Draw(rt, "result"),
				Landed: []gate.ChangeID{cid(small("landed"))},
			}
		}
		s.Items = append(s.Items, it)
	}
	s.Done[cid(small("done"))] = gate.Done{PatchSet: 1, At: time.Unix(9, 0), Result: gate.ReportFailed}
	s.Held[cid(small("held"))] = gate.Note{PatchSet: 1}
	s.Forced[cid(small("forced"))] = gate.Note{}
	if yes("owed") {
		s.Owed = []gate.Owed{{Item: gate.ItemID(small("owes")), Buildset: gate.Buildset{ID: gate.BuildsetID(small("owed"))}, Items: []gate.ItemID{gate.ItemID(small("owes"))}, Before: []gate.Ref{{ID: cid(small("owed before"))}}}}
	}
	for i := range small("commands") {
		verb := rapid.SampledFrom([]string{"enqueue", "dequeue", "promote", "retry", "pause", "resume", ""}).Draw(rt, "verb")
		f.Commands = append(f.Commands, gate.Command{ID: int64(i), Verb: verb, Change: cid(small("commanded"))})
	}
	return s, f
}

func results(rt *rapid.T) gate.BuildsetFacts {
	b := gate.BuildsetFacts{Prepared: rapid.Bool().Draw(rt, "prepared"), Moved: rapid.Bool().Draw(rt, "moved"), Deferred: rapid.Bool().Draw(rt, "deferred")}
	for i := range rapid.IntRange(0, 3).Draw(rt, "jobs") {
		b.Jobs = append(b.Jobs, gate.Job{
			Name: fmt.Sprint(i), Voting: rapid.Bool().Draw(rt, "voting"), Early: rapid.IntRange(0, 5).Draw(rt, "early") == 5,
			Evidence: rapid.SampledFrom([]gate.Evidence{"", gate.EvidenceRunning, gate.EvidenceGood, gate.EvidenceRed, gate.EvidenceRed, gate.EvidenceAbsent, gate.EvidenceUnknown, "odd"}).Draw(rt, "evidence"),
			Lacks:    rapid.SampledFrom([]string{"", "", "what it needs"}).Draw(rt, "lacks"),
			State:    rapid.SampledFrom([]gate.JobState{gate.JobPassed, gate.JobPassed, gate.JobFailed, gate.JobRunning, gate.JobWaiting, gate.JobError, gate.JobCancelled, gate.JobNotApplicable, "odd"}).Draw(rt, "state"),
		})
	}
	if rapid.IntRange(0, 9).Draw(rt, "conflict") == 9 {
		b.Conflict = &gate.Conflict{}
	}
	return b
}
