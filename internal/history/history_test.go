package history_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/gate"
	"sluice/internal/history"
	"sluice/internal/record"
)

func cid(n int) gate.ChangeID { return gate.ChangeID(fmt.Sprintf("main~%d", n)) }

// queue is one that decides, with a world that does this and that to it.
type queue struct {
	t *testing.T
	*rand.Rand
	now       time.Time
	version   int64
	state     gate.State
	facts     gate.Facts
	recorders []*history.Recorder
	rows      []record.Decided
	last      gate.Facts // of the last decision
}

func newQueue(t *testing.T, seed uint64, changes, replicas int) *queue {
	q := &queue{
		t: t, Rand: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1_000_000, 123456789).UTC(),
		state: gate.State{Queue: "main", Kind: gate.Dependent},
		facts: gate.Facts{
			Policy: gate.Policy{Start: 4, Floor: 2, Ceiling: 8}, Changes: map[gate.ChangeID]gate.Change{},
			Buildsets: map[gate.BuildsetID]gate.BuildsetFacts{}, Submits: map[gate.ItemID]gate.SubmitOutcome{},
		},
	}
	for i := 1; i <= changes; i++ {
		c := gate.Change{ID: cid(i), Number: i, PatchSet: 1, Status: gate.Open, Subject: fmt.Sprintf("Change %d", i), Queue: "main", Revision: "r1"}
		if i%4 == 0 {
			c.Needs = []gate.Need{{Kind: gate.Parent, ID: cid(i - 1), PatchSet: 1}}
		}
		q.facts.Changes[c.ID] = c
	}
	for range replicas {
		q.recorders = append(q.recorders, &history.Recorder{})
	}
	return q
}

// happen lets something happen.
func (q *queue) happen() {
	id := cid(1 + q.IntN(len(q.facts.Changes)))
	c := q.facts.Changes[id]
	switch q.IntN(8) {
	case 0:
		c.PatchSet++
		c.Ready = false
	case 1, 2:
		if c.Status == gate.Open {
			c.Ready, c.ReadyAt = true, q.now
		}
	case 3:
		q.facts.Policy.FailFast = !q.facts.Policy.FailFast
	case 4:
		q.facts.Commands = []gate.Command{{ID: q.version, Verb: []string{"pause", "resume", "resume", "promote", "enqueue", "enqueue", "dequeue"}[q.IntN(7)], Change: id, Note: gate.Note{Who: "olga", At: q.now}}}
	}
	q.facts.Changes[id] = c
	for _, it := range q.state.Items {
		if it.Submit != nil {
			q.facts.Submits[it.ID] = gate.SubmitOutcome{Serial: it.Submit.Serial, Result: []gate.SubmitResult{gate.SubmitLanded, gate.SubmitLanded, gate.SubmitMoved}[q.IntN(3)]}
		}
		if it.Buildset == nil || q.IntN(3) > 0 {
			continue
		}
		b := gate.BuildsetFacts{Prepared: true, Jobs: []gate.Job{{Name: "build", Voting: true, State: []gate.JobState{gate.JobPassed, gate.JobPassed, gate.JobRunning, gate.JobFailed}[q.IntN(4)]}}}
		if q.IntN(20) == 0 {
			b = gate.BuildsetFacts{Prepared: true, Conflict: &gate.Conflict{Files: []string{"f"}}}
		}
		q.facts.Buildsets[it.Buildset.ID] = b
	}
}

// given are the facts as a replica would read them: each time anew.
func (q *queue) given() gate.Facts {
	f := q.facts
	f.Now = q.now
	f.Changes, f.Submits, f.Buildsets = maps.Clone(f.Changes), maps.Clone(f.Submits), map[gate.BuildsetID]gate.BuildsetFacts{}
	for _, it := range q.state.Items {
		if it.Buildset != nil {
			if b, ok := q.facts.Buildsets[it.Buildset.ID]; ok {
				f.Buildsets[it.Buildset.ID] = b
			}
		}
	}
	return f
}

