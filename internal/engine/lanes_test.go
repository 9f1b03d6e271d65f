package engine

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
)

// known answers with what is known of closures and repositories.
type known struct {
	Store
	Solver
	rows         []record.Closure
	publication  int64
	asks         map[string][]string
	unpublished  []record.Buildset
	read, looked int
}

func (k *known) Unpublished(context.Context) ([]record.Buildset, error) { return k.unpublished, nil }

func (k *known) Repositories(context.Context) ([]record.Repository, error) {
	return []record.Repository{{Name: "juno/d/main", Target: "juno/d", Publication: &k.publication}}, nil
}

func (k *known) ClosureRevisions(_ context.Context, changes []string) (out []record.Closure, _ error) {
	wanted := map[string]bool{}
	for _, id := range changes {
		wanted[id] = true
	}
	for _, r := range k.rows {
		if wanted[string(r.Change)] {
			out = append(out, record.Closure{Change: r.Change, PatchSet: r.PatchSet, Revision: r.Revision})
		}
	}
	return out, nil
}

func (k *known) Closures(_ context.Context, revisions []int64) (out []record.Closure, _ error) {
	k.read += len(revisions)
	wanted := map[int64]bool{}
	for _, n := range revisions {
		wanted[n] = true
	}
	for _, r := range k.rows {
		if wanted[r.Revision] {
			out = append(out, r)
		}
	}
	return out, nil
}

func (k *known) Asks(context.Context, job.Repository, string) (map[string][]string, error) {
	k.looked++
	return k.asks, nil
}

func (k *known) engine() *Engine {
	return &Engine{Store: k, Solver: k, Site: &config.Site{
		Targets:  []config.Target{{Release: "juno", Dist: "d"}},
		Dists:    []config.Dist{{Name: "d", Format: job.DEB, Architectures: []config.Architecture{{Name: "amd64"}}}},
		Channels: []config.Channel{{Name: "main"}},
		Queues:   []config.Queue{{Name: "main", Lanes: true}},
	}}
}

func row(n int, made, needs string) record.Closure {
	return record.Closure{
		Change: gate.ChangeID(fmt.Sprint("g~", n)), PatchSet: 1, Revision: int64(n),
		Provides: []string{"juno/d " + made}, Needs: []string{"juno/d " + needs},
	}
}

func open(k *known) map[gate.ChangeID]gate.Change {
	changes := map[gate.ChangeID]gate.Change{}
	for _, r := range k.rows {
		changes[r.Change] = gate.Change{ID: r.Change, PatchSet: 1, Status: gate.Open, Queue: "main"}
	}
	return changes
}

// A closure goes through what is released, and what has landed and is not yet:
// it keeps what a change makes.
func TestClosures(t *testing.T) {
	k := &known{publication: 1, asks: map[string][]string{"libb": {"libc", "libc6"}, "libc": {"libd"}}, rows: []record.Closure{
		row(1, "app", "libb"), row(2, "libd", "libc6"), row(3, "plain", "libc6"), row(4, "fresh", "late"),
	}}
	e := k.engine()
	closures := func() map[gate.ChangeID]gate.Closure {
		out, err := e.closures(context.Background(), record.Queue{Name: "main", Kind: gate.Dependent}, gate.Policy{Lanes: true}, open(k))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	needs := func(n int, want ...string) {
		t.Helper()
		for i := range want {
			want[i] = "juno/d " + want[i]
		}
		if got := closures()[gate.ChangeID(fmt.Sprint("g~", n))].Needs; !slices.Equal(got, want) {
			t.Errorf("%d reads %q, want %q", n, got, want)
		}
	}
	needs(1, "libd")
	needs(3)
	needs(4)
	if k.read != 4 || k.looked != 1 {
		t.Errorf("%d rows were read and %d indices", k.read, k.looked)
	}

	k.rows = append(k.rows, row(5, "late", "libb")) // it has landed, and is not yet published
	k.unpublished = []record.Buildset{{ID: 9, Changes: []gate.Ref{{ID: "g~5", PatchSet: 1}}}}
	needs(4, "late", "libd")

	k.rows[2].Needs, k.rows[2].Revision = []string{"juno/d libd"}, 20 // widened
	needs(3, "libd")
	k.publication, k.asks = 2, map[string][]string{"libb": {"libc6"}}
	needs(1)
	k.rows = append(k.rows, row(6, "libb", "libc6"))
	needs(1, "libb")

	changes := open(k)
	c := changes["g~1"]
	c.PatchSet = 2
	changes["g~1"] = c
	out, err := e.closures(context.Background(), record.Queue{Name: "main", Kind: gate.Dependent}, gate.Policy{Lanes: true}, changes)
	if _, known := out["g~1"]; known || err != nil {
		t.Errorf("a patch set that nobody has looked at is known: %v", err)
	}
	if out, _ := e.closures(context.Background(), record.Queue{Name: "main", Kind: gate.Dependent}, gate.Policy{}, open(k)); out != nil {
		t.Errorf("without lanes: %v", out)
	}
}

func TestClosureNames(t *testing.T) {
	n := closureNames{}
	n.reads("both")
	n.makes("both")
	n.reads("both")
	n.readsOf("juno/d", []string{"a"})
	if !reflect.DeepEqual(n.provides(), []string{"both"}) || !reflect.DeepEqual(n.needs(), []string{"juno/d a"}) {
		t.Errorf("makes %q reads %q", n.provides(), n.needs())
	}
}

// BenchmarkClosures is what a decision on a queue of 5,000 changes pays for its
// lanes, each served 300 names, with 5,000 released packages.
func BenchmarkClosures(b *testing.B) {
	k := &known{publication: 1, asks: map[string][]string{}}
	for i := range 5000 {
		k.asks[fmt.Sprint("p", i)] = []string{fmt.Sprint("p", i/2), "libc6"}
		r := row(i, fmt.Sprint("p", i), "libc6")
		for n := range 300 {
			r.Needs = append(r.Needs, fmt.Sprint("juno/d base", n))
		}
		r.Needs = append(r.Needs, fmt.Sprint("juno/d p", i/3))
		k.rows = append(k.rows, r)
	}
	e, changes := k.engine(), open(k)
	for _, fresh := range []bool{true, false} {
		b.Run(fmt.Sprintf("published=%v", fresh), func(b *testing.B) {
			for b.Loop() {
				if fresh {
					k.publication++
				}
				if _, err := e.closures(context.Background(), record.Queue{Name: "main", Kind: gate.Dependent}, gate.Policy{Lanes: true}, changes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
