// Package debtest makes small .debs and source packages for tests, with
// Debian's own tools.
package debtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Package says what Build makes.
type Package struct {
	Name, Version string
	Architecture  string            // "" is all
	Compression   string            // dpkg-deb's -Z; "" is gzip
	Fields        string            // more lines of control, each with its newline
	Files         map[string]string // path → text; a file below /usr/share/doc is always there
}

// Build makes a .deb in dir and returns its path.
func Build(t testing.TB, dir string, p Package) string {
	t.Helper()
	if p.Architecture == "" {
		p.Architecture = "all"
	}
	if p.Compression == "" {
		p.Compression = "gzip"
	}
	tree := t.TempDir()
	put(t, filepath.Join(tree, "DEBIAN/control"), fmt.Sprintf(
		"Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: A Person <person@example.com>\n%sDescription: a test package\n with  odd spacing\n .\n and a paragraph\n",
		p.Name, p.Version, p.Architecture, p.Fields))
	put(t, filepath.Join(tree, "usr/share/doc", p.Name, "version"), p.Version+"\n")
	for path, text := range p.Files {
		put(t, filepath.Join(tree, path), text)
	}
	_, plain, found := strings.Cut(p.Version, ":")
	if !found {
		plain = p.Version
	}
	out := filepath.Join(dir, fmt.Sprintf("%s_%s_%s.deb", p.Name, plain, p.Architecture))
	Run(t, dir, "dpkg-deb", "--root-owner-group", "-Z"+p.Compression, "--build", tree, out)
	return out
}

// BuildSource makes a source package of native format in dir and returns the
// paths of its .dsc and its tarball.
func BuildSource(t testing.TB, dir, name, version string) (dsc, tarball string) {
	t.Helper()
	tree := filepath.Join(t.TempDir(), name+"-"+version)
	put(t, filepath.Join(tree, "debian/control"), fmt.Sprintf(
		"Source: %s\nMaintainer: A Person <person@example.com>\nBuild-Depends: debhelper-compat (= 13)\nStandards-Version: 4.6.2\n\nPackage: %s\nArchitecture: all\nDescription: a test package\n long\n", name, name))
	put(t, filepath.Join(tree, "debian/changelog"), fmt.Sprintf(
		"%s (%s) unstable; urgency=low\n\n  * Test.\n\n -- A Person <person@example.com>  Mon, 05 Jan 2026 12:00:00 +0000\n", name, version))
	put(t, filepath.Join(tree, "debian/source/format"), "3.0 (native)\n")
	put(t, filepath.Join(tree, "debian/rules"), "#!/usr/bin/make -f\n%:\n\tdh $@\n")
	Run(t, dir, "dpkg-source", "--build", tree)
	base := filepath.Join(dir, name+"_"+version)
	return base + ".dsc", base + ".tar.xz"
}

// Run runs a command in dir, and fails the test with its output if it fails.
func Run(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SOURCE_DATE_EPOCH=1767614400")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
