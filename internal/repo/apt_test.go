package repo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/blob"
	"sluice/internal/deb"
	"sluice/internal/deb/debtest"
	"sluice/internal/repo"
	"sluice/internal/signing"
)

func hello(version string) debtest.Package {
	return debtest.Package{Name: "hello", Version: version, Architecture: "amd64", Fields: "Section: misc\n", Files: map[string]string{"usr/bin/hello": "#!/bin/sh\necho " + version + "\n"}}
}

// From an empty machine: update, install, source, then an upgrade.
func TestAptInstallsAndUpgrades(t *testing.T) {
	h := newHouse(t, repo.DEB)
	dsc, tarball := debtest.BuildSource(t, t.TempDir(), "libfoo", "1.2")
	one := h.deb(hello("1:1.0-1"))
	lib := h.deb(debtest.Package{Name: "libfoo-data", Version: "1.2", Compression: "xz", Fields: "Source: libfoo\n"})
	source := h.put(dsc, tarball)
	h.publish(append(source, one, lib)...)
	h.clean()

	a := newApt(t, h, 0)
	a.run("apt-get", "update")
	a.run("apt-get", "install", "-y", "hello", "libfoo-data")
	if text, err := os.ReadFile(a.root + "/usr/share/doc/hello/version"); err != nil || string(text) != "1:1.0-1\n" {
		t.Error(string(text), err)
	}
	a.run("apt-get", "source", "--download-only", "libfoo")
	if _, err := os.Stat(a.root + "/libfoo_1.2.tar.xz"); err != nil {
		t.Error(err)
	}
	stanza := a.run("apt-cache", "show", "hello")
	if !strings.Contains(stanza, " with  odd spacing\n .\n and a paragraph\n") {
		t.Errorf("not to the letter:\n%s", stanza)
	}
	two := h.deb(hello("1:1.0-2"))
	h.publish(append(source, one, two, lib)...)
	h.clean()
	a.run("apt-get", "update")
	a.run("apt-get", "upgrade", "-y")
	if text, err := os.ReadFile(a.root + "/usr/share/doc/hello/version"); err != nil || string(text) != "1:1.0-2\n" {
		t.Error(string(text), err)
	}
	if n := h.misses.Load(); n > 0 && !strings.Contains(stanza, "Translation") {
		t.Logf("%d requests for files that are not there", n)
	}
}

// A stranger's key, a changed index: apt refuses.
func TestAptRefusesForgeries(t *testing.T) {
	h := newHouse(t, repo.DEB)
	h.publish(h.deb(hello("1.0-1")))
	a := newApt(t, h, 0)
	other, err := signing.Generate(signing.Template{Name: "stranger", Algorithm: signing.Ed25519}, t0.Add(-time.Hour))
	must(t, err)
	must(t, os.WriteFile(a.root+"/etc/apt/keyrings/sluice.asc", []byte(other.PublicArmored()), 0o644))
	if out, err := a.try("apt-get", "update"); err == nil || !strings.Contains(out, "NO_PUBKEY") {
		t.Errorf("a stranger's signature was taken: %v\n%s", err, out)
	}
	// During a rotation both keys sign, and who knows only the new one is content.
	r := h.next(h.last().manifest.Inputs()...)
	r.Signer = signing.NewSigner(key(), other)
	h.move(r)
	a.run("apt-get", "update")
}

