package universe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/rpm"
	"sluice/internal/source"
)

// folder is Files of memory: path → bytes.
type folder map[string][]byte

func (f folder) Open(_ context.Context, p string) (io.ReadCloser, error) {
	b, ok := f[p]
	if !ok {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// apt adds an APT repository of stanzas: "Package: a\nVersion: 1\n…".
func (f folder) apt(path, suite string, stanzas ...string) job.Repository {
	var text strings.Builder
	for _, s := range stanzas {
		if !strings.Contains(s, "Architecture:") {
			s = strings.TrimSpace(s) + "\nArchitecture: amd64"
		}
		fmt.Fprintf(&text, "%s\nMaintainer: x <x@example.com>\nDescription: x\nFilename: ./x/%[2]s.deb\nSize: 1\nSHA256: %[2]s\n\n", strings.TrimSpace(s), digest([]byte(path+s)))
	}
	packages := []byte(text.String())
	release := deb.Release{Origin: "x", Label: "x", Suite: suite, Codename: suite, Date: time.Unix(1e9, 0), Architectures: []string{"amd64"}, Components: []string{"main"},
		Files: []deb.IndexFile{{Path: "main/binary-amd64/Packages", Size: int64(len(packages)), SHA256: digest(packages)}}}.Text()
	f[path+"dists/"+suite+"/InRelease"] = release
	f[path+"dists/"+suite+"/Release"] = release
	f[path+"dists/"+suite+"/main/binary-amd64/Packages"] = packages
	return job.Repository{Name: strings.Trim(strings.ReplaceAll(path, "/", "-"), "-"), Path: path, Format: job.DEB, Suite: suite, Components: []string{"main"}}
}

// dnf adds an RPM repository.
func (f folder) dnf(path string, packages ...rpm.Package) job.Repository {
	var text strings.Builder
	text.WriteString(rpm.PrimaryHead(len(packages)))
	for _, p := range packages {
		p.SourceRPM, p.BuildTime = p.Name+"-1-1.src.rpm", time.Unix(1e9, 0)
		p.Provides = append(p.Provides, rpm.Relation{Name: p.Name, Flags: "EQ", Epoch: fmt.Sprint(p.EVR.Epoch), Version: p.EVR.Version, Release: p.EVR.Release})
		text.WriteString(p.Primary(rpm.Place{SHA256: digest([]byte(p.Name + p.EVR.String())), Size: 1, Path: p.FileName()}))
	}
	text.WriteString(rpm.PrimaryTail)
	primary := []byte(text.String())
	sum := digest(primary)
	f[path+"repodata/primary.xml"] = primary
	f[path+"repodata/repomd.xml"] = rpm.Repomd(1, []rpm.Data{{Type: "primary", Path: "repodata/primary.xml", SHA256: sum, Size: int64(len(primary)), OpenSHA256: sum, OpenSize: int64(len(primary)), Time: time.Unix(1e9, 0)}})
	return job.Repository{Name: strings.Trim(strings.ReplaceAll(path, "/", "-"), "-"), Path: path, Format: job.RPM}
}

// tree is a change's tree, for package source.
type tree map[string]string

func (t tree) ReadFile(_ context.Context, name string, _ int64) ([]byte, error) {
	if text, ok := t[name]; ok {
		return []byte(text), nil
	}
	return nil, source.ErrNoFile
}

func (t tree) List(_ context.Context, folder string) ([]string, error) {
	var out []string
	for n := range t {
		if filepath.Dir(n) == folder {
			out = append(out, filepath.Base(n))
		}
	}
	return out, nil
}

// part reads a control file (or a spec, which has a Name tag) as an item's package.
func part(t testing.TB, version, text string) Part {
	t.Helper()
	files := tree{".sluice.yaml": "", "debian/control": text, "debian/changelog": changelog(text)}
	if strings.Contains(text, "Name:") {
		files = tree{".sluice.yaml": "", "x.spec": text}
	}
	info, findings, err := source.Read(context.Background(), files, "")
	if err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
	p := info.Deb
	if p == nil {
		p = info.RPM
	}
	return Part{Source: p.Name, Version: version, Origin: "this change", Declares: p.Declares}
}

func changelog(control string) string {
	name := strings.Fields(strings.TrimPrefix(control, "Source:"))[0]
	return name + " (1) unstable; urgency=low\n\n  * x\n\n -- x <x@example.com>  Mon, 01 Jan 2024 00:00:00 +0000\n"
}

func debTarget() job.Target {
	return job.Target{Name: "juno/deb-12", Format: job.DEB, Architecture: "amd64", Primary: true}
}

func findings(t *testing.T, f folder, q Question) string {
	t.Helper()
	got, err := NewReader(f).Check(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range got {
		if x.Severity != "error" || x.Rule == "" {
			t.Errorf("%+v", x)
		}
		out = append(out, x.String())
	}
	return strings.Join(out, "\n")
}

// What is wrong with a Debian package, and what is not.
func TestCheckDEB(t *testing.T) {
	world := func() (folder, Question) {
		f := folder{}
		return f, Question{Target: debTarget(), Upstream: []job.Repository{f.apt("/upstream/debian/0/amd64/", "bookworm",
			"Package: libfoo\nVersion: 1.4", "Package: make\nVersion: 4", "Package: debhelper\nVersion: 13\nProvides: debhelper-compat (= 13)",
			"Package: python3\nVersion: 3\nMulti-Arch: allowed", "Package: old\nVersion: 1\nBreaks: make (<< 5)", "Package: mta\nVersion: 1\nProvides: mail")}}
	}
	control := func(build, depends string) string {
		return fmt.Sprintf("Source: hello\nBuild-Depends: %s\n\nPackage: hello\nArchitecture: any\nDepends: %s\n", build, depends)
	}
	for _, c := range []struct{ name, build, depends, want string }{
		{"good", "debhelper-compat (= 13), make, python3:any, libfoo [amd64] <!nocheck>", "${shlibs:Depends}, libfoo (>= 1), mail", ""},
		{"not for this architecture or profile", "nothing [arm64], never <cross>, libfoo (>= 2) [!linux-any]", "libfoo", ""},
		{"alternatives", "nothing | libfoo", "libfoo (>= 2) | make", ""},
		{"unknown", "make", "libfoo (>= ${foo}), lib${x}, x:arm64, hello-common (= ${binary:Version}) | make", ""},
		{"build", "make,\n libfoo (>= 2)", "make", "debian/control:3: the build of hello needs libfoo (>= 2), and juno/deb-12 has libfoo 1.4 (bookworm main)"},
		{"all of them", "debhelper-compat (= 14), nothing", "make", "debian/control:2: the build of hello needs debhelper-compat (= 14), and juno/deb-12 has debhelper-compat 13 of debhelper 13 (bookworm main)\n" +
			"debian/control:2: the build of hello needs nothing, and juno/deb-12 has no nothing"},
		{"neither", "make", "a | libfoo (<< 1)", "debian/control:6: hello needs a | libfoo (<< 1), and juno/deb-12 has libfoo 1.4 (bookworm main), no a"},
		{"conflict", "make", "old, make", "debian/control:6: hello needs old, which breaks make (<< 5), and hello needs make: that is make 4 (bookworm main)"},
		{"an unversioned provides has no version", "make", "mail (>= 1)", "debian/control:6: hello needs mail (>= 1), and juno/deb-12 has mail of mta 1 (bookworm main)"},
	} {
		f, q := world()
		q.Own = []Part{part(t, "2", control(c.build, c.depends))}
		if got := findings(t, f, q); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// What an item breaks of what is released and ahead, and what comes before what.
func TestCheckOrder(t *testing.T) {
	f := folder{}
	up := f.apt("/upstream/debian/0/amd64/", "bookworm", "Package: base\nVersion: 1", "Package: between\nVersion: 1\nDepends: lib1")
	released := f.apt("/publication/3/", "bookworm", "Package: lib1\nSource: lib\nVersion: 1", "Package: app\nVersion: 7\nDepends: lib1 (<< 2)",
		"Package: far\nVersion: 1\nDepends: between", "Package: sick\nVersion: 1\nDepends: lib1, nowhere", "Package: tools\nVersion: 2")
	lib := func(version, stanzas string) Part { return part(t, version, "Source: lib\n\n"+stanzas) }
	base := Question{Target: debTarget(), Upstream: []job.Repository{up}, Released: &released}
	ask := func(change func(*Question)) string {
		q := base
		change(&q)
		return findings(t, f, q)
	}
	kept := "Package: lib1\nArchitecture: any\n"
	for _, c := range []struct {
		name, want string
		change     func(*Question)
	}{
		{"the same names in range", "", func(q *Question) { q.Own = []Part{lib("1.1", kept)} }},
		{"out of range", "debian/control:3: it breaks app 7 (released): app needs lib1 (<< 2), and juno/deb-12 has lib1 2 (this change)",
			func(q *Question) { q.Own = []Part{lib("2", kept)} }},
		{"no longer built", "debian/control:1: it breaks app 7 (released): app needs lib1 (<< 2), and juno/deb-12 has no lib1\n" +
			"debian/control:1: it breaks far 1 (released): far needs between, which needs lib1, and juno/deb-12 has no lib1",
			func(q *Question) { q.Own = []Part{lib("1.1", "Package: lib2\nArchitecture: any\n")} }},
		{"who knows what is built", "", func(q *Question) {
			q.Own = []Part{lib("1.1", "Package: lib2\nArchitecture: any\n")}
			q.Own[0].Declares.Loose = true
		}},
		{"another takes its name", "", func(q *Question) {
			q.Own = []Part{lib("1.1", "Package: lib2\nArchitecture: any\nProvides: lib1 (= 1)\n")}
		}},
		{"the item mends what it breaks", "", func(q *Question) {
			q.Own = []Part{lib("2", kept), part(t, "8", "Source: app\n\nPackage: app\nArchitecture: any\nDepends: lib1 (>= 2)\n")}
		}},
		{"one ahead mends it", "", func(q *Question) {
			q.Ahead = []Part{part(t, "8", "Source: app\n\nPackage: app\nArchitecture: any\nDepends: lib1\n")}
			q.Own = []Part{lib("2", kept)}
		}},
		{"it breaks one ahead", "debian/control:3: it breaks next 1 (ahead): next needs lib1 (<= 1), and juno/deb-12 has lib1 1.5 (this change)", func(q *Question) {
			q.Ahead = []Part{part(t, "1", "Source: next\n\nPackage: next\nArchitecture: any\nDepends: lib1 (<= 1)\n")}
			q.Ahead[0].Origin = "ahead"
			q.Own = []Part{lib("1.5", kept)}
		}},
		{"built on what is ahead", "", func(q *Question) {
			q.Ahead = []Part{lib("3", kept)}
			q.Own = []Part{part(t, "1", "Source: new\nBuild-Depends: lib1 (>= 3)\n\nPackage: new\nArchitecture: all\nDepends: lib1 (>= 3)\n")}
		}},
		{"what is ahead hides what is released", "debian/control:2: the build of new needs lib1 (<< 3), and juno/deb-12 has lib1 3 (ahead)", func(q *Question) {
			q.Ahead = []Part{lib("3", kept)}
			q.Ahead[0].Origin = "ahead"
			q.Own = []Part{part(t, "1", "Source: new\nBuild-Depends: lib1 (<< 3)\n\nPackage: new\nArchitecture: all\n")}
		}},
		{"a test repository tells more than a declaration", "debian/control:3: it breaks app 9 (ahead): app needs lib1 (= 1), and juno/deb-12 has lib1 1.5 (this change)", func(q *Question) {
			r := f.apt("/test/7/juno/deb-12/", "bookworm", "Package: app\nVersion: 9\nDepends: lib1 (= 1)")
			q.Ahead = []Part{{Source: "app", Version: "9", Origin: "ahead", Repository: &r}}
			q.Own = []Part{lib("1.5", kept)}
		}},
	} {
		if got := ask(c.change); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// When in doubt it is silent.
func TestSilent(t *testing.T) {
	f := folder{}
	up := f.apt("/upstream/debian/0/amd64/", "bookworm", "Package: gcc\nSource: gcc-defaults (1.2)\nVersion: 12", "Package: app\nVersion: 1\nDepends: abi-7")
	q := Question{Target: debTarget(), Upstream: []job.Repository{up}}
	q.Own = []Part{part(t, "1.3", "Source: gcc-defaults\n\nPackage: gcc\nArchitecture: any\n\nPackage: g++\nArchitecture: any\nDepends: gcc (>= 12), abi-8\n\nPackage: perl\nArchitecture: any\nProvides: ${perl:Provides}\n")}
	if got := findings(t, f, q); got != "" {
		t.Error(got)
	}
	delete(f, "/upstream/debian/0/amd64/dists/bookworm/InRelease")
	delete(f, "/upstream/debian/0/amd64/dists/bookworm/Release")
	if _, err := NewReader(f).Check(t.Context(), q); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	f.apt("/upstream/debian/0/amd64/", "bookworm", "Package: gcc\nVersion: 1")
	f["/upstream/debian/0/amd64/dists/bookworm/main/binary-amd64/Packages"] = []byte("Package: other\nVersion: 1\n")
	if _, err := NewReader(f).Check(t.Context(), q); err == nil || !strings.Contains(err.Error(), "digest") {
		t.Error(err)
	}
}

func rpmPackage(name, version string, more func(*rpm.Package)) rpm.Package {
	p := rpm.Package{Name: name, EVR: rpm.EVR{Version: version, Release: "1"}, Architecture: "x86_64"}
	if more != nil {
		more(&p)
	}
	return p
}

func rel(words string) rpm.Relation {
	if strings.HasPrefix(words, "(") {
		return rpm.Relation{Name: words}
	}
	r, err := rpm.ReadEntry(strings.Fields(words))
	if err != nil {
		panic(err)
	}
	return r
}

// What is wrong with an RPM, and what is not.
func TestCheckRPM(t *testing.T) {
	f := folder{}
	q := Question{Target: job.Target{Name: "juno/el-9", Format: job.RPM, Architecture: "x86_64", Primary: true}}
	q.Upstream = []job.Repository{f.dnf("/upstream/el/0/x86_64/",
		rpmPackage("python3", "3.9", func(p *rpm.Package) { p.Files = []rpm.File{{Path: "/usr/bin/python3"}} }),
		rpmPackage("zlib-devel", "1.2", func(p *rpm.Package) { p.Provides = []rpm.Relation{rel("pkgconfig(zlib) = 1.2")} }),
		rpmPackage("new", "2", func(p *rpm.Package) { p.Obsoletes = []rpm.Relation{rel("old < 2")} }),
		rpmPackage("old", "1", nil), rpmPackage("make", "4", nil),
	)}
	released := f.dnf("/publication/1/", rpmPackage("hello-libs", "1", nil), rpmPackage("app", "1", func(p *rpm.Package) {
		p.Requires = []rpm.Relation{rel("hello < 2"), rel("rpmlib(X)"), rel("/usr/lib/unknown")}
	}), rpmPackage("hello", "1", nil))
	q.Released = &released
	spec := func(version, tags string) string {
		return "Name: hello\nVersion: " + version + "\nRelease: 1\n" + tags + "\n%description\nx\n%files\n"
	}
	for _, c := range []struct{ name, version, tags, want string }{
		{"good", "1", "BuildRequires: make >= 4, pkgconfig(zlib), /usr/bin/python3\nRequires: (python3 or python4) (make if old) /usr/share/x rpmlib(Y)", ""},
		{"in doubt", "1", "BuildRequires: %{unknown}\nRequires: libown.so.1()(64bit) %{?x:foo}\n%if 1\nRequires: nothing\n%endif", ""},
		{"build", "1", "BuildRequires: pkgconfig(zlib) >= 1.3", "x.spec:4: the build of hello needs pkgconfig(zlib) >= 1.3, and juno/el-9 has pkgconfig(zlib) 1.2 of zlib-devel 1.2-1 (upstream-el-0-x86_64)"},
		{"file", "1", "Requires: /usr/bin/python4", ""}, // it may be the package's own
		{"file of a build", "1", "BuildRequires: /usr/bin/python4", "x.spec:4: the build of hello needs /usr/bin/python4, and juno/el-9 has no /usr/bin/python4"},
		{"rich", "1", "BuildRequires: (make and (zlib or ruby))", "x.spec:4: the build of hello needs (make and (zlib or ruby)), and juno/el-9 has make 4-1 (upstream-el-0-x86_64), no zlib, no ruby"},
		{"obsoletes", "1", "Requires: old new", "x.spec:4: hello needs new, which obsoletes old < 2, and hello needs old: that is old 1-1 (upstream-el-0-x86_64)"},
		{"itself", "1", "Requires: hello = %{version}-%{release}\nConflicts: hello < 1", ""},
		{"it breaks", "2", "", "x.spec:1: it breaks app 1-1 (released): app needs hello < 2, and juno/el-9 has hello 2-1 (this change)"},
	} {
		q.Own = []Part{part(t, c.version+"-1", spec(c.version, c.tags))}
		if got := findings(t, f, q); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
