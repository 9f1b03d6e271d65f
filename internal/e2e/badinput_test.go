package e2e

import (
	"strings"
	"testing"
)

// Bad input ends in a clear finding on the change, and the service goes on.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := start(t, options{}, "hello", "bare", "declared", "corrupt")
	declared := files("declared", map[string]string{".sluice.yaml": "version: declared\n"})
	for _, c := range []struct {
		name, message string
		tree          map[string]string
		remove        []string
		words         []string
	}{
		{"hello", "Break the package file", map[string]string{".sluice.yaml": "version: derived\ntests:\n  instal: [x.sh]\n"}, nil, []string{".sluice.yaml:3", "instal"}},
		{"hello", "Add an archive", map[string]string{"hello-1.0.tar.gz": "\x1f\x8b\x08\x00binary"}, nil, []string{"hello-1.0.tar.gz"}},
		{"hello", "Break the control file", map[string]string{"debian/control": "Source: hello\nno colon here\n"}, nil, []string{"debian/control"}},
		{"corrupt", "Make a corrupt package", map[string]string{"outcome": "build corrupt\n"}, nil, []string{"corrupt_1.0-1+sluice1~deb12_all.deb"}},
	} {
		p := s.propose(c.name, c.message, c.tree)
		s.voted(p, -1)
		comment := s.told(p, append([]string{"Check failed"}, c.words...)...)
		if strings.Contains(comment, "%!") {
			t.Errorf("%s: %s", c.message, comment)
		}
	}
	bare := s.remove("bare", "Remove the packaging", "debian/control", "debian/changelog", "debian/rules")
	s.voted(bare, -1)
	s.told(bare, "Check failed", "no packaging")

	// What is declared has to grow.
	first := s.propose("declared", "Declare 1.0-1", declared)
	s.g.Approve(t, first.Number)
	s.merged(first)
	s.empty()
	again := s.propose("declared", "Declare it again", map[string]string{"src/hello.c": "\n"})
	s.voted(again, -1)
	s.told(again, "debian/changelog", "1.0-1")

	// The service is well.
	good := s.good("hello")
	s.voted(good, 1)
}
