package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/record"
)

// putOff keeps the events that were put off, and what becomes of them.
type putOff struct {
	Store
	waits   []record.Event
	merged  record.Change
	tasks   []int64
	handled []int64
}

func (s *putOff) Echoes(_ context.Context, _ []string, _ time.Duration, but []int64, limit int) ([]record.Event, error) {
	wait := slices.DeleteFunc(slices.Clone(s.waits), func(e record.Event) bool { return slices.Contains(s.handled, e.ID) || slices.Contains(but, e.ID) })
	return wait[:min(len(wait), limit)], nil
}

func (s *putOff) Unhandled(_ context.Context, ids []int64) ([]int64, error) {
	return slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return slices.Contains(s.handled, id) }), nil
}

func (s *putOff) EventsHandled(_ context.Context, ids []int64) error {
	s.handled = append(s.handled, ids...)
	return nil
}

func (s *putOff) Enqueue(_ context.Context, t record.Task) error {
	s.tasks = append(s.tasks, t.ID)
	return nil
}

func (s *putOff) Change(_ context.Context, id gate.ChangeID) (record.Change, error) {
	if id == s.merged.ID {
		return s.merged, nil
	}
	return record.Change{}, record.ErrNotFound
}

// Of the events that were put off those that tell nothing new are put down
// together; each other one gets a task, once.
func TestEchoes(t *testing.T) {
	at := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	event := func(id int64, change int, raw string) record.Event {
		e := record.Event{ID: id, Gerrit: "main", Raw: []byte(raw), ReceivedAt: at, Type: gerrit.ParseEvent([]byte(raw)).Type}
		if change != 0 {
			about := fmt.Sprintf("main~%d", change)
			e.Change = &about
		}
		return e
	}
	meta := `{"type":"ref-updated","submitter":{"username":"%s"},"refUpdate":{"oldRev":"a","newRev":"b","refName":"refs/changes/0%d/%d/meta","project":"p"},"eventCreatedOn":1}`
	merge := `{"type":"change-merged","submitter":{"username":"%s"},"newRev":"b","patchSet":{"number":1,"revision":"%s"},"change":{"project":"p","branch":"main","number":%d},"project":"p","refName":"refs/heads/main","eventCreatedOn":1}`
	s := &putOff{
		merged: record.Change{ID: "main~3", Status: gate.Merged, Revision: "three"},
		waits: []record.Event{
			event(1, 1, fmt.Sprintf(meta, "reviewer", 1, 1)),      // was read since
			event(2, 2, fmt.Sprintf(meta, "reviewer", 2, 2)),      // was not
			event(3, 3, fmt.Sprintf(merge, "gate", "three", 3)),   // as known
			event(4, 3, fmt.Sprintf(merge, "gate", "another", 3)), // of another revision
			event(5, 5, fmt.Sprintf(merge, "somebody", "five", 5)),
			event(6, 0, `{"type":"ref-updated","submitter":{"username":"somebody"},"refUpdate":{"oldRev":"a","newRev":"b","refName":"refs/heads/main","project":"p"},"eventCreatedOn":1}`),
		},
	}
	e := &Engine{Store: s, Site: &config.Site{
		Gerrit: []config.Gerrit{{Name: "main", User: "gate"}}, Projects: []config.Project{{Project: "*", Branch: "*"}},
	}}
	e.reads.Store(gate.ChangeID("main~1"), at.Add(time.Second))
	e.reads.Store(gate.ChangeID("main~2"), at.Add(-time.Second))
	var asked []int64
	for range 2 {
		var err error
		if asked, err = e.echoes(t.Context(), asked); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(s.handled, []int64{1, 3}) {
		t.Errorf("handled are %v, want 1 and 3", s.handled)
	}
	if !slices.Equal(s.tasks, []int64{2, 4, 5, 6}) {
		t.Errorf("tasks are for %v, want 2, 4, 5 and 6", s.tasks)
	}
	// Those that cannot be handled hold up nobody, however many they are.
	for i := range int64(2 * echoesAtOnce) {
		s.waits = append(s.waits, event(100+i, 2, fmt.Sprintf(meta, "reviewer", 2, 2)))
	}
	s.waits = append(s.waits, event(9999, 1, fmt.Sprintf(meta, "reviewer", 1, 1)))
	if asked, err := e.echoes(t.Context(), asked); err != nil || len(asked) != 4+2*echoesAtOnce || !slices.Contains(s.handled, 9999) {
		t.Errorf("%d have a task, %v; handled are %v", len(asked), err, s.handled)
	}
}
