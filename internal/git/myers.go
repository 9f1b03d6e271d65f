package git

import "context"

// myers is Myers' O(ND) difference in linear space, for regions that the
// histogram cannot divide. It searches from both ends at once; where the paths
// meet is the middle edit, and the parts before and after it are searched alike.
// Of equally short answers it gives JGit's. Once ctx ends the answer is of no use.
func myers(ctx context.Context, a, b []int32, r span) []span {
	m := &middle{ctx: ctx, a: a, b: b, region: r}
	lo := m.slideForward(r.b0-r.a0, r.a0)
	m.region.a0, m.region.b0 = lo, r.b0-r.a0+lo
	hi := m.slideBackward(r.b1-r.a1, r.a1)
	r = span{lo, hi, m.region.b0, r.b1 - r.a1 + hi}
	if r.a0 >= r.a1 && r.b0 >= r.b1 {
		return nil
	}
	var out []span
	m.split(r, &out)
	return out
}

// A diagonal k holds the points whose index in b is k more than that in a.
type middle struct {
	ctx    context.Context
	a, b   []int32
	region span
	fwd    frontier
	bwd    frontier
}

// frontier holds the farthest point of each diagonal that d edits reach, and
// the end of the last common run on the way there.
type frontier struct {
	x           []int
	end         [][2]int
	lo, hi, mid int // diagonals in x
	plo, phi    int // the same, one edit before
	least, most int // no need to look beyond
}

func (f *frontier) at(d, k int) int { return (d + k - f.mid) / 2 }

func (f *frontier) set(i, x int, end [2]int) {
	for len(f.x) <= i {
		f.x = append(f.x, 0)
		f.end = append(f.end, [2]int{})
	}
	f.x[i], f.end[i] = x, end
}

func (f *frontier) start(k, x, least, most int) {
	f.x, f.end = f.x[:0], f.end[:0]
	f.lo, f.hi, f.mid, f.least, f.most = k, k, k, least, most
	f.set(0, x, [2]int{x, k + x})
}

// clamp keeps k within the useful diagonals, and odd if it was.
func (f *frontier) clamp(k int) int {
	if k < f.least {
		return f.least + (k^f.least)&1
	}
	if k > f.most {
		return f.most - (k^f.most)&1
	}
	return k
}

func (m *middle) slideForward(k, x int) int {
	for x < m.region.a1 && k+x < m.region.b1 && m.a[x] == m.b[k+x] {
		x++
	}
	return x
}

func (m *middle) slideBackward(k, x int) int {
	for x > m.region.a0 && k+x > m.region.b0 && m.a[x-1] == m.b[k+x-1] {
		x--
	}
	return x
}

// split finds the edits of a region. What was searched last bounds the slides,
// even where that is a part of the region: JGit does so, and it decides between
// equally short answers.
func (m *middle) split(r span, out *[]span) {
	e := m.find(r)
	if r.a0 < e.a0 || r.b0 < e.b0 {
		k := e.b0 - e.a0
		x := m.slideBackward(k, e.a0)
		m.split(span{r.a0, x, r.b0, k + x}, out)
	}
	if !e.empty() {
		*out = append(*out, e)
	}
	if r.a1 > e.a1 || r.b1 > e.b1 {
		k := e.b1 - e.a1
		x := m.slideForward(k, e.a1)
		m.split(span{x, r.a1, k + x, r.b1}, out)
	}
}

func (m *middle) find(r span) span {
	if r.a0 == r.a1 || r.b0 == r.b1 {
		return r
	}
	m.region = r
	least, most := r.b0-r.a1, r.b1-r.a0
	m.fwd.start(r.b0-r.a0, r.a0, least, most)
	m.bwd.start(r.b1-r.a1, r.a1, least, most)
	for d := 1; m.ctx.Err() == nil; d++ {
		if e, ok := m.advance(d, true); ok {
			return e
		}
		if e, ok := m.advance(d, false); ok {
			return e
		}
	}
	return r
}

// advance lets one frontier make its d-th edit.
func (m *middle) advance(d int, forward bool) (span, bool) {
	f, slide := &m.fwd, m.slideForward
	if !forward {
		f, slide = &m.bwd, m.slideBackward
	}
	step := func(k int) (x int, end [2]int) {
		i := f.at(d-1, k)
		x = slide(k, f.x[i])
		if x != f.x[i] {
			return x, [2]int{x, k + x}
		}
		return x, f.end[i]
	}
	f.plo, f.phi = f.lo, f.hi
	f.lo, f.hi = f.clamp(f.mid-d), f.clamp(f.mid+d)
	for k := f.hi; k >= f.lo; k -= 2 {
		left, right := -1, -1
		var leftEnd, rightEnd [2]int
		if k > f.plo {
			left, leftEnd = step(k - 1)
			if e, ok := m.meet(d, k-1, left, leftEnd, forward); ok {
				return e, true
			}
			if !forward {
				left--
			}
		}
		if k < f.phi {
			right, rightEnd = step(k + 1)
			if e, ok := m.meet(d, k+1, right, rightEnd, forward); ok {
				return e, true
			}
			if forward {
				right++
			}
		}
		x, end := right, rightEnd
		better := forward && left > right || !forward && left < right
		if k >= f.phi || k > f.plo && better {
			x, end = left, leftEnd
		}
		if e, ok := m.meet(d, k, x, end, forward); ok {
			return e, true
		}
		m.bound(f, k, x, forward)
		f.set(f.at(d, k), x, end)
	}
	return span{}, false
}

// bound notes that diagonal k has come to an end of the texts.
func (m *middle) bound(f *frontier, k, x int, forward bool) {
	r, other := m.region, m.bwd.mid
	done := x >= r.a1 || k+x >= r.b1
	if !forward {
		other, done = m.fwd.mid, x <= r.a0 || k+x <= r.b0
	}
	if !done {
		return
	}
	if k > other {
		f.most = k
	} else {
		f.least = k
	}
}

// meet says whether a path meets one that came from the other end, and the edit
// between the common runs that both left last.
func (m *middle) meet(d, k, x int, end [2]int, forward bool) (span, bool) {
	o, od := &m.bwd, d-1
	if !forward {
		o, od = &m.fwd, d
	}
	if k < o.lo || k > o.hi || (od+k-o.mid)%2 != 0 {
		return span{}, false
	}
	i := o.at(od, k)
	if forward && x < o.x[i] || !forward && x > o.x[i] {
		return span{}, false
	}
	from, to := end, o.end[i]
	if !forward {
		from, to = to, from
	}
	if from[0] > to[0] || from[1] > to[1] { // paths that pass each other: an empty edit divides there
		from = to
	}
	return span{from[0], to[0], from[1], to[1]}, true
}
