package gate

import "slices"

// manyLanes: an item touches those ahead that are on its branch, that it needs,
// or that the closures of the two join.
//
// Lanes are what an item shares with those ahead of it, so that whoever comes
// later moves nobody. They say how many stand ahead, and what waits for what;
// whom an item stands behind follows from touching alone, since a lane comes
// apart when the item that joined it lands, and a landing resets nobody.
type manyLanes struct {
	d *decider
	// Union-find over positions; of a root, how many it holds, how many of these
	// take room, and the first that is in flight, merged past the gate, or holds
	// its lane: -1 when none.
	parent, size, taken, first []int
	flight, verified, patient  []int
	// What each item met when it came: fixed, whoever joins later.
	ranks, heads, shorts, verify, holder []int
	linked                               [][]int // those ahead that it needs, or that need it

	// The walk: those that were looked at, which of them may be stood behind, by
	// position, and what each stands behind, in order.
	met    *touching
	good   []bool
	secret []bool
	veiled bool // one of them is secret
	stacks [][]int
	marks  []int // of the last sets that were made: mark counts them
	mark   int
}

func (d *decider) newManyLanes() *manyLanes {
	n := len(d.s.Items)
	ints := func() []int { return make([]int, n) }
	l := &manyLanes{
		d: d, parent: ints(), size: ints(), taken: ints(), first: ints(), flight: ints(), verified: ints(), patient: ints(),
		ranks: ints(), heads: ints(), shorts: ints(), verify: ints(), holder: ints(),
		met: newTouching(d), good: make([]bool, n), secret: make([]bool, n), stacks: make([][]int, n), marks: ints(),
		linked: make([][]int, n),
	}
	for i, it := range d.s.Items {
		l.link(i, it)
	}
	j := joiner{
		lanes: l, unknown: -1, branches: make(map[Branch]int, n), provider: make(map[string]int, n), readers: map[string][]int{},
	}
	room := room{d: d}
	for i, it := range d.s.Items {
		l.arrive(i, it)
		j.join(i, it)
		root := l.find(i)
		l.shorts[i] = max(0, l.taken[root]+1-d.s.Window)
		if room.takes(it) {
			l.taken[root]++
		}
		l.ranks[i], l.heads[i], l.verify[i], l.holder[i] = l.size[root]-1, l.first[root], l.verified[root], l.patient[root]
	}
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
	l.parent[i], l.size[i], l.first[i] = i, 1, i
	l.flight[i], l.verified[i], l.patient[i] = when(it.Submit != nil || it.Part != nil), when(it.Verify && it.Part == nil), when(l.d.holds(it))
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
	if l.size[a] < l.size[b] {
		a, b = b, a
	}
	l.parent[b] = a
	l.size[a] += l.size[b]
	l.taken[a] += l.taken[b]
	l.first[a] = min(l.first[a], l.first[b])
	for _, of := range [][]int{l.flight, l.verified, l.patient} {
		if of[a] < 0 || of[b] >= 0 && of[b] < of[a] {
			of[a] = of[b]
		}
	}
}

// joiner finds what an item touches ahead, as far as it is not joined already:
// one of those that make a name stands for all.
type joiner struct {
	lanes    *manyLanes
	unknown  int // the first that touches everything, -1 when none
	branches map[Branch]int
	provider map[string]int
	readers  map[string][]int // of a name that nobody makes so far
}

func (j *joiner) join(i int, it *Item) {
	unknown := false
	for _, r := range it.Changes {
		if on, ok := j.branches[r.Branch]; ok {
			j.lanes.union(on, i)
		}
		j.branches[r.Branch] = i
		c, known := j.lanes.d.closure(r)
		unknown = unknown || !known
		j.names(i, c)
	}
	for _, on := range j.lanes.linked[i] {
		j.lanes.union(on, i)
	}
	switch {
	case j.unknown >= 0:
		j.lanes.union(j.unknown, i)
	case unknown:
		j.unknown = i
		for on := range i {
			j.lanes.union(on, i)
		}
	}
}

