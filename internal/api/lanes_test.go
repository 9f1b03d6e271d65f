package api_test

import (
	"context"
	"strings"
	"testing"

	contract "sluice/api"
	"sluice/internal/api/apitest"
	"sluice/internal/gate"
)

// TestLanes: the lanes of a queue are told by the projects in them, and nothing of
// a restricted change is.
func TestLanes(t *testing.T) {
	w := apitest.New(t, nil)
	s := w.Seed()
	a := newAsker(t, w)
	if q := get[contract.Queue](a, "/api/v1/queues/main"); q.Lanes != nil || q.Items[0].Lane != nil {
		t.Errorf("a queue without lanes: %+v", q.Lanes)
	}
	w.Site.Queues[0].Lanes = true
	for id, name := range map[gate.ChangeID]string{s.Good.ID: "hello", s.Behind.ID: "hello", s.Hidden.ID: "secret"} {
		if err := w.Store.Widen(context.Background(), id, 1, []string{apitest.Deb + " " + name}, nil); err != nil {
			t.Fatal(err)
		}
	}
	q := get[contract.Queue](a, "/api/v1/queues/main")
	if q.Lanes == nil || len(*q.Lanes) != 1 {
		t.Fatalf("lanes: %+v", q.Lanes)
	}
	want := contract.Lane{ID: q.Items[0].ID, Name: "hello", Items: 2, Active: 2, Window: q.Window}
	if got := (*q.Lanes)[0]; got != want {
		t.Errorf("the lane is %+v, want %+v", got, want)
	}
	if q.Items[1].Lane == nil || *q.Items[1].Lane != want.ID || q.Items[2].Lane != nil {
		t.Errorf("the items' lanes: %v %v", q.Items[1].Lane, q.Items[2].Lane)
	}
	status := get[contract.Status](a, "/api/v1/status").Queues[0]
	if status.Lanes == nil || len(*status.Lanes) != 1 || (*status.Lanes)[0] != want || status.Active != 3 {
		t.Errorf("status: %+v", status)
	}
	_, text := fetch(t, w, "GET", "/metrics", "prometheus")
	for _, line := range []string{`sluice_queue_lanes{queue="main"} 2`, `sluice_queue_longest_lane_items{queue="main"} 2`, `sluice_queue_active_items{queue="main"} 3`} {
		if !strings.Contains(string(text), line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}
}
