package git

import "context"

// span is a difference: lines a0…a1 of the one text stand where lines b0…b1 of
// the other do. Ends are exclusive.
type span struct{ a0, a1, b0, b1 int }

func (s span) empty() bool { return s.a0 == s.a1 && s.b0 == s.b1 }

// onlyOneSide: a pure insertion or deletion.
func (s span) onlyOneSide() bool { return (s.a0 == s.a1) != (s.b0 == s.b1) }

// maxOccurrences: a line that stands more often than this in the old text does
// not start a common run.
const maxOccurrences = 64

// diffLines says how b differs from a, in order. Lines are numbers; equal lines
// have equal numbers. Which of several possible answers is given decides what
// merges cleanly, so the choices are those of JGit's HistogramDiff: common ends
// off first, then the longest run around the rarest line, recursively, with
// Myers' algorithm where every common line is frequent; then what can slide,
// slides down. Once ctx ends the answer is of no use.
func diffLines(ctx context.Context, a, b []int32) []span {
	r := span{0, len(a), 0, len(b)}
	for r.a0 < r.a1 && r.b0 < r.b1 && a[r.a0] == b[r.b0] {
		r.a0++
		r.b0++
	}
	for r.a0 < r.a1 && r.b0 < r.b1 && a[r.a1-1] == b[r.b1-1] {
		r.a1--
		r.b1--
	}
	switch {
	case r.empty():
		return nil
	case r.onlyOneSide(), r.a1-r.a0 == 1 && r.b1-r.b0 == 1:
		return []span{r}
	}
	h := newHistogram(a, b)
	h.replace(ctx, r)
	slideDown(h.out, a, b)
	return h.out
}

// slideDown moves each insertion or deletion to its last possible place.
func slideDown(spans []span, a, b []int32) {
	maxA, maxB := len(a), len(b)
	for i := len(spans) - 1; i >= 0; i-- {
		s := &spans[i]
		if s.onlyOneSide() {
			text, from, to := b, &s.b0, &s.b1
			if s.b0 == s.b1 {
				text, from, to = a, &s.a0, &s.a1
			}
			for s.a1 < maxA && s.b1 < maxB && text[*from] == text[*to] {
				s.a0, s.a1, s.b0, s.b1 = s.a0+1, s.a1+1, s.b0+1, s.b1+1
			}
		}
		maxA, maxB = s.a0, s.b0
	}
}

type histogram struct {
	a, b []int32
	out  []span

	// The index of the region in hand, by line: where it first stands in a and
	// how often; by place in a: where the same line stands next (-1: no more).
	first []int
	count []int
	next  []int

	best   span
	rarity int  // occurrences of the rarest line in best
	common bool // some line is in both
}

func newHistogram(a, b []int32) *histogram {
	lines := int32(0)
	for _, l := range a {
		lines = max(lines, l+1)
	}
	for _, l := range b {
		lines = max(lines, l+1)
	}
	return &histogram{a: a, b: b, first: make([]int, lines), count: make([]int, lines), next: make([]int, len(a))}
}

// replace handles a region whose first and last lines differ, both sides being
// there. It keeps its own stack: hostile texts must not exhaust Go's.
func (h *histogram) replace(ctx context.Context, r span) {
	stack := []span{r}
	for len(stack) > 0 && ctx.Err() == nil {
		r := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if r.empty() {
			continue
		}
		if r.onlyOneSide() || r.a1-r.a0 == 1 && r.b1-r.b0 == 1 {
			h.out = append(h.out, r)
			continue
		}
		run, ok := h.longestRun(r)
		switch {
		case !ok:
			h.out = append(h.out, myers(ctx, h.a, h.b, r)...)
		case run.empty():
			h.out = append(h.out, r)
		default:
			stack = append(stack, span{run.a1, r.a1, run.b1, r.b1}, span{r.a0, run.a0, r.b0, run.b0})
		}
	}
}

func (h *histogram) index(r span) {
	for i := r.a1 - 1; i >= r.a0; i-- {
		line := h.a[i]
		h.next[i] = -1
		if h.count[line] > 0 {
			h.next[i] = h.first[line]
		}
		h.first[line] = i
		h.count[line]++
	}
}

// longestRun finds the run of common lines to keep in a region; an empty one if
// nothing is common; !ok if all that is common is too frequent to tell.
func (h *histogram) longestRun(r span) (run span, ok bool) {
	h.index(r)
	h.best, h.rarity, h.common = span{}, maxOccurrences+1, false
	for b := r.b0; b < r.b1; {
		b = h.tryAt(r, b)
	}
	for _, line := range h.a[r.a0:r.a1] {
		h.count[line] = 0
	}
	return h.best, !h.common || h.rarity <= maxOccurrences
}

// tryAt looks at every place in a of the line at b, and returns where to go on.
func (h *histogram) tryAt(r span, b int) int {
	after := b + 1
	line := h.b[b]
	n := h.count[line]
	if n == 0 {
		return after
	}
	h.common = true
	if n > h.rarity {
		return after
	}
	for at := h.first[line]; at >= 0; {
		run := span{at, at + 1, b, b + 1}
		rare := n
		for r.a0 < run.a0 && r.b0 < run.b0 && h.a[run.a0-1] == h.b[run.b0-1] {
			run.a0--
			run.b0--
			rare = min(rare, h.count[h.a[run.a0]])
		}
		for run.a1 < r.a1 && run.b1 < r.b1 && h.a[run.a1] == h.b[run.b1] {
			rare = min(rare, h.count[h.a[run.a1]])
			run.a1++
			run.b1++
		}
		after = max(after, run.b1)
		if h.best.a1-h.best.a0 < run.a1-run.a0 || rare < h.rarity {
			h.best, h.rarity = run, rare
		}
		for at = h.next[at]; at >= 0 && at < run.a1; {
			at = h.next[at] // inside the run just looked at
		}
	}
	return after
}
