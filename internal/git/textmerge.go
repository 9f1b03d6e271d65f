package git

import (
	"bytes"
	"context"
	"math"
)

// maxText is the largest file that is merged by lines, in bytes; larger ones
// count as binary, as in Gerrit.
const maxText = 50 << 20

// isBinary: a NUL, or a carriage return without a line feed after it, makes a
// file binary, and binary files are never merged by lines.
func isBinary(data []byte) bool {
	if len(data) > maxText || bytes.IndexByte(data, 0) >= 0 {
		return true
	}
	for i := bytes.IndexByte(data, '\r'); i >= 0; {
		if i+1 == len(data) || data[i+1] != '\n' {
			return true
		}
		n := bytes.IndexByte(data[i+1:], '\r')
		if n < 0 {
			break
		}
		i += 1 + n
	}
	return false
}

// text is a file as lines: their bytes, and a number for each that equal lines
// share. A line's feed belongs to it: a last line without one is another line.
type text struct {
	lines [][]byte
	ids   []int32
}

// noFeed: the file does not end with a line feed.
func (t text) noFeed() bool {
	n := len(t.lines)
	return n == 0 || !bytes.HasSuffix(t.lines[n-1], []byte{'\n'})
}

// lineNumbers gives equal lines equal numbers.
type lineNumbers map[string]int32

func (n lineNumbers) text(data []byte) text {
	t := text{lines: bytes.SplitAfter(data, []byte{'\n'})}
	if last := len(t.lines) - 1; len(t.lines[last]) == 0 {
		t.lines = t.lines[:last]
	}
	t.ids = make([]int32, len(t.lines))
	for i, l := range t.lines {
		id, ok := n[string(l)]
		if !ok {
			id = int32(len(n))
			n[string(l)] = id
		}
		t.ids[i] = id
	}
	return t
}

// The parts of a merged text.
type chunkKind int

const (
	clean chunkKind = iota
	conflictOurs
	conflictTheirs
)

type chunk struct {
	kind     chunkKind
	text     *text
	from, to int
}

// textMerge is the three-way merge of one file.
type textMerge struct {
	base, ours, theirs text
	chunks             []chunk
	conflict           bool
}

// mergeText merges three texts line by line. Edits that touch, even without
// overlapping, are in conflict, unless both sides made the same. Once ctx ends
// the result is of no use: hostile texts can take very long.
func mergeText(ctx context.Context, base, ours, theirs []byte) *textMerge {
	n := lineNumbers{}
	m := &textMerge{base: n.text(base), ours: n.text(ours), theirs: n.text(theirs)}
	o, t := diffLines(ctx, m.base.ids, m.ours.ids), diffLines(ctx, m.base.ids, m.theirs.ids)
	switch { // a side that is empty now was emptied whole, or not at all
	case len(m.ours.ids) == 0 && len(m.theirs.ids) == 0:
		m.keep(&m.ours, 0, 0)
	case len(m.ours.ids) == 0 && len(t) == 0:
		m.keep(&m.ours, 0, 0)
	case len(m.theirs.ids) == 0 && len(o) == 0:
		m.keep(&m.theirs, 0, 0)
	case len(m.ours.ids) == 0 || len(m.theirs.ids) == 0:
		m.clash(0, len(m.ours.ids), 0, len(m.theirs.ids))
	default:
		m.merge(append(o, endSpan), append(t, endSpan))
	}
	return m
}

var endSpan = span{math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt}

func (m *textMerge) keep(t *text, from, to int) {
	m.chunks = append(m.chunks, chunk{clean, t, from, to})
}

func (m *textMerge) clash(o0, o1, t0, t1 int) {
	m.conflict = true
	m.chunks = append(m.chunks, chunk{conflictOurs, &m.ours, o0, o1}, chunk{conflictTheirs, &m.theirs, t0, t1})
}

