// Package release knows versions, channels and publications; it is pure.
//
// A repository moves from publication to publication. A publication is an
// immutable, signed list of packages with a growing serial number; publishing
// (and a rollback, and a promotion) makes a new one and moves the pointer. This
// package says which version may follow which, what a derived version is, what
// changed between two publications and how long replaced files stay; the room
// repo makes the files.
//
// Versions are compared by a Compare of the format (deb.Compare, rpm.Compare).
package release

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Compare orders two full versions of one format: negative if a is older than
// b, 0 if they are equal, positive if a is newer.
type Compare func(a, b string) int

// ErrNotGreater: a declared version does not follow the released one.
var ErrNotGreater = errors.New("version is not greater than the released one")

// CheckDeclared holds a declared version to the rule that it is greater than
// the released one ("" if there is none).
func CheckDeclared(source, declared, released string, compare Compare) error {
	if released == "" || compare(declared, released) > 0 {
		return nil
	}
	return fmt.Errorf("%s: %w: the change declares %s, and %s is released; raise the version", source, ErrNotGreater, declared, released)
}

// Channel is how far packages have come: "updates", "ready", "stage",
// "production" (a site names its own).
type Channel struct {
	Name string `json:"name"`
	// From is the channel that packages are promoted from; "" for the first,
	// which merged packages enter.
	From string `json:"from,omitempty"`
	// Proposed channels are NotAutomatic: nobody gets packages from them by accident.
	Proposed bool `json:"proposed,omitempty"`
}

// Package is one file of a publication.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`      // full: epoch, version, release or revision
	Architecture string `json:"architecture"` // "all", "noarch", "source", "src" too
	Source       string `json:"source"`       // the source package's name
	// SourceVersion is the source package's full version; RPM: that of the source RPM's name, without epoch.
	SourceVersion string `json:"source_version"`
	File          string `json:"file"`      // name of the file, without folders
	Path          string `json:"path"`      // below the repository
	Tested        string `json:"tested"`    // digest of the bytes that were tested
	Published     string `json:"published"` // digest of the bytes that are served: signed, if the format signs packages
	Payload       string `json:"payload"`   // digest of what gets installed: equal for tested and published
	Size          int64  `json:"size"`      // bytes served
}

// ID names a package within a repository: no two files of it may have one ID.
func (p Package) ID() string { return p.Name + " " + p.Version + " " + p.Architecture }

// Publication is one immutable state of a repository.
type Publication struct {
	Serial   int64     `json:"serial"`   // grows by one with each publication of a repository; 0 for a test repository
	Date     time.Time `json:"date"`     // whole seconds, UTC; later than that of every publication before
	Revision int64     `json:"revision"` // RPM: repomd.xml's; grows likewise
	Packages []Package `json:"packages"` // in the order of the indices
}

// NextDate is the date of a publication made now behind one of the date
// previous (zero: none): apt silently keeps the newer of two states, so dates
// grow, and a client's clock refuses those in its future, so they grow by as
// little as can be.
func NextDate(previous, now time.Time) time.Time {
	now = now.UTC().Truncate(time.Second)
	if previous.IsZero() || now.After(previous) {
		return now
	}
	return previous.UTC().Truncate(time.Second).Add(time.Second)
}

// Difference is what changed from one publication to the next.
type Difference struct {
	Added, Removed []Package
}

// Diff compares two lists of packages by ID and tested bytes.
func Diff(old, new []Package) Difference {
	key := func(p Package) string { return p.ID() + " " + p.Tested }
	only := func(these, those []Package) (out []Package) {
		there := map[string]bool{}
		for _, p := range those {
			there[key(p)] = true
		}
		for _, p := range these {
			if !there[key(p)] {
				out = append(out, p)
			}
		}
		return out
	}
	return Difference{Added: only(new, old), Removed: only(old, new)}
}

// Latest returns, per name and architecture, the newest package, ordered by
// name and architecture.
func Latest(packages []Package, compare Compare) []Package {
	type key struct{ name, architecture string }
	best := map[key]Package{}
	for _, p := range packages {
		k := key{p.Name, p.Architecture}
		if b, ok := best[k]; !ok || compare(p.Version, b.Version) > 0 {
			best[k] = p
		}
	}
	out := make([]Package, 0, len(best))
	for _, p := range best {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Architecture, b.Architecture))
	})
	return out
}

// Keep limits how long a file that a publication replaced is still served:
// clients that hold the older index come for it. It goes when it is older than
// both.
type Keep struct {
	Generations int64
	Age         time.Duration
}

// DefaultKeep is three publications and three days.
var DefaultKeep = Keep{Generations: 3, Age: 72 * time.Hour}

// Expired reports whether a file that the publication of serial and date
// replaced need not be in the publication of the serial and date now.
func (k Keep) Expired(replaced, serial int64, replacedAt, at time.Time) bool {
	return serial-replaced >= k.Generations && at.Sub(replacedAt) >= k.Age
}
