package deb

import (
	"cmp"
	"fmt"
	"regexp"

	"pault.ag/go/debian/version"
)

var versionText = regexp.MustCompile(`^([0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]*$`)

// CheckVersion says what is wrong with a version.
func CheckVersion(v string) error {
	if len(v) > 256 || !versionText.MatchString(v) {
		return bad("%.80q is not a version", v)
	}
	if _, err := version.Parse(v); err != nil {
		return bad("%.80q is not a version: %v", v, err)
	}
	return nil
}

// Compare orders two versions as dpkg does: negative if a is older, 0 if they
// are equal, positive if a is newer. What CheckVersion refuses is older than
// every version.
func Compare(a, b string) int {
	va, erra := version.Parse(a)
	vb, errb := version.Parse(b)
	switch {
	case erra != nil && errb != nil:
		return cmp.Compare(a, b)
	case erra != nil:
		return -1
	case errb != nil:
		return 1
	}
	return version.Compare(va, vb)
}

var (
	packageName  = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{0,127}$`)
	architecture = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	sourceField  = regexp.MustCompile(`^(\S+)(?:\s+\((\S+)\))?$`)
)

func checkName(what, name string) error {
	if !packageName.MatchString(name) {
		return bad("%.80q is not a %s's name", name, what)
	}
	return nil
}

// PoolFolder is the folder below pool/COMPONENT that a source package's files
// are in: "h/hello", "libf/libfoo".
func PoolFolder(source string) string {
	prefix := source[:1]
	if len(source) > 3 && source[:3] == "lib" {
		prefix = source[:4]
	}
	return fmt.Sprintf("%s/%s", prefix, source)
}
