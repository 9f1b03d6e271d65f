// Package rpm reads RPM packages, signs them, and writes what RPM repositories
// are made of.
//
// Everything that it reads was made by somebody's build, so nothing reaches a
// parser unchecked: the two headers are held to the file's bounds, tag by tag,
// and their digests and the payload's are compared before anything in them is
// believed. Errors of what is wrong with the bytes are ErrBad; they say what is
// wrong and are fit to be shown.
//
// Reading: ReadPackage, ParseEVR, Compare, Relation.Satisfies.
// Writing: Package.Primary, Filelists and Other are a package's pieces of the
// metadata, PrimaryHead and its like begin a file of so many packages; Repomd
// is the index of the indices; Sign puts a signature of header and payload into
// a package; RepoFile is the snippet that people put on their machines.
package rpm

import (
	"errors"
	"fmt"
)

// ErrBad is what is wrong with a package's bytes.
var ErrBad = errors.New("bad RPM package")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBad, fmt.Sprintf(format, args...))
}
