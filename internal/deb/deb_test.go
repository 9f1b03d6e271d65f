package deb_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/deb"
	"sluice/internal/deb/debtest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, data []byte) (deb.Package, error) {
	t.Helper()
	return deb.ReadPackage(bytes.NewReader(data), int64(len(data)))
}

func sample(t testing.TB, compression string) []byte {
	t.Helper()
	data, err := os.ReadFile(debtest.Build(t, t.TempDir(), debtest.Package{
		Name: "hello", Version: "1:2.10-3", Architecture: "amd64", Compression: compression,
		Fields: "Source: hello-source (2.10-3)\nSection: misc\nDepends: libc6 (>= 2.34), a | b\nProvides: greeter (= 2), plain\n",
		Files:  map[string]string{"usr/bin/hello": "#!/bin/sh\n", "usr/share/a b": "x"},
	}))
	must(t, err)
	return data
}

func TestReadPackage(t *testing.T) {
	for _, z := range []string{"gzip", "xz", "zstd", "none"} {
		t.Run(z, func(t *testing.T) {
			data := sample(t, z)
			p, err := read(t, data)
			must(t, err)
			if p.Name != "hello" || p.Version != "1:2.10-3" || p.Architecture != "amd64" ||
				p.Source != "hello-source" || p.SourceVersion != "2.10-3" || p.Section != "misc" {
				t.Errorf("%+v", p)
			}
			path := filepath.Join(t.TempDir(), "x.deb")
			must(t, os.WriteFile(path, data, 0o600))
			dir := t.TempDir()
			debtest.Run(t, dir, "dpkg-deb", "--control", path, dir)
			letter, err := os.ReadFile(filepath.Join(dir, "control"))
			must(t, err)
			if p.Stanza != string(letter) {
				t.Errorf("not to the letter:\n%s\n%s", p.Stanza, letter)
			}
			want := []string{"usr/bin/hello", "usr/share/a b", "usr/share/doc/hello/version"}
			if got := slices.Sorted(slices.Values(p.Files)); !slices.Equal(got, want) {
				t.Errorf("files %v", got)
			}
		})
	}
}

// Every cut and many changed bytes: an error that says so, or the same package.
func TestCorruptPackages(t *testing.T) {
	for _, z := range []string{"gzip", "xz", "zstd"} {
		data := sample(t, z)
		for n := 0; n < len(data)-1; n += 7 { // the last byte may be the padding
			if _, err := read(t, data[:n]); !errors.Is(err, deb.ErrBad) {
				t.Fatalf("%s cut off at %d of %d: %v", z, n, len(data), err)
			}
		}
		for n := 0; n < len(data); n += 5 {
			broken := bytes.Clone(data)
			broken[n] ^= 0x41
			if _, err := read(t, broken); err != nil && !errors.Is(err, deb.ErrBad) {
				t.Fatalf("%s, byte %d changed: %v", z, n, err)
			}
		}
	}
}

// member makes an ar member with a size field of its own choice.
func member(name, size, body string) string {
	out := fmt.Sprintf("%-16s%-12s%-6s%-6s%-8s%-10s`\n%s", name, "0", "0", "0", "100644", size, body)
	if len(body)%2 == 1 {
		out += "\n"
	}
	return out
}

func TestHostileArchives(t *testing.T) {
	version := member("debian-binary", "4", "2.0\n")
	for name, c := range map[string]struct{ data, want string }{
		"empty":             {"", "not an ar archive"},
		"magic only":        {"!<arch>\n", "debian-binary is missing"},
		"negative size":     {"!<arch>\n" + version + member("control.tar.gz", "-60", ""), `size "-60"`},
		"too big":           {"!<arch>\n" + version + member("control.tar.gz", "9999999999", ""), "does not fit"},
		"no size":           {"!<arch>\n" + version + member("control.tar.gz", "", ""), "size"},
		"hexadecimal":       {"!<arch>\n" + version + member("control.tar.gz", "0x10", ""), "size"},
		"no control":        {"!<arch>\n" + version, "control.tar is missing"},
		"twice":             {"!<arch>\n" + version + version, "occurs twice"},
		"order":             {"!<arch>\n" + member("control.tar.gz", "0", ""), "unexpected member"},
		"unknown member":    {"!<arch>\n" + version + member("evil", "0", ""), "unexpected member"},
		"name with a slash": {"!<arch>\n" + member("a/b", "0", ""), "name"},
		"lzma":              {"!<arch>\n" + version + member("control.tar.lzma", "0", "") + member("data.tar.lzma", "0", ""), "lzma"},
		"trailing rubbish":  {"!<arch>\n" + version + "rubbish", "cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := read(t, []byte(c.data)); !errors.Is(err, deb.ErrBad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestHostileControl(t *testing.T) {
	for _, fields := range []string{
		"Filename: elsewhere\n", "SHA256: 00\n", "size: 3\n", "Section: a\nsection: b\n", "Depends: (((\n",
		"Depends: a (>= \n", "Source: ../../etc\n", "Source: x (1 2)\n", "Broken\n", "Provides: A_B\n",
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "debian-binary"), []byte("2.0\n"), 0o600))
		text := "Package: x-y\nVersion: 1\nArchitecture: all\n" + fields
		must(t, os.WriteFile(filepath.Join(dir, "control"), []byte(text), 0o600))
		debtest.Run(t, dir, "tar", "czf", "control.tar.gz", "./control")
		debtest.Run(t, dir, "tar", "czf", "data.tar.gz", "-T", "/dev/null")
		debtest.Run(t, dir, "ar", "rcS", "x.deb", "debian-binary", "control.tar.gz", "data.tar.gz")
		data, err := os.ReadFile(filepath.Join(dir, "x.deb"))
		must(t, err)
		if p, err := read(t, data); !errors.Is(err, deb.ErrBad) {
			t.Errorf("%q was taken: %+v, %v", fields, p, err)
		}
	}
}

