package blob_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/internal/blob"
	"sluice/internal/blob/blobtest"
)

func TestFS(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s, err := blob.OpenFS(filepath.Join(t.TempDir(), "blobs"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestParseDigest(t *testing.T) {
	good := strings.Repeat("0af9", 16)
	if d, err := blob.ParseDigest(good); err != nil || string(d) != good {
		t.Error(d, err)
	}
	for _, bad := range []string{"", "0", good[1:], good + "0", strings.ToUpper(good), good[:63] + "g", good[:63] + "/"} {
		if _, err := blob.ParseDigest(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A writer that was killed leaves a temporary file; the next start removes it.
func TestLeftoversAreCleaned(t *testing.T) {
	dir := t.TempDir()
	if _, err := blob.OpenFS(dir); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "tmp", "blob-123")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.OpenFS(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Error("a leftover is still there:", err)
	}
}

func TestCorruptBlobs(t *testing.T) {
	s, err := blob.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d, err := blob.PutBytes(t.Context(), s, []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Path(d), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path(d), []byte("wrong"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), d); !errors.Is(err, blob.ErrCorrupt) {
		t.Error("Verify:", err)
	}
	if _, err := blob.ReadAll(t.Context(), s, d, 100); !errors.Is(err, blob.ErrCorrupt) {
		t.Error("ReadAll:", err)
	}
	// A cut-off file is replaced by the next Put of the right bytes.
	if err := os.Truncate(s.Path(d), 2); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.PutBytes(t.Context(), s, []byte("right")); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), d); err != nil {
		t.Error("after the repair:", err)
	}
}

const fullDir = "SLUICE_TEST_FULL_DISK"

// TestFullDisk fills a real, small file system (a tmpfs in a mount namespace of
// a child's own).
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDir); dir != "" {
		fillDisk(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDir+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, dir string) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	s, err := blob.OpenFS(dir)
	if err != nil {
		t.Fatal(err)
	}
	small, err := blob.PutBytes(t.Context(), s, []byte("small"))
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), 2<<20)
	if _, _, err := s.Put(t.Context(), bytes.NewReader(big), ""); !errors.Is(err, blob.ErrFull) {
		t.Error("Put on a full disk:", err)
	}
	n := 0
	if err := s.Walk(t.Context(), func(blob.Info) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d blobs, %v; the small one is wanted", n, err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) != 0 {
		t.Error("half a blob was left:", left)
	}
	if err := s.Verify(t.Context(), small); err != nil {
		t.Error(err)
	}
	if _, err := blob.PutBytes(t.Context(), s, big[:4096]); err != nil {
		t.Error("the disk has room again, but:", err)
	}
}
