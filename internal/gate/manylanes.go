package gate

import (
	"math"
	"slices"
)

// manyLanes: an item touches those ahead that are on its branch, that it needs,
// or that the closures of the two join.
//
// Lanes are what an item shares with those ahead of it, so that whoever comes
// later moves nobody. They say how many stand ahead, and what waits for what;
// whom an item stands behind follows from touching alone, since a lane comes
// apart when the item that joined it lands, and a landing resets nobody.
type manyLanes struct {
	d *decider
	// Union-find over positions: of a root, what is known of its lane.
	parent []int
	sums   []laneSum
	owing  map[int][]Owed // of a root, too
	// places are what each item met when it came: fixed, whoever joins later.
	places []lanePlace
	closed []numbered          // what each item makes and reads
	linked [][]int             // those ahead that it needs, or that need it
	before map[ChangeID]ItemID // what landed of a batch before the item that stands for it

	// The walk: those that were looked at, which of them may be stood behind, by
	// position, and what each stands behind, in order.
	met      *touching
	good     []bool
	secret   []bool
	veiled   bool // one of them is secret
	stacks   [][]int
	attempts []BuildsetID // endless of those whose attempt is over
	marks    []int        // of the last sets that were made: mark counts them
	mark     int
	room     []int // for a set that is being made
}

const endless = BuildsetID(math.MaxInt64)

// laneSum is a lane: how many it holds, how many of these take room, and the first
// that is in flight, merged past the gate, or was passed by too often: -1 when none.
type laneSum struct {
	size, taken, first        int
	flight, verified, patient int
}

// lanePlace is a place in a lane, as the lane was when the item came.
type lanePlace struct{ rank, head, short, verified, patient int }

func (d *decider) newManyLanes() *manyLanes {
	n := len(d.s.Items)
	l := &manyLanes{
		d: d, parent: make([]int, n), sums: make([]laneSum, n), places: make([]lanePlace, n), linked: make([][]int, n),
		met: newTouching(d), good: make([]bool, n), secret: make([]bool, n), stacks: make([][]int, n), marks: make([]int, n),
		attempts: make([]BuildsetID, n), closed: make([]numbered, n),
	}
	l.met.changes = nil // that is what is linked
	l.link()
	j := joiner{lanes: l, unknown: -1, branches: map[Branch]int{}}
	room := room{d: d}
	for i, it := range d.s.Items {
		l.arrive(i, it)
		j.join(i, it)
		lane := &l.sums[l.find(i)]
		l.places[i] = lanePlace{lane.size - 1, lane.first, max(0, lane.taken+1-d.s.Window), lane.verified, lane.patient}
		if room.takes(it) {
			lane.taken++
		}
	}
	l.owe()
	return l
}

// arrive makes a lane of one item's own.
func (l *manyLanes) arrive(i int, it *Item) {
	when := func(yes bool) int {
		if yes {
			return i
		}
		return -1
	}
	l.parent[i] = i
	l.sums[i] = laneSum{
		size: 1, first: i, flight: when(it.Submit != nil || it.Part != nil), verified: when(it.Verify && it.Part == nil),
		patient: when(l.d.holds(it)),
	}
}

func (l *manyLanes) find(i int) int {
	for l.parent[i] != i {
		l.parent[i] = l.parent[l.parent[i]]
		i = l.parent[i]
	}
	return i
}

func (l *manyLanes) union(a, b int) {
	a, b = l.find(a), l.find(b)
	if a == b {
		return
	}
	if l.sums[a].size < l.sums[b].size {
		a, b = b, a
	}
	l.parent[b] = a
	l.sums[a].join(l.sums[b])
}

func (s *laneSum) join(o laneSum) {
	earlier := func(a, b int) int {
		if a < 0 || b >= 0 && b < a {
			return b
		}
		return a
	}
	s.size, s.taken, s.first = s.size+o.size, s.taken+o.taken, min(s.first, o.first)
	s.flight, s.verified, s.patient = earlier(s.flight, o.flight), earlier(s.verified, o.verified), earlier(s.patient, o.patient)
}

// joiner finds what an item touches ahead, as far as it is not joined already:
// one of those that make a name stands for all.
type joiner struct {
	lanes    *manyLanes
	unknown  int // the first that touches everything, -1 when none
	branches map[Branch]int
	names    []joint
}

