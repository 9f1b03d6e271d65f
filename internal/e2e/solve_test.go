package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/job"
)

// writeAPT makes the base distribution's repository of a Packages file.
func (s *site) writeAPT(packages string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "apt/dists/bookworm")
	if err := os.MkdirAll(filepath.Join(dir, "main/binary-amd64"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	write(s.t, filepath.Join(dir, "main/binary-amd64/Packages"), packages)
	write(s.t, filepath.Join(dir, "Release"), fmt.Sprintf("Suite: bookworm\nSHA256:\n %x %d main/binary-amd64/Packages\n", sha256.Sum256([]byte(packages)), len(packages)))
}

const baseWithFoo = "Package: libfoo\nVersion: 1.4\nArchitecture: amd64\nSHA256: 1401\n\nPackage: debhelper\nVersion: 13\nArchitecture: all\nSHA256: 1301\n\n"

func needing(name, build string) string {
	return fmt.Sprintf("Source: %[1]s\nMaintainer: A Maintainer <a@example.com>\nBuild-Depends: debhelper, %[2]s\n\nPackage: %[1]s\nArchitecture: all\nDescription: x\n x\n", name, build)
}

// A change asks for what is not there: it is told so, with file and line, and
// nothing is built. With the change that brings it below, it passes; without
// that, in the gate, it fails again.
func TestUnsatisfiable(t *testing.T) {
	t.Parallel()
	s := start(t, options{apt: baseWithFoo}, "hello", "libfoo")
	const finding = "debian/control:3: the build of hello needs libfoo (>= 2), and juno/debian-12 has libfoo 1.4 (bookworm main)"
	control := map[string]string{"debian/control": needing("hello", "libfoo (>= 2)")}
	c := s.propose("hello", "Use the new libfoo", control)
	s.voted(c, -1)
	s.told(c, "Check failed", finding)
	if ran := s.worker.runs(job.StageBuild, "hello"); len(ran) != 0 {
		t.Errorf("it was built: %+v", ran)
	}

	lib := s.propose("libfoo", "Make libfoo 2", map[string]string{
		"debian/changelog": "libfoo (2.0-1) unstable; urgency=low\n\n  * New.\n\n -- A Maintainer <a@example.com>  Mon, 01 Jan 2024 00:00:00 +0000\n",
		"debian/control":   needing("libfoo", "debhelper"),
	})
	s.amend(c, "hello", "Use the new libfoo\n\nDepends-On: "+lib.ChangeID, control)
	s.voted(c, 1)
	if ran := s.worker.runs(job.StageBuild, "hello"); len(ran) != 1 {
		t.Errorf("built %d times", len(ran))
	}
}

// Non-voting, it warns, and the stages decide.
func TestUnsatisfiableWarns(t *testing.T) {
	t.Parallel()
	s := start(t, options{apt: baseWithFoo, stages: "\n  solve: {voting: false}"}, "hello")
	c := s.propose("hello", "Use the new libfoo", map[string]string{"debian/control": needing("hello", "libfoo (>= 2)")})
	s.voted(c, 1)
	if said := strings.Join(s.said(c), "\n"); !strings.Contains(said, "Check passed") {
		t.Error(said)
	}
}

// The base distribution changes between check and gate: what was built with
// what has changed is built again, and nothing else is.
func TestUpstreamMoves(t *testing.T) {
	t.Parallel()
	s := start(t, options{apt: baseWithFoo}, "hello", "plain")
	hello := s.propose("hello", "Use libfoo", map[string]string{"debian/control": needing("hello", "libfoo")})
	plain := s.propose("plain", "Say it", map[string]string{"src/hello.c": "int main(void) { return 3; }\n"})
	s.voted(hello, 1)
	s.voted(plain, 1)
	s.writeAPT(strings.NewReplacer("1.4", "1.5", "1401", "1501").Replace(baseWithFoo))
	s.g.Approve(t, hello.Number)
	s.g.Approve(t, plain.Number)
	s.merged(hello)
	s.merged(plain)
	if ran := s.worker.runs(job.StageBuild, "hello"); len(ran) != 2 {
		t.Errorf("hello was built %d times; libfoo was another one in the gate", len(ran))
	}
	if ran := s.worker.runs(job.StageBuild, "plain"); len(ran) != 1 {
		t.Errorf("plain was built %d times; it has nothing to do with libfoo", len(ran))
	}
}
