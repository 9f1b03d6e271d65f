package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"sluice/internal/gate"
)

// ErrGap is a history that lacks decisions before one.
var ErrGap = errors.New("the history has a gap")

// Replayer decides a history again, one decision after the other. The zero value
// waits for a whole one.
type Replayer struct {
	state   gate.State
	facts   gate.Facts
	version int64
	// Decided counts the decisions that were compared.
	Decided int
}

// Difference is a decision that comes out otherwise now.
type Difference struct {
	Decision Decision
	// What differs: "effects", "state", or "state before".
	What string
	// Was and Now are what was decided and what is decided now: the effects that
	// only one of them has, or the parts of the state that differ.
	Was, Now []json.RawMessage
}

// Next decides one more decision again, and gives how it differs, nil where it
// does not. Decisions before the first whole one are passed by.
func (r *Replayer) Next(d Decision) (*Difference, error) {
	switch {
	case d.Before != nil:
		if diff, err := r.begin(d); diff != nil || err != nil {
			return diff, err
		}
	case r.version == 0:
		return nil, nil
	case d.Version != r.version+1:
		return nil, fmt.Errorf("decision %d follows decision %d: %w", d.Version, r.version, ErrGap)
	}
	if err := apply(&r.facts, d.Facts); err != nil {
		return nil, fmt.Errorf("facts of decision %d: %w", d.Version, err)
	}
	after, effects := gate.Decide(r.state, r.facts)
	r.version = d.Version
	r.Decided++
	if diff, err := compareEffects(d, effects); diff != nil || err != nil {
		return diff, err
	}
	changed, err := diff(r.state, after)
	if err != nil {
		return nil, err
	}
	if diff, err := compareStates(d, "state", d.State, changed); diff != nil || err != nil {
		return diff, err
	}
	return nil, r.keep(after)
}

// begin takes state and facts from a whole decision, and compares the state with
// the one that was come to, if there is one.
func (r *Replayer) begin(d Decision) (*Difference, error) {
	var before gate.State
	if err := json.Unmarshal(d.Before, &before); err != nil {
		return nil, fmt.Errorf("state before decision %d: %w", d.Version, err)
	}
	if r.version != 0 && d.Version == r.version+1 {
		was, err := diff(gate.State{}, before)
		if err != nil {
			return nil, err
		}
		now, err := diff(gate.State{}, r.state)
		if err != nil {
			return nil, err
		}
		if diff, err := compareStates(d, "state before", was, now); diff != nil || err != nil {
			return diff, err
		}
	}
	r.state, r.facts = before, gate.Facts{}
	return nil, nil
}

// keep stores the state as the database would, for the next decision.
func (r *Replayer) keep(after gate.State) error {
	text, err := json.Marshal(after)
	if err != nil {
		return err
	}
	r.state = gate.State{}
	return json.Unmarshal(text, &r.state)
}

// Now is the state that was come to, and the facts that it was decided from.
func (r *Replayer) Now() (gate.State, gate.Facts) { return r.state, r.facts }

func compareEffects(d Decision, effects []gate.Effect) (*Difference, error) {
	was := make([]any, len(d.Effects))
	for i, text := range d.Effects {
		if err := json.Unmarshal(text, &was[i]); err != nil {
			return nil, fmt.Errorf("effects of decision %d: %w", d.Version, err)
		}
	}
	now := make([]any, len(effects))
	for i, e := range effects {
		text, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &now[i]); err != nil {
			return nil, err
		}
	}
	return differing(d, "effects", was, now), nil
}

func compareStates(d Decision, what string, was, now Delta) (*Difference, error) {
	a, err := parts(was)
	if err != nil {
		return nil, fmt.Errorf("state of decision %d: %w", d.Version, err)
	}
	b, err := parts(now)
	if err != nil {
		return nil, err
	}
	return differing(d, what, a, b), nil
}

// parts are what a delta tells, a field, entry or order each, in order.
func parts(delta Delta) ([]any, error) {
	var out []any
	var failed error
	part := func(field string, how string, text json.RawMessage, more map[string]any) {
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			failed = err
		}
		p := map[string]any{"field": field, how: stripped(v)}
		maps.Copy(p, more)
		out = append(out, p)
	}
	for _, name := range slices.Sorted(maps.Keys(delta)) {
		f := delta[name]
		if f.Is != nil {
			part(name, "is", f.Is, nil)
		}
		for _, pair := range f.Set {
			part(name, "is", pair[1], map[string]any{"of": string(pair[0])})
		}
		for _, key := range f.Gone {
			part(name, "gone", key, nil)
		}
		if f.Order != nil {
			part(name, "order", f.Order, nil)
		}
	}
	return out, failed
}

// differing gives what only one of two lists holds, nil where they are equal but
// for what is zero.
func differing(d Decision, what string, was, now []any) *Difference {
	head := 0
	for head < min(len(was), len(now)) && reflect.DeepEqual(stripped(was[head]), stripped(now[head])) {
		head++
	}
	was, now = was[head:], now[head:]
	if len(was) == 0 && len(now) == 0 {
		return nil
	}
	for len(was) > 0 && len(now) > 0 && reflect.DeepEqual(stripped(was[len(was)-1]), stripped(now[len(now)-1])) {
		was, now = was[:len(was)-1], now[:len(now)-1]
	}
	out := &Difference{Decision: d, What: what}
	for _, v := range was {
		out.Was = append(out.Was, raw(v))
	}
	for _, v := range now {
		out.Now = append(out.Now, raw(v))
	}
	return out
}

func raw(v any) json.RawMessage {
	text, err := json.Marshal(stripped(v))
	if err != nil { // it was read from JSON
		panic(err)
	}
	return text
}

// stripped is a JSON value without what is zero: a field that was not there when
// it was recorded is as good as one that is empty.
func stripped(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if e = stripped(e); e != nil {
				out[k] = e
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		if len(v) == 0 {
			return nil
		}
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = stripped(e)
		}
		return out
	case string:
		if v == "" || v == "0001-01-01T00:00:00Z" {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}
