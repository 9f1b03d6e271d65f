package report

import (
	"fmt"
	"strings"

	"sluice/internal/gate"
)

// Explanation is where a change is in one pipeline.
type Explanation struct {
	Pipeline string // "Gate", "Check"
	Reason   gate.Reason
}

// Why words explanations for a review comment: a list of reasons for each
// pipeline, with who can do something about them and what happens next.
func Why(all []Explanation, url string) string {
	var b strings.Builder
	for _, x := range all {
		fmt.Fprintf(&b, "%s:\n", x.Pipeline)
		reason(&b, x.Reason, "")
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "As it is now: %s\n", url)
	return b.String()
}

func reason(b *strings.Builder, r gate.Reason, indent string) {
	fmt.Fprintf(b, "%s- %s", indent, r.Text)
	if r.Who != "" {
		fmt.Fprintf(b, " [%s]", r.Who)
	}
	if r.Next != "" {
		fmt.Fprintf(b, " → %s", r.Next)
	}
	b.WriteString("\n")
	for _, child := range r.Children {
		reason(b, child, indent+"  ")
	}
}
