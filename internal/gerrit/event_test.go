package gerrit_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"sluice/internal/gerrit"
)

// recorded are real events of Gerrit 3.13.5, one a line.
func recorded(t testing.TB) [][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/events.ndjson")
	check(t, err)
	return bytes.Split(bytes.TrimSpace(data), []byte("\n"))
}

func TestRecordedEvents(t *testing.T) {
	types, keys := map[string]gerrit.Event{}, map[string]bool{}
	for _, line := range recorded(t) {
		e := gerrit.ParseEvent(line)
		if e.Type == gerrit.TypeMalformed || e.Project == "" || e.CreatedOn.IsZero() || keys[e.Key] {
			t.Errorf("%s: %+v", line, e)
		}
		if e.Type != "ref-updated" && e.Type != "project-created" && (e.Change == 0 || e.ChangeID == "" || e.Branch == "" || e.Who == "") {
			t.Errorf("%s: not all that a change's event has: %+v", line, e)
		}
		keys[e.Key] = true
		types[e.Type] = e
	}
	equal(t, "types", len(types), 15)
}

func TestEventFields(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want gerrit.Event
	}{
		"a move shows only in the meta ref": {
			`{"type":"ref-updated","refUpdate":{"oldRev":"a","newRev":"b","refName":"refs/changes/34/1234/meta","project":"p"}}`,
			gerrit.Event{Type: "ref-updated", Project: "p", Change: 1234, Ref: "refs/changes/34/1234/meta", OldRev: "a", NewRev: "b"},
		},
		"a patch set's ref": {
			`{"type":"ref-updated","refUpdate":{"newRev":"b","refName":"refs/changes/34/1234/5","project":"p"}}`,
			gerrit.Event{Type: "ref-updated", Project: "p", Change: 1234, PatchSet: 5, Ref: "refs/changes/34/1234/5", NewRev: "b"},
		},
		"a branch": {
			`{"type":"ref-updated","submitter":{"name":"Bo"},"refUpdate":{"newRev":"b","refName":"refs/heads/stable/1","project":"p"}}`,
			gerrit.Event{Type: "ref-updated", Project: "p", Branch: "stable/1", Ref: "refs/heads/stable/1", NewRev: "b", Who: "Bo"},
		},
		"a comment of somebody": {
			`{"type":"comment-added","author":{"name":"The Gate","username":"gate"},"comment":"hello","change":{"number":7,"project":"p","branch":"main"}}`,
			gerrit.Event{Type: "comment-added", Project: "p", Change: 7, Branch: "main", Comment: "hello", Who: "gate", Username: "gate"},
		},
		"a batch": {
			`{"type":"batch-ref-updated","project":"p","refUpdates":[{"refName":"refs/heads/a","oldRev":"1","newRev":"2"}]}`,
			gerrit.Event{Type: "batch-ref-updated", Project: "p", Refs: []gerrit.RefUpdate{{Ref: "refs/heads/a", OldRev: "1", NewRev: "2"}}},
		},
		"numbers as strings, project as an object": {
			`{"type":"patchset-created","change":{"number":"7","branch":"main"},"patchSet":{"number":"2"},"project":{"name":"p"},"eventCreatedOn":1795246693}`,
			gerrit.Event{Type: "patchset-created", Project: "p", Change: 7, Branch: "main", PatchSet: 2},
		},
		"an unknown type": {
			`{"type":"plugin-said","project":"p","change":{"number":7},"else":[1]}`,
			gerrit.Event{Type: "plugin-said", Project: "p", Change: 7},
		},
	} {
		got := gerrit.ParseEvent([]byte(c.line))
		if !json.Valid(got.Raw) || len(got.Key) != 64 {
			t.Errorf("%s: raw %s, key %s", name, got.Raw, got.Key)
		}
		got.Raw, got.Key, got.CreatedOn = nil, "", c.want.CreatedOn
		equal(t, name, got, c.want)
	}
}

func TestEventKey(t *testing.T) {
	key := func(line string) string { return gerrit.ParseEvent([]byte(line)).Key }
	equal(t, "order and space do not matter", key(`{"type":"x","a":1}`), key(" { \"a\" : 1, \"type\":\"x\" }\r\n"))
	equal(t, "contents do", key(`{"type":"x","a":1}`) == key(`{"type":"x","a":2}`), false)
	equal(t, "large numbers are not rounded", key(`{"type":"x","a":9007199254740993}`) == key(`{"type":"x","a":9007199254740992}`), false)
}

func TestMalformedEvents(t *testing.T) {
	for _, line := range []string{
		"", "null", "[]", `"x"`, "{", `{"type":"x"} trailing`, `{}`, `{"type":""}`, `{"type":7}`, "<html>", "\x00\xff",
		`{"type":"x","a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
		`{"type":"x","a":1e999}`, `{"type":"malformed"}`, `{"type":"x","change":[]}`,
	} {
		e := gerrit.ParseEvent([]byte(line))
		if e.Type != gerrit.TypeMalformed && line != `{"type":7}` || e.Type == gerrit.TypeMalformed && e.Problem == "" || !json.Valid(e.Raw) {
			t.Errorf("%.60q: %+v", line, e)
		}
	}
	e := gerrit.ParseEvent([]byte(`{"type":"x","a":"nul \u0000, half \ud800, \\u0000"}`))
	equal(t, "what no database takes", string(e.Raw), `{"a":"nul �, half �, \\u0000","type":"x"}`)
}

func FuzzParseEvent(f *testing.F) {
	for _, line := range recorded(f) {
		f.Add(line)
	}
	f.Add([]byte(")]}'\n{\"type\":\"x\"}"))
	f.Add([]byte(`{"type":"x","change":{"number":"99999999999999999999"},"eventCreatedOn":-1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e := gerrit.ParseEvent(line)
		if !json.Valid(e.Raw) || len(e.Key) != 64 || e.Type == "" || e.Change < 0 || e.PatchSet < 0 && e.Type == gerrit.TypeMalformed {
			t.Fatalf("%q: %+v", line, e)
		}
		if e.Type == gerrit.TypeMalformed {
			return
		}
		again := gerrit.ParseEvent(e.Raw)
		equal(t, "read again", [2]string{again.Key, string(again.Raw)}, [2]string{e.Key, string(e.Raw)})
	})
}
