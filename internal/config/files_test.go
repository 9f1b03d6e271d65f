package config_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/config"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// siteIn is a site file whose files are all in a folder.
func siteIn(t *testing.T, dir, more string) *config.Site {
	t.Helper()
	text := minimal(t, "upstreams:") + `
upstreams:
  - {name: debian, format: deb, host: true}
  - {name: distro, format: rpm, path: /etc/sluice/distro, key: /etc/sluice/distro.asc}
database: {env: SLUICE_TEST_DATABASE}
data: /etc/sluice/data
fetch: {ca_bundle: /etc/sluice/ca.pem}
` + more
	site, _, err := config.Parse("site.yaml", []byte(strings.ReplaceAll(text, "/etc/sluice", dir)))
	if err != nil {
		t.Fatal(err)
	}
	return site
}

func goodFiles(t *testing.T, dir string) {
	t.Helper()
	write(t, filepath.Join(dir, "gerrit-token"), "secret\n", 0o600)
	write(t, filepath.Join(dir, "id_ed25519"), "key\n", 0o400)
	write(t, filepath.Join(dir, "known_hosts"), "host key\n", 0o644)
	write(t, filepath.Join(dir, "distro.asc"), "key\n", 0o644)
	write(t, filepath.Join(dir, "ca.pem"), "# comment\n"+certificate(t)+certificate(t), 0o644)
	if err := os.Mkdir(filepath.Join(dir, "distro"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	goodFiles(t, dir)
	t.Setenv("SLUICE_TEST_DATABASE", "postgres://x")
	site := siteIn(t, dir, "")
	if warnings, err := site.CheckFiles(); err != nil || len(warnings) != 0 {
		t.Errorf("all is well, and CheckFiles says %v\n%v", warnings, err)
	}
	t.Setenv("SLUICE_TEST_DATABASE", "")
	if warnings, err := site.CheckFiles(); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Message, "SLUICE_TEST_DATABASE is empty here") {
		t.Errorf("an empty variable gives %v, %v", warnings, err)
	}
}

func TestCheckFilesComplaints(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		more  string
		want  string
	}{
		"secret open to others": {
			spoil: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "gerrit-token"), "secret", 0o644) },
			want:  "gerrit[0].token: others may read DIR/gerrit-token (mode 0644); run: chmod 600 DIR/gerrit-token",
		},
		"secret not there": {
			spoil: func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "id_ed25519")) },
			want:  "gerrit[0].key: stat DIR/id_ed25519: no such file or directory",
		},
		"secret empty": {
			spoil: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "gerrit-token"), "\n", 0o600) },
			want:  "gerrit[0].token: DIR/gerrit-token is empty",
		},
		"no host keys": {
			spoil: func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "known_hosts")) },
			want:  "gerrit[0].known_hosts: stat DIR/known_hosts: no such file or directory",
		},
		"no certificate": {
			spoil: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "ca.pem"), "hello", 0o644) },
			want:  "fetch.ca_bundle: DIR/ca.pem holds no certificate in PEM form",
		},
		"folder that is a file": {
			spoil: func(t *testing.T, dir string) {
				os.Remove(filepath.Join(dir, "distro"))
				write(t, filepath.Join(dir, "distro"), "", 0o644)
			},
			want: "upstreams[1].path: DIR/distro is no folder",
		},
		"secret that is a folder": {
			more: "workers: [{name: w1, token: {file: /etc/sluice/distro}}]\n",
			want: "workers[0].token: DIR/distro is no file",
		},
		"keys that are not made": {
			more: "keys: {generate: false, test: {env: SLUICE_TEST_DATABASE}}\n",
			want: "keys.release: stat DIR/data/keys/release.asc: no such file or directory",
		},
		"scenario": {
			more: "scenarios: [{name: a, nodes: [{name: n}], script: /etc/sluice/run.sh}]\n",
			want: "scenarios[0].script: stat DIR/run.sh: no such file or directory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			goodFiles(t, dir)
			t.Setenv("SLUICE_TEST_DATABASE", "postgres://x")
			if c.spoil != nil {
				c.spoil(t, dir)
			}
			_, err := siteIn(t, dir, c.more).CheckFiles()
			want := strings.ReplaceAll(c.want, "DIR", dir)
			all, ok := err.(*config.Error)
			if !ok || len(all.Problems) != 1 || all.Problems[0].Message != want {
				t.Fatalf("got %v\nwant %s", err, want)
			}
			if p := all.Problems[0]; p.Pos.Line < 2 && p.Source == "" {
				t.Errorf("no place is named: %v", p)
			}
		})
	}
}

func TestDatabaseURL(t *testing.T) {
	site := siteIn(t, t.TempDir(), "")
	for _, want := range []string{"", "postgres://sluice@db/sluice"} {
		t.Setenv("SLUICE_TEST_DATABASE", want)
		if got, err := site.DatabaseURL(); got != want || err != nil {
			t.Errorf("the database is %q, %v; want %q", got, err, want)
		}
	}
}

func TestLoadSaysWhatIsMissing(t *testing.T) {
	_, _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !os.IsNotExist(unwrap(err)) {
		t.Errorf("got %v, want the file system's error", err)
	}
	huge := filepath.Join(t.TempDir(), "huge.yaml")
	write(t, huge, string(bytes.Repeat([]byte("#\n"), 3<<20)), 0o600)
	if _, _, err := config.Load(huge); err == nil || !strings.Contains(err.Error(), "larger than 4MiB") {
		t.Errorf("a file of 6 MB: %v", err)
	}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return err
}
