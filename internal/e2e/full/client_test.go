//go:build full

package full

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// client is a machine that nobody of the service knows: a fresh root with the
// distribution's own apt or dnf, and HTTP to the service.
type client struct {
	s    *site
	root string
}

// client unpacks the install root of a dist, and takes away what its package
// manager knows of repositories.
func (s *site) client(dist string) *client {
	s.t.Helper()
	digest := row[string](s, `SELECT archive FROM roots WHERE dist = $1 AND kind = 'install' AND archive <> '' ORDER BY id DESC LIMIT 1`, dist)
	archive := s.get("/worker/v1/blobs/"+digest, "Authorization", "Bearer "+tokens["first"])
	z, err := zstd.NewReader(bytes.NewReader(archive))
	if err != nil {
		s.t.Fatal(err)
	}
	defer z.Close()
	c := &client{s: s, root: filepath.Join(s.t.TempDir(), dist)}
	if err := os.Mkdir(c.root, 0o755); err != nil {
		s.t.Fatal(err)
	}
	tar := exec.Command("tar", "-x", "--numeric-owner", "-C", c.root)
	tar.Stdin = z
	if out, err := tar.CombinedOutput(); err != nil {
		s.t.Fatalf("tar: %v\n%s", err, out)
	}
	sh(s.t, c.root, `rm -rf etc/apt/sources.list etc/apt/sources.list.d/* etc/apt/preferences.d/* var/lib/apt/lists etc/yum.repos.d/* usr/sbin/policy-rc.d etc/apt/apt.conf.d/99sluice
mkdir -p etc/apt/sources.list.d etc/yum.repos.d`)
	return c
}

// run runs a script in the root, with its own processes and mounts.
func (c *client) run(script string) (string, error) {
	return trySh(c.root, `unshare --mount --pid --fork --propagation private sh -ec '
mount --rbind /dev dev
mount -t proc proc proc
mount -t tmpfs tmpfs run
exec chroot . /bin/sh -exc "$SCRIPT"'`, "SCRIPT="+script, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
}

// installs installs greetd from the released repository of a target, with all
// signatures checked, and wants the version.
func (c *client) installs(target, version string) {
	t := c.s.t
	t.Helper()
	file, script := "etc/yum.repos.d/full.repo", `dnf -q -y install greetd; rpm -q --qf "%{VERSION}-%{RELEASE} %{SIGPGP:pgpsig} %{RSAHEADER:pgpsig}\n" greetd; greetd --version`
	var sources string
	if strings.HasPrefix(target, "juno/debian") {
		file, script = "etc/apt/sources.list.d/full.sources", `apt-get -q -o APT::Update::Error-Mode=any update; apt-get -q -y install greetd; greetd --version`
		sources = string(c.s.get("/repo/" + target + "/updates/sluice.sources"))
		if !strings.Contains(sources, "Signed-By:") || strings.Contains(sources, "trusted") {
			t.Errorf("the sources of %s are not signed:\n%s", target, sources)
		}
	} else if sources = string(c.s.get("/repo/" + target + "/updates/sluice.repo")); !strings.Contains(sources, "\ngpgcheck=1") || !strings.Contains(sources, "repo_gpgcheck=1") {
		t.Errorf("signatures of %s are not checked:\n%s", target, sources)
	}
	write(t, filepath.Join(c.root, file), sources)
	if err := os.Chmod(filepath.Join(c.root, file), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := c.run(script)
	if err != nil || !strings.Contains(out, words[1]+" "+version) {
		t.Errorf("a client of %s: %v, and %s is wanted\n%s", target, err, version, out)
	}
}

// samePayload holds every package that is published to what was tested: a DEB
// is the same file, an RPM the same but for its signature.
func (s *site) samePayload(repository string) {
	s.t.Helper()
	type pair struct{ Digest, Tested, File, Name string }
	query := `SELECT digest || ' ' || tested || ' ' || file || ' ' || name FROM repository_packages WHERE repository = $1 AND removed IS NULL AND kind = 'package'`
	all := rows[string](s, query, repository)
	if len(all) == 0 {
		s.t.Errorf("%s holds no packages", repository)
	}
	for _, line := range all {
		var p pair
		if _, err := fmt.Sscan(line, &p.Digest, &p.Tested, &p.File, &p.Name); err != nil {
			s.t.Fatal(err)
		}
		published := s.get("/repo/" + repository + "/" + p.File)
		tested := s.get("/blobs/" + p.Tested + "/tested")
		if strings.HasSuffix(p.File, ".deb") {
			if !bytes.Equal(published, tested) {
				s.t.Errorf("%s in %s is not the file that was tested", p.File, repository)
			}
			continue
		}
		if a, b := s.payload(published), s.payload(tested); a != b || a == "" {
			s.t.Errorf("%s in %s has the payload %q, and %q was tested", p.File, repository, a, b)
		}
		if bytes.Equal(published, tested) {
			s.t.Errorf("%s in %s is not signed", p.File, repository)
		}
	}
}

// payload asks rpm for a package's payload digest.
func (s *site) payload(pkg []byte) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "package.rpm")
	if err := os.WriteFile(file, pkg, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return sh(s.t, "", `rpm -qp --nosignature --qf '%{PAYLOADDIGEST}' "$FILE"`, "FILE="+file)
}
