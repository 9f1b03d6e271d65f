package history

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Delta is how one struct differs from an earlier one, by the names of its fields.
type Delta map[string]Field

// Field is how one field differs. Of a map, and of a list of pointers to structs
// with an ID, only the entries that differ are told; of any other field, its value.
type Field struct {
	// Is is the value, where it is told as a whole.
	Is json.RawMessage `json:"is,omitempty"`
	// Set are the entries that are new or differ: pairs of key and value.
	Set [][2]json.RawMessage `json:"set,omitempty"`
	// Gone are the keys of the entries that are not there any more.
	Gone []json.RawMessage `json:"gone,omitempty"`
	// Order are the keys of a list, where it is not the earlier order with the
	// new ones behind.
	Order json.RawMessage `json:"order,omitempty"`
}

// diff gives what differs in now. Both are structs of one type.
func diff(was, now any) (Delta, error) {
	a, b := reflect.ValueOf(was), reflect.ValueOf(now)
	d := Delta{}
	for i := range b.NumField() {
		f, err := diffField(a.Field(i), b.Field(i))
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", b.Type().Name(), b.Type().Field(i).Name, err)
		}
		if f != nil {
			d[b.Type().Field(i).Name] = *f
		}
	}
	return d, nil
}

// diffField gives how a field differs, nil where it does not.
func diffField(was, now reflect.Value) (*Field, error) {
	switch {
	case now.Kind() == reflect.Map:
		return diffMaps(was, now)
	case listed(now.Type()):
		return diffLists(was, now)
	case same(was, now):
		return nil, nil
	}
	text, err := json.Marshal(now.Interface())
	return &Field{Is: text}, err
}

// set tells an entry.
func (f *Field) set(key, value reflect.Value) error {
	k, err := json.Marshal(key.Interface())
	if err != nil {
		return err
	}
	v, err := json.Marshal(value.Interface())
	f.Set = append(f.Set, [2]json.RawMessage{k, v})
	return err
}

// lose tells that an entry is not there any more.
func (f *Field) lose(key reflect.Value) error {
	k, err := json.Marshal(key.Interface())
	f.Gone = append(f.Gone, k)
	return err
}

// sorted gives the field with its entries in the order of their keys, nil where it tells nothing.
func (f *Field) sorted() *Field {
	if f.Set == nil && f.Gone == nil && f.Order == nil {
		return nil
	}
	slices.SortFunc(f.Set, func(a, b [2]json.RawMessage) int { return slices.Compare(a[0], b[0]) })
	slices.SortFunc(f.Gone, func(a, b json.RawMessage) int { return slices.Compare(a, b) })
	return f
}

func diffMaps(was, now reflect.Value) (*Field, error) {
	f := &Field{}
	key, value := reflect.New(now.Type().Key()).Elem(), reflect.New(now.Type().Elem()).Elem() // for all entries: a queue has thousands
	kept := 0
	for i := now.MapRange(); i.Next(); {
		key.SetIterKey(i)
		value.SetIterValue(i)
		old := was.MapIndex(key)
		if old.IsValid() {
			kept++
			if same(old, value) {
				continue
			}
		}
		if err := f.set(key, value); err != nil {
			return nil, err
		}
	}
	for i := was.MapRange(); kept < was.Len() && i.Next(); {
		if key.SetIterKey(i); now.MapIndex(key).IsValid() {
			continue
		}
		kept++
		if err := f.lose(key); err != nil {
			return nil, err
		}
	}
	return f.sorted(), nil
}

// listed says that a type is a list of pointers to structs that have an ID.
func listed(t reflect.Type) bool {
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Pointer || t.Elem().Elem().Kind() != reflect.Struct {
		return false
	}
	id, ok := t.Elem().Elem().FieldByName("ID")
	return ok && id.Type.Comparable()
}

