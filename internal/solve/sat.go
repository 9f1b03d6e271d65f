package solve

import (
	"slices"

	"github.com/go-air/gini"
	"github.com/go-air/gini/z"
)

// constraint is one clause, and what it says.
type constraint struct {
	of      *Package // whose it is
	need    *Need
	refusal *Refusal
	other   *Package // that is refused or excluded
	terms   []term   // of a need: one of these
}

// problem is a SAT instance that grows as packages are chosen.
type problem struct {
	u     *Universe
	goals []*Package
	all   []constraint
	lits  map[*Package]z.Lit
	known []*Package // in the order in which they were met
	done  map[*Package]bool
	sat   *gini.Gini
}

// Solve reports whether the goals can be installed together. If they cannot,
// the contradiction is a smallest set of needs and refusals that says so: each
// of them counts.
func (u *Universe) Solve(goals ...*Package) (*Contradiction, bool) {
	p := &problem{u: u, goals: goals, lits: map[*Package]z.Lit{}, done: map[*Package]bool{}, sat: gini.New()}
	for _, g := range goals {
		p.clause(p.lit(g))
	}
	next := goals
	for len(next) > 0 {
		for _, k := range next {
			p.expand(k)
		}
		if p.sat.Solve() != 1 {
			return p.contradiction(), false
		}
		next = p.chosen()
	}
	return nil, true
}

// chosen gives what the last model has and what has not said its part yet. It
// is read whole before anything is added, which ends the model.
func (p *problem) chosen() []*Package {
	var out []*Package
	for _, k := range p.known {
		if !p.done[k] && p.sat.Value(p.lits[k]) {
			out = append(out, k)
		}
	}
	return out
}

func (p *problem) lit(k *Package) z.Lit {
	m, ok := p.lits[k]
	if !ok {
		m = p.sat.Lit()
		p.lits[k], p.known = m, append(p.known, k)
	}
	return m
}

func (p *problem) clause(lits ...z.Lit) {
	for _, m := range lits {
		p.sat.Add(m)
	}
	p.sat.Add(0)
}

// expand adds all that one package says.
func (p *problem) expand(k *Package) {
	p.done[k] = true
	add := func(c constraint) {
		c.of = k
		p.all = append(p.all, c)
		p.clause(p.literals(c)...)
	}
	r := k.Relations()
	for i := range r.Needs {
		clauses, ok := p.u.clauses(r.Needs[i].Formula)
		if !ok {
			continue
		}
		for _, c := range clauses {
			if !slices.Contains(c, term{is: k}) {
				add(constraint{need: &r.Needs[i], terms: c})
			}
		}
	}
	for i := range r.Refuses {
		for _, q := range p.u.Refused(r.Refuses[i].Atom) {
			if q != k && !(q.Name == k.Name && q.Kind == k.Kind) {
				add(constraint{refusal: &r.Refuses[i], other: q})
			}
		}
	}
	if k.Parallel {
		return
	}
	for _, q := range p.u.Called(k.Name) {
		if q != k && q.Name == k.Name && q.Kind == k.Kind {
			add(constraint{other: q})
		}
	}
}

func (p *problem) literals(c constraint) []z.Lit {
	out := []z.Lit{p.lit(c.of).Not()}
	if c.other != nil {
		return append(out, p.lit(c.other).Not())
	}
	for _, t := range c.terms {
		m := p.lit(t.is)
		if t.not {
			m = m.Not()
		}
		out = append(out, m)
	}
	return out
}

// contradiction finds which of the constraints cannot hold together: those
// that the solver names, and of them each one that the rest cannot do without.
func (p *problem) contradiction() *Contradiction {
	sat := gini.New()
	lits := map[*Package]z.Lit{}
	for _, k := range p.known {
		lits[k] = sat.Lit()
	}
	add := func(ms ...z.Lit) {
		for _, m := range ms {
			sat.Add(m)
		}
		sat.Add(0)
	}
	for _, g := range p.goals {
		add(lits[g])
	}
	on := make([]z.Lit, len(p.all)) // assumed: the constraint counts
	number := map[z.Lit]int{}
	for i, c := range p.all {
		on[i] = sat.Lit()
		number[on[i]] = i
		clause := []z.Lit{on[i].Not(), lits[c.of].Not()}
		if c.other != nil {
			clause = append(clause, lits[c.other].Not())
		}
		for _, t := range c.terms {
			m := lits[t.is]
			if t.not {
				m = m.Not()
			}
			clause = append(clause, m)
		}
		add(clause...)
	}
	impossible := func(core []int) (smaller []int, yes bool) {
		for _, i := range core {
			sat.Assume(on[i])
		}
		if sat.Solve() != -1 {
			return nil, false
		}
		for _, m := range sat.Why(nil) {
			smaller = append(smaller, number[m])
		}
		slices.Sort(smaller)
		return smaller, true
	}
	core := make([]int, len(p.all))
	for i := range core {
		core[i] = i
	}
	core, _ = impossible(core)
	for kept := 0; kept < len(core); { // the later ones first: what is near the goal is what people know
		i := len(core) - kept - 1
		if smaller, still := impossible(slices.Delete(slices.Clone(core), i, i+1)); still {
			core = smaller
		} else {
			kept++
		}
	}
	out := &Contradiction{u: p.u, goals: p.goals}
	for _, i := range core {
		out.constraints = append(out.constraints, p.all[i])
	}
	return out
}
