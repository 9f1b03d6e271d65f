package release

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Derived versions.
//
// The tree gives the epoch, the upstream version and its own revision; sluice
// counts the builds on top of them, so that two changes in flight never touch
// one changelog line. With the count N (1 for the first that lands or stands
// in the queue for this version of the tree, then 2, …):
//
//	deb  1:2.10-3   →  1:2.10-3+sluiceN~deb12     (SUFFIX deb12)
//	deb  2.10       →  2.10+sluiceN~deb12         (native: no revision to add to)
//	rpm  1:2.10-3   →  1:2.10-3.N                (Release: 3.N%{?dist})
//
// The result is newer than the tree's own version and than every smaller count,
// and older than the tree's next revision (2.10-4) and the next upstream
// version (2.10.1, 2.11). The suffix begins with a tilde so that one count sorts by
// dist, deb12 before deb13, and an upgrade of the system upgrades the package.

// Format is "deb" or "rpm".
type Format string

// The formats.
const (
	DEB Format = "deb"
	RPM Format = "rpm"
)

// Derivation is what a version is derived from.
type Derivation struct {
	Format Format
	Tree   string // the full version in the tree: [epoch:]version[-revision]; RPM's release without %{?dist}
	Count  int    // 1 or more: changes to this tree version that have landed or stand ahead, and this one
	Suffix string // deb: of the target, letters and digits, "deb12"; rpm: unused, its dist tag does this
}

// Derived is a derived version.
type Derived struct {
	Full    string // deb: "1:2.10-3+sluice4~deb12"; rpm: "1:2.10-3.4"
	Release string // rpm: "3.4", for Release: 3.4%{?dist}; deb: ""
}

var (
	debTree = regexp.MustCompile(`^([0-9]+:)?[0-9][A-Za-z0-9.+~:-]*$`)
	rpmTree = regexp.MustCompile(`^([0-9]+:)?([A-Za-z0-9._+~^]+)-([A-Za-z0-9._+~^]+)$`)
	suffix  = regexp.MustCompile(`^[a-z0-9]+$`)
	counted = regexp.MustCompile(`^(.*)\+sluice([0-9]+)(~[a-z0-9]+)?$`)
)

// DeriveVersion derives the version of a build.
func DeriveVersion(d Derivation) (Derived, error) {
	fail := func(format string, args ...any) (Derived, error) {
		return Derived{}, fmt.Errorf("deriving a version from %.80q: %s", d.Tree, fmt.Sprintf(format, args...))
	}
	if d.Count < 1 {
		return fail("count %d; it begins with 1", d.Count)
	}
	switch d.Format {
	case DEB:
		if !debTree.MatchString(d.Tree) || strings.HasSuffix(d.Tree, "-") {
			return fail("not a Debian version; see debian/changelog's first line")
		}
		if !suffix.MatchString(d.Suffix) {
			return fail("suffix %q: lowercase letters and digits are wanted", d.Suffix)
		}
		tree, _, _ := ParseDerived(DEB, d.Tree)
		return Derived{Full: fmt.Sprintf("%s+sluice%d~%s", tree, d.Count, d.Suffix)}, nil
	case RPM:
		m := rpmTree.FindStringSubmatch(d.Tree)
		if m == nil {
			return fail("not [EPOCH:]VERSION-RELEASE; see Version and Release of the spec")
		}
		r := fmt.Sprintf("%s.%d", m[3], d.Count)
		return Derived{Full: m[1] + m[2] + "-" + r, Release: r}, nil
	}
	return fail("format %q", d.Format)
}

// ParseDerived takes a version apart into the tree's version and the count:
// the next change's count is the greatest of those that are released or in
// flight for the same tree version, plus 1. For RPM, full is without the dist
// tag. A version that was not derived gives itself, 0 and false.
func ParseDerived(f Format, full string) (tree string, count int, ok bool) {
	switch f {
	case DEB:
		if m := counted.FindStringSubmatch(full); m != nil {
			tree, digits := m[1], m[2]
			n, err := strconv.Atoi(digits)
			return tree, n, err == nil
		}
	case RPM:
		dash, dot := strings.LastIndexByte(full, '-'), strings.LastIndexByte(full, '.')
		if dash >= 0 && dot > dash+1 {
			if n, err := strconv.Atoi(full[dot+1:]); err == nil && n > 0 {
				return full[:dot], n, true
			}
		}
	}
	return full, 0, false
}

// NextCount is the count for a change whose tree has the version tree, when
// versions are the full versions of the same source and target that are
// released or stand ahead (RPM: without the dist tag).
func NextCount(f Format, tree string, versions []string) int {
	if f == DEB {
		tree, _, _ = ParseDerived(f, tree)
	}
	last := 0
	for _, v := range versions {
		if t, n, ok := ParseDerived(f, v); ok && t == tree {
			last = max(last, n)
		}
	}
	return last + 1
}
