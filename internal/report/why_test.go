package report_test

import (
	"testing"

	"sluice/internal/gate"
	"sluice/internal/report"
)

func TestWhy(t *testing.T) {
	got := report.Why([]report.Explanation{{Pipeline: "Gate", Reason: gate.Reason{
		Text: "#2 waits outside the queue main", Who: "a reviewer", Next: "it enters by itself once that is so",
		Children: []gate.Reason{{Text: "#2 needs Code-Review+2", Who: "a reviewer"}},
	}}}, "https://sluice/change/main/2")
	want := `Gate:
- #2 waits outside the queue main [a reviewer] → it enters by itself once that is so
  - #2 needs Code-Review+2 [a reviewer]

As it is now: https://sluice/change/main/2
`
	if got != want {
		t.Errorf("%s", got)
	}
}
