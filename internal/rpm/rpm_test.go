package rpm_test

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/internal/rpm"
	"sluice/internal/rpm/rpmtest"
	"sluice/internal/signing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readBytes(data []byte) (rpm.Package, error) {
	return rpm.ReadPackage(bytes.NewReader(data), int64(len(data)))
}

func load(t testing.TB, path string) (rpm.Package, []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	p, err := readBytes(data)
	must(t, err)
	return p, data
}

var rich = rpmtest.Package{
	Name: "rich", EVR: "2:1.0^git1~x+y-3.el9",
	Tags: "Provides: virt = 1:3-4, plain\nRequires: bash >= 4, /bin/sh, /usr/bin/rich\nRequires(pre): coreutils\nConflicts: old < 2\nObsoletes: older <= 1:2-3\nRecommends: rec\nSuggests: sug > 1\nSupplements: sup\nEnhances: enh\n",
	Text: "%config /etc/rich.conf\n%ghost /var/log/rich.log\n%post\ntrue\n%changelog\n" +
		"* Mon Jan 05 2026 A <a@example.com> - 3\n- three\n- more & <less>\n* Mon Jan 05 2026 B <b@example.com> - 2\n- two\n* Sun Jan 04 2026 A <a@example.com> - 1\n- one\n",
	Files: map[string]string{"/usr/bin/rich": "#!/bin/bash\n", "/usr/share/rich/a b&c": "x\n"},
}

func init() {
	rich.Tags += "Requires: libc.so.6(GLIBC_2.4)(64bit), libc.so.6(GLIBC_2.34)(64bit), libc.so.6()(64bit)\n"
	rich.Files["/etc/rich.conf"] = "x\n"
	rich.Text = strings.Replace(rich.Text, "%config /etc/rich.conf\n", "", 1)
}

func TestReadPackage(t *testing.T) {
	binary, source := rpmtest.Build(t, rich)
	p, _ := load(t, binary)
	if p.Name != "rich" || p.EVR.String() != "2:1.0^git1~x+y-3.el9" || p.Architecture != "noarch" || p.FileName() != filepath.Base(binary) {
		t.Errorf("%+v", p)
	}
	if n, v := p.SourceName(); n != "rich" || v != "1.0^git1~x+y-3.el9" || p.SourceRPM != filepath.Base(source) || p.Source() || p.Signed {
		t.Error(n, v, p.SourceRPM)
	}
	for query, want := range map[string]string{"[%{PROVIDENEVRS}\n]": relations(p.Provides), "[%{REQUIRENEVRS}\n]": relations(p.Requires), "[%{FILENAMES}\n]": files(p)} {
		if got := rpmtest.Run(t, "rpm", "--dbpath", t.TempDir(), "-qp", "--qf", query, binary); got != want {
			t.Errorf("rpm says\n%s\nwe say\n%s", got, want)
		}
	}
	tag := rpmtest.Run(t, "rpm", "--dbpath", t.TempDir(), "-qp", "--qf", "%{PAYLOADDIGEST}", binary)
	if p.PayloadDigest != tag {
		t.Errorf("payload %s, tag %s", p.PayloadDigest, tag)
	}
	s, _ := load(t, source)
	if !s.Source() || s.Architecture != "src" || s.FileName() != filepath.Base(source) {
		t.Errorf("%+v", s)
	}
	if len(p.Changelog) != 3 || p.Changelog[0].Text != "- three\n- more & <less>" {
		t.Errorf("%+v", p.Changelog)
	}
}

func relations(rs []rpm.Relation) string {
	var out strings.Builder
	for _, r := range rs {
		fmt.Fprintln(&out, r)
	}
	return out.String()
}

func files(p rpm.Package) string {
	var out strings.Builder
	for _, f := range p.Files {
		fmt.Fprintln(&out, f.Path)
	}
	return out.String()
}

func TestCorruptPackages(t *testing.T) {
	_, data := load(t, first(rpmtest.Build(t, rpmtest.Package{Name: "small", EVR: "1-1"})))
	for n := 0; n < len(data); n += 13 {
		if _, err := readBytes(data[:n]); !errors.Is(err, rpm.ErrBad) {
			t.Fatalf("cut off at %d of %d: %v", n, len(data), err)
		}
	}
	if _, err := readBytes(append(bytes.Clone(data), 'x')); !errors.Is(err, rpm.ErrBad) {
		t.Errorf("a byte more: %v", err)
	}
	p, _ := readBytes(data)
	for n := int64(0); n < int64(len(data)); n += 3 {
		broken := bytes.Clone(data)
		broken[n] ^= 0x5a
		_, err := readBytes(broken)
		if err != nil && !errors.Is(err, rpm.ErrBad) || err == nil && n >= p.HeaderStart {
			t.Fatalf("byte %d of %d changed: %v", n, len(data), err)
		}
	}
	for _, junk := range []string{"", "junk", strings.Repeat("\x00", 5000), string(data[:96]) + strings.Repeat("\xff", 5000)} {
		if _, err := readBytes([]byte(junk)); !errors.Is(err, rpm.ErrBad) {
			t.Errorf("%.20q: %v", junk, err)
		}
	}
}

