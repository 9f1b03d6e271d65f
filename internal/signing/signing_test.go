package signing_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/signing"
)

var (
	now     = time.Now().Add(-time.Hour).Truncate(time.Second)
	rsaKey  = sync.OnceValue(func() *signing.Key { return generate(signing.Template{Name: "rsa", Email: "rsa@example.com"}) })
	edKey   = sync.OnceValue(func() *signing.Key { return generate(signing.Template{Name: "ed", Algorithm: signing.Ed25519}) })
	message = []byte("Origin: x\n- dashes\nfrom here\ntrailing\n\nSHA256:\n abc\n")
)

func generate(t signing.Template) *signing.Key {
	k, err := signing.Generate(t, now)
	if err != nil {
		panic(err)
	}
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, data, 0o600))
	return path
}

// Every form of signature is taken by gpgv, with each kind of key and with both.
func TestSignaturesByGPG(t *testing.T) {
	for name, s := range map[string]*signing.Signer{
		"rsa":  signing.NewSigner(rsaKey()),
		"ed":   signing.NewSigner(edKey()),
		"both": signing.NewSigner(rsaKey(), edKey()),
	} {
		t.Run(name, func(t *testing.T) {
			ring, data := write(t, s.PublicBinary()), write(t, message)
			clear, err := s.Clearsign(message, now)
			must(t, err)
			good := run(t, "gpgv", "--keyring", ring, write(t, clear))
			if n := strings.Count(good, "Good signature"); n != len(s.Keys()) {
				t.Errorf("%d good signatures:\n%s", n, good)
			}
			detached, err := s.DetachSign(message, now)
			must(t, err)
			good = run(t, "gpgv", "--keyring", ring, write(t, detached), data)
			if n := strings.Count(good, "Good signature"); n != len(s.Keys()) {
				t.Errorf("%d good signatures:\n%s", n, good)
			}
			one, err := s.DetachSignPrimary(message, now)
			must(t, err)
			good = run(t, "gpgv", "--keyring", ring, write(t, one), data)
			if n := strings.Count(good, "Good signature"); n != 1 {
				t.Errorf("%d good signatures:\n%s", n, good)
			}
			verify(t, s, clear, detached)
		})
	}
}

func verify(t *testing.T, s *signing.Signer, clear, detached []byte) {
	for _, public := range [][]byte{s.PublicBinary(), []byte(s.PublicArmored())} {
		ring, err := signing.ParseKeyring(public)
		must(t, err)
		got, err := ring.VerifyClearsigned(clear, now)
		must(t, err)
		if !bytes.Equal(got, message) {
			t.Errorf("clear text is %q", got)
		}
		must(t, ring.Verify(message, detached, now))
		if err := ring.Verify(append([]byte("x"), message...), detached, now); err == nil {
			t.Error("a changed message was taken")
		}
		if _, err := ring.VerifyClearsigned(bytes.Replace(clear, []byte("Origin: x"), []byte("Origin: y"), 1), now); err == nil {
			t.Error("a changed InRelease was taken")
		}
		if _, err := ring.VerifyClearsigned(append([]byte("Origin: z\n"), clear...), now); err == nil {
			t.Error("text outside the armour was taken")
		}
	}
	stranger, err := signing.ParseKeyring(generate(signing.Template{Name: "stranger", Algorithm: signing.Ed25519}).PublicBinary())
	must(t, err)
	if err := stranger.Verify(message, detached, now); err == nil {
		t.Error("a stranger's key verified it")
	}
}

