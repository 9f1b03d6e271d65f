package repo_test

import (
	"strings"
	"testing"
	"time"

	"sluice/internal/repo"
	"sluice/internal/rpm"
	"sluice/internal/signing"
	"sluice/internal/testenv"
)

func newZypper(t testing.TB, h *house) *testenv.Zypper {
	return testenv.NewZypper(t, rpm.RepoFile(rpm.Client{ID: "sluice", Name: "Sluice", Mirrors: h.url + "mirrorlist", Keys: []string{h.url + "key.asc"}}))
}

// nextSecond waits for it: zypper keeps a list of mirrors for the second in which
// it got it, however short it is told to keep it.
func nextSecond() { time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) }

// With all signatures checked and the list of mirrors that people are told to
// write: install, upgrade, and each time from one publication.
func TestZypperInstallsAndUpgrades(t *testing.T) {
	h := newHouse(t, repo.RPM)
	one := h.rpm(world("1:1.0-1.el9"))
	h.publish(one)
	h.clean()
	z := newZypper(t, h)
	z.Run("--gpg-auto-import-keys", "refresh")
	z.Run("install", "--no-recommends", "world")
	if got := z.Read("usr/share/world/version"); got != "1:1.0-1.el9\n" {
		t.Errorf("installed is %q", got)
	}
	higher := h.rpm(world("1:2.0^git2+a~b-3.el9"))
	nextSecond()
	h.publish(one, higher)
	h.clean()
	z.Run("refresh")
	z.Run("update", "--no-recommends")
	if got := z.Read("usr/share/world/version"); got != "1:2.0^git2+a~b-3.el9\n" {
		t.Errorf("after the upgrade it is %q", got)
	}
	stop, done := h.publishForever(one, higher)
	for i := range size(2) {
		if out, err := z.Try("refresh", "--force"); err != nil {
			t.Errorf("refresh %d while publications follow one another: %v\n%s", i, err, out)
		}
	}
	stop()
	t.Logf("%d publications meanwhile", <-done)
}

// A key that nobody has trusted is not taken, and what is changed on the way is
// not read.
func TestZypperTrustsNoStranger(t *testing.T) {
	h := newHouse(t, repo.RPM)
	h.publish(h.rpm(world("1-1")))
	z := newZypper(t, h)
	if out, err := z.Try("refresh"); err == nil || !strings.Contains(out, "Signature verification failed") {
		t.Errorf("before the key is trusted: %v\n%s", err, out)
	}
	z.Run("--gpg-auto-import-keys", "refresh")
	other, err := signing.Generate(signing.Template{Name: "stranger"}, t0.Add(-time.Hour))
	must(t, err)
	r := h.next(h.last().manifest.Inputs()...)
	r.Signer = signing.NewSigner(other)
	h.move(r)
	if out, err := z.Try("refresh"); err == nil || !strings.Contains(out, "ignature") {
		t.Errorf("a stranger's signature was taken: %v\n%s", err, out)
	}
}
