package gate_test

import (
	"fmt"
	"testing"

	"sluice/internal/gate"
)

// BenchmarkDecideLanes5000 is one event against a queue of 5,000 items with lanes:
// 200 packages, 20 to a lane, each of which reads ten others of its lane.
func BenchmarkDecideLanes5000(b *testing.B) {
	s, f := standing(5000)
	f.Policy.Lanes = true
	f.Closures = map[gate.ChangeID]gate.Closure{}
	var known gate.Names
	for i := 1; i <= 5000; i++ {
		n := i % 200
		provides, needs := []string{fmt.Sprintf("t p%d", n), fmt.Sprintf("t p%d-dev", n)}, []string(nil)
		for k := 1; k <= 10 && n%20 > 0; k++ {
			needs = append(needs, fmt.Sprintf("t p%d", n-n%20+(n+k)%20))
		}
		f.Closures[cid(i)] = known.Closure(provides, needs)
	}
	s, _ = gate.Decide(s, f)
	b.ReportAllocs()
	began := cpu(b)
	for b.Loop() {
		gate.Decide(s, f)
	}
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/op")
}
