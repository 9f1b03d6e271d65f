package gate_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/gate"
)

func restricted(c *gate.Change) bool { return c.Restricted }

// TestG25RedactHides: whatever history a queue has had, nothing of a restricted
// change is in what is shown of it to one who may not read that.
func TestG25RedactHides(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := player{world: newWorld(rt), rt: rt}
		p.setUp(rapid.IntRange(1, 8).Draw(rt, "changes"))
		for _, id := range slices.Sorted(maps.Keys(p.truth)) {
			c := p.truth[id]
			c.Subject = fmt.Sprintf("subject-%d.", c.Number)
			c.Topic = strings.Replace(c.Topic, "t", fmt.Sprintf("topic-%d.", c.Number), 1)
			c.Restricted = c.Restricted || rapid.IntRange(0, 3).Draw(rt, "restricted") == 0
			p.read(c.ID)
			if seen, known := p.seen[c.ID]; known {
				seen.Provides = append(slices.Clone(seen.Provides), fmt.Sprintf("package-%d.", c.Number))
				p.closures[c.ID], p.seen[c.ID] = seen, seen
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"trouble": func(*rapid.T) { p.trouble() },
			"read":    func(*rapid.T) { p.readOne() },
			"decide":  func(*rapid.T) { p.decide() },
			"perform": func(*rapid.T) { p.performOne() },
			"finish":  func(*rapid.T) { p.finishOne() },
			"command": func(*rapid.T) { p.commandOne() },
			"":        func(*rapid.T) { hidesAll(p) },
		})
	})
}

func hidesAll(p player) {
	facts := p.facts()
	s, f := gate.Redact(p.state, facts, restricted)
	text := encode(s) + encode(f) + fmt.Sprintf("%+v", gate.Order(s, f))
	for id, c := range facts.Changes {
		if r := gate.Explain(s, f, id); !c.Restricted {
			text += fmt.Sprintf("%+v", r)
		} else if !strings.HasPrefix(r.Text, "nothing is known of") {
			p.fail("why of a restricted change: %+v", r)
		}
	}
	for id, c := range facts.Changes {
		if !c.Restricted {
			continue
		}
		marks := fmt.Sprintf(`%s\b|#%d\b|subject-%[2]d\.|topic-%[2]d\.|package-%[2]d\.|%s`, regexp.QuoteMeta(string(id)), c.Number, regexp.QuoteMeta(c.Revision))
		if found := regexp.MustCompile(marks).FindString(text); found != "" {
			p.fail("%q of a restricted change is shown:\n%s", found, text)
		}
	}
}

// TestRedactIsTotal: of any state and facts there is something to show, and what
// nobody is kept from is not touched.
func TestRedactIsTotal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, f := nonsense(rt)
		before := encode(s) + encode(f)
		rs, rf := gate.Redact(s, f, restricted)
		gate.Order(rs, rf)
		for id := range rf.Changes {
			if r := gate.Explain(rs, rf, id); r.Text == "" {
				rt.Fatalf("no reason for %s", id)
			}
		}
		if after := encode(s) + encode(f); after != before {
			rt.Fatalf("it changed what it was given:\n%s\n%s", before, after)
		}
		same, _ := gate.Redact(s, f, func(*gate.Change) bool { return false })
		if encode(same) != encode(s) {
			rt.Fatalf("it hides what nobody is kept from")
		}
	})
}
