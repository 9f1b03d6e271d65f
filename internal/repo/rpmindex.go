package repo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sluice/internal/blob"
	"sluice/internal/rpm"
)

// The three metadata files.
var rpmParts = []struct {
	kind string
	text func(*record) string
	head func(int) string
	tail string
}{
	{"primary", func(r *record) string { return r.Primary }, rpm.PrimaryHead, rpm.PrimaryTail},
	{"filelists", func(r *record) string { return r.Filelists }, rpm.FilelistsHead, rpm.FilelistsTail},
	{"other", func(r *record) string { return r.Other }, rpm.OtherHead, rpm.OtherTail},
}

// rpmIndices makes repodata.
func (b *Builder) rpmIndices(ctx context.Context, s state) (map[string][]byte, error) {
	texts := map[string][]byte{}
	var data []rpm.Data
	for _, part := range rpmParts {
		i, err := b.assemble(ctx, rpmPart(part.kind, part.text, part.head(len(s.records)), part.tail), s.records)
		if err != nil {
			return nil, err
		}
		sum := string(blob.DigestOf(i.gz))
		at := fmt.Sprintf("repodata/%s-%s.xml.gz", sum, part.kind)
		texts[at] = i.gz
		data = append(data, rpm.Data{Type: part.kind, Path: at, SHA256: sum, Size: int64(len(i.gz)),
			OpenSHA256: string(blob.DigestOf(i.plain)), OpenSize: int64(len(i.plain)), Time: s.Publication.Date})
	}
	repomd := rpm.Repomd(s.Publication.Revision, data)
	signature, err := s.signer.DetachSignPrimary(repomd, s.Publication.Date)
	if err != nil {
		return nil, err
	}
	texts["repodata/repomd.xml"], texts["repodata/repomd.xml.asc"] = repomd, signature
	texts["repodata/repomd.xml.key"] = []byte(s.signer.PublicArmored())
	return texts, nil
}

func rpmPart(name string, text func(*record) string, head, tail string) part {
	return part{name: name, text: text, head: head, tail: tail}
}

// signFile signs a package into a file in dir, and checks that what is
// installed from it is what was tested.
func (b *Builder) signFile(ctx context.Context, dir string, r Release, f File, payload string) (*os.File, error) {
	in, err := b.localFile(ctx, dir, f.Digest)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out := filepath.Join(dir, "signed.rpm")
	after, err := rpm.Sign(in, out, func(data io.Reader) ([]byte, error) { return r.Signer.SignPacket(data, r.At) })
	if err != nil {
		return nil, err
	}
	if after.PayloadDigest != payload {
		return nil, fmt.Errorf("its payload became %s, and %s was tested", after.PayloadDigest, payload)
	}
	return os.Open(out)
}

// localFile opens a blob as a file of this machine.
func (b *Builder) localFile(ctx context.Context, dir string, d blob.Digest) (*os.File, error) {
	data, _, err := b.store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	if f, ok := data.(*os.File); ok {
		return f, nil
	}
	defer data.Close()
	f, err := os.Create(filepath.Join(dir, "tested.rpm"))
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, data); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
