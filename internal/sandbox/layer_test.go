package sandbox_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"sluice/internal/job"
	"sluice/internal/sandbox"
	"sluice/internal/sandbox/roottest"
)

// A layer is made once, whoever asks, and holds what one box wrote on others.
func TestLayer(t *testing.T) {
	s, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	var made atomic.Int32
	build := func(ctx context.Context, b *sandbox.Box) error {
		made.Add(1)
		return b.Run(ctx, sandbox.Command{Args: []string{"sh", "-c", "echo tool > /usr/bin/tool; rm /etc/hosts; echo x > /tmp/rubbish"}})
	}
	below := []sandbox.Layer{s.layer}
	layers := make([]sandbox.Layer, 4)
	var wait sync.WaitGroup
	for i := range layers {
		wait.Go(func() { layers[i], _ = shared.m.Layer(t.Context(), t.Name(), below, build) })
	}
	wait.Wait()
	if n := made.Load(); n != 1 || layers[0].ID == "" || layers[3] != layers[0] {
		t.Fatalf("made %d times: %v", n, layers)
	}
	for range 2 {
		b := must[*sandbox.Box](t)(shared.m.New(t.Context(), sandbox.BoxOptions{Name: t.Name(), Layers: append(below, layers[0])}))
		out, err := sh(t, b, sandbox.Builder, "cat /usr/bin/tool; ls /etc/hosts /tmp/rubbish 2>/dev/null")
		if !strings.HasPrefix(out, "tool") || strings.Contains(out, "rubbish") || strings.Contains(out, "hosts") {
			t.Errorf("%q, %v", out, err)
		}
		sh(t, b, sandbox.Root, "echo spoilt > /usr/bin/tool")
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := shared.m.Layer(t.Context(), "fails", below, func(context.Context, *sandbox.Box) error { return io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A root that arrives with other bytes, or in part, is refused and not kept.
func TestRootWithOtherBytes(t *testing.T) {
	s, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	data := must[[]byte](t)(os.ReadFile(s.made.Path))
	wrong := job.Digest(strings.Repeat("0", 64))
	for name, content := range map[string][]byte{"other": data, "part": data[:len(data)/2], "none": nil, "noise": []byte("noise")} {
		_, err := shared.m.Root(t.Context(), wrong, func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		})
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if left, _ := filepath.Glob(shared.m.Dir() + "/roots/000*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A hostile tar writes nothing outside of the box.
func TestUnpackHostileTar(t *testing.T) {
	outside := t.TempDir()
	b := box(t, job.Limits{})
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, h := range []tar.Header{
		{Name: "../../../../../.." + outside + "/dots", Typeflag: tar.TypeReg},
		{Name: "abs", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		{Name: "abs/sluice-through", Typeflag: tar.TypeReg},
		{Name: outside + "/absolute", Typeflag: tar.TypeReg},
		{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 254},
		{Name: "tree/file", Typeflag: tar.TypeReg, Mode: 0o4755},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if err := b.Unpack(t.Context(), &buf, "/home/builder/src", sandbox.Builder); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat("/etc/sluice-through"); err == nil {
		t.Error("written through a link")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("written outside: %v", left)
	}
	out, err := sh(t, b, sandbox.Builder, "cd ~/src; ls -l tree; stat -c %U tree/file; test -e disk || echo no device")
	if err != nil || !strings.Contains(out, "builder\nno device") {
		t.Errorf("%q, %v", out, err)
	}
}

// A worker that dies leaves what its successor's Open removes; until then
// the directory is its own.
func TestOpenAfterDeath(t *testing.T) {
	dir := t.TempDir()
	if _, err := debian(); err != nil {
		t.Fatal(err)
	}
	worker := exec.CommandContext(t.Context(), "/proc/self/exe")
	worker.Env = append(os.Environ(), "SLUICE_TEST_WORKER="+dir)
	out := must[io.ReadCloser](t)(worker.StdoutPipe())
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.Open(t.Context(), dir, sandbox.Options{}); !errors.Is(err, sandbox.ErrInUse) {
		t.Errorf("a second Open: %v", err)
	}
	worker.Process.Kill()
	// The box's processes hold the other end of this pipe: it ends with the last of them.
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	worker.Wait()
	m := must[*sandbox.Manager](t)(sandbox.Open(t.Context(), dir, sandbox.Options{}))
	defer m.Close()
	if left := roottest.Left(m); left != "0 processes [], 0 mounts, groups [], boxes []" {
		t.Error(left)
	}
}
