package gate_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/gate"
)

// TestHistoriesOfBatches plays histories in which little but the batches is in the
// way: long runs of items that are built, culprits, and what people do meanwhile.
func TestHistoriesOfBatches(t *testing.T) {
	for name, lanes := range map[string]bool{"one lane": false, "lanes": true} {
		t.Run(name, func(t *testing.T) { historiesOfBatches(t, lanes) })
	}
}

func historiesOfBatches(t *testing.T, lanes bool) {
	rapid.Check(t, func(rt *rapid.T) {
		p := player{world: newWorld(rt), rt: rt, oneLane: true}
		if p.policy.Lanes = lanes; lanes {
			p.projects = 6
		}
		p.setUp(rapid.IntRange(4, 10).Draw(rt, "changes"))
		p.policy.Batch, p.policy.Start, p.policy.Floor, p.policy.Ceiling = rapid.IntRange(2, 8).Draw(rt, "size"), 8, 4, 12
		p.policy.Observe, p.policy.WholeTopics = false, false
		apart := rapid.IntRange(2, 3).Draw(rt, "apart")
		clear(p.clash)
		clear(p.spoil)
		clear(p.broken)
		for i := 1; i <= len(p.truth); i++ {
			id, c := cid(i), p.truth[cid(i)]
			c.Queue, c.Restricted = "main", c.Restricted && c.Number == 3
			p.fails[id] = p.fails[id] && c.Number%4 == 0
			p.dear[id] = p.dear[id] || c.Number%3 > 0
			p.approve(id)
			if lanes && rapid.IntRange(1, 4).Draw(rt, "joins") > 1 { // in two lanes, or three, until something joins them
				c := gate.Closure{Provides: []string{fmt.Sprint("lane ", c.Number%apart)}}
				p.closures[id], p.declared[id], p.seen[id] = c, c, c
			}
		}
		p.readAll()
		p.decide()
		p.flush()
		p.finishAll()
		p.decide()
		p.flush()
		p.play()
		p.calm()
	})
}

// setUpBatches gives some changes system tests, and makes some fail them.
func (p *player) setUpBatches(n int) {
	flag := func(label string, oneIn int) bool { return rapid.IntRange(1, oneIn).Draw(p.rt, label) == oneIn }
	if p.policy.Batch = rapid.SampledFrom([]int{0, 0, 2, 3, 4, 8}).Draw(p.rt, "batch"); p.policy.Batch > 0 {
		p.policy.Ceiling = 12
		p.policy.Start = 8
	}
	for i := 1; i <= n; i++ {
		p.dear[cid(i)] = !flag("cheap", 4)
		p.culprit[cid(i)] = flag("culprit", 7)
		for j := 1; j < i; j++ {
			p.sour[pair{cid(i), cid(j)}] = flag("sour", 25)
		}
	}
	p.tell("batches of %d, system tests %v, culprits %v, sour %v", p.policy.Batch, set(p.dear), set(p.culprit), set(p.sour))
}

// setBatch is a new site file.
func (p *player) setBatch() {
	p.policy.Batch = rapid.SampledFrom([]int{0, 2, 3, 4}).Draw(p.rt, "batch")
	p.tell("batches of %d", p.policy.Batch)
}

// isSick says that the system tests of a batch fail: those of a member, with what
// is before it.
func (w *world) isSick(b *build) bool {
	content := b.content()
	for _, id := range slices.Backward(b.members) {
		own := w.items[id].changes
		if w.sickFor(own, content) {
			return true
		}
		content = slices.DeleteFunc(content, func(c gate.ChangeID) bool {
			return slices.ContainsFunc(own, func(r gate.Ref) bool { return r.ID == c })
		})
	}
	return false
}

// sickFor: a culprit makes each system test fail of what it touches.
func (w *world) sickFor(own []gate.Ref, content []gate.ChangeID) bool {
	near := slices.DeleteFunc(slices.Clone(content), func(id gate.ChangeID) bool {
		return w.policy.Lanes && !slices.ContainsFunc(own, func(r gate.Ref) bool {
			return touch(w.closures, r, gate.Ref{ID: id, Branch: w.truth[id].Branch}) || w.needsOther(r, gate.Ref{ID: id}) || w.needsOther(gate.Ref{ID: id}, r)
		})
	})
	for _, id := range near {
		for _, other := range near {
			if w.culprit[id] || w.sour[pair{id, other}] {
				return true
			}
		}
	}
	return false
}
