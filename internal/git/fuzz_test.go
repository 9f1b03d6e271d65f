package git

import (
	"bytes"
	"maps"
	"testing"
	"unicode/utf8"
)

func FuzzParseTree(f *testing.F) {
	f.Add(formatTree(map[string]entry{"a": {ModeFile, emptyTree}, "b": {ModeTree, emptyTree}}))
	f.Add([]byte("100644 \x00"))
	f.Add([]byte("40000 a\x0012345678901234567890"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := parseTree(data)
		if err != nil {
			return
		}
		again, err := parseTree(formatTree(tree))
		if err != nil || !maps.Equal(tree, again) {
			t.Fatalf("%v became %v, %v", tree, again, err)
		}
	})
}

func FuzzParseCommit(f *testing.F) {
	f.Add([]byte("tree " + emptyTree + "\nparent " + emptyTree + "\nauthor A <a@b> 1 +0100\ncommitter A <a@b> 1 -0130\n\nhello\n"))
	f.Add([]byte("tree " + emptyTree + "\nauthor >a< x\ncommitter <\n gpgsig\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCommit(data)
		if err != nil {
			return
		}
		p := c.public()
		if checkID(p.Tree) != nil || p.AuthorTime.IsZero() || p.CommitTime.IsZero() {
			t.Fatalf("%+v", p)
		}
		_ = p.Subject()
	})
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte("100644 blob " + emptyTree + "      12\ta/b\x00160000 commit " + emptyTree + "       -\tsub\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := parseList(data)
		if err != nil {
			return
		}
		for _, f := range files {
			if f.Path == "" || f.Size < -1 || checkID(f.ID) != nil {
				t.Fatalf("%+v", f)
			}
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(emptyTree + " tree 0")
	f.Add(emptyTree + " missing")
	f.Fuzz(func(t *testing.T, line string) {
		kind, size, err := parseHeader(line, emptyTree)
		if err == nil && (size < 0 || len(kind) > len(line)) {
			t.Fatalf("%q: %q %d", line, kind, size)
		}
	})
}

func FuzzNames(f *testing.F) {
	f.Add("a/b", "../c")
	f.Add("../x", "/etc/passwd")
	f.Add(".GIT\u200c/config", "a/../..")
	f.Fuzz(func(t *testing.T, name, target string) {
		if nameProblem(name) == "" && (!utf8.ValidString(name) || bytes.ContainsAny([]byte(name), "\n\x00")) {
			t.Fatalf("%q passes", name)
		}
		_ = linkProblem(name, target)
		if checkRef(name) == nil && bytes.ContainsAny([]byte(name), " \n\x00:^~*?[\\") {
			t.Fatalf("ref %q passes", name)
		}
	})
}
