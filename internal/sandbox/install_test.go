package sandbox_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// debRepository makes a repository of one .deb, whose script says who it ran as.
func debRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, `mkdir -p p/DEBIAN p/usr/bin repo && cd p
printf 'Package: sluice-hello\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@example.com>\nDescription: test\n' > DEBIAN/control
printf '#!/bin/sh\nid -u > /var/lib/sluice-hello\n' > DEBIAN/postinst; chmod 755 DEBIAN/postinst
printf '#!/bin/sh\necho hello from the box\n' > usr/bin/sluice-hello; chmod 755 usr/bin/sluice-hello
cd .. && dpkg-deb --root-owner-group -b p repo/sluice-hello_1.0_all.deb && cd repo
{ cat ../p/DEBIAN/control; echo "Filename: ./sluice-hello_1.0_all.deb"; echo "Size: $(stat -c %s *.deb)"; echo "SHA256: $(sha256sum *.deb | cut -d' ' -f1)"; echo; } > Packages
{ echo "Origin: sluice-test"; echo "Suite: bookworm"; echo "Codename: bookworm"; echo "Date: $(LC_ALL=C date -u -R)"; echo "SHA256:"; echo " $(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) Packages"; } > Release
export GNUPGHOME=$PWD/../gpg; mkdir -m 700 $GNUPGHOME
gpg --batch --quiet --passphrase '' --quick-gen-key 'T <t@example.com>' rsa3072 sign never
gpg --batch --clearsign -o InRelease Release && gpg --armor --export > ../key.asc; gpgconf --kill all`)
	return dir
}

// rpmRepository makes the same of one .rpm.
func rpmRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, `mkdir repo; cat > s.spec <<'E'
Name: sluice-hello
Version: 1.0
Release: 1
Summary: test
License: Apache-2.0
BuildArch: noarch
%description
test
%install
mkdir -p %{buildroot}/usr/bin
printf '#!/bin/sh\necho hello from the box\n' > %{buildroot}/usr/bin/sluice-hello
chmod 755 %{buildroot}/usr/bin/sluice-hello
%post
id -u > /var/lib/sluice-hello
%files
/usr/bin/sluice-hello
E
rpmbuild --quiet -bb --define "_topdir $PWD" --define "_rpmdir $PWD/repo" --define "_dbpath $PWD/db" s.spec
export GNUPGHOME=$PWD/gpg; mkdir -m 700 $GNUPGHOME
gpg --batch --quiet --passphrase '' --quick-gen-key 'T <t@example.com>' rsa3072 sign never
rpmsign --define "_gpg_name t@example.com" --define "__gpg /usr/bin/gpg" --addsign repo/noarch/*.rpm
createrepo_c -q repo && gpg --batch --armor --detach-sign repo/repodata/repomd.xml && gpg --armor --export > key.asc; gpgconf --kill all`)
	return dir
}

func run(t *testing.T, dir, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A box installs a package of a test repository, and what it needs of the
// upstream, through the listener and nothing else, by apt and by dnf.
func TestInstall(t *testing.T) {
	for name, c := range map[string]struct {
		system      func() (system, error)
		repository  func(*testing.T) string
		test        job.Repository
		update, get []string
	}{
		"deb": {debian, debRepository, job.Repository{Format: job.DEB, Suite: "./", Origin: "sluice-test", Priority: 1001},
			[]string{"apt-get", "update"}, []string{"apt-get", "install", "sluice-hello", "hello"}},
		"rpm": {rpmDistro, rpmRepository, job.Repository{Format: job.RPM, Priority: 1},
			[]string{"dnf", "makecache"}, []string{"dnf", "install", "sluice-hello", "zip", "unzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := c.system()
			if err != nil {
				t.Fatal(err)
			}
			if name == "rpm" {
				c.get = c.get[:3]
			}
			dir := c.repository(t)
			key, err := os.ReadFile(filepath.Join(dir, "key.asc"))
			if err != nil {
				t.Fatal(err)
			}
			c.test.Kind, c.test.Name, c.test.Path, c.test.Key = job.Test, "test-7", "/test/7/juno/", string(key)
			mux := http.NewServeMux()
			mux.Handle("/", s.handler)
			mux.Handle(c.test.Path, http.StripPrefix(c.test.Path, http.FileServer(http.Dir(dir+"/repo"))))
			b := must[*sandbox.Box](t)(shared.m.New(t.Context(), sandbox.BoxOptions{Name: name, Layers: []sandbox.Layer{s.layer}, Repositories: mux}))
			defer b.Close()
			args := must[[]string](t)(b.ConfigureRepositories(t.Context(), []job.Repository{s.repo, c.test}))
			for _, call := range [][]string{c.update, c.get} {
				var out bytes.Buffer
				full := append(append([]string{call[0]}, args...), call[1:]...)
				if err := b.Run(t.Context(), sandbox.Command{Args: full, Repositories: true, Stdout: &out, Stderr: &out}); err != nil {
					t.Fatalf("%v: %v\n%s", full, err, out.String())
				}
			}
			out, err := sh(t, b, sandbox.Builder, "sluice-hello; cat /var/lib/sluice-hello")
			if err != nil || out != "hello from the box\n0" {
				t.Errorf("%q, %v", out, err)
			}
			// Without the listener nothing can be fetched, and that is an error.
			out, err = sh(t, b, sandbox.Root, strings.Join(append(append([]string{c.update[0]}, args...), c.update[1]), " "))
			if err == nil {
				t.Errorf("an update without repositories succeeded:\n%s", out)
			}
		})
	}
}

// A root is named by its packages, and made alike twice.
func TestMakeRootByScript(t *testing.T) {
	s, err := rpmDistro()
	if err != nil {
		t.Fatal(err)
	}
	recipe := job.Recipe{Name: "scripted", Method: "script", Kind: "install", Script: `
printf '[d]\nname=d\nbaseurl=%s\ngpgcheck=0\n' "$UPSTREAM_DISTRO" > /tmp/d.repo
dnf -y -q --setopt=reposdir=/tmp --setopt=plugins=0 --releasever=0 --installroot="$ROOT" install filesystem
echo "the script said this"
`}
	var digests [2]job.Digest
	var sizes [2]int
	for i := range digests {
		var log, out bytes.Buffer
		digests[i], err = shared.m.MakeRoot(t.Context(), recipe, []job.Repository{s.repo}, s.handler, &log, &out)
		if err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
		if !strings.Contains(log.String(), "the script said this\n") {
			t.Errorf("the log lacks the script's words:\n%s", log.String())
		}
		sizes[i] = out.Len()
	}
	if digests[0] != digests[1] || len(digests[0]) != 64 || sizes[0] == 0 {
		t.Errorf("digests %v, sizes %v", digests, sizes)
	}
}

func TestMakeRootFails(t *testing.T) {
	s, err := rpmDistro()
	if err != nil {
		t.Fatal(err)
	}
	for want, recipe := range map[string]job.Recipe{
		"exit status 1":  {Method: "dnf", Include: []string{"no-such-package"}},
		"exit status 3":  {Method: "script", Script: "exit 3"},
		"unknown method": {Method: "tar"},
		"no packages":    {Method: "dnf"},
	} {
		var log, out bytes.Buffer
		_, err := shared.m.MakeRoot(t.Context(), recipe, []job.Repository{s.repo}, s.handler, &log, &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