// A bomb: a control.tar that unpacks to more than is read.
func TestBomb(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "debian-binary"), []byte("2.0\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "control"), nil, 0o600))
	must(t, os.Truncate(filepath.Join(dir, "control"), 70<<20))
	debtest.Run(t, dir, "tar", "czf", "control.tar.gz", "--transform", "s/control/bomb/", "control")
	debtest.Run(t, dir, "tar", "czf", "data.tar.gz", "-T", "/dev/null")
	debtest.Run(t, dir, "ar", "rcS", "x.deb", "debian-binary", "control.tar.gz", "data.tar.gz")
	data, err := os.ReadFile(filepath.Join(dir, "x.deb"))
	must(t, err)
	if _, err := read(t, data); !errors.Is(err, deb.ErrBad) || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
}

var versionGen = rapid.Custom(func(t *rapid.T) string {
	v := rapid.StringMatching(`[0-9]{1,2}([.+~]?[0-9a-cA]{1,3}){0,3}`).Draw(t, "upstream")
	if rapid.Bool().Draw(t, "epoch") {
		v = rapid.StringMatching(`[0-2]`).Draw(t, "e") + ":" + v
	}
	if rapid.Bool().Draw(t, "revision") {
		v += "-" + rapid.StringMatching(`[0-9a~+.]{1,4}`).Draw(t, "r")
	}
	return v
})

// Compare agrees with dpkg, on pairs that one shell asks it about in a row.
func TestCompareAgreesWithDpkg(t *testing.T) {
	type pair struct{ a, b string }
	var pairs []pair
	rapid.Check(t, func(t *rapid.T) {
		a, b := versionGen.Draw(t, "a"), versionGen.Draw(t, "b")
		if deb.CheckVersion(a) != nil || deb.CheckVersion(b) != nil {
			t.Fatalf("%q or %q is refused: %v %v", a, b, deb.CheckVersion(a), deb.CheckVersion(b))
		}
		if deb.Compare(a, b) != -deb.Compare(b, a) {
			t.Fatalf("%q and %q are not compared both ways alike", a, b)
		}
		pairs = append(pairs, pair{a, b})
	})
	if len(pairs) > 400 {
		pairs = pairs[:400]
	}
	var in strings.Builder
	for _, p := range pairs {
		fmt.Fprintln(&in, p.a, p.b)
	}
	cmd := exec.Command("sh", "-c", `while read a b; do
		if dpkg --compare-versions "$a" lt "$b"; then echo -1; elif dpkg --compare-versions "$a" eq "$b"; then echo 0; else echo 1; fi; done`)
	cmd.Stdin = strings.NewReader(in.String())
	out, err := cmd.Output()
	must(t, err)
	lines := bufio.NewScanner(bytes.NewReader(out))
	for _, p := range pairs {
		lines.Scan()
		c := deb.Compare(p.a, p.b)
		if got := fmt.Sprint(max(-1, min(1, c))); got != lines.Text() {
			t.Errorf("%s against %s: %s, dpkg says %s", p.a, p.b, got, lines.Text())
		}
	}
}