// joint is what stands so far at a name: the last that makes it, counted from 1, or
// who reads it while nobody makes it.
type joint struct {
	maker   int
	readers []int
}

func (j *joiner) join(i int, it *Item) {
	spans := it.spans()
	for _, r := range spans {
		if on, ok := j.branches[r.Branch]; ok {
			j.lanes.union(on, i)
		} else {
			j.branches[r.Branch] = i
		}
	}
	c := j.lanes.d.numbered(spans)
	j.lanes.closed[i] = c
	j.closure(i, c)
	for _, on := range j.lanes.linked[i] {
		j.lanes.union(on, i)
	}
	switch {
	case j.unknown >= 0:
		j.lanes.union(j.unknown, i)
	case c.unknown:
		j.unknown = i
		for on := range i {
			j.lanes.union(on, i)
		}
	}
}

func (j *joiner) closure(i int, c numbered) {
	for _, n := range c.provides {
		j.names = grown(j.names, n)
		at := &j.names[n]
		if at.maker > 0 {
			j.lanes.union(at.maker-1, i)
		}
		for _, on := range at.readers {
			j.lanes.union(on, i)
		}
		*at = joint{maker: i + 1}
	}
	for _, n := range c.needs {
		j.names = grown(j.names, n)
		if at := &j.names[n]; at.maker > 0 {
			j.lanes.union(at.maker-1, i)
		} else {
			at.readers = append(at.readers, i)
		}
	}
}

// link notes who needs whom, with the later of the two. It may stand behind the
// one that needs it only where that has merged past the gate.
func (l *manyLanes) link() {
	for _, it := range l.d.s.Items {
		for _, r := range it.Before {
			if l.before == nil {
				l.before = map[ChangeID]ItemID{}
			}
			l.before[r.ID] = it.ID
		}
	}
	l.d.bindAll()
	for _, t := range l.d.ties {
		on, in := l.d.place[t.on]
		if !in {
			on, in = l.before[t.on]
		}
		if !in {
			continue
		}
		if i, at := l.d.at(t.item), l.d.at(on); i >= 0 && at >= 0 && at != i {
			l.linked[max(at, i)] = append(l.linked[max(at, i)], min(at, i))
		}
	}
}

// owe finds the lanes of what has landed of batches that are not complete: it is
// in those of all that it touches, and in that of the rest of its batch.
func (l *manyLanes) owe() {
	owed := l.d.s.Owed
	if len(owed) == 0 {
		return
	}
	landed := newTouching(l.d)
	l.owing = map[int][]Owed{}
	found := func(i, k int) {
		root := l.find(i)
		if !slices.ContainsFunc(l.owing[root], func(o Owed) bool { return o.Item == owed[k].Item }) {
			l.owing[root] = append(l.owing[root], owed[k])
		}
	}
	for k, o := range owed {
		landed.add(k, o.spans(), l.d.numbered(o.spans()))
		for _, id := range l.d.cover(o.Item).attemptOr().Batch {
			if at := l.d.at(id); at >= 0 {
				found(at, k)
			}
		}
	}
	for i, it := range l.d.s.Items {
		for _, k := range landed.of(it.spans(), l.closed[i]) {
			found(i, k)
		}
	}
}

func (l *manyLanes) lane(i int) *laneSum { return &l.sums[l.find(i)] }

func (l *manyLanes) rank(i int) int    { return l.places[i].rank }
func (l *manyLanes) short(i int) int   { return l.places[i].short }
func (l *manyLanes) head(i int) *Item  { return l.d.s.Items[l.places[i].head] }
func (l *manyLanes) joined(i int) int  { return l.lane(i).first }
func (l *manyLanes) submits(i int)     { l.lane(i).flight = i }
func (l *manyLanes) owed(i int) []Owed { return l.owing[l.find(i)] }

func (l *manyLanes) verifying(i int) *Item {
	if at := l.places[i].verified; at >= 0 {
		return l.d.s.Items[at]
	}
	return nil
}

func (l *manyLanes) holder(i int) int {
	if len(l.owed(i)) > 0 {
		return -1
	}
	return l.places[i].patient
}

