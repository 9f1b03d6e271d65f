package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// RPMDistro is the directory of the small RPM distribution that scripts/rpm-distro.sh makes of Debian's packages:
// repo/ (the repository), dnf.conf, dnf-plugins/, home/ (HOME for dnf and rpm). It is shared: nobody writes there.
func RPMDistro(t testing.TB) (dir string) {
	t.Helper()
	Locked(t, "rpm-distro", func(cache string) {
		dir = filepath.Join(cache, "rpm-distro")
		if _, err := script(t, nil, "rpm-distro.sh", dir); err != nil {
			t.Fatalf("testenv: RPM distribution: %v", err)
		}
	})
	return dir
}

// DebianRoot is the directory of a minimal Debian root of this machine's release, with the packages named, made by
// scripts/base-root.sh from this machine's own apt sources. It is shared: use it as the lower side of an overlay.
func DebianRoot(t testing.TB, packages ...string) (dir string) {
	t.Helper()
	return cachedRoot(t, "", packages, func(path string) bool {
		_, err := os.Stat(filepath.Join(path, "etc"))
		return err == nil
	})
}

// DebianRootTar is DebianRoot as a tarball, not compressed.
func DebianRootTar(t testing.TB, packages ...string) (path string) {
	t.Helper()
	return cachedRoot(t, ".tar", packages, func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// cachedRoot makes a root where the cache does not have it. Its name is the hash of what goes in and of the script; what
// a name holds is complete, for it is made beside its place and then renamed.
func cachedRoot(t testing.TB, suffix string, packages []string, complete func(path string) bool) (path string) {
	t.Helper()
	packages = slices.Sorted(slices.Values(packages))
	maker, err := os.ReadFile(filepath.Join(ModuleRoot(t), "scripts", "base-root.sh"))
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	sum := sha256.Sum256([]byte(string(maker) + strings.Join(packages, " ")))
	name := "debian-root-" + hex.EncodeToString(sum[:6])
	Locked(t, name+suffix, func(cache string) {
		path = filepath.Join(cache, name+suffix)
		if complete(path) {
			return
		}
		part := filepath.Join(cache, fmt.Sprintf("part-%s%s", name, suffix))
		if err := os.RemoveAll(part); err != nil {
			t.Fatalf("testenv: %v", err)
		}
		if _, err := script(t, nil, "base-root.sh", append([]string{part}, packages...)...); err != nil {
			t.Fatalf("testenv: Debian root: %v", err)
		}
		if err := os.Rename(part, path); err != nil {
			t.Fatalf("testenv: %v", err)
		}
	})
	return path
}