// decide makes a decision by one of the replicas, and keeps its record.
func (q *queue) decide() {
	q.now = q.now.Add(time.Duration(1+q.IntN(100)) * time.Second)
	f := q.given()
	q.facts.Commands = nil
	state, effects := gate.Decide(q.state, f)
	if len(effects) == 0 && reflect.DeepEqual(state, q.state) {
		return
	}
	r := q.recorders[q.IntN(len(q.recorders))]
	for _, row := range q.rows {
		if r.Version() > 0 && row.Version > r.Version() {
			if err := r.Follow(row); err != nil {
				q.t.Fatal(err)
			}
		}
	}
	d, err := r.Record(q.version, q.state, f, state, effects)
	if err != nil {
		q.t.Fatal(err)
	}
	r.Committed(d, f)
	q.last = f
	q.version++
	q.rows = append(q.rows, d)
	q.state = gate.State{}
	text, _ := json.Marshal(state)
	if err := json.Unmarshal(text, &q.state); err != nil {
		q.t.Fatal(err)
	}
}

func replay(t *testing.T, rows []record.Decided) (*history.Difference, *history.Replayer) {
	t.Helper()
	r := &history.Replayer{}
	for _, row := range rows {
		d, err := history.Unpack(row)
		if err != nil {
			t.Fatal(err)
		}
		diff, err := r.Next(d)
		if err != nil {
			t.Fatal(err)
		}
		if diff != nil {
			return diff, r
		}
	}
	return nil, r
}

// What was recorded comes out again: by one replica or several, from the start
// or from any decision on.
func TestReplay(t *testing.T) {
	for replicas := 1; replicas <= 3; replicas++ {
		q := newQueue(t, uint64(replicas), 40, replicas)
		for range 400 {
			q.happen()
			q.decide()
		}
		whole, bytes := 0, map[bool]int{}
		for _, row := range q.rows {
			if row.Whole {
				whole++
			}
			bytes[row.Whole] += len(row.Data)
		}
		t.Logf("%d replicas: %d decisions, %d whole; %d bytes, %d of the whole ones", replicas, len(q.rows), whole, bytes[true]+bytes[false], bytes[true])
		if len(q.rows) < 150 || whole < 3 || whole > len(q.rows)/5 {
			t.Errorf("%d decisions, %d whole", len(q.rows), whole)
		}
		for _, from := range []int{0, 1, len(q.rows) / 2} {
			diff, r := replay(t, q.rows[from:])
			if diff != nil {
				t.Fatalf("from %d: decision %d differs in its %s:\nwas %s\nnow %s", from, diff.Decision.Version, diff.What, diff.Was, diff.Now)
			}
			if state, facts := r.Now(); encode(state) != encode(q.state) || encode(facts) != encode(q.last) {
				t.Errorf("from %d: the end is another:\n%s\n%s\n%s\n%s", from, encode(state), encode(q.state), encode(facts), encode(q.last))
			}
			if r.Decided < (len(q.rows)-from)/3 {
				t.Errorf("from %d: only %d decisions were compared", from, r.Decided)
			}
		}
	}
}

// encode writes a value; an empty list or map is none.
func encode(v any) string {
	text, _ := json.Marshal(v)
	return strings.NewReplacer("[]", "null", "{}", "null").Replace(string(text))
}

