package engine

import (
	"os"
	"strings"
	"testing"
	"time"

	"sluice/internal/blob"
	"sluice/internal/repo"
	"sluice/internal/signing"
)

// What a served manifest names stays, with the tested bytes behind it; what
// nothing names goes, once it is old enough; an unreadable manifest stops it all.
func TestSweep(t *testing.T) {
	ctx := t.Context()
	store, err := blob.OpenFS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string) blob.Digest {
		d, _, err := store.Put(ctx, strings.NewReader(text), "")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	old, young, named := put("nobody's, old"), put("nobody's, young"), put("an artifact")
	key, err := signing.Generate(signing.Template{Name: "test", Algorithm: signing.Ed25519}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	served, m, err := repo.NewBuilder(store, nil, 0, "").BuildTest(ctx, repo.TestRepository{
		Format: repo.DEB, Identity: repo.Identity{Origin: "t", Label: "t", Suite: "bookworm", Codename: "bookworm"},
		Architectures: []string{"amd64"}, Signer: signing.NewSigner(key), At: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-2 * grace)
	err = store.Walk(ctx, func(i blob.Info) error {
		if i.Digest == young {
			return nil
		}
		return os.Chtimes(store.Path(i.Digest), long, long)
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := func(f func(string, bool)) error {
		f(string(named), false)
		f(string(served), true)
		return nil
	}
	out, err := Sweep(ctx, store, time.Now(), rows)
	if err != nil || out.Blobs != 1 || out.Bytes != int64(len("nobody's, old")) {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := store.Stat(ctx, old); err == nil {
		t.Error("an old blob that nothing names is still there")
	}
	for _, e := range m.Files {
		if _, err := store.Stat(ctx, e.SHA256); err != nil {
			t.Errorf("a file of a served repository is gone: %v", err)
		}
	}
	if err := store.Delete(ctx, served); err != nil {
		t.Fatal(err)
	}
	if _, err := Sweep(ctx, store, time.Now().Add(3*grace), rows); err == nil {
		t.Error("a manifest that cannot be read did not stop the sweep")
	}
	if _, err := store.Stat(ctx, young); err != nil {
		t.Error("a sweep that was stopped removed something")
	}
}