func first(a, _ string) string { return a }

func TestModularPackageIsRefused(t *testing.T) {
	binary, _ := rpmtest.Build(t, rpmtest.Package{Name: "modular", EVR: "1-1", Tags: "ModularityLabel: a:1:2:3\n"})
	data, err := os.ReadFile(binary)
	must(t, err)
	if _, err := readBytes(data); !errors.Is(err, rpm.ErrBad) || !strings.Contains(err.Error(), "module") {
		t.Error(err)
	}
}

var segment = rapid.StringMatching(`[0-9a-cA~^.+_]{0,6}`)

// The order of versions is rpm's own, asked for in one batch.
func TestCompareAgreesWithRpm(t *testing.T) {
	var pairs [][2]string
	rapid.Check(t, func(t *rapid.T) {
		a, b := "1"+segment.Draw(t, "a"), "1"+segment.Draw(t, "b")
		pairs = append(pairs, [2]string{a, b})
	})
	pairs = append(pairs, [][2]string{{"1.0", "1.0^"}, {"1.0^a", "1.0.1"}, {"1.0~rc", "1.0"}, {"1.0^~", "1.0^"}, {"1a", "1.1"}, {"01", "1"}, {"1.", "1"}, {"1..0", "1.0"}}...)
	var lua strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&lua, "print(rpm.vercmp('%s','%s'),'') ", p[0], p[1])
	}
	var got []string
	for lines := lua.String(); lines != ""; { // an argument has a limit
		n := min(len(lines), 20000)
		if n < len(lines) {
			n = strings.LastIndex(lines[:n], "print")
		}
		out, err := exec.Command("rpm", "--eval", "%{lua: "+lines[:n]+"}").Output()
		must(t, err)
		got, lines = append(got, strings.Fields(string(out))...), lines[n:]
	}
	if len(got) != len(pairs) {
		t.Fatalf("%d answers to %d questions", len(got), len(pairs))
	}
	for i, p := range pairs {
		if c := fmt.Sprint(rpm.Compare(p[0], p[1])); c != got[i] {
			t.Errorf("%s against %s: %s, rpm says %s", p[0], p[1], c, got[i])
		}
	}
}

func TestEVR(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"1-1", "1-2", -1}, {"1:1-1", "2-1", 1}, {"1", "1-5", 0}, {"0:1-1", "1-1", 0}, {"1-1.el9", "1-1", 1}, {"2:1-1", "1:9-9", 1}} {
		if got := rpm.Compare(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: %d", c.a, c.b, got)
		}
	}
}

func TestSatisfies(t *testing.T) {
	r := func(flags, evr string) rpm.Relation {
		e := rpm.ParseEVR(evr)
		return rpm.Relation{Name: "x", Flags: flags, Epoch: fmt.Sprint(e.Epoch), Version: e.Version, Release: e.Release}
	}
	for _, c := range []struct {
		provided, required rpm.Relation
		want               bool
	}{
		{r("EQ", "2-1"), r("GE", "2"), true}, {r("EQ", "2-1"), r("GT", "2"), false}, {r("EQ", "2-1"), r("EQ", "2-2"), false},
		{r("EQ", "1:2-1"), r("GE", "3"), true}, {r("EQ", "2"), r("LT", "3"), true}, {r("EQ", "3"), r("LE", "3"), true},
		{r("EQ", "1"), r("GT", "1-1"), true}, {r("EQ", "1"), r("LT", "1-1"), true}, {r("GT", "1"), r("LE", "1-1"), false}, {r("GT", "1-1"), r("EQ", "1"), true},
		{r("EQ", "1-1"), r("LT", "1"), false}, {r("LT", "1"), r("EQ", "1-1"), false}, {r("LT", "2"), r("LT", "1-1"), true},
		{rpm.Relation{Name: "x"}, r("GE", "3"), true}, {r("GE", "1"), r("EQ", "5"), true}, {rpm.Relation{Name: "y"}, r("", ""), false},
	} {
		if got := c.provided.Satisfies(c.required); got != c.want {
			t.Errorf("%s for %s: %v", c.provided, c.required, got)
		}
	}
}

var fileTime = regexp.MustCompile(`<time file="[0-9]+"`)

func unzip(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("%s: %v", pattern, found)
	}
	f, err := os.Open(found[0])
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	data, err := io.ReadAll(z)
	must(t, err)
	return string(data)
}