// A test repository's lower version wins when it is pinned over 1000, and
// nobody gets it by accident.
func TestAptTestRepository(t *testing.T) {
	h := newHouse(t, repo.DEB)
	d, m, err := h.builder.BuildTest(t.Context(), repo.TestRepository{Format: repo.DEB, Identity: identity, Architectures: []string{"amd64"},
		Files: []repo.File{h.deb(hello("1.0-1"))}, Signer: signing.NewSigner(key()), At: t0})
	must(t, err)
	h.history = append(h.history, moved{t0, d, m})
	h.clean()
	a := newApt(t, h, 1001)
	a.run("apt-get", "update")
	must(t, os.WriteFile(a.root+"/var/lib/dpkg/status", []byte("Package: hello\nStatus: install ok installed\nVersion: 9.0-1\nArchitecture: amd64\nMaintainer: x <x@example.com>\nDescription: x\n\n"), 0o644))
	if out := a.run("apt-get", "-s", "--allow-downgrades", "dist-upgrade", "-y"); !strings.Contains(out, "Inst hello [9.0-1] (1.0-1") {
		t.Errorf("the pinned version does not win:\n%s", out)
	}
	must(t, os.Remove(a.root+"/etc/apt/preferences.d/sluice"))
	if out := a.run("apt-cache", "policy", "hello"); !strings.Contains(out, "1.0-1 1\n") {
		t.Errorf("NotAutomatic is not heeded:\n%s", out)
	}
}

// What apt does while publications follow one another: never an error.
func TestAptWhilePublishing(t *testing.T) {
	h := newHouse(t, repo.DEB)
	files := []repo.File{h.deb(hello("1.0-1"))}
	h.publish(files...)
	a := newApt(t, h, 0)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			r := h.next(files...)
			d, m, err := h.builder.BuildRelease(ctx, r)
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				break
			}
			h.mu.Lock()
			h.history = append(h.history, moved{time.Now(), d, m})
			h.mu.Unlock()
		}
		done <- n
	}()
	for i := range size(5) {
		if out, err := a.try("apt-get", "update"); err != nil {
			t.Errorf("update %d: %v\n%s", i, err, out)
			break
		}
	}
	stop()
	t.Logf("%d publications meanwhile", <-done)
	h.clean()
}

// size is the size of a test: greater when all is tested.
func size(n int) int {
	if os.Getenv("SLUICE_TEST_FULL") != "" {
		return 10 * n
	}
	return n
}

