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
	// feet are the footprints of all items, first where each one's begin.
	feet   []footprint
	first  []int32
	linked lists               // of each item, those ahead that it needs, or that need it
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
	room     [3][]int // for sets that are being made
}

const endless = BuildsetID(math.MaxInt64)

// laneSum is a lane: how many it holds, how many of these take room, and the first
// that is in flight, merged past the gate, or was passed by too often: -1 when none.
type laneSum struct {
	size, taken, first        int32
	flight, verified, patient int32
}

// lanePlace is a place in a lane, as the lane was when the item came.
type lanePlace struct{ rank, head, short, verified, patient int32 }

func (d *decider) newManyLanes() *manyLanes {
	n := len(d.s.Items)
	l := &manyLanes{
		d: d, parent: make([]int, n), sums: make([]laneSum, n), places: make([]lanePlace, n),
		met: newTouching(d), good: make([]bool, n), secret: make([]bool, n), stacks: make([][]int, n), marks: make([]int, n),
		attempts: make([]BuildsetID, n), feet: make([]footprint, 0, n), first: make([]int32, 1, n+1),
		linked: lists{last: make([]int32, n)},
	}
	l.met.changes = nil // that is what is linked
	l.link()
	j := joiner{lanes: l, unknown: -1}
	room := room{d: d}
	for i, it := range d.s.Items {
		l.arrive(i, it)
		l.feet = d.footprints(l.feet, it.spans())
		l.first = append(l.first, int32(len(l.feet)))
		j.join(i)
		lane := &l.sums[j.root]
		l.places[i] = lanePlace{lane.size - 1, lane.first, max(0, lane.taken+1-int32(d.s.Window)), lane.verified, lane.patient}
		if room.takes(it) {
			lane.taken++
		}
	}
	l.owe()
	return l
}

// arrive makes a lane of one item's own.
func (l *manyLanes) arrive(i int, it *Item) {
	when := func(yes bool) int32 {
		if yes {
			return int32(i)
		}
		return -1
	}
	l.parent[i] = i
	l.sums[i] = laneSum{
		size: 1, first: int32(i), flight: when(it.Submit != nil || it.Part != nil), verified: when(it.Verify && it.Part == nil),
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

// union joins two lanes and gives the root.
func (l *manyLanes) union(a, b int) int {
	if a, b = l.find(a), l.find(b); a == b {
		return a
	}
	if l.sums[a].size < l.sums[b].size {
		a, b = b, a
	}
	l.parent[b] = a
	l.sums[a].join(l.sums[b])
	return a
}

func (s *laneSum) join(o laneSum) {
	earlier := func(a, b int32) int32 {
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
	root     int     // of the lane of the one that comes
	unknown  int     // the first that touches everything, -1 when none
	branches []int32 // the last on each, counted from 1
	makers   []int32 // of a name, the last that makes it, counted from 1
	readers  lists   // of a name, who reads it while nobody makes it
}

func (j *joiner) join(i int) {
	j.root = i
	unknown := false
	for _, f := range j.lanes.footprints(i) {
		j.footprint(i, f)
		unknown = unknown || f.unknown()
	}
	for on := range j.lanes.linked.of(int32(i)) {
		j.meet(on)
	}
	switch {
	case j.unknown >= 0:
		j.meet(j.unknown)
	case unknown:
		j.unknown = i
		for on := range i {
			j.meet(on)
		}
	}
}

// meet joins the lane of one ahead with that of the one that comes.
func (j *joiner) meet(on int) { j.root = j.lanes.union(on, j.root) }

func (j *joiner) footprint(i int, f footprint) {
	j.follow(&j.branches, f.branch, i)
	for _, n := range f.provides() {
		j.follow(&j.makers, n, i)
		for on := range j.readers.of(n) {
			j.meet(on)
		}
		j.readers.clear(n)
	}
	for _, n := range f.needs() {
		grow(&j.makers, int(n))
		if maker := j.makers[n]; maker > 0 {
			j.meet(int(maker) - 1)
		} else {
			j.readers.add(n, i)
		}
	}
}

// follow joins an item with the last one at a place, and is the last there.
func (j *joiner) follow(last *[]int32, at int32, i int) {
	grow(last, int(at))
	if before := (*last)[at]; before > 0 {
		j.meet(int(before) - 1)
	}
	(*last)[at] = int32(i) + 1
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
			l.linked.add(int32(max(at, i)), min(at, i))
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
		landed.add(k, o.spans(), l.d.footprints(nil, o.spans()))
		for _, id := range l.d.cover(o.Item).attemptOr().Batch {
			if at := l.d.at(id); at >= 0 {
				found(at, k)
			}
		}
	}
	for i, it := range l.d.s.Items {
		for _, k := range landed.of(it.spans(), l.footprints(i)) {
			found(i, k)
		}
	}
}

func (l *manyLanes) lane(i int) *laneSum          { return &l.sums[l.find(i)] }
func (l *manyLanes) footprints(i int) []footprint { return l.feet[l.first[i]:l.first[i+1]] }

func (l *manyLanes) rank(i int) int    { return int(l.places[i].rank) }
func (l *manyLanes) short(i int) int   { return int(l.places[i].short) }
func (l *manyLanes) head(i int) *Item  { return l.d.s.Items[l.places[i].head] }
func (l *manyLanes) joined(i int) int  { return int(l.lane(i).first) }
func (l *manyLanes) submits(i int)     { l.lane(i).flight = int32(i) }
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
	return int(l.places[i].patient)
}

func (l *manyLanes) stops(at, i int) bool {
	return at != i && (int(l.lane(i).flight) == at || int(l.places[i].verified) == at || l.holder(i) == at)
}

func (l *manyLanes) turn(i int) bool {
	holder := l.holder(i)
	return l.lane(i).flight < 0 && l.places[i].verified < 0 && (holder < 0 || holder == i)
}

// base joins what the items ahead that it touches stand behind, and those that
// are good, the nearest first. What a public one of these has passed by is
// passed by here too (G25).
func (l *manyLanes) base(i int, restricted bool) []int {
	var all []int
	own := false // all is in the room
	l.mark++     // those that are in it, or were passed by
	for at, left := l.nearest(l.touched(i)); at >= 0; at, left = l.nearest(left) {
		l.marks[at] = l.mark
		if l.secret[at] && !restricted || l.passedBy(all, at) {
			continue
		}
		for _, below := range l.stacks[at] {
			l.marks[below] = l.mark
		}
		if len(all) == 0 {
			all = l.over(at)
			continue
		}
		more := append(l.room[0][:0], l.stacks[at]...)
		if l.good[at] {
			more = append(more, at)
		}
		l.room = [3][]int{more, l.room[2], joined(l.room[1][:0], all, more)}
		all, own = l.room[2], true
	}
	if own {
		return slices.Clone(all)
	}
	return all
}

// nearest finds the last of those places that are not marked, -1 when none is left.
func (l *manyLanes) nearest(places []int) (at int, left []int) {
	at, left = -1, places[:0]
	for _, p := range places {
		if l.marks[p] != l.mark {
			at, left = max(at, p), append(left, p)
		}
	}
	return at, left
}

// over is an item's stack and, where it is good, the item. The first to stand on
// it has what room there is behind the stack: where all touch each other, all
// stacks are one list.
func (l *manyLanes) over(at int) []int {
	stack := l.stacks[at]
	l.stacks[at] = slices.Clip(stack)
	if !l.good[at] {
		return l.stacks[at]
	}
	return append(stack, at)
}

// joined appends the elements of two ascending lists, each once.
func joined(to, a, b []int) []int {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			to, a = append(to, a[0]), a[1:]
		case a[0] > b[0]:
			to, b = append(to, b[0]), b[1:]
		default:
			a = a[1:]
		}
	}
	return append(append(to, a...), b...)
}

