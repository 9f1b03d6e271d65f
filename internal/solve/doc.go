// Package solve says, exactly, whether packages can be installed together, and
// if not, why. It knows no package format: internal/universe makes its packages
// of indices, control files and specs.
//
// A package is installable in a universe when there is a set of the universe's
// packages that holds it, in which every need of a member is satisfied by a
// member, no member refuses another, and no two members exclude each other (two
// versions of one name). That is a question of satisfiability, and it is put to
// a SAT solver:
//
//	p is installed → for each of its needs, one of the candidates is
//	p is installed → nothing that it refuses is
//	p is installed → no other version of it is
//
// Universes are large (a distribution has 60,000 packages) and answers are
// small. So clauses are made only for packages that the solver has chosen: a
// model in which some chosen package has no clauses yet is refined, and a
// contradiction is one whatever else there is (both are exact). When there is
// no answer, the needs and refusals that contradict each other are minimised,
// one after the other, and told as a chain from what was asked for.
//
// It errs on one side only. A package can be Open: it may provide names that
// nobody knows before it is built. And a need that cannot be understood is left
// out by whoever makes the package. Both make more installable, never less.
package solve
