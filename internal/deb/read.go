package deb

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"pault.ag/go/debian/deb"
)

// Package is what a .deb says of itself.
type Package struct {
	Name         string
	Version      string
	Architecture string // "amd64", "all"
	// Source and SourceVersion name the source package; they are Name and
	// Version where the control file does not say otherwise.
	Source        string
	SourceVersion string
	Section       string
	// Stanza is the control file to the letter, ending with a newline.
	Stanza  string
	Control Paragraph
	// Files are the paths of all files that are not folders, without a leading
	// slash, in the order of the archive: what Contents lists.
	Files []string
}

// ReadPackage reads a .deb of size bytes wholly; what it finds wrong is ErrBad.
func ReadPackage(r io.ReaderAt, size int64) (_ Package, err error) {
	defer func() {
		if p := recover(); p != nil { // a decompressor met what it did not expect
			err = bad("it cannot be unpacked: %v", p)
		}
	}()
	if err := checkAr(r, size); err != nil {
		return Package{}, err
	}
	ar, err := deb.LoadAr(io.NewSectionReader(r, 0, size))
	if err != nil {
		return Package{}, bad("%v", err)
	}
	var p Package
	for {
		member, err := ar.Next()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return Package{}, bad("%v", err)
		}
		switch stem := strings.TrimSuffix(member.Name, suffixOf(member.Name)); stem {
		case "debian-binary":
			err = checkFormat(member.Data)
		case "control.tar":
			err = p.readControl(member)
		case "data.tar":
			p.Files, err = readData(member)
		}
		if err != nil {
			return Package{}, fmt.Errorf("%s: %w", member.Name, err)
		}
	}
}

func checkFormat(r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, 100))
	if err != nil || !strings.HasPrefix(string(text), "2.") || !strings.HasSuffix(string(text), "\n") {
		return bad("format %q; 2.0 is known", text)
	}
	return nil
}

// eachFile unpacks a tar member, at most limit bytes of it, and calls f for
// every entry; it reads to the end, so that damage anywhere is found.
func eachFile(member *deb.ArEntry, limit int64, f func(*tar.Header, io.Reader) error) error {
	unpacked, done, err := decompress(suffixOf(member.Name), member.Data)
	if err != nil {
		return err
	}
	defer done()
	limited := &io.LimitedReader{R: unpacked, N: limit}
	files := tar.NewReader(limited)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return damage(err, limited, limit)
		}
		if err := f(header, files); err != nil {
			if errors.Is(err, ErrBad) {
				return err
			}
			return damage(err, limited, limit)
		}
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return damage(err, limited, limit)
	}
	if limited.N <= 0 {
		return damage(io.EOF, limited, limit)
	}
	return nil
}

func damage(err error, r *io.LimitedReader, limit int64) error {
	if r.N <= 0 {
		return bad("more than %d bytes when unpacked", limit)
	}
	return bad("damaged: %v", err)
}

func decompress(suffix string, r io.Reader) (io.Reader, func(), error) {
	switch suffix {
	case "", ".gz", ".xz", ".bz2":
		out, err := deb.DecompressorFor(suffix)(r)
		if err != nil {
			return nil, nil, bad("damaged: %v", err)
		}
		return out, func() {}, nil
	case ".zst": // not the library's: it is never closed, and its helpers stay
		out, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nil, bad("damaged: %v", err)
		}
		return out, out.Close, nil
	}
	return nil, nil, bad("compression %q; gz, xz, zst and bz2 are known", suffix)
}

func (p *Package) readControl(member *deb.ArEntry) error {
	found := false
	err := eachFile(member, maxControlTar, func(h *tar.Header, r io.Reader) error {
		if path.Clean(h.Name) != "control" {
			return nil
		}
		if found || h.Typeflag != tar.TypeReg || h.Size > maxControlFile {
			return bad("the control file occurs twice, is no file, or is too big")
		}
		found = true
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return p.parseControl(text)
	})
	if err == nil && !found {
		return bad("there is no control file in it")
	}
	return err
}

// indexFields are added by the index; a package that brings them would forge it.
var indexFields = []string{"Filename", "Size", "MD5sum", "SHA1", "SHA256", "SHA512"}

func (p *Package) parseControl(text []byte) error {
	c, err := one(text)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	for _, f := range indexFields {
		if c.Has(f) {
			return bad("control: the field %s belongs to the repository", f)
		}
	}
	p.Control, p.Stanza = c, c.Text
	p.Name, p.Version, p.Architecture, p.Section = c.Get("Package"), c.Get("Version"), c.Get("Architecture"), c.Get("Section")
	if err := checkName("package", p.Name); err != nil {
		return err
	}
	if err := CheckVersion(p.Version); err != nil {
		return err
	}
	if !architecture.MatchString(p.Architecture) {
		return bad("control: architecture %.80q", p.Architecture)
	}
	p.Source, p.SourceVersion = p.Name, p.Version
	if text := c.Get("Source"); text != "" {
		m := sourceField.FindStringSubmatch(text)
		if m == nil {
			return bad("control: Source: %.80q", text)
		}
		p.Source = m[1]
		if m[2] != "" {
			p.SourceVersion = m[2]
		}
	}
	if err := checkName("source package", p.Source); err != nil {
		return err
	}
	if err := CheckVersion(p.SourceVersion); err != nil {
		return err
	}
	return relationsParse(c)
}

func readData(member *deb.ArEntry) ([]string, error) {
	files := []string{}
	err := eachFile(member, maxDataTar, func(h *tar.Header, _ io.Reader) error {
		name := path.Clean("/" + h.Name)[1:]
		if strings.Contains(h.Name, "\x00") || strings.Contains("/"+h.Name+"/", "/../") {
			return bad("the path %.80q", h.Name)
		}
		if h.Typeflag == tar.TypeDir || name == "" || strings.Contains(name, "\n") {
			return nil
		}
		if len(files) == maxDataFiles {
			return bad("more than %d files", maxDataFiles)
		}
		files = append(files, name)
		return nil
	})
	return files, err
}