// touched are the items ahead that an item touches, in no order; one that it
// needs, or that needs it, may be there twice.
func (l *manyLanes) touched(i int) []int {
	return slices.AppendSeq(l.met.of(l.d.s.Items[i].Changes, l.footprints(i)), l.linked.of(int32(i)))
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
		l.stacks[i], _ = l.unlanded(i, base)
	}
	l.good[i], l.secret[i], l.veiled = good, restricted, l.veiled || restricted
	if good && !l.veiled {
		l.met.cover(l.footprints(i)) // it stands on all these, and who touches them by that touches it
	}
	l.met.add(i, it.Changes, l.footprints(i))
}

// unlanded are the places of those of an attempt's stack that have not landed. It
// is usual that they are just a known base.
func (l *manyLanes) unlanded(i int, base []int) (places []int, just bool) {
	stack := l.d.s.Items[i].Buildset.Stack
	if l.d.areAt(stack, base) {
		return base, true
	}
	for _, id := range stack {
		if at := l.d.at(id); at >= 0 {
			places = append(places, at)
		}
	}
	return places, false
}

// fits holds an attempt to its base. It may stand on more than it would have to,
// by what is known now, as long as all of that is good, ahead, in order, and was
// there before it.
func (l *manyLanes) fits(i int, base []int) bool {
	it := l.d.s.Items[i]
	rest, just := l.unlanded(i, base)
	for k, at := range rest {
		late := k > 0 && at < rest[k-1]
		if late || at >= i || !l.good[at] || l.attempts[at] > it.Buildset.ID || l.secret[at] && !l.d.restricted(it) {
			return false
		}
	}
	if !just && !l.whole(rest, base) {
		return false
	}
	l.stacks[i] = rest
	return true
}

// whole says that a stack holds a base, and what each of it stands behind.
func (l *manyLanes) whole(rest, base []int) bool {
	l.mark++
	set := l.mark
	for _, at := range rest {
		l.marks[at] = set
	}
	if slices.ContainsFunc(base, func(at int) bool { return l.marks[at] != set }) {
		return false
	}
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
