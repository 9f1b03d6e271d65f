package rpm

import (
	"fmt"
	"io"
	"os"

	rpmutils "github.com/sassoftware/go-rpmutils"
)

// Sign copies the package in to the new file out with two signatures in its
// signature header: of the header, and of header and payload; those that it
// had are replaced. sign returns a bare OpenPGP v4 signature packet of what it
// is given to read. Header and payload stay as they are, to the byte, which is
// checked.
func Sign(in *os.File, out string, sign func(io.Reader) ([]byte, error)) (Package, error) {
	info, err := in.Stat()
	if err != nil {
		return Package{}, fmt.Errorf("signing a package: %w", err)
	}
	before, err := ReadPackage(in, info.Size())
	if err != nil {
		return Package{}, fmt.Errorf("signing a package: %w", err)
	}
	fail := func(err error) (Package, error) {
		os.Remove(out)
		return Package{}, fmt.Errorf("signing %s: %w", before.FileName(), err)
	}
	header, err := sign(io.NewSectionReader(in, before.HeaderStart, before.HeaderEnd-before.HeaderStart))
	if err != nil {
		return fail(err)
	}
	whole, err := sign(io.NewSectionReader(in, before.HeaderStart, info.Size()-before.HeaderStart))
	if err != nil {
		return fail(err)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return fail(err)
	}
	if err := rewrite(in, out, whole, header); err != nil {
		return fail(err)
	}
	after, err := readFile(out)
	if err != nil {
		return fail(err)
	}
	if !after.Signed || after.PayloadDigest != before.PayloadDigest || after.FileName() != before.FileName() ||
		after.HeaderEnd-after.HeaderStart != before.HeaderEnd-before.HeaderStart {
		return fail(fmt.Errorf("the signed file is not the same package: payload %s, before %s", after.PayloadDigest, before.PayloadDigest))
	}
	return after, nil
}

func rewrite(in *os.File, out string, whole, header []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = bad("its signature header cannot be rewritten: %v", v)
		}
	}()
	_, err = rpmutils.RewriteWithSignatures(in, out, whole, header)
	return err
}

func readFile(path string) (Package, error) {
	f, err := os.Open(path)
	if err != nil {
		return Package{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Package{}, err
	}
	return ReadPackage(f, info.Size())
}
