// Package deb reads Debian packages and writes what APT repositories are made of.
//
// Everything that it reads was made by somebody's build, so nothing reaches a
// parser unchecked: an ar archive's members are held to its bounds before the
// library sees it, what is unpacked is limited, and control files with NULs,
// carriage returns or fields that occur twice are refused. Errors of what is
// wrong with the bytes are ErrBad; they say what is wrong and are fit to be shown.
//
// Reading: ReadPackage (.deb), ReadDsc, ReadControl (debian/control),
// ReadChangelogTop, ParseRelations. Versions: Compare, CheckVersion.
// Writing: Package.IndexStanza, Dsc.IndexStanza, Package.ContentsLines and
// Release make the index files; SourcesFile, SourceLine and Preferences are the
// snippets that people put on their machines. A package's fields go into the index in
// their order and to the letter: parsing and printing them anew would not be the same.
package deb

import (
	"errors"
	"fmt"
)

// ErrBad is what is wrong with a package's bytes.
var ErrBad = errors.New("bad Debian package")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBad, fmt.Sprintf(format, args...))
}

// Limits of what is read.
const (
	maxMembers      = 16        // of an ar archive
	maxControlFile  = 4 << 20   // bytes of one control file
	maxFields       = 500       // of one paragraph
	maxField        = 512 << 10 // bytes of one field
	maxFieldLines   = 10000     // of one field
	maxControlTar   = 64 << 20  // bytes of control.tar, unpacked
	maxDataTar      = 64 << 30  // bytes of data.tar, unpacked
	maxDataFiles    = 2 << 20   // files of data.tar
	maxRelationText = 1 << 20   // bytes of one relations field
)
