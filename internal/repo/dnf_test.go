package repo_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/blob"
	"sluice/internal/repo"
	"sluice/internal/rpm"
	"sluice/internal/rpm/rpmtest"
	"sluice/internal/signing"
)

// dnf is a private dnf with an install root of its own.
type dnf struct {
	t    testing.TB
	root string
	home string
}

func newDnf(t testing.TB, h *house, unsigned bool) *dnf {
	d := &dnf{t: t, root: t.TempDir(), home: t.TempDir()}
	must(t, os.MkdirAll(d.home+"/repos", 0o755))
	must(t, os.MkdirAll(d.root+"/dev", 0o755))
	text := rpm.RepoFile(rpm.Client{ID: "sluice", Name: "Sluice", Mirrors: h.url + "mirrorlist", Keys: []string{h.url + "key.asc"}, Unsigned: unsigned, Priority: 1})
	must(t, os.WriteFile(d.home+"/repos/sluice.repo", []byte(text), 0o644))
	must(t, os.WriteFile(d.home+"/dnf.conf", []byte("[main]\nplugins=0\ninstallonly_limit=0\n"), 0o644))
	return d
}

func (d *dnf) try(args ...string) (string, error) {
	base := []string{"-y", "--config=" + d.home + "/dnf.conf", "--setopt=reposdir=" + d.home + "/repos", "--setopt=cachedir=" + d.home + "/cache",
		"--setopt=persistdir=" + d.home + "/persist", "--setopt=logdir=" + d.home, "--installroot=" + d.root, "--releasever=9", "--setopt=tsflags=noscripts"}
	cmd := exec.Command("dnf", append(base, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + d.home}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (d *dnf) run(args ...string) string {
	d.t.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.t.Fatalf("dnf %v: %v\n%s", args, err, out)
	}
	return out
}

func world(version string) rpmtest.Package {
	return rpmtest.Package{Name: "world", EVR: version, Tags: "AutoReqProv: no\n", Text: "%changelog\n* Mon Jan 05 2026 A <a@example.com> - 1\n- one\n"}
}

// With gpgcheck=1 and repo_gpgcheck=1: install, then upgrade to a version with
// characters that an address has to encode.
func TestDnfInstallsAndUpgrades(t *testing.T) {
	h := newHouse(t, repo.RPM)
	one := h.rpm(world("1:1.0-1.el9"))
	binary, source := rpmtest.Build(t, world("1:1.0+x~rc^git1-2.el9"))
	first := h.publish(one)
	h.clean()
	d := newDnf(t, h, false)
	d.run("install", "world")
	if text, err := os.ReadFile(d.root + "/usr/share/world/version"); err != nil || string(text) != "1:1.0-1.el9\n" {
		t.Error(string(text), err)
	}
	higher := h.rpm(world("1:2.0^git2+a~b-3.el9"))
	h.publish(append(h.put(binary, source), one, higher)...)
	h.clean()
	d.run("--refresh", "upgrade")
	if text, err := os.ReadFile(d.root + "/usr/share/world/version"); err != nil || string(text) != "1:2.0^git2+a~b-3.el9\n" {
		t.Error(string(text), err)
	}
	if out := d.run("repoquery", "--list", "world-1:2.0^git2+a~b-3.el9"); !strings.Contains(out, "/usr/share/world/version") {
		t.Errorf("filelists:\n%s", out)
	}
	if out := d.run("repoquery", "--changelog", "world-1:1.0-1.el9"); !strings.Contains(out, "- one") {
		t.Errorf("other:\n%s", out)
	}
	h.publishedEqualTested(first)
	h.publishedEqualTested(h.last())
}

// publishedEqualTested: what is published is signed, has the tested payload,
// and rpmkeys says so.
func (h *house) publishedEqualTested(m moved) {
	h.t.Helper()
	for _, p := range m.manifest.Publication.Packages {
		if p.Tested == p.Published || p.Payload == "" {
			h.t.Errorf("%s was not signed", p.File)
		}
		said := rpmtest.Verify(h.t, key().PublicArmored(), h.store.Path(blob.Digest(p.Published)))
		if !strings.Contains(said, "Signature, key ID") {
			h.t.Error(said)
		}
		tag := func(d string) string {
			return rpmtest.Run(h.t, "rpm", "--dbpath", h.t.TempDir(), "--nosignature", "-qp", "--qf", "%{PAYLOADDIGEST}", h.store.Path(blob.Digest(d)))
		}
		if a, b := tag(p.Tested), tag(p.Published); a != b || a != p.Payload {
			h.t.Errorf("%s: payloads %s, %s, %s", p.File, a, b, p.Payload)
		}
	}
}

func TestDnfRefusesForgeries(t *testing.T) {
	h := newHouse(t, repo.RPM)
	h.publish(h.rpm(world("1-1")))
	other, err := signing.Generate(signing.Template{Name: "stranger", Algorithm: signing.Ed25519}, t0.Add(-time.Hour))
	must(t, err)
	d := newDnf(t, h, false)
	path := d.home + "/stranger.asc"
	must(t, os.WriteFile(path, []byte(other.PublicArmored()), 0o644))
	text := rpm.RepoFile(rpm.Client{ID: "sluice", Name: "x", URL: h.url, Keys: []string{"file://" + path}})
	must(t, os.WriteFile(d.home+"/repos/sluice.repo", []byte(text), 0o644))
	if out, err := d.try("install", "world"); err == nil {
		t.Errorf("a stranger's signature was taken:\n%s", out)
	}
	// A test repository's packages are not signed: gpgcheck=1 refuses them.
	digest, m, err := h.builder.BuildTest(t.Context(), repo.TestRepository{Format: repo.RPM, Identity: identity, Files: []repo.File{h.rpm(world("2-1"))}, Signer: signing.NewSigner(key()), At: t0})
	must(t, err)
	h.history = append(h.history, moved{time.Now(), digest, m})
	h.clean()
	if out, err := newDnf(t, h, false).try("install", "world"); err == nil {
		t.Errorf("an unsigned package was taken:\n%s", out)
	}
	newDnf(t, h, true).run("install", "world")
}

func TestRPMRefusals(t *testing.T) {
	h := newHouse(t, repo.RPM)
	good := h.rpm(world("1-1"))
	junk, err := blob.PutBytes(t.Context(), h.store, []byte("junk"))
	must(t, err)
	cut, err := os.ReadFile(h.store.Path(good.Digest))
	must(t, err)
	short, err := blob.PutBytes(t.Context(), h.store, cut[:len(cut)-10])
	must(t, err)
	for name, f := range map[string]repo.File{
		"corrupt":    {Name: "x-1-1.noarch.rpm", Digest: junk},
		"cut off":    {Name: good.Name, Digest: short},
		"wrong name": {Name: "x-1-1.noarch.rpm", Digest: good.Digest},
		"a deb":      {Name: "x_1_all.deb", Digest: good.Digest},
	} {
		if _, _, err := h.builder.BuildRelease(t.Context(), h.next(f)); !errors.Is(err, repo.ErrPackage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.publish(good)
	other := world("1-1")
	other.Files = map[string]string{"/usr/share/other": "x\n"}
	if _, _, err := h.builder.BuildRelease(t.Context(), h.next(h.rpm(other))); !errors.Is(err, repo.ErrOtherBytes) {
		t.Error("the same version with other bytes:", err)
	}
}

// The revision grows; a package keeps its signed bytes, and its old metadata stays a while.
func TestRPMPublicationsFollow(t *testing.T) {
	h := newHouse(t, repo.RPM)
	one, two := h.rpm(world("1-1")), h.rpm(world("1-2"))
	a := h.publish(one).manifest
	b := h.publish(one, two).manifest
	if b.Publication.Revision <= a.Publication.Revision {
		t.Error("the revision does not grow")
	}
	if a.Publication.Packages[0] != b.Publication.Packages[0] {
		t.Error("a published package changed")
	}
	for p, e := range a.Files {
		if got, ok := b.Lookup(p); !ok || repo.Immutable(p) && got != e {
			t.Errorf("%s is gone", p)
		}
	}
	if in := b.Inputs(); len(in) != 2 || in[0] != one || in[1] != two {
		t.Errorf("%+v", in)
	}
	h.clean()
}

// While publications follow one another, dnf never sees a repomd.xml with the
// signature of another: it reads one publication, as the list of mirrors names it.
func TestDnfWhilePublishing(t *testing.T) {
	h := newHouse(t, repo.RPM)
	f := h.rpm(world("1-1"))
	h.publish(f)
	stop, done := h.publishForever(f)
	for i := range size(2) {
		if out, err := newDnf(t, h, false).try("repoquery", "world"); err != nil || !strings.Contains(out, "world") {
			t.Errorf("round %d: %v\n%s", i, err, out)
			break
		}
	}
	pairs := 0
	for range size(100) { // bursts as zypper makes them, without the rest of zypper
		h.pairFits()
		pairs++
	}
	stop()
	t.Logf("%d pairs fitted during %d publications", pairs, <-done)
	h.clean()
}

func (h *house) publishForever(files ...repo.File) (stop func(), done chan int) {
	ctx, cancel := context.WithCancel(h.t.Context())
	done = make(chan int, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			d, m, err := h.builder.BuildRelease(ctx, h.next(files...))
			if err != nil {
				if ctx.Err() == nil {
					h.t.Error(err)
				}
				break
			}
			h.mu.Lock()
			h.history = append(h.history, moved{time.Now(), d, m})
			h.mu.Unlock()
		}
		done <- n
	}()
	return cancel, done
}

func (h *house) get(path string) []byte {
	resp, err := http.Get(h.url + path)
	must(h.t, err)
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || err != nil {
		h.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return out
}

// pairFits fetches a signature and what it signs, in zypper's order, with a
// publication between them.
func (h *house) pairFits() {
	h.t.Helper()
	ring, err := signing.ParseKeyring([]byte(key().PublicArmored()))
	must(h.t, err)
	at := strings.TrimPrefix(strings.TrimSpace(string(h.get("mirrorlist"))), h.url)
	asc := h.get(at + "repodata/repomd.xml.asc")
	xml := h.get(at + "repodata/repomd.xml")
	if err := ring.Verify(xml, asc, time.Now()); err != nil {
		h.t.Errorf("the signature is of another publication: %v", err)
	}
}

// Read from the pointer itself, the two files can be of two publications: this
// holds the test above to its purpose.
func TestWithoutTheListTheRaceIsReal(t *testing.T) {
	h := newHouse(t, repo.RPM)
	f := h.rpm(world("1-1"))
	h.publish(f)
	ring, err := signing.ParseKeyring([]byte(key().PublicArmored()))
	must(t, err)
	asc := h.get("repodata/repomd.xml.asc")
	h.publish(f)
	if ring.Verify(h.get("repodata/repomd.xml"), asc, time.Now()) == nil {
		t.Error("two publications have one repomd.xml")
	}
}

// createrepo_c reads what we publish, and dnf's own check of the whole is content.
func TestMetadataIsReadByOthers(t *testing.T) {
	h := newHouse(t, repo.RPM)
	h.publish(h.rpm(world("1-1")), h.rpm(rpmtest.Package{Name: "apart", EVR: "2-1"}))
	dir := t.TempDir()
	must(t, repo.Export(t.Context(), h.store, h.last().digest, dir))
	out := t.TempDir()
	rpmtest.Run(t, "mergerepo_c", "--no-database", "-o", out, "-r", "file://"+dir+"/current/")
	found, err := filepath.Glob(out + "/repodata/*primary.xml*")
	if err != nil || len(found) != 1 {
		t.Error(found, err)
	}
	rpmtest.Run(t, "createrepo_c", "--update", "--no-database", "--skip-stat", "-o", out, dir+"/current")
}
