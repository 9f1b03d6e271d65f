package history

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sluice/internal/gate"
)

// Present is a queue as it is now, and what was measured of the world.
type Present struct {
	State gate.State
	Facts gate.Facts
	Model gate.Model
}

// Header is the first line of a file; each other is a [Decision].
type Header struct {
	Format  string          `json:"format"`
	Queue   string          `json:"queue"`
	Service string          `json:"service"`           // its version
	Present json.RawMessage `json:"present,omitempty"` // a Present
}

// format is what a file's header says it is.
const format = "sluice history 1"

// Writer writes a file: lines of JSON.
type Writer struct{ w *json.Encoder }

// NewWriter begins a file.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	out := &Writer{json.NewEncoder(w)}
	out.w.SetEscapeHTML(false)
	h.Format = format
	return out, out.w.Encode(h)
}

// Add writes one more decision.
func (w *Writer) Add(d json.RawMessage) error { return w.w.Encode(d) }

// Reader reads a file, compressed by gzip or not.
type Reader struct {
	Header Header
	r      *json.Decoder
}

// NewReader reads the header of a file.
func NewReader(r io.Reader) (*Reader, error) {
	b := bufio.NewReader(r)
	in := io.Reader(b)
	if head, _ := b.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		in = z
	}
	out := &Reader{r: json.NewDecoder(in)}
	if err := out.r.Decode(&out.Header); err != nil || out.Header.Format != format {
		return nil, errors.Join(errors.New("this is no history: sluice replay --export writes one"), err)
	}
	return out, nil
}

// Next reads one more decision; io.EOF is the end.
func (r *Reader) Next() (d Decision, err error) {
	err = r.r.Decode(&d)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("read the history: %w", err)
	}
	return d, err
}

// Restricted says which changes not everybody may read.
type Restricted func(gate.ChangeID) bool

// Conceal takes the subjects of restricted changes out of a decision, and the
// topics of all. It comes out the same when it is decided again: no rule reads a
// subject, and topics are only told apart.
func Conceal(d Decision, restricted Restricted) (Decision, error) {
	f, ok := d.Facts["Changes"]
	if !ok {
		return d, nil
	}
	f.Set = slices.Clone(f.Set)
	for i, pair := range f.Set {
		var c map[string]json.RawMessage
		if err := json.Unmarshal(pair[1], &c); err != nil {
			return d, err
		}
		var known gate.Change
		if err := json.Unmarshal(pair[1], &known); err != nil {
			return d, err
		}
		concealed := concealed(known, restricted)
		for name, text := range map[string]string{"subject": concealed.Subject, "topic": concealed.Topic} {
			if _, there := c[name]; there {
				c[name], _ = json.Marshal(text)
			}
		}
		text, err := json.Marshal(c)
		if err != nil {
			return d, err
		}
		f.Set[i][1] = text
	}
	d.Facts = Delta{"Changes": f}.with(d.Facts)
	return d, nil
}

// with adds the fields of another delta that this one does not have.
func (d Delta) with(other Delta) Delta {
	for name, f := range other {
		if _, ok := d[name]; !ok {
			d[name] = f
		}
	}
	return d
}

// ConcealPresent does the same to a queue as it is now.
func ConcealPresent(p Present, restricted Restricted) Present {
	changes := make(map[gate.ChangeID]gate.Change, len(p.Facts.Changes))
	for id, c := range p.Facts.Changes {
		changes[id] = concealed(c, restricted)
	}
	p.Facts.Changes = changes
	return p
}

func concealed(c gate.Change, restricted Restricted) gate.Change {
	if c.Restricted || restricted(c.ID) {
		c.Subject = "(restricted)"
	}
	if c.Topic != "" {
		c.Topic = fmt.Sprintf("topic %x", sha256.Sum256([]byte(c.Topic)))[:14]
	}
	return c
}

// Scenario is the start of a recorded history, to be played with other rules:
// its first state, and when each change came or became ready after it.
type Scenario struct {
	State    gate.State
	Facts    gate.Facts
	Arrivals []gate.Arrival
	began    time.Time
	ready    map[gate.ChangeID]int // patch set
}

// Add takes in one more decision. Those before the first whole one are passed by.
func (s *Scenario) Add(d Decision) error {
	if s.ready == nil {
		if d.Before == nil {
			return nil
		}
		s.ready, s.began = map[gate.ChangeID]int{}, d.At
		if err := json.Unmarshal(d.Before, &s.State); err != nil {
			return fmt.Errorf("state before decision %d: %w", d.Version, err)
		}
		return apply(&s.Facts, d.Facts)
	}
	for _, pair := range d.Facts["Changes"].Set {
		var c gate.Change
		if err := json.Unmarshal(pair[1], &c); err != nil {
			return fmt.Errorf("facts of decision %d: %w", d.Version, err)
		}
		if c.Status != gate.Open || !c.Ready || s.ready[c.ID] == c.PatchSet {
			continue
		}
		s.ready[c.ID] = c.PatchSet
		if known, ok := s.Facts.Changes[c.ID]; ok && known.Ready && known.PatchSet == c.PatchSet {
			continue // from the start
		}
		s.Arrivals = append(s.Arrivals, gate.Arrival{After: d.At.Sub(s.began), Change: c})
	}
	return nil
}

// Known says that there was a decision to begin with.
func (s *Scenario) Known() bool { return s.ready != nil }
