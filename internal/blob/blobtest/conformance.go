// Package blobtest is the conformance suite of blob.Store: what every
// implementation must do, whatever it stores its blobs in.
package blobtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/internal/blob"
)

// Run holds a Store to its contract; open returns a new, empty one.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(*testing.T, blob.Store){
		"round trip":     roundTrip,
		"refusals":       refusals,
		"broken reader":  brokenReader,
		"walk":           walk,
		"concurrent put": concurrent,
		"read all":       readAll,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, s blob.Store) (n int) {
	t.Helper()
	must(t, s.Walk(t.Context(), func(blob.Info) error { n++; return nil }))
	return n
}

func roundTrip(t *testing.T, s blob.Store) {
	ctx := t.Context()
	for _, size := range []int{0, 1, 4096, 3 << 20} {
		data := make([]byte, size)
		rand.Read(data)
		want := blob.DigestOf(data)
		for range 2 { // the second time it is there already
			d, n, err := s.Put(ctx, bytes.NewReader(data), want)
			must(t, err)
			if d != want || n != int64(size) {
				t.Fatalf("Put gave %s, %d; want %s, %d", d, n, want, size)
			}
		}
		f, n, err := s.Open(ctx, want)
		must(t, err)
		got, err := io.ReadAll(f)
		must(t, err)
		if n != int64(size) || !bytes.Equal(got, data) {
			t.Fatalf("Open gave %d bytes, other than the %d stored", n, size)
		}
		if size > 100 {
			part := make([]byte, 10)
			_, err = f.ReadAt(part, 50)
			must(t, err)
			if !bytes.Equal(part, data[50:60]) {
				t.Fatal("ReadAt gave other bytes")
			}
		}
		must(t, f.Close())
		info, err := s.Stat(ctx, want)
		must(t, err)
		if info.Size != int64(size) || info.Digest != want || info.Modified.IsZero() {
			t.Fatalf("Stat gave %+v", info)
		}
		must(t, s.Verify(ctx, want))
	}
}

func refusals(t *testing.T, s blob.Store) {
	ctx := t.Context()
	absent := blob.DigestOf([]byte("absent"))
	if _, _, err := s.Put(ctx, strings.NewReader("other"), absent); !errors.Is(err, blob.ErrMismatch) {
		t.Errorf("Put of other bytes: %v", err)
	}
	for _, d := range []blob.Digest{absent, "", "../../../../etc/passwd", blob.Digest(strings.Repeat("A", 64))} {
		if _, _, err := s.Open(ctx, d); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Open(%q): %v", d, err)
		}
		if _, err := s.Stat(ctx, d); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Stat(%q): %v", d, err)
		}
		if err := s.Verify(ctx, d); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("Verify(%q): %v", d, err)
		}
		if err := s.Delete(ctx, d); err != nil {
			t.Errorf("Delete(%q): %v", d, err)
		}
	}
	if _, _, err := s.Put(ctx, strings.NewReader("x"), "nonsense"); err == nil {
		t.Error("Put took an expected digest that is none")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := s.Put(ended, strings.NewReader("late"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Put after the end: %v", err)
	}
	if n := count(t, s); n != 0 {
		t.Errorf("%d blobs after refusals only", n)
	}
}

type failing struct{ n int }

var errReader = errors.New("the sender went away")

func (f *failing) Read(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errReader
	}
	return len(p), nil
}

func brokenReader(t *testing.T, s blob.Store) {
	if _, _, err := s.Put(t.Context(), &failing{3}, ""); !errors.Is(err, errReader) {
		t.Errorf("Put from a broken reader: %v", err)
	}
	if n := count(t, s); n != 0 {
		t.Errorf("%d blobs after a broken reader", n)
	}
}

func walk(t *testing.T, s blob.Store) {
	ctx := t.Context()
	var want []blob.Digest
	for i := range 20 {
		d, err := blob.PutBytes(ctx, s, []byte{byte(i)})
		must(t, err)
		want = append(want, d)
	}
	must(t, s.Delete(ctx, want[7]))
	want = slices.Delete(want, 7, 8)
	slices.Sort(want)
	var got []blob.Digest
	must(t, s.Walk(ctx, func(i blob.Info) error {
		if i.Size != 1 {
			t.Errorf("%s has size %d", i.Digest, i.Size)
		}
		got = append(got, i.Digest)
		return nil
	}))
	if !slices.Equal(got, want) {
		t.Errorf("Walk gave %v, want %v", got, want)
	}
	stop := errors.New("enough")
	if err := s.Walk(ctx, func(blob.Info) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Walk's end: %v", err)
	}
}

func concurrent(t *testing.T, s blob.Store) {
	data := bytes.Repeat([]byte("same"), 1000)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, _, err := s.Put(t.Context(), bytes.NewReader(data), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, s); n != 1 {
		t.Errorf("%d blobs of one content", n)
	}
	must(t, s.Verify(t.Context(), blob.DigestOf(data)))
}

func readAll(t *testing.T, s blob.Store) {
	ctx := t.Context()
	d, err := blob.PutBytes(ctx, s, []byte("hello"))
	must(t, err)
	got, err := blob.ReadAll(ctx, s, d, 5)
	must(t, err)
	if string(got) != "hello" {
		t.Errorf("ReadAll gave %q", got)
	}
	if _, err := blob.ReadAll(ctx, s, d, 4); err == nil {
		t.Error("ReadAll passed its limit")
	}
}