func (j *joiner) names(i int, c Closure) {
	for _, n := range c.Provides {
		if on, ok := j.provider[n]; ok {
			j.lanes.union(on, i)
		}
		for _, on := range j.readers[n] {
			j.lanes.union(on, i)
		}
		delete(j.readers, n)
		j.provider[n] = i
	}
	for _, n := range c.Needs {
		if on, ok := j.provider[n]; ok {
			j.lanes.union(on, i)
		} else {
			j.readers[n] = append(j.readers[n], i)
		}
	}
}

// link notes who needs whom, with the later of the two. It may stand behind the
// one that needs it only where that has merged past the gate.
func (l *manyLanes) link(i int, it *Item) {
	for _, r := range it.Changes {
		for _, n := range l.d.needs(new(l.d.f.Changes[r.ID])) {
			on, in := l.d.place[n.ID]
			if at := l.d.at(on); in && at >= 0 && at != i {
				l.linked[max(at, i)] = append(l.linked[max(at, i)], min(at, i))
			}
		}
	}
}

func (l *manyLanes) rank(i int) int   { return l.ranks[i] }
func (l *manyLanes) short(i int) int  { return l.shorts[i] }
func (l *manyLanes) head(i int) *Item { return l.d.s.Items[l.heads[i]] }
func (l *manyLanes) submits(i int)    { l.flight[l.find(i)] = i }

func (l *manyLanes) verifying(i int) *Item {
	if at := l.verify[i]; at >= 0 {
		return l.d.s.Items[at]
	}
	return nil
}

func (l *manyLanes) stops(at, i int) bool {
	return at != i && (l.flight[l.find(i)] == at || l.verify[i] == at || l.holder[i] == at)
}

func (l *manyLanes) turn(i int) bool {
	return l.flight[l.find(i)] < 0 && l.verify[i] < 0 && (l.holder[i] < 0 || l.holder[i] == i)
}

// base joins what the items ahead that it touches stand behind, and those that
// are good, the nearest first. What a public one of these has passed by is
// passed by here too (G25).
func (l *manyLanes) base(i int, restricted bool) []ItemID {
	l.mark++
	var all []int
	take := func(at int) {
		if l.marks[at] != l.mark {
			l.marks[at] = l.mark
			all = append(all, at)
		}
	}
	for _, at := range l.touched(i) {
		if l.marks[at] == l.mark || l.secret[at] && !restricted || l.passedBy(all, at) {
			continue
		}
		if l.good[at] {
			take(at)
		}
		for _, below := range l.stacks[at] {
			take(below)
		}
	}
	slices.Sort(all)
	var ids []ItemID
	for _, at := range all {
		ids = append(ids, l.d.s.Items[at].ID)
	}
	return ids
}

// touched are the items ahead that an item touches, the nearest first.
func (l *manyLanes) touched(i int) []int {
	it := l.d.s.Items[i]
	found := append(l.met.of(it.Changes), l.linked[i]...)
	slices.SortFunc(found, func(a, b int) int { return b - a })
	return slices.Compact(found)
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

func (l *manyLanes) push(i int, restricted, good bool, base []ItemID) {
	it := l.d.s.Items[i]
	if it.Buildset != nil && it.Submit == nil {
		base = it.Buildset.Stack
	}
	for _, id := range base {
		if at := l.d.at(id); at >= 0 {
			l.stacks[i] = append(l.stacks[i], at)
		}
	}
	l.good[i], l.secret[i], l.veiled = good, restricted, l.veiled || restricted
	l.met.add(i, it.Changes)
}

// fits holds an attempt to its base. It may stand on more than it would have to,
// by what is known now, as long as all of that is good, ahead, in order, and was
// there before it.
func (l *manyLanes) fits(i int, base []ItemID) bool {
	it := l.d.s.Items[i]
	l.mark++
	var rest []int
	for _, id := range it.Buildset.Stack {
		at := l.d.at(id)
		if at < 0 {
			continue
		}
		b := l.d.s.Items[at].Buildset
		late := len(rest) > 0 && at < rest[len(rest)-1]
		if late || at >= i || !l.good[at] || b == nil || b.ID > it.Buildset.ID || l.secret[at] && !l.d.restricted(it) {
			return false
		}
		rest = append(rest, at)
		l.marks[at] = l.mark
	}
	return !slices.ContainsFunc(base, func(id ItemID) bool { return l.marks[l.d.at(id)] != l.mark }) && l.whole(rest)
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
