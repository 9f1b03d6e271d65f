package repo_test

import (
	"strings"
	"testing"

	"sluice/internal/repo"
	"sluice/internal/rpm"
	"sluice/internal/signing"
	"sluice/internal/testenv"
)

func newZypper(t testing.TB, h *house) *testenv.Zypper {
	return testenv.NewZypper(t, rpm.RepoFile(rpm.Client{ID: "sluice", Name: "Sluice", Mirrors: h.url + "mirrorlist", Keys: []string{h.url + "key.asc"}}))
}

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

// What nobody signed is not installed.
func TestZypperRefusesTheUnsigned(t *testing.T) {
	h := newHouse(t, repo.RPM)
	digest, m, err := h.builder.BuildTest(t.Context(), repo.TestRepository{Format: repo.RPM, Identity: identity, Files: []repo.File{h.rpm(world("2-1"))}, Signer: signing.NewSigner(key()), At: t0})
	must(t, err)
	h.history = append(h.history, moved{t0, digest, m})
	z := newZypper(t, h)
	if out, err := z.Try("refresh"); err == nil {
		t.Errorf("a key that nobody has trusted was taken:\n%s", out)
	}
	z.Run("--gpg-auto-import-keys", "refresh")
	if out, err := z.Try("install", "--no-recommends", "world"); err == nil || z.Read("usr/share/world/version") != "" || !strings.Contains(out, "not signed") {
		t.Errorf("an unsigned package was taken: %v\n%s", err, out)
	}
}
