package rpm

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// EVR is epoch, version and release.
type EVR struct {
	Epoch   int
	Version string
	Release string
}

// ParseEVR takes "[EPOCH:]VERSION[-RELEASE]" apart.
func ParseEVR(s string) EVR {
	var e EVR
	if epoch, rest, found := strings.Cut(s, ":"); found {
		if n, err := strconv.Atoi(epoch); err == nil {
			e.Epoch, s = n, rest
		}
	}
	e.Version = s
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		e.Version, e.Release = s[:i], s[i+1:]
	}
	return e
}

// String is "[EPOCH:]VERSION[-RELEASE]", without an epoch of 0.
func (e EVR) String() string {
	out := e.Version
	if e.Epoch != 0 {
		out = fmt.Sprintf("%d:%s", e.Epoch, out)
	}
	if e.Release != "" {
		out += "-" + e.Release
	}
	return out
}

// Compare orders by epoch, version and release; a release is compared only
// where both have one.
func (e EVR) Compare(other EVR) int {
	if c := cmp.Or(cmp.Compare(e.Epoch, other.Epoch), compareSegments(e.Version, other.Version)); c != 0 {
		return c
	}
	if e.Release == "" || other.Release == "" {
		return 0
	}
	return compareSegments(e.Release, other.Release)
}

// Compare orders two full versions as rpm does: negative if a is older, 0 if
// they are equal, positive if a is newer.
func Compare(a, b string) int { return ParseEVR(a).Compare(ParseEVR(b)) }

// Part reports whether a version has no release: in a relation it stands for all
// releases of the version.
func Part(version string) bool { return ParseEVR(version).Release == "" }

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// compareSegments is rpmvercmp: versions are compared segment by segment,
// numbers by value, a number is newer than letters, ~ is older than the end,
// and ^ is newer than the end but older than anything else.
func compareSegments(a, b string) int {
	if a == b {
		return 0
	}
	for a != "" || b != "" {
		a, b = skipSeparators(a), skipSeparators(b)
		if c, done := compareMark(&a, &b, '~', -1); done {
			if c != 0 {
				return c
			}
			continue
		}
		if c, done := compareCaret(&a, &b); done {
			if c != 0 {
				return c
			}
			continue
		}
		if a == "" || b == "" {
			break
		}
		numeric := digit(a[0])
		kind := letter
		if numeric {
			kind = digit
		}
		var x, y string
		x, a = segment(a, kind)
		y, b = segment(b, kind)
		if y == "" { // of different kinds
			if numeric {
				return 1
			}
			return -1
		}
		if numeric {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Compare(len(x), len(y)); c != 0 {
				return c
			}
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(min(len(a), 1), min(len(b), 1))
}

func skipSeparators(s string) string {
	for s != "" && !digit(s[0]) && !letter(s[0]) && s[0] != '~' && s[0] != '^' {
		s = s[1:]
	}
	return s
}

func segment(s string, kind func(byte) bool) (head, rest string) {
	n := 0
	for n < len(s) && kind(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

// compareMark: who has the mark is first; both: it is taken off and they go on.
func compareMark(a, b *string, mark byte, first int) (c int, done bool) {
	x, y := *a != "" && (*a)[0] == mark, *b != "" && (*b)[0] == mark
	switch {
	case x && y:
		*a, *b = (*a)[1:], (*b)[1:]
		return 0, true
	case x:
		return first, true
	case y:
		return -first, true
	}
	return 0, false
}

func compareCaret(a, b *string) (c int, done bool) {
	x, y := strings.HasPrefix(*a, "^"), strings.HasPrefix(*b, "^")
	if !x && !y {
		return 0, false
	}
	switch {
	case *a == "":
		return -1, true
	case *b == "":
		return 1, true
	}
	return compareMark(a, b, '^', -1)
}