// While keys rotate, a client that knows only one of them is content.
func TestRotation(t *testing.T) {
	clear, err := signing.NewSigner(rsaKey(), edKey()).Clearsign(message, now)
	must(t, err)
	for _, k := range []*signing.Key{rsaKey(), edKey()} {
		ring, err := signing.ParseKeyring(k.PublicBinary())
		must(t, err)
		if _, err := ring.VerifyClearsigned(clear, now); err != nil {
			t.Errorf("%s: %v", k, err)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir := t.TempDir()
	for name, pass := range map[string][]byte{"plain": nil, "locked": []byte("sesame")} {
		path := filepath.Join(dir, name)
		must(t, edKey().Save(path, pass, now))
		k, err := signing.Load(path, pass)
		must(t, err)
		if k.Fingerprint() != edKey().Fingerprint() || k.Name() != "ed" {
			t.Errorf("loaded %s %q", k, k.Name())
		}
		_, err = signing.NewSigner(k).Clearsign(message, now)
		must(t, err)
		if err := edKey().Save(path, pass, now); !errors.Is(err, os.ErrExist) {
			t.Error("an existing key file was overwritten:", err)
		}
	}
	for _, pass := range []string{"", "wrong"} {
		if _, err := signing.Load(filepath.Join(dir, "locked"), []byte(pass)); !errors.Is(err, signing.ErrPassphrase) {
			t.Errorf("passphrase %q: %v", pass, err)
		}
	}
	must(t, os.Chmod(filepath.Join(dir, "plain"), 0o640))
	if _, err := signing.Load(filepath.Join(dir, "plain"), nil); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Error("a key that others can read:", err)
	}
	for name, text := range map[string]string{"junk": "junk", "public": edKey().PublicArmored(), "empty": ""} {
		if _, err := signing.Load(write(t, []byte(text)), nil); err == nil {
			t.Errorf("%s was taken for a private key", name)
		}
	}
}

// gpg makes the keys that are refused, and one that is taken.
func TestForeignKeys(t *testing.T) {
	home := t.TempDir()
	must(t, os.Chmod(home, 0o700))
	gpg := func(args ...string) []byte {
		out, err := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...).Output()
		must(t, err)
		return out
	}
	t.Cleanup(func() { exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run() })
	gpg("--quick-gen-key", "small@example.com", "rsa2048", "sign", "1y")
	gpg("--cert-digest-algo", "SHA1", "--quick-gen-key", "sha1@example.com", "ed25519", "sign", "1y")
	gpg("--quick-gen-key", "good@example.com", "ed25519", "sign", "1y")
	for name, want := range map[string]string{"small": "3072", "sha1": "SHA-1", "good": ""} {
		_, err := signing.Load(write(t, gpg("--armor", "--export-secret-keys", name+"@example.com")), nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExpiry(t *testing.T) {
	k := generate(signing.Template{Name: "short", Algorithm: signing.Ed25519, Lifetime: 30 * 24 * time.Hour})
	end, ends := k.Expires()
	if !ends || !end.Equal(now.Add(30*24*time.Hour)) {
		t.Error(end, ends)
	}
	day := 24 * time.Hour
	for _, c := range []struct {
		at   time.Duration
		want string
	}{{0, ""}, {20 * day, "expires on"}, {31 * day, "expired on"}} {
		got := k.Warning(now.Add(c.at), 14*day)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("after %v: %q", c.at, got)
		}
	}
	if _, err := signing.NewSigner(k).Clearsign(message, end.Add(time.Second)); err == nil {
		t.Error("an expired key signed")
	}
	if _, err := signing.NewSigner(k).DetachSign(message, now.Add(-day)); err == nil {
		t.Error("a key signed before it began")
	}
	if w := signing.NewSigner(edKey()).Warnings(now, day); len(w) != 0 {
		t.Error(w)
	}
}

// Nothing private is printed, however one prints.
func TestNothingPrivateIsPrinted(t *testing.T) {
	k := edKey()
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k)
	text, err := json.Marshal(map[string]any{"k": k})
	must(t, err)
	for _, got := range []string{fmt.Sprintf("%v", k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), fmt.Sprintf("%x", k), fmt.Sprintf("%s", k)} {
		if got != "key "+k.Fingerprint() {
			t.Errorf("printed %q", got)
		}
	}
	if string(text) != `{"k":"`+k.Fingerprint()+`"}` || !strings.Contains(log.String(), k.Fingerprint()) || len(log.String()) > 200 {
		t.Errorf("%s\n%s", text, log.String())
	}
}
