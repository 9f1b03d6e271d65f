package gate_test

import (
	"testing"

	"sluice/internal/gate"
)

// What is decided on does not grow with what was decided: the state after two
// hundred changes that landed, or failed and were given up, is that after ten.
func TestStateIsFlatInHistory(t *testing.T) {
	s := stage(t, 0)
	size := func(changes int) int {
		for len(s.truth) < changes {
			n := len(s.truth) + 1
			s.propose(n, "main")
			s.approved(n)
			s.fails[cid(n)] = n%3 == 0
			s.settle()
			if s.truth[cid(n)].Status == gate.Open {
				s.edit(n, func(c *gate.Change) { c.Status = gate.Abandoned })
			}
			s.read(cid(n))
			s.settle()
		}
		return len(encode(s.state))
	}
	small, large := size(10), size(200)
	t.Logf("%d bytes after 10 changes, %d after 200", small, large)
	if digits := 40; large > small+digits {
		t.Errorf("the state grows: %d bytes after 10 changes, %d after 200: %.600s", small, large, encode(s.state))
	}
}