func (l *manyLanes) stops(at, i int) bool {
	return at != i && (l.lane(i).flight == at || l.places[i].verified == at || l.holder(i) == at)
}

func (l *manyLanes) turn(i int) bool {
	holder := l.holder(i)
	return l.lane(i).flight < 0 && l.places[i].verified < 0 && (holder < 0 || holder == i)
}

// base joins what the items ahead that it touches stand behind, and those that
// are good, the nearest first. What a public one of these has passed by is
// passed by here too (G25).
func (l *manyLanes) base(i int, restricted bool) []int {
	all := l.room[:0]
	for _, at := range slices.Backward(l.touched(i)) {
		if _, in := slices.BinarySearch(all, at); in || l.secret[at] && !restricted || l.passedBy(all, at) {
			continue
		}
		first := len(all) == 0
		all = append(all, l.stacks[at]...)
		if l.good[at] {
			all = append(all, at)
		}
		if !first {
			slices.Sort(all)
			all = slices.Compact(all)
		}
	}
	l.room = all
	return slices.Clone(all)
}

// touched are the items ahead that an item touches, in order; of one that needs
// another, or is needed, it may be there twice.
func (l *manyLanes) touched(i int) []int {
	found := append(l.met.of(l.d.s.Items[i].Changes, l.closed[i]), l.linked[i]...)
	slices.Sort(found)
	return found
}

// passedBy says that an item, or one that it stands behind, is restricted, and
// that a public one of a stack that touches it stands further back.
func (l *manyLanes) passedBy(stack []int, at int) bool {
	return l.veiled && slices.ContainsFunc(append(slices.Clone(l.stacks[at]), at), func(below int) bool {
		return l.secret[below] && slices.ContainsFunc(stack, func(k int) bool {
			return k > below && !l.secret[k] && l.d.share(l.d.s.Items[k], l.d.s.Items[below]) != ""
		})
	})
}

func (l *manyLanes) push(i int, restricted, good bool, base []int) {
	it := l.d.s.Items[i]
	if l.attempts[i] = it.attempt(); it.Buildset == nil && it.Submit == nil {
		l.attempts[i] = endless
	}
	switch {
	case it.Buildset == nil || it.Submit != nil:
		l.stacks[i] = base
	case l.stacks[i] == nil: // or fits has found it
		l.stacks[i] = l.unlanded(i, base)
	}
	l.good[i], l.secret[i], l.veiled = good, restricted, l.veiled || restricted
	l.met.add(i, it.Changes, l.closed[i])
}

// unlanded are the places of those of an attempt's stack that have not landed. It
// is usual that they are just a known base.
func (l *manyLanes) unlanded(i int, base []int) []int {
	stack := l.d.s.Items[i].Buildset.Stack
	if l.d.areAt(stack, base) {
		return base
	}
	var places []int
	for _, id := range stack {
		if at := l.d.at(id); at >= 0 {
			places = append(places, at)
		}
	}
	return places
}

// fits holds an attempt to its base. It may stand on more than it would have to,
// by what is known now, as long as all of that is good, ahead, in order, and was
// there before it.
func (l *manyLanes) fits(i int, base []int) bool {
	it := l.d.s.Items[i]
	rest := l.unlanded(i, base)
	l.mark++
	for k, at := range rest {
		late := k > 0 && at < rest[k-1]
		if late || at >= i || !l.good[at] || l.attempts[at] > it.Buildset.ID || l.secret[at] && !l.d.restricted(it) {
			return false
		}
		l.marks[at] = l.mark
	}
	if slices.ContainsFunc(base, func(at int) bool { return l.marks[at] != l.mark }) || !l.whole(rest) {
		return false
	}
	l.stacks[i] = rest
	return true
}

// whole says that a stack, which is marked, holds what each of it stands behind.
func (l *manyLanes) whole(rest []int) bool {
	set := l.mark
	l.mark++
	seen := l.mark // of the set, and of the stack of one that was looked at
	for _, at := range slices.Backward(rest) {
		if l.marks[at] == seen {
			continue
		}
		for _, below := range l.stacks[at] {
			if l.marks[below] < set {
				return false
			}
			l.marks[below] = seen
		}
	}
	return true
}
