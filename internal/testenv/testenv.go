// Package testenv gives tests the real parts that sluice works with: a Postgres server, Gerrit servers, an RPM
// distribution, Debian roots, and a network link that can be cut.
//
// Start here: a test package that wants a server says so once,
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// and then asks for what it needs, as often as it likes:
//
//	dsn := testenv.Postgres(t)      // a fresh, empty database
//	g := testenv.Gerrit(t)          // the process's one Gerrit, newest version
//	distro := testenv.RPMDistro(t)  // a directory, shared by all test processes
//
// What runs (Postgres, Gerrit) belongs to the test process: it starts at the first call, is shared by the tests of the
// package, and Main stops it, by pid. If the test process is killed, both servers notice and stop by themselves. What
// lies on disk (roots, the RPM distribution, Gerrit's jars and templates) is made once under a file lock in a cache that
// all test processes share; SLUICE_TEST_CACHE names it.
//
// Nothing here is a stand-in: whatever cannot be had fails the test with the reason.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// process is what this test process has started.
var process struct {
	mu       sync.Mutex // guards all below
	main     bool       // Main runs: there is someone to clean up
	cleanups []func()   // run in reverse order by Main
}

// Main runs the package's tests, stops every server that they started, and ends the process.
func Main(m *testing.M) {
	process.mu.Lock()
	process.main = true
	process.mu.Unlock()
	code := m.Run()
	process.mu.Lock()
	cleanups := process.cleanups
	process.mu.Unlock()
	for i := len(cleanups) - 1; i >= 0; i-- {
		cleanups[i]()
	}
	os.Exit(code)
}

// atEnd has Main call f after the tests.
func atEnd(f func()) {
	process.mu.Lock()
	defer process.mu.Unlock()
	process.cleanups = append(process.cleanups, f)
}

// needMain fails a test whose package has nobody to stop the servers.
func needMain(t testing.TB) {
	t.Helper()
	process.mu.Lock()
	defer process.mu.Unlock()
	if !process.main {
		t.Fatal("testenv: this package needs: func TestMain(m *testing.M) { testenv.Main(m) }")
	}
}

// ModuleRoot is the checkout's top directory, absolute.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		t.Fatal("testenv: the tests must be built without -trimpath, to find the module's scripts")
	}
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Full says whether the long sizes of the tests were asked for (SLUICE_TEST_FULL=1). A test shrinks without it; none is
// left out.
func Full() bool { return os.Getenv("SLUICE_TEST_FULL") == "1" }

// CacheDir is where test processes share what is expensive to make: SLUICE_TEST_CACHE, or a per-user folder.
func CacheDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SLUICE_TEST_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatalf("testenv: no cache directory: %v; set SLUICE_TEST_CACHE", err)
		}
		dir = filepath.Join(base, "sluice", "test")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("testenv: %v; set SLUICE_TEST_CACHE", err)
	}
	return dir
}

// Locked runs f while this process alone holds the named lock in the cache directory.
func Locked(t testing.TB, name string, f func(dir string)) {
	t.Helper()
	dir := CacheDir(t)
	file, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("testenv: lock %s: %v", file.Name(), err)
	}
	f(dir)
}

// script runs one of the module's scripts and returns its standard output.
func script(t testing.TB, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(filepath.Join(ModuleRoot(t), "scripts", name), args...)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("scripts/%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}
