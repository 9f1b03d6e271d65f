package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// Changes are ready in the order in which their approvals came, not in that in
// which they were read; and a change stays ready since when it first was.
func TestReadySinceItsApprovalCame(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	approval := func(n int, key string) {
		about := fmt.Sprintf("main~%d", n)
		get[bool](t)(s.SaveEvent(ctx, record.Event{Gerrit: "main", Key: key, Type: "comment-added", Change: &about, Raw: []byte(`{}`)}))
	}
	read := func(n int, serial int64, ready bool) time.Time {
		c := change(n, serial)
		c.Facts.Ready, c.Facts.ReadyAt = ready, time.Now()
		get[bool](t)(s.SaveChange(ctx, c))
		return get[record.Change](t)(s.Change(ctx, gate.ChangeID(fmt.Sprintf("main~%d", n)))).Facts.ReadyAt
	}
	read(1, 1, false)
	read(2, 2, false)
	approval(1, "first")
	approval(2, "second")
	second, first := read(2, 3, true), read(1, 4, true)
	if !first.Before(second) {
		t.Errorf("approved first, read last: ready at %v; the other at %v", first, second)
	}
	if again := read(1, 5, true); !again.Equal(first) {
		t.Errorf("read once more, it is ready since %v, was since %v", again, first)
	}
	read(1, 6, false)
	if again := read(1, 7, true); !again.After(second) {
		t.Errorf("ready again without news, it is so since %v, not since now", again)
	}
}
