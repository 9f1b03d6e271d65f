package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"sluice/internal/gate"
	"sluice/internal/history"
	"sluice/internal/postgres"
	"sluice/internal/record"
	"sluice/internal/testenv"
)

// BenchmarkCommit5000 is what storing one decision of a queue of 5,000 items
// costs: read, decide, store, with its record and without, in one run.
func BenchmarkCommit5000(b *testing.B) {
	ctx := context.Background()
	s, err := postgres.Open(ctx, testenv.Postgres(b))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(ctx); err != nil {
		b.Fatal(err)
	}
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(s.EnsureQueue(ctx, "main", gate.Dependent, "", 20))
	serial := int64(0)
	save := func(n int) {
		serial++
		id := gate.ChangeID(fmt.Sprintf("main~%d", n))
		_, err := s.SaveChange(ctx, record.Change{
			ID: id, Gerrit: "main", Number: n, Project: "hello", Branch: "main", ChangeKey: fmt.Sprintf("I%d", n), PatchSet: 1,
			Revision: "5f0c5ce0b7a7ab0d7ec6a1c5c6a0ea4c0f0e3a3b", Subject: "Mend what was broken", Status: gate.Open, Queue: "main", Checked: true,
			ReadSerial: serial, UpdatedAt: time.Unix(1, 0), Facts: gate.Change{
				ID: id, Number: n, Branch: gate.Branch{Project: "main:hello", Branch: "main"}, PatchSet: 1, Revision: "5f0c5ce0b7a7ab0d7ec6a1c5c6a0ea4c0f0e3a3b",
				Subject: "Mend what was broken", Status: gate.Open, Ready: true, ReadyAt: time.Unix(int64(n), 0).UTC(), Queue: "main", Read: serial,
			},
		})
		must(err)
	}
	for n := range 5000 {
		save(n + 1)
	}
	var r history.Recorder
	round := func(recorded bool) (bytes int) {
		q, err := s.Queue(ctx, "main")
		must(err)
		f, err := s.Facts(ctx, q)
		must(err)
		f.Now, f.Policy = time.Now(), gate.Policy{Start: 20, Floor: 3, Ceiling: 100, FailFast: q.Version%2 == 0}
		state, effects := gate.Decide(q.State, f)
		var d record.Decided
		if recorded {
			d, err = r.Record(q.Version, q.State, f, state, effects)
			must(err)
		}
		must(s.Commit(ctx, q, state, effects, d))
		if recorded {
			r.Committed(d, f)
		}
		return len(d.Data)
	}
	round(false) // they all enter
	for _, recorded := range []bool{false, true, false, true} {
		b.Run(fmt.Sprintf("recorded=%v", recorded), func(b *testing.B) {
			bytes, n := 0, 0
			if recorded {
				round(true) // the whole one
			}
			for b.Loop() {
				save(1 + n%5000)
				bytes += round(recorded)
				n++
			}
			b.ReportMetric(float64(bytes)/float64(b.N), "record-bytes/op")
		})
	}
	rows, err := s.History(ctx, "main", 0, 10)
	must(err)
	whole, err := json.Marshal(len(rows[0].Data))
	must(err)
	b.Logf("the whole record has %s bytes", whole)
}
