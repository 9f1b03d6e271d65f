package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"strings"

	"sluice/internal/deb"
	"sluice/internal/rpm"
)

// check reads a package that a build made, wholly, before it is an artifact.
func check(f *os.File, name string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch {
	case strings.HasSuffix(name, ".deb"):
		_, err = deb.ReadPackage(f, info.Size())
	case strings.HasSuffix(name, ".rpm"):
		_, err = rpm.ReadPackage(f, info.Size())
	}
	return err
}

// summed hashes what passes to w.
type summed struct {
	w   io.Writer
	sum hash.Hash
}

func newSum(w io.Writer) *summed { return &summed{w, sha256.New()} }

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.sum.Write(p[:n])
	return n, err
}

// String is the digest in hexadecimal.
func (s *summed) String() string { return hex.EncodeToString(s.sum.Sum(nil)) }