func TestSource(t *testing.T) {
	dir := t.TempDir()
	path, _ := debtest.BuildSource(t, dir, "libfoo", "1.2")
	text, err := os.ReadFile(path)
	must(t, err)
	d, err := deb.ReadDsc(text)
	must(t, err)
	if d.Source != "libfoo" || d.Version != "1.2" || len(d.Files) != 1 || d.Files[0].Name != "libfoo_1.2.tar.xz" || d.Binaries[0] != "libfoo" {
		t.Errorf("%+v", d)
	}
	signed := "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + string(text) + "\n-----BEGIN PGP SIGNATURE-----\n\nxx\n-----END PGP SIGNATURE-----\n"
	if s, err := deb.ReadDsc([]byte(signed)); err != nil || s.Version != d.Version {
		t.Error(s, err)
	}
	for _, bad := range []string{"", "Source: x\n", strings.Replace(string(text), "libfoo_1.2.tar.xz", "../x", -1), strings.Replace(string(text), "Source: libfoo", "Source: a b", 1)} {
		if _, err := deb.ReadDsc([]byte(bad)); !errors.Is(err, deb.ErrBad) {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
	if deb.PoolFolder("libfoo") != "libf/libfoo" || deb.PoolFolder("hello") != "h/hello" || deb.PoolFolder("lib") != "l/lib" {
		t.Error("pool folders")
	}
}

func TestControlAndChangelog(t *testing.T) {
	c, err := deb.ReadControl([]byte("# a comment\nSource: hello\nBuild-Depends: debhelper-compat (= 13),\n# another\n libx-dev:native (>= 1) [linux-any !amd64] <!nocheck>, a | b,\nBuild-Depends-Indep: doc\n\n\nPackage: hello\nArchitecture: any\nDepends: ${shlibs:Depends}\n\nPackage: hello-doc\nArchitecture: all\n"))
	if err == nil { // [linux-any !amd64] mixes, which is not allowed
		t.Errorf("a mixed architecture list was taken: %+v", c)
	}
	c, err = deb.ReadControl([]byte("# a comment\nSource: hello\nBuild-Depends: debhelper-compat (= 13),\n# another\n libx-dev:native (>= 1) [linux-any] <!nocheck>, a | b,\nBuild-Depends-Indep: doc\n\n\nPackage: hello\nArchitecture: any\nDepends: ${shlibs:Depends}\n\nPackage: hello-doc\nArchitecture: all\n"))
	must(t, err)
	if c.Name() != "hello" || len(c.Binaries) != 2 || c.Binaries[1].Architectures[0] != "all" {
		t.Errorf("%+v", c)
	}
	if got := strings.Join(c.BuildDepends.Names("amd64", nil), " "); got != "a b debhelper-compat doc libx-dev" {
		t.Error(got)
	}
	if got := strings.Join(c.BuildDepends.Names("amd64", []string{"nocheck"}), " "); got != "a b debhelper-compat doc" {
		t.Error(got)
	}
	e, err := deb.ReadChangelogTop([]byte("hello (1:2.10-3) unstable; urgency=medium\n\n  * One.\n    more\n\n -- A B <a@example.com>  Mon, 05 Jan 2026 12:00:00 +0100\n\nrubbish"))
	must(t, err)
	if e.Source != "hello" || e.Version != "1:2.10-3" || e.Distribution != "unstable" || e.By != "A B <a@example.com>" || !strings.Contains(e.Text, "* One.") {
		t.Errorf("%+v", e)
	}
	for _, text := range []string{"", "hello", "hello (x y) z; u=v\n", "hello (1) a; u=v\n\n  * x\n"} {
		if _, err := deb.ReadChangelogTop([]byte(text)); !errors.Is(err, deb.ErrBad) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRelations(t *testing.T) {
	p := deb.Provider{Name: "libx", Version: "2.0-1", Architecture: "amd64", Provides: map[string]string{"virtual": "", "versioned": "5"}}
	foreign := deb.Provider{Name: "tool", Version: "1", Architecture: "i386", MultiArch: "foreign"}
	allowed := deb.Provider{Name: "python3", Version: "3.11", Architecture: "amd64", MultiArch: "allowed"}
	for _, c := range []struct {
		text string
		p    deb.Provider
		want bool
	}{
		{"libx", p, true}, {"libx (>= 2)", p, true}, {"libx (>= 2.0-2)", p, false}, {"libx (<< 2.0-1)", p, false},
		{"libx (<= 2.0-1)", p, true}, {"libx (= 2.0-1)", p, true}, {"libx (>> 1)", p, true}, {"other | libx", p, true}, {"liby", p, false},
		{"virtual", p, true}, {"virtual (>= 1)", p, false}, {"versioned (>= 4)", p, true}, {"versioned (>= 6)", p, false},
		{"libx:any", p, false}, {"python3:any (>= 3)", allowed, true}, {"tool", foreign, true},
		{"libx [i386]", p, false}, {"libx [!i386]", p, true}, {"libx [any-amd64]", p, true}, {"libx <!nocheck>", p, true}, {"libx <cross>", p, false},
	} {
		rs, err := deb.ParseRelations(c.text)
		must(t, err)
		if got := rs[0].SatisfiedBy(c.p, "amd64", nil); got != c.want {
			t.Errorf("%q by %s %s: %v", c.text, c.p.Name, c.p.Version, got)
		}
	}
	made, err := read(t, sample(t, "gzip"))
	must(t, err)
	if v := made.Provider().Provides; v["greeter"] != "2" || len(v) != 2 {
		t.Error(v)
	}
}

func TestReleaseRoundTrip(t *testing.T) {
	r := deb.Release{Origin: "x\nEvil: yes", Suite: "s", Files: []deb.IndexFile{{Path: "b", Size: 2, SHA256: strings.Repeat("b", 64)}, {Path: "a", Size: 1, SHA256: strings.Repeat("a", 64)}}}
	p, files, err := deb.ReadRelease(r.Text())
	must(t, err)
	if p.Get("Origin") != "x Evil: yes" || p.Has("Evil") || len(files) != 2 || files[0].Path != "a" || files[1].Size != 2 {
		t.Errorf("%+v %+v", p, files)
	}
}
