package deb

import (
	"io"
	"strconv"
	"strings"
)

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

// checkAr holds an archive to the form of a .deb: the members' headers are
// well formed, each member lies within the file, the last ends where the file
// ends, and they are debian-binary, control.tar*, data.tar*, then none but
// those whose names begin with an underscore (deb(5)).
func checkAr(r io.ReaderAt, size int64) error {
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil || string(magic) != arMagic {
		return bad("not an ar archive")
	}
	offset := int64(len(arMagic))
	want := []string{"debian-binary", "control.tar", "data.tar"}
	seen := map[string]bool{}
	for n := 0; offset < size; n++ {
		if n == maxMembers {
			return bad("more than %d members", maxMembers)
		}
		name, length, err := arMember(r, offset, size)
		if err != nil {
			return err
		}
		if seen[name] {
			return bad("member %q occurs twice", name)
		}
		seen[name] = true
		switch stem := strings.TrimSuffix(name, suffixOf(name)); {
		case strings.HasPrefix(name, "_") && n > 0:
		case len(want) > 0 && stem == want[0]:
			want = want[1:]
		default:
			return bad("unexpected member %q", name)
		}
		offset += arHeader + length + length%2
	}
	if len(want) > 0 {
		return bad("member %s is missing", want[0])
	}
	if offset > size+1 {
		return bad("the file is cut off")
	}
	return nil
}

// suffixOf is the compression's suffix of a tar member's name.
func suffixOf(name string) string {
	if i := strings.Index(name, ".tar"); i >= 0 {
		return name[i+len(".tar"):]
	}
	return ""
}

// arMember reads the header at offset and checks it: name and length.
func arMember(r io.ReaderAt, offset, size int64) (string, int64, error) {
	if size-offset < arHeader {
		return "", 0, bad("the file is cut off in a member's header at byte %d", offset)
	}
	line := make([]byte, arHeader)
	if _, err := r.ReadAt(line, offset); err != nil {
		return "", 0, bad("the member's header at byte %d cannot be read: %v", offset, err)
	}
	if line[58] != '`' || line[59] != '\n' {
		return "", 0, bad("no member's header at byte %d", offset)
	}
	name := strings.TrimSuffix(strings.TrimRight(string(line[:16]), " "), "/")
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || c == '/' {
			return "", 0, bad("member's name %q", name)
		}
	}
	for _, f := range [][2]int{{16, 28}, {28, 34}, {34, 40}} {
		if text := strings.TrimRight(string(line[f[0]:f[1]]), " "); text != "" && !digits(text) {
			return "", 0, bad("member %q: %q is not a number", name, text)
		}
	}
	text := strings.TrimRight(string(line[48:58]), " ")
	if !digits(text) {
		return "", 0, bad("member %q has the size %q", name, text)
	}
	length, err := strconv.ParseInt(text, 10, 64)
	if err != nil || length > size-offset-arHeader {
		return "", 0, bad("member %q of %s bytes does not fit into a file of %d", name, text, size)
	}
	return name, length, nil
}

func digits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