func TestDebRefusals(t *testing.T) {
	h := newHouse(t, repo.DEB)
	good := h.deb(hello("1.0-1"))
	dsc, tarball := debtest.BuildSource(t, t.TempDir(), "libfoo", "1.2")
	source := h.put(dsc, tarball)
	other := hello("1.0-1")
	other.Files = map[string]string{"usr/bin/other": "x"}
	otherFile := h.deb(other)
	junk, err := blob.PutBytes(t.Context(), h.store, []byte("junk"))
	must(t, err)
	for name, c := range map[string]struct {
		files []repo.File
		want  error
	}{
		"corrupt":            {[]repo.File{{Name: "x_1_all.deb", Digest: junk}}, deb.ErrBad},
		"corrupt as refused": {[]repo.File{{Name: "x_1_all.deb", Digest: junk}}, repo.ErrPackage},
		"wrong name":         {[]repo.File{{Name: "hullo_1.0-1_amd64.deb", Digest: good.Digest}}, repo.ErrPackage},
		"other bytes":        {[]repo.File{good, otherFile}, repo.ErrOtherBytes},
		"no tarball":         {source[:1], repo.ErrPackage},
		"a file too many":    {append([]repo.File{{Name: "x.changes", Digest: junk}}, source...), repo.ErrPackage},
		"other tarball":      {[]repo.File{source[0], {Name: source[1].Name, Digest: junk}}, repo.ErrPackage},
		"architecture":       {[]repo.File{h.deb(debtest.Package{Name: "x", Version: "1", Architecture: "arm64"})}, repo.ErrPackage},
		"an rpm":             {[]repo.File{{Name: "x.rpm", Digest: junk}}, repo.ErrPackage},
		"lost":               {[]repo.File{{Name: "y_1_all.deb", Digest: blob.DigestOf([]byte("lost"))}}, blob.ErrNotFound},
	} {
		if _, _, err := h.builder.BuildRelease(t.Context(), h.next(c.files...)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.publish(good)
	if _, _, err := h.builder.BuildRelease(t.Context(), h.next(otherFile)); !errors.Is(err, repo.ErrOtherBytes) {
		t.Error("the same version with other bytes:", err)
	}
	r := h.next(good)
	r.Identity.Origin = "Elsewhere"
	if _, _, err := h.builder.BuildRelease(t.Context(), r); err == nil {
		t.Error("another origin was taken")
	}
	r = h.next(good)
	r.Serial = 1
	if _, _, err := h.builder.BuildRelease(t.Context(), r); err == nil {
		t.Error("a serial that does not grow was taken")
	}
}

// Dates grow even when the clock does not; old files stay for three
// publications and three days, and then go.
func TestPublicationsFollow(t *testing.T) {
	h := newHouse(t, repo.DEB)
	one, two := h.deb(hello("1.0-1")), h.deb(hello("1.0-2"))
	first := h.publish(one)
	path := first.manifest.Publication.Packages[0].Path
	var byHash string
	for p := range first.manifest.Files {
		if strings.Contains(p, "binary-amd64/by-hash") {
			byHash = p
		}
	}
	day := 24 * time.Hour
	for i, c := range []struct {
		after time.Duration
		there bool
	}{{0, true}, {day, true}, {2 * day, true}, {2*day + time.Hour, true}, {3*day + time.Hour, false}} {
		r := h.next(two)
		r.At = t0.Add(c.after)
		r.Validity = 9 * day
		before := h.last().manifest.Publication.Date
		now := h.move(r).manifest
		if !now.Publication.Date.After(before) {
			t.Errorf("%d: %s does not follow %s", i, now.Publication.Date, before)
		}
		for _, p := range []string{path, byHash} {
			if _, ok := now.Lookup(p); ok != c.there {
				t.Errorf("publication %d, after %v: %s there %v", i, c.after, p, ok)
			}
		}
		if now.NeedsSigning(now.Publication.Date.Add(2*day)) || !now.NeedsSigning(now.Publication.Date.Add(3*day)) {
			t.Error("it is not signed anew at a third of its life")
		}
	}
	h.clean()
	for _, p := range []string{"", "..", "/etc/passwd", "dists/../dists/bookworm/Release", "pool"} {
		if _, _, err := repo.Open(t.Context(), h.store, h.last().manifest, p); !errors.Is(err, repo.ErrNotFound) {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// Indices that were put together of kept shards are those of a builder that
// knows nothing; gzip and xz unpack to the plain ones.
func TestShardsMakeTheSameIndices(t *testing.T) {
	h := newHouse(t, repo.DEB)
	var files []repo.File
	for i := range 60 {
		files = append(files, h.deb(debtest.Package{Name: fmt.Sprintf("p%d", i*7919%1000), Version: "1"}))
		if i%20 == 10 {
			h.publish(files...)
		}
	}
	warm := h.publish(files...)
	r := h.next(files...)
	r.Previous, r.Serial, r.At = "", 9, warm.manifest.Publication.Date
	_, cold, err := repo.NewBuilder(h.store, nil, 1, "").BuildRelease(t.Context(), r)
	must(t, err)
	for p, e := range cold.Files {
		if warm.manifest.Files[p] != e {
			t.Errorf("%s differs", p)
		}
	}
	h.clean()
	dir := t.TempDir()
	must(t, repo.Export(t.Context(), h.store, warm.digest, dir))
	base := dir + "/current/dists/bookworm/main/binary-amd64/Packages"
	plain, err := os.ReadFile(base)
	must(t, err)
	for _, c := range [][]string{{"gzip", "-dc", base + ".gz"}, {"xz", "-dc", base + ".xz"}, {"xz", "-dc", dir + "/current/dists/bookworm/main/source/Sources.xz"}} {
		out, err := exec.Command(c[0], c[1:]...).Output()
		must(t, err)
		if strings.Contains(c[2], "Packages") && string(out) != string(plain) {
			t.Errorf("%v gives another index", c)
		}
	}
	scan := debtest.Run(t, filepath.Join(dir, "current"), "sh", "-c", "dpkg-scanpackages --multiversion pool 2>/dev/null | grep -c ^Package:")
	if strings.TrimSpace(scan) != fmt.Sprint(strings.Count(string(plain), "\nFilename: ")) {
		t.Errorf("dpkg-scanpackages counts %s", scan)
	}
}
