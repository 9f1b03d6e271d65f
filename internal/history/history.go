package history

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// Decision is what one committed decision of a queue was made from and came to.
type Decision struct {
	Queue string `json:"queue"`
	// Version of the queue's row after it. Those of a history follow each other without a gap.
	Version int64     `json:"version"`
	At      time.Time `json:"at"`
	// Before is the whole state before it, where a replay can begin here; Facts
	// are then told as a whole too.
	Before json.RawMessage `json:"before,omitempty"`
	// Facts is what had changed in them since the queue's previous decision,
	// the policy and the time among them.
	Facts Delta `json:"facts"`
	// Effects is what was decided.
	Effects []json.RawMessage `json:"effects"`
	// State is what the decision changed in it.
	State Delta `json:"state"`
}

// worthwhile is from how many bytes on a record is compressed.
const worthwhile = 2 << 10

// pack makes the row of a decision.
func pack(d Decision) (record.Decided, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return record.Decided{}, err
	}
	r := record.Decided{Version: d.Version, At: d.At, Whole: d.Before != nil, Data: text}
	if len(text) < worthwhile {
		return r, nil
	}
	var small bytes.Buffer
	z, _ := gzip.NewWriterLevel(&small, gzip.BestSpeed)
	if _, err := z.Write(text); err != nil {
		return r, err
	}
	err = z.Close()
	r.Data = small.Bytes()
	return r, err
}

// Unpack reads a row.
func Unpack(r record.Decided) (d Decision, err error) {
	text := r.Data
	if bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(text))
		if err != nil {
			return d, fmt.Errorf("decision %d: %w", r.Version, err)
		}
		if text, err = io.ReadAll(z); err != nil {
			return d, fmt.Errorf("decision %d: %w", r.Version, err)
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, fmt.Errorf("decision %d: %w", r.Version, err)
	}
	return d, nil
}

// Recorder makes the records of one queue. It holds the facts of the queue's
// last decision, and no more.
type Recorder struct {
	version int64 // of the decision that facts are of; 0: none
	facts   gate.Facts
	// since and bytes are the decisions that were recorded since the last whole
	// one and their size, of which whole was the size.
	since, bytes, whole int
	began               time.Time // when the last whole one was
}

// maxSince and maxAge are how many decisions are recorded at most between two
// whole ones, and over which time: what is older than a day can be removed up to
// a whole one.
const (
	maxSince = 1000
	maxAge   = 24 * time.Hour
)

// Version is that of the last decision that the recorder knows.
func (r *Recorder) Version() int64 { return r.version }

// Follow takes in a decision that another replica has recorded.
func (r *Recorder) Follow(row record.Decided) error {
	if r.version == 0 || row.Version != r.version+1 {
		return fmt.Errorf("decision %d does not follow %d", row.Version, r.version)
	}
	d, err := Unpack(row)
	if err != nil {
		return err
	}
	if d.Before != nil {
		r.facts = gate.Facts{}
		r.began, r.since, r.bytes, r.whole = row.At, 0, 0, len(row.Data)
	} else {
		r.count(row)
	}
	r.version = row.Version
	return apply(&r.facts, d.Facts)
}

func (r *Recorder) count(row record.Decided) {
	r.since++
	r.bytes += len(row.Data)
}

// Record makes the record of the decision on a queue whose row had this version.
// It is whole if the recorder does not know the decision before, and now and
// then: so seldom that what is whole takes a quarter of the room of what is not.
// Committed is to be called once it is stored.
func (r *Recorder) Record(version int64, before gate.State, f gate.Facts, after gate.State, effects []gate.Effect) (record.Decided, error) {
	d := Decision{Queue: before.Queue, Version: version + 1, At: f.Now, Effects: []json.RawMessage{}}
	var err error
	was := r.facts
	if r.version != version || version == 0 || r.since >= maxSince || r.bytes > 4*r.whole || f.Now.Sub(r.began) > maxAge {
		was = gate.Facts{}
		if d.Before, err = json.Marshal(before); err != nil {
			return record.Decided{}, err
		}
	}
	if d.Facts, err = diff(was, f); err != nil {
		return record.Decided{}, err
	}
	if d.State, err = diff(before, after); err != nil {
		return record.Decided{}, err
	}
	for _, e := range effects {
		text, err := json.Marshal(e)
		if err != nil {
			return record.Decided{}, err
		}
		d.Effects = append(d.Effects, text)
	}
	return pack(d)
}

// Committed says that a record was stored: the next one is made against its facts.
func (r *Recorder) Committed(row record.Decided, f gate.Facts) {
	r.version, r.facts = row.Version, f
	if row.Whole {
		r.began, r.since, r.bytes, r.whole = row.At, 0, 0, len(row.Data)
	} else {
		r.count(row)
	}
}
