package solve

// Connective is how the parts of a formula are put together.
type Connective int

// The connectives.
const (
	Is      Connective = iota // the atom itself
	All                       // every part
	Any                       // one part
	Not                       // nothing that surely satisfies its one part, an atom, is there
	With                      // one package satisfies both parts
	Without                   // one package satisfies the first part and not the second
)

// Formula is a condition on what is installed.
type Formula struct {
	How  Connective
	Atom Atom
	Of   []Formula
}

// One is the formula of a single atom.
func One(a Atom) Formula { return Formula{Atom: a} }

// OneOf is satisfied by any of its atoms.
func OneOf(atoms ...Atom) Formula {
	f := Formula{How: Any}
	for _, a := range atoms {
		f.Of = append(f.Of, One(a))
	}
	return f
}

// Names are the names in the formula.
func (f Formula) Names() []string { return f.names(nil) }

func (f Formula) names(out []string) []string {
	if f.How == Is {
		return append(out, f.Atom.Name)
	}
	for _, g := range f.Of {
		out = g.names(out)
	}
	return out
}

// term is a package, or its absence.
type term struct {
	is  *Package
	not bool
}

// maxClauses bounds what one formula becomes; a larger one is taken as satisfied.
const maxClauses = 256

// clauses gives the formula as a conjunction of disjunctions over the
// universe's packages. ok is false when it is too large to be worth it.
func (u *Universe) clauses(f Formula) (out [][]term, ok bool) {
	switch f.How {
	case Is, With, Without:
		var c []term
		for _, p := range u.those(f) {
			c = append(c, term{is: p})
		}
		return [][]term{c}, true
	case Not:
		for _, p := range u.Refused(f.Of[0].Atom) {
			out = append(out, []term{{p, true}})
		}
		return out, true
	case All:
		for _, g := range f.Of {
			c, ok := u.clauses(g)
			if !ok {
				return nil, false
			}
			out = append(out, c...)
		}
		return out, len(out) <= maxClauses
	}
	out = [][]term{nil}
	for _, g := range f.Of {
		c, ok := u.clauses(g)
		if !ok || len(out)*len(c) > maxClauses {
			return nil, false
		}
		var next [][]term
		for _, x := range out {
			for _, y := range c {
				next = append(next, append(append([]term(nil), x...), y...))
			}
		}
		out = next
	}
	return out, true
}

// those gives the packages that satisfy an atom, With or Without.
func (u *Universe) those(f Formula) []*Package {
	if f.How == Is {
		return u.Candidates(f.Atom)
	}
	second := map[*Package]bool{}
	for _, p := range u.those(f.Of[1]) {
		second[p] = true
	}
	var out []*Package
	for _, p := range u.those(f.Of[0]) {
		if second[p] == (f.How == With) {
			out = append(out, p)
		}
	}
	return out
}
