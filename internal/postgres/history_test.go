package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/internal/gate"
	"sluice/internal/postgres"
	"sluice/internal/record"
)

// A decision and its record are stored together, or neither is; and a history
// that is kept begins with a whole record.
func TestHistory(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	must(t, s.EnsureQueue(ctx, "main", gate.Dependent, "", 20))
	must(t, s.EnsureQueue(ctx, "idle", gate.Dependent, "", 20))
	now := time.Now()
	commit := func(queue string, age time.Duration, whole bool) error {
		q := get[record.Queue](t)(s.Queue(ctx, queue))
		return s.Commit(ctx, q, q.State, nil, record.Decided{Version: q.Version + 1, At: now.Add(-age), Whole: whole, Data: []byte("{}")})
	}
	day := 24 * time.Hour
	for i := range 10 { // whole: 1, 4, 7, 10; 1 to 5 are older than five days
		must(t, commit("main", time.Duration(10-i)*day-time.Hour, i%3 == 0))
	}
	must(t, commit("idle", 9*day, true))
	stale := get[record.Queue](t)(s.Queue(ctx, "main"))
	must(t, commit("main", 0, false))
	if err := s.Commit(ctx, stale, stale.State, nil, record.Decided{Version: 99, At: now, Data: []byte("{}")}); !errors.Is(err, record.ErrStale) {
		t.Errorf("a stale decision: %v", err)
	}
	versions := func(queue string, after int64) (out []int64) {
		for _, d := range get[[]record.Decided](t)(s.History(ctx, queue, after, 100)) {
			out = append(out, d.Version)
		}
		return out
	}
	if v := versions("main", 0); len(v) != 11 || v[0] != 1 || v[10] != 11 {
		t.Errorf("stored: %v", v)
	}
	for _, c := range []struct {
		age  time.Duration
		want int64
	}{{100 * day, 0}, {9 * day, 0}, {6 * day, 3}, {0, 9}} {
		if after := get[int64](t)(s.HistoryStart(ctx, "main", now.Add(-c.age))); after != c.want {
			t.Errorf("a replay of the last %s begins after %d; wanted %d", c.age, after, c.want)
		}
	}
	removed := get[map[string]int64](t)(s.Forget(ctx, postgres.Ages{History: 5 * day}))
	if v := versions("main", 0); len(v) != 8 || v[0] != 4 || removed["decisions"] != 4 {
		t.Errorf("kept: %v; removed %v", v, removed)
	}
	if v := versions("idle", 0); len(v) != 0 {
		t.Errorf("of the idle queue: %v", v)
	}
	if after := get[int64](t)(s.HistoryStart(ctx, "idle", now)); after != 0 {
		t.Errorf("without a history: %d", after)
	}
}