func diffLists(was, now reflect.Value) (*Field, error) {
	// Decide keeps what it does not touch: most of a long list is the very same.
	head, tail := 0, 0
	short := min(was.Len(), now.Len())
	for head < short && was.Index(head).Pointer() == now.Index(head).Pointer() {
		head++
	}
	for tail < short-head && was.Index(was.Len()-1-tail).Pointer() == now.Index(now.Len()-1-tail).Pointer() {
		tail++
	}
	f, fresh := &Field{}, false
	before, after := byID(was, head, tail), byID(now, head, tail)
	var usual []any // the order that needs no telling
	for _, id := range before.ids {
		if _, still := after.at[id]; still {
			usual = append(usual, id)
		} else if err := f.lose(reflect.ValueOf(id)); err != nil {
			return nil, err
		}
	}
	for _, id := range after.ids {
		v := after.at[id]
		old, there := before.at[id]
		if there && same(old, v) {
			continue
		}
		if !there {
			usual, fresh = append(usual, id), true
		}
		if err := f.set(reflect.ValueOf(id), v); err != nil {
			return nil, err
		}
	}
	if fresh && tail > 0 || !slices.Equal(usual, after.ids) {
		var err error
		if f.Order, err = json.Marshal(byID(now, 0, 0).ids); err != nil {
			return nil, err
		}
	}
	return f.sorted(), nil
}

// identified are the elements of a list by their ID.
type identified struct {
	ids []any
	at  map[any]reflect.Value
}

// byID gives the elements of a list but the first head and the last tail ones.
func byID(list reflect.Value, head, tail int) identified {
	out := identified{at: map[any]reflect.Value{}}
	for i := head; i < list.Len()-tail; i++ {
		if v := list.Index(i); !v.IsNil() {
			id := v.Elem().FieldByName("ID").Interface()
			out.ids, out.at[id] = append(out.ids, id), v
		}
	}
	return out
}

// apply changes the struct that v points to by a delta. Fields that it does not
// have are left out: an older program reads a newer record as far as it can.
// Maps are made anew, so that what was given away before stays as it is.
func apply(v any, d Delta) error {
	s := reflect.ValueOf(v).Elem()
	for name, f := range d {
		to := s.FieldByName(name)
		if !to.IsValid() {
			continue
		}
		if err := applyField(to, f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func applyField(to reflect.Value, f Field) error {
	if f.Is != nil {
		to.SetZero()
		return json.Unmarshal(f.Is, to.Addr().Interface())
	}
	if to.Kind() != reflect.Map {
		return fmt.Errorf("a %s has no entries", to.Type())
	}
	fresh := reflect.MakeMapWithSize(to.Type(), to.Len())
	for i := to.MapRange(); i.Next(); {
		fresh.SetMapIndex(i.Key(), i.Value())
	}
	for _, pair := range f.Set {
		k, v := reflect.New(to.Type().Key()), reflect.New(to.Type().Elem())
		if err := json.Unmarshal(pair[0], k.Interface()); err != nil {
			return err
		}
		if err := json.Unmarshal(pair[1], v.Interface()); err != nil {
			return err
		}
		fresh.SetMapIndex(k.Elem(), v.Elem())
	}
	for _, key := range f.Gone {
		k := reflect.New(to.Type().Key())
		if err := json.Unmarshal(key, k.Interface()); err != nil {
			return err
		}
		fresh.SetMapIndex(k.Elem(), reflect.Value{})
	}
	to.Set(fresh)
	return nil
}

// same says that two values are equal: as reflect.DeepEqual says it, only faster
// for what is usual here. An empty list is no list, and what is not exported does
// not count, save of a time, for JSON does not tell it. Where it cannot tell, they
// are not.
func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.String:
		return a.String() == b.String()
	case reflect.Bool:
		return a.Bool() == b.Bool()
	case reflect.Int, reflect.Int64, reflect.Int32:
		return a.Int() == b.Int()
	case reflect.Pointer:
		return a.Pointer() == b.Pointer() || !a.IsNil() && !b.IsNil() && same(a.Elem(), b.Elem())
	case reflect.Struct:
		inner := !a.CanInterface() || a.Type() == reflect.TypeFor[time.Time]()
		for i := range a.NumField() {
			if f := a.Field(i); (f.CanInterface() || inner) && !same(f, b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		if a.Pointer() == b.Pointer() {
			return true
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8, reflect.Uint:
		return a.Uint() == b.Uint()
	}
	return a.CanInterface() && reflect.DeepEqual(a.Interface(), b.Interface())
}