// merge walks both lists of edits, each of which ends with endSpan.
func (m *textMerge) merge(ours, theirs []span) {
	done := 0 // lines of base that are handled
	for ours[0] != endSpan || theirs[0] != endSpan {
		o, t := ours[0], theirs[0]
		switch {
		case o.a1 < t.a0:
			if done != o.a0 {
				m.keep(&m.base, done, o.a0)
			}
			m.keep(&m.ours, o.b0, o.b1)
			done, ours = o.a1, ours[1:]
		case t.a1 < o.a0:
			if done != t.a0 {
				m.keep(&m.base, done, t.a0)
			}
			m.keep(&m.theirs, t.b0, t.b1)
			done, theirs = t.a1, theirs[1:]
		default:
			if o.a0 != done && t.a0 != done {
				m.keep(&m.base, done, min(o.a0, t.a0))
			}
			done, ours, theirs = m.overlap(ours, theirs)
		}
	}
	if done < len(m.base.ids) {
		m.keep(&m.base, done, len(m.base.ids))
	}
}

// overlap merges the edits at the head of both lists, which touch, together
// with all that these touch in turn. It returns the lines of base handled, and
// what is left of the lists.
func (m *textMerge) overlap(ours, theirs []span) (done int, restO, restT []span) {
	o, t := ours[0], theirs[0]
	o0, t0 := o.b0, t.b0
	if o.a0 < t.a0 {
		t0 -= t.a0 - o.a0
	} else {
		o0 -= o.a0 - t.a0
	}
	restO, restT = ours[1:], theirs[1:]
	for more := true; more; {
		switch {
		case o.a1 >= restT[0].a0:
			t, restT = restT[0], restT[1:]
		case t.a1 >= restO[0].a0:
			o, restO = restO[0], restO[1:]
		default:
			more = false
		}
	}
	o1, t1 := o.b1, t.b1
	if o.a1 < t.a1 {
		o1 += t.a1 - o.a1
	} else {
		t1 += o.a1 - t.a1
	}
	m.narrow(o0, o1, t0, t1)
	return max(o.a1, t.a1), restO, restT
}

// narrow takes equal lines off both ends of a clash; nothing may be left of it.
func (m *textMerge) narrow(o0, o1, t0, t1 int) {
	size := min(o1-o0, t1-t0)
	unequal := o1-o0 != t1-t0
	head := 0
	for head < size && m.ours.ids[o0+head] == m.theirs.ids[t0+head] {
		head++
	}
	size -= head
	tail := 0
	for tail < size && m.ours.ids[o1-tail-1] == m.theirs.ids[t1-tail-1] {
		tail++
	}
	size -= tail
	if head > 0 {
		m.keep(&m.ours, o0, o0+head)
	}
	if size > 0 || unequal {
		m.clash(o0+head, o1-tail, t0+head, t1-tail)
	}
	if tail > 0 {
		m.keep(&m.ours, o1-tail, o1)
	}
}

// bytes is the merged file. Clashes stand between markers, which only the
// virtual common ancestor of a criss-cross history ever shows.
func (m *textMerge) bytes() []byte {
	var b bytes.Buffer
	start := true // of a line
	begin := func() {
		if !start {
			b.WriteByte('\n')
		}
		start = true
	}
	mark := func(s string) {
		begin()
		b.WriteString(s + "\n")
	}
	inClash, noFeed := false, false
	for _, c := range m.chunks {
		if inClash && c.kind != conflictTheirs {
			mark(">>>>>>> THEIRS")
			inClash = false
		}
		switch c.kind {
		case conflictOurs:
			mark("<<<<<<< OURS")
		case conflictTheirs:
			mark("=======")
			inClash = true
		}
		for _, l := range c.text.lines[c.from:c.to] {
			begin()
			l = bytes.TrimSuffix(l, []byte{'\n'})
			b.Write(l)
			if start = false; len(l) == 0 {
				b.WriteByte('\n')
				start = true
			}
		}
		noFeed = c.text.noFeed()
	}
	if inClash {
		mark(">>>>>>> THEIRS")
	}
	if !noFeed {
		begin()
	}
	return b.Bytes()
}