// Each package's piece of metadata is createrepo_c's, to the letter, but for the
// file's time.
func TestMetadataEqualsCreaterepo(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, p := range []rpmtest.Package{rich, {Name: "small", EVR: "1-1"}} {
		binary, source := rpmtest.Build(t, p)
		for _, path := range []string{binary, source} {
			data, err := os.ReadFile(path)
			must(t, err)
			to := filepath.Join(dir, filepath.Base(path))
			must(t, os.WriteFile(to, data, 0o600))
			paths = append(paths, to)
		}
	}
	rpmtest.Run(t, "createrepo_c", "--no-database", dir)
	primary, lists, other := unzip(t, dir+"/repodata/*primary.xml.gz"), unzip(t, dir+"/repodata/*filelists.xml.gz"), unzip(t, dir+"/repodata/*other.xml.gz")
	neutral := func(s string) string { return fileTime.ReplaceAllString(s, `<time file=""`) }
	for _, path := range paths {
		p, data := load(t, path)
		at := rpm.Place{SHA256: digest(data), Size: int64(len(data)), Path: filepath.Base(path)}
		for _, c := range []struct{ whole, piece string }{{primary, p.Primary(at)}, {lists, p.Filelists(at)}, {other, p.Other(at)}} {
			if !strings.Contains(neutral(c.whole), neutral(c.piece)) {
				t.Errorf("%s: createrepo_c has no such piece:\n%s\nin\n%s", filepath.Base(path), c.piece, c.whole)
			}
		}
	}
	for _, c := range []struct{ whole, head, tail string }{{primary, rpm.PrimaryHead(4), rpm.PrimaryTail}, {lists, rpm.FilelistsHead(4), rpm.FilelistsTail}, {other, rpm.OtherHead(4), rpm.OtherTail}} {
		if !strings.HasPrefix(c.whole, c.head) || !strings.HasSuffix(c.whole+"\n", c.tail) {
			t.Errorf("createrepo_c begins with %.200s", c.whole)
		}
	}
}

// Strange bytes in a header become valid XML.
func TestMetadataIsValidXML(t *testing.T) {
	p := rpm.Package{Name: "x", Summary: "a", Changelog: []rpm.Change{{Author: `"<&>`, Text: "]]>", Time: time.Unix(1, 0)}}, Files: []rpm.File{{Path: "/etc/<\">&"}}}
	at := rpm.Place{Path: "Packages/x/x+1^2~3.rpm"}
	for _, s := range []string{rpm.PrimaryHead(1) + p.Primary(at) + rpm.PrimaryTail, rpm.FilelistsHead(1) + p.Filelists(at) + rpm.FilelistsTail, rpm.OtherHead(1) + p.Other(at) + rpm.OtherTail} {
		var v struct{}
		must(t, xml.Unmarshal([]byte(s), &v))
	}
	listed, err := rpm.ReadPrimary([]byte(rpm.PrimaryHead(1) + p.Primary(at) + rpm.PrimaryTail))
	must(t, err)
	if len(listed) != 1 || listed[0].Place.Path != at.Path {
		t.Errorf("%+v", listed)
	}
	data := []rpm.Data{{Type: "primary", Path: "repodata/x", SHA256: "aa", Size: 1, OpenSHA256: "bb", OpenSize: 2, Time: time.Unix(5, 0)}}
	revision, back, err := rpm.ReadRepomd(rpm.Repomd(7, data))
	if err != nil || revision != 7 || len(back) != 1 || back[0] != data[0] {
		t.Error(revision, back, err)
	}
}

func TestSign(t *testing.T) {
	binary, source := rpmtest.Build(t, rich)
	at := time.Now().Add(-time.Minute)
	for _, algorithm := range []signing.Algorithm{signing.RSA4096, signing.Ed25519} {
		key, err := signing.Generate(signing.Template{Name: "r", Algorithm: algorithm}, at)
		must(t, err)
		sign := func(r io.Reader) ([]byte, error) { return signing.NewSigner(key).SignPacket(r, at) }
		for _, path := range []string{binary, source} {
			in, err := os.Open(path)
			must(t, err)
			before, _ := load(t, path)
			out := filepath.Join(t.TempDir(), filepath.Base(path))
			after, err := rpm.Sign(in, out, sign)
			must(t, err)
			in.Close()
			if !after.Signed || before.Signed || after.PayloadDigest != before.PayloadDigest {
				t.Errorf("%v %v", before.Signed, after.Signed)
			}
			said := rpmtest.Verify(t, key.PublicArmored(), out)
			if n := strings.Count(said, "Signature, key ID"); n != 2 || strings.Count(said, ": OK") < 4 {
				t.Errorf("%s: %d signatures:\n%s", algorithm, n, said)
			}
			again, err := os.Open(out) // signing anew replaces
			must(t, err)
			twice := out + ".2"
			_, err = rpm.Sign(again, twice, sign)
			must(t, err)
			again.Close()
			rpmtest.Verify(t, key.PublicArmored(), twice)
		}
	}
	in, err := os.Open(binary)
	must(t, err)
	defer in.Close()
	out := filepath.Join(t.TempDir(), "x.rpm")
	if _, err := rpm.Sign(in, out, func(io.Reader) ([]byte, error) { return nil, io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a failed signing left a file")
	}
}

func TestRepoFile(t *testing.T) {
	got := rpm.RepoFile(rpm.Client{ID: "mos", Name: "MOS", URL: "http://x/", Keys: []string{"http://x/a", "http://x/b"}, Priority: 1})
	want := "[mos]\nname=MOS\nbaseurl=http://x/\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=http://x/a\n       http://x/b\npriority=1\n"
	if got != want {
		t.Error(got)
	}
}
