// Package house holds the rules of the house as tests, and nothing else: which package may import which, which package
// owns which third-party module, what a pure package must not touch, and words that no committed file may hold.
//
// The table is table.go. A new package or module is a line there, with its reason; without one the test fails. The
// picture that the table is made from is drawn in docs/.
package house
