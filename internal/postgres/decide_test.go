package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// G21: whatever order reads are stored in, the newest one stands.
func TestAnOlderReadNeverOverwrites(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	var writers sync.WaitGroup
	for serial := int64(1); serial <= 30; serial++ {
		writers.Go(func() {
			c := change(7, serial)
			c.Subject = fmt.Sprint(serial)
			if _, err := s.SaveChange(ctx, c); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	c := get[record.Change](t)(s.Change(ctx, "main~7"))
	if c.ReadSerial != 30 || c.Subject != "30" || c.Facts.Read != 30 {
		t.Errorf("read %d, subject %s stands", c.ReadSerial, c.Subject)
	}
	stale := get[bool](t)(s.SaveChange(ctx, change(7, 12)))
	if !stale {
		t.Error("an older read was not stale")
	}
}

// An event is stored once, and acted on once.
func TestEventsAreStoredOnce(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	e := record.Event{Gerrit: "main", Key: "k1", Type: "comment-added", Raw: []byte(`{"type":"comment-added"}`)}
	if isNew := get[bool](t)(s.SaveEvent(ctx, e)); !isNew {
		t.Error("the first is not new")
	}
	if isNew := get[bool](t)(s.SaveEvent(ctx, e)); isNew {
		t.Error("the second is new")
	}
	if isNew := get[bool](t)(s.SaveHandled(ctx, e)); isNew {
		t.Error("the third is new")
	}
	e.Key = "k2"
	if isNew := get[bool](t)(s.SaveHandled(ctx, e)); !isNew {
		t.Error("another one is not new")
	}
	if n := count(t, dsn, `SELECT count(*) FROM river_job`); n != 1 {
		t.Errorf("%d tasks of two events, one of which asks for nothing", n)
	}
	if n := count(t, dsn, `SELECT count(*) FROM gerrit_events WHERE handled_at IS NOT NULL`); n != 1 {
		t.Errorf("%d are handled", n)
	}
}

// What was put off has no task; it is found until it is put down as handled, by
// whoever looks.
func TestEchoesWaitToBeFound(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	types := []string{"ref-updated", "change-merged"}
	for key, typ := range map[string]string{"a": "ref-updated", "b": "change-merged", "c": "comment-added"} {
		e := record.Event{Gerrit: "main", Key: key, Type: typ, Raw: []byte(`{}`)}
		if isNew := get[bool](t)(s.SaveEcho(ctx, e)); !isNew {
			t.Errorf("%s is not new", key)
		}
		if isNew := get[bool](t)(s.SaveEcho(ctx, e)); isNew {
			t.Errorf("%s is new twice", key)
		}
	}
	if n := count(t, dsn, `SELECT count(*) FROM river_job`); n != 0 {
		t.Errorf("%d tasks", n)
	}
	if found := get[[]record.Event](t)(s.Echoes(ctx, types, time.Hour, nil, 10)); len(found) > 0 {
		t.Errorf("%d have waited for an hour", len(found))
	}
	found := get[[]record.Event](t)(s.Echoes(ctx, types, 0, nil, 10))
	if len(found) != 2 {
		t.Fatalf("%d of two types are found, want 2", len(found))
	}
	must(t, s.EventsHandled(ctx, []int64{found[0].ID}))
	if but := get[[]record.Event](t)(s.Echoes(ctx, types, 0, []int64{found[1].ID}, 10)); len(but) > 0 {
		t.Errorf("%d but for those named", len(but))
	}
	if wait := get[[]int64](t)(s.Unhandled(ctx, []int64{found[0].ID, found[1].ID})); !slices.Equal(wait, []int64{found[1].ID}) {
		t.Errorf("%v wait", wait)
	}
	left := get[[]record.Event](t)(s.Echoes(ctx, types, 0, nil, 10))
	if len(left) != 1 || left[0].ID != found[1].ID {
		t.Errorf("left are %v, want %d", left, found[1].ID)
	}
}

// A check that needs a change by way of another decides again when that is read:
// it looks at all that it stands on.
func TestWhoNeedsItIndirectlyDecides(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	save := func(n int, serial int64) {
		c := change(n, serial)
		if n > 1 {
			c.Facts.Needs = []gate.Need{{Kind: gate.DependsOn, ID: gate.ChangeID(fmt.Sprintf("main~%d", n-1))}}
		}
		get[bool](t)(s.SaveChange(ctx, c))
		must(t, s.EnsureQueue(ctx, fmt.Sprintf("check/main~%d", n), gate.Independent, c.ID, 1))
	}
	for n := 1; n <= 4; n++ {
		save(n, int64(n))
	}
	conn := get[*pgx.Conn](t)(pgx.Connect(ctx, dsn))
	defer conn.Close(ctx)
	get[pgconn.CommandTag](t)(conn.Exec(ctx, "LISTEN sluice_decide"))
	save(2, 9)
	var told []string
	for range 3 {
		told = append(told, get[*pgconn.Notification](t)(conn.WaitForNotification(ctx)).Payload)
	}
	if slices.Sort(told); !slices.Equal(told, []string{"check/main~2", "check/main~3", "check/main~4"}) {
		t.Errorf("told are %v", told)
	}
}

// A task that waits already is not enqueued once more.
func TestATaskIsEnqueuedOnce(t *testing.T) {
	s, dsn := open(t)
	for range 2 {
		must(t, s.Enqueue(context.Background(), record.Task{Kind: record.TaskEvent, ID: 7, Once: true}))
	}
	if n := count(t, dsn, `SELECT count(*) FROM river_job`); n != 1 {
		t.Errorf("%d tasks, want one", n)
	}
}

// G23: two replicas decide on the same queue; one wins, and nothing of the other
// one's decision is stored.
func TestOneDecisionWins(t *testing.T) {
	s, dsn := open(t)
	ctx := context.Background()
	must(t, s.EnsureQueue(ctx, "main", gate.Dependent, "", 20))
	replicas := []interface {
		Queue(context.Context, string) (record.Queue, error)
		Commit(context.Context, record.Queue, gate.State, []gate.Effect, record.Decided) error
	}{s, reopen(t, dsn)}
	var won atomic.Int64
	var deciders sync.WaitGroup
	for i := range 20 {
		deciders.Go(func() {
			r := replicas[i%2]
			for {
				q, err := r.Queue(ctx, "main")
				if err != nil {
					t.Error(err)
					return
				}
				st := q.State
				item := st.NextItem
				st.NextItem++
				err = r.Commit(ctx, q, st, []gate.Effect{{Kind: gate.Enter, Item: item, Changes: []gate.Ref{ref(int(item))}}}, record.Decided{})
				if errors.Is(err, record.ErrStale) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				won.Add(1)
				return
			}
		})
	}
	deciders.Wait()
	q := get[record.Queue](t)(s.Queue(ctx, "main"))
	if won.Load() != 20 || q.Version != 20 || q.State.NextItem != 21 {
		t.Errorf("%d decisions, version %d, next item %d", won.Load(), q.Version, q.State.NextItem)
	}
}

// A command is open until it is answered; a submit's outcome is recorded once.
func TestCommandsAndSubmissions(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	b := planned(t, s)
	id := get[int64](t)(s.Command(ctx, "main", "pause", "", "ada", "lunch"))
	q := get[record.Queue](t)(s.Queue(ctx, "main"))
	facts := get[gate.Facts](t)(s.Facts(ctx, q))
	if len(facts.Commands) != 1 || facts.Commands[0].Note.Why != "lunch" {
		t.Fatalf("commands: %+v", facts.Commands)
	}
	must(t, s.Commit(ctx, q, q.State, []gate.Effect{
		{Kind: gate.Answer, Command: id, Text: "paused"},
		{Kind: gate.SubmitChanges, Item: 1, Buildset: b.Serial, Serial: 1, Changes: b.Changes},
	}, record.Decided{}))
	answer, done, err := s.Answer(ctx, id)
	if err != nil || !done || answer != "paused" {
		t.Errorf("answer %q %v %v", answer, done, err)
	}
	sub := get[record.Submission](t)(s.Submission(ctx, "main", 1, 1))
	must(t, s.Submitted(ctx, sub, gate.SubmitOutcome{Serial: 1, Result: gate.SubmitLanded}))
	if err := s.Submitted(ctx, sub, gate.SubmitOutcome{Serial: 1, Result: gate.SubmitMoved}); !errors.Is(err, record.ErrStale) {
		t.Errorf("a second outcome: %v", err)
	}
}

// The first decision of a new check knows its change and what that needs,
// directly or not.
func TestFactsHoldAllNeeds(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	for n := 1; n <= 4; n++ {
		c := change(n, int64(n))
		if n < 4 {
			c.Facts.Needs = []gate.Need{{Kind: gate.DependsOn, ID: gate.ChangeID(fmt.Sprintf("main~%d", n+1))}}
		}
		get[bool](t)(s.SaveChange(ctx, c))
	}
	must(t, s.EnsureQueue(ctx, "check/main~1", gate.Independent, "main~1", 1))
	facts := get[gate.Facts](t)(s.Facts(ctx, get[record.Queue](t)(s.Queue(ctx, "check/main~1"))))
	if len(facts.Changes) != 4 {
		t.Errorf("%d changes", len(facts.Changes))
	}
}

// A decision knows the open changes of a topic that is submitted whole, of any
// queue, and what those need; their queues decide again when one joins.
func TestFactsHoldTheWholeTopic(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	for n := 1; n <= 4; n++ {
		c := change(n, int64(n))
		if n <= 3 {
			c.Facts.Topic = "main:together"
		}
		switch n {
		case 2:
			c.Queue, c.Facts.Queue = "other", "other"
			c.Facts.Needs = []gate.Need{{Kind: gate.DependsOn, ID: "main~4"}}
		case 3:
			c.Status, c.Facts.Status = gate.Abandoned, gate.Abandoned
		case 4:
			c.Queue, c.Facts.Queue = "", ""
		}
		get[bool](t)(s.SaveChange(ctx, c))
	}
	must(t, s.EnsureQueue(ctx, "main", gate.Dependent, "", 20))
	facts := get[gate.Facts](t)(s.Facts(ctx, get[record.Queue](t)(s.Queue(ctx, "main"))))
	_, mate := facts.Changes["main~2"]
	_, need := facts.Changes["main~4"]
	if !mate || !need || facts.Changes["main~3"].Status == gate.Open {
		t.Errorf("the facts hold %v", facts.Changes)
	}
}

// Who may have meant a change in a footer, by its Change-Id or number, is found.
func TestDependants(t *testing.T) {
	s, _ := open(t)
	ctx := context.Background()
	for n, text := range map[int]string{1: "I0123", 2: "https://review/c/p/+/77", 3: "177", 4: "77", 5: "x~main~i0123"} {
		c := change(n, int64(n))
		c.Facts.Needs = []gate.Need{{Kind: gate.DependsOn, Text: text}}
		get[bool](t)(s.SaveChange(ctx, c))
	}
	got := fmt.Sprint(get[[]gate.ChangeID](t)(s.Dependants(ctx, "I0123", 77)))
	if want := "[main~1 main~2 main~4 main~5]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
