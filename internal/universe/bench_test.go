package universe

import (
	"os/exec"
	"strings"
	"testing"

	"sluice/internal/job"
)

// debianMain is this machine's own index of Debian's main component.
func debianMain(b *testing.B) (folder, job.Repository) {
	b.Helper()
	name, err := exec.Command("apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages", "Component: main", "Codename: bookworm").Output()
	file := strings.Split(strings.TrimSpace(string(name)), "\n")[0]
	if err != nil || file == "" {
		b.Fatal("apt has no index of bookworm main: run apt-get update")
	}
	text, err := exec.Command("/usr/lib/apt/apt-helper", "cat-file", file).Output()
	if err != nil {
		b.Fatal(err)
	}
	f := folder{}
	r := f.apt("/upstream/debian/0/amd64/", "bookworm")
	f[r.Path+"dists/bookworm/main/binary-amd64/Packages"] = text
	release := " " + digest(text) + " 1 main/binary-amd64/Packages\n"
	f[r.Path+"dists/bookworm/InRelease"] = []byte(release)
	return f, r
}

const benchControl = `Source: hello
Build-Depends: debhelper-compat (= 13), cmake, qtbase5-dev, python3-dev, libboost-all-dev, texlive-latex-extra

Package: hello
Architecture: any
Depends: libreoffice, gnome, python3
`

// BenchmarkCheckDebianMain is the check of one package with large closures in
// Debian's main component of 63,000 packages.
func BenchmarkCheckDebianMain(b *testing.B) {
	f, up := debianMain(b)
	own := part(b, "2", benchControl)
	q := Question{Target: debTarget(), Upstream: []job.Repository{up}, Own: []Part{own}}
	check := func(r *Reader) {
		if got, err := r.Check(b.Context(), q); err != nil || len(got) > 0 {
			b.Fatal(got, err)
		}
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			check(NewReader(f))
		}
	})
	b.Run("warm", func(b *testing.B) {
		r := NewReader(f)
		check(r)
		for b.Loop() {
			check(r)
		}
	})
}
