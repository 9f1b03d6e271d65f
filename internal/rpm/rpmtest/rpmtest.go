// Package rpmtest makes small RPMs for tests, with rpmbuild.
package rpmtest

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
	Name    string
	EVR     string            // "[EPOCH:]VERSION-RELEASE"
	Tags    string            // more lines of the preamble, each with its newline
	Text    string            // sections behind %files, each with its newline
	Files   map[string]string // path → text; a file below /usr/share is always there
	Defines []string          // more macros, "NAME VALUE"
}

// Build makes a noarch RPM and its source RPM, and returns their paths.
func Build(t testing.TB, p Package) (binary, source string) {
	t.Helper()
	top := t.TempDir()
	epoch, rest, found := strings.Cut(p.EVR, ":")
	if !found {
		epoch, rest = "0", p.EVR
	}
	version, release, _ := strings.Cut(rest, "-")
	var spec, files strings.Builder
	fmt.Fprintf(&spec, "Name: %s\nVersion: %s\nRelease: %s\nEpoch: %s\nSummary: a <test> & \"package\"\nLicense: MIT\nURL: http://example.com/?a=b&c\nBuildArch: noarch\n%s%%description\nSome <text>\nof two lines\n%%install\n",
		p.Name, version, release, epoch, p.Tags)
	add := func(path, text string) {
		fmt.Fprintf(&spec, "mkdir -p %%{buildroot}%s\ncat > '%%{buildroot}%s' <<'THE_END'\n%sTHE_END\n", filepath.Dir(path), path, text)
		fmt.Fprintf(&files, "\"%s\"\n", path)
	}
	add("/usr/share/"+p.Name+"/version", p.EVR+"\n")
	for path, text := range p.Files {
		add(path, text)
	}
	fmt.Fprintf(&spec, "%%files\n%%dir /usr/share/%s\n%s%s", p.Name, files.String(), p.Text)
	path := filepath.Join(top, p.Name+".spec")
	if err := os.WriteFile(path, []byte(spec.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-ba"}
	for _, d := range append([]string{"_topdir " + top, "_dbpath " + top + "/db", "_buildhost test", "_buildshell /bin/bash"}, p.Defines...) {
		args = append(args, "--define", d)
	}
	Run(t, "rpmbuild", append(args, path)...)
	return glob(t, top+"/RPMS/noarch/*.rpm"), glob(t, top+"/SRPMS/*.rpm")
}

func glob(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// Run runs a command and fails the test with its output if it fails.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Verify checks a package's digests and signatures with rpmkeys and the
// armoured public key, and returns what rpmkeys says.
func Verify(t testing.TB, key string, paths ...string) string {
	t.Helper()
	db := t.TempDir()
	path := filepath.Join(db, "key.asc")
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	Run(t, "rpmkeys", "--dbpath", db, "--import", path)
	return Run(t, "rpmkeys", append([]string{"--dbpath", db, "-Kv"}, paths...)...)
}