// A decision that was another is found, and told with what differs.
func TestDifference(t *testing.T) {
	q := newQueue(t, 9, 20, 1)
	for range 100 {
		q.happen()
		q.decide()
	}
	tamper := func(n int, change func(d *history.Decision)) *history.Difference {
		var all []history.Decision
		for _, row := range q.rows {
			d, err := history.Unpack(row)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		change(&all[n])
		r := &history.Replayer{}
		for _, d := range all {
			if diff, err := r.Next(d); err != nil || diff != nil {
				return diff
			}
		}
		return nil
	}
	if diff := tamper(30, func(*history.Decision) {}); diff != nil {
		t.Errorf("nothing was changed: %+v", diff)
	}
	diff := tamper(30, func(d *history.Decision) {
		d.Effects = append(d.Effects, json.RawMessage(`{"kind":"publish","item":7}`))
	})
	if diff == nil || diff.What != "effects" || diff.Decision.Version != 31 || len(diff.Was) != 1 || len(diff.Now) != 0 || !strings.Contains(string(diff.Was[0]), "publish") {
		t.Errorf("an effect more: %+v", diff)
	}
	diff = tamper(30, func(d *history.Decision) { d.State["Window"] = history.Field{Is: json.RawMessage("77")} })
	if diff == nil || diff.What != "state" || !strings.Contains(string(diff.Was[0]), "77") {
		t.Errorf("another window: %+v", diff)
	}
	// A field that the program does not know any more, or did not know yet, and that is zero, is no difference.
	if diff := tamper(30, func(d *history.Decision) {
		d.Facts["Tides"] = history.Field{Is: json.RawMessage(`{"high":true}`)}
		var e map[string]any
		_ = json.Unmarshal(d.Effects[0], &e)
		e["lane"], e["members"] = "", []any{}
		d.Effects[0], _ = json.Marshal(e)
	}); diff != nil {
		t.Errorf("an empty field more: %+v", diff)
	}
}

// A gap is told, not passed over.
func TestGap(t *testing.T) {
	q := newQueue(t, 3, 20, 1)
	for range 30 {
		q.happen()
		q.decide()
	}
	r := &history.Replayer{}
	for i, row := range q.rows {
		if i == 5 {
			continue
		}
		d, _ := history.Unpack(row)
		if _, err := r.Next(d); err != nil {
			if i != 6 || !strings.Contains(err.Error(), "gap") {
				t.Errorf("decision %d: %v", i, err)
			}
			return
		}
		if d.Before != nil && i > 5 {
			return
		}
	}
	t.Error("the gap was not noticed")
}

// Every field of the facts comes through, also one that is added later: each is
// filled, recorded against nothing and against something else, and read back.
func TestEveryFactIsRecorded(t *testing.T) {
	var f gate.Facts
	fill(reflect.ValueOf(&f).Elem(), 1)
	state := gate.State{Queue: "main"}
	r := &history.Recorder{}
	first, err := r.Record(1, state, f, state, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Committed(first, f)
	var other gate.Facts
	fill(reflect.ValueOf(&other).Elem(), 2)
	second, err := r.Record(2, state, other, state, nil)
	if err != nil {
		t.Fatal(err)
	}
	replayer := &history.Replayer{}
	for i, want := range []gate.Facts{f, other} {
		d, err := history.Unpack([]record.Decided{first, second}[i])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = replayer.Next(d) // what it decides is nonsense
		if fields := reflect.TypeFor[gate.Facts]().NumField(); len(d.Facts) != fields {
			t.Errorf("%d of %d fields are told: %v", len(d.Facts), fields, slices.Sorted(maps.Keys(d.Facts)))
		}
		if _, got := replayer.Now(); encode(got) != encode(want) {
			t.Errorf("facts %d:\n%s\nwanted\n%s", i, encode(got), encode(want))
		}
	}
}

// What the names of closures are called is not recorded, and not missed: another
// replica calls them otherwise.
func TestNumbersAreNotRecorded(t *testing.T) {
	state := gate.State{Queue: "main"}
	r := &history.Recorder{}
	record := func(version int64, c gate.Closure) history.Decision {
		f := gate.Facts{Closures: map[gate.ChangeID]gate.Closure{cid(1): c}}
		row, err := r.Record(version, state, f, state, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Committed(row, f)
		d, err := history.Unpack(row)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	var one, other gate.Names
	other.Closure([]string{"b"}, nil)
	record(1, gate.Closure{Provides: []string{"a"}, Needs: []string{"b"}})
	for i, names := range []*gate.Names{&one, &other} {
		if d := record(int64(2+i), names.Closure([]string{"a"}, []string{"b"})); len(d.Facts) != 0 {
			t.Errorf("the same names are told again: %v", d.Facts)
		}
	}
	if d := record(4, one.Closure([]string{"a"}, []string{"b", "c"})); len(d.Facts["Closures"].Set) != 1 {
		t.Errorf("another name is not told: %v", d.Facts)
	}
}

// fill sets every field to something that is not zero and differs by n.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(int64(n), 0).UTC()))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), n)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(v.Index(i), n)
		}
	case reflect.String:
		v.SetString(fmt.Sprint("text ", n))
	case reflect.Bool:
		v.SetBool(n == 1)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Float64:
		v.SetFloat(float64(n))
	}
}
