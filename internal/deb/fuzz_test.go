package deb_test

import (
	"bytes"
	"testing"

	"sluice/internal/deb"
)

func FuzzReadPackage(f *testing.F) {
	for _, z := range []string{"gzip", "xz", "zstd", "none"} {
		f.Add(sample(f, z))
	}
	f.Add([]byte("!<arch>\n" + member("debian-binary", "4", "2.0\n") + member("control.tar.gz", "-60", "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := deb.ReadPackage(bytes.NewReader(data), int64(len(data)))
		if err == nil && (p.Name == "" || deb.CheckVersion(p.Version) != nil) {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Add([]byte("Source: hello\nBuild-Depends: a (>= 1) [amd64] <!x>, b | c:any\n\nPackage: hello\nArchitecture: any\n"))
	f.Add([]byte("Source: x\nFiles:\n 00 1 x\nChecksums-Sha256:\n 00 1 x\n"))
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\n\nSource: x\n\n-----BEGIN PGP SIGNATURE-----\n"))
	f.Add([]byte("hello (1) a; b=c\n\n  * x\n\n -- a <b>  Mon, 05 Jan 2026 12:00:00 +0100\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = deb.ReadControl(data)
		_, _ = deb.ReadDsc(data)
		_, _ = deb.ReadChangelogTop(data)
		_, _, _ = deb.ReadRelease(data)
	})
}

func FuzzRelations(f *testing.F) {
	for _, s := range []string{"a", "a (>= 1)", "a [amd64]", "a <x y> <z>", "${x:y}", "a:any|b,c", "a (", "a [", "a <", "${", "a:"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		rs, err := deb.ParseRelations(s)
		if err == nil {
			rs.Names("amd64", nil)
		}
	})
}

func FuzzCompare(f *testing.F) {
	f.Add("1:2.0-1", "2~rc1")
	f.Fuzz(func(t *testing.T, a, b string) {
		if deb.Compare(a, a) != 0 || deb.Compare(a, b)*deb.Compare(b, a) > 0 {
			t.Errorf("%q %q", a, b)
		}
	})
}
