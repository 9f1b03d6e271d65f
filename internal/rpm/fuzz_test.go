package rpm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"testing"

	"sluice/internal/rpm"
	"sluice/internal/rpm/rpmtest"
)

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func FuzzReadPackage(f *testing.F) {
	binary, source := rpmtest.Build(f, rpmtest.Package{Name: "small", EVR: "1-1"})
	for _, path := range []string{binary, source} {
		_, data := load(f, path)
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readBytes(data)
		if err != nil {
			return
		}
		text := rpm.PrimaryHead(1) + p.Primary(rpm.Place{Path: p.FileName()}) + rpm.PrimaryTail
		var v struct{}
		if err := xml.Unmarshal([]byte(text), &v); err != nil {
			t.Errorf("%v in %s", err, text)
		}
	})
}

func FuzzCompare(f *testing.F) {
	f.Add("1:2.0-1", "2~rc1^3")
	f.Fuzz(func(t *testing.T, a, b string) {
		if rpm.Compare(a, a) != 0 || rpm.Compare(a, b)*rpm.Compare(b, a) > 0 {
			t.Errorf("%q %q", a, b)
		}
	})
}
