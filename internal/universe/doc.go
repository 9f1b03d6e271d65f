// Package universe knows what can be installed: it reads the indices of the
// base distribution, of released and of test repositories as a job's sandbox
// would, adds what a change's packaging declares, and has package solve check
// that before anything is built.
//
//	index.go    repositories → indices, fetched through the service's own cache, kept by digest
//	deb.go, rpm.go   one format each: index entries and declarations → packages
//	check.go    an item's packages against what stands below it → findings
//	view.go     which package of a name a job would be given (reuse)
//
// It finds nothing wrong unless it is sure. An index that cannot be read is an
// error, and the caller lets the stages decide. Every version that an index
// lists counts as there, also where a package manager would not look at it; a
// relation that depends on the build is left out.
package universe
