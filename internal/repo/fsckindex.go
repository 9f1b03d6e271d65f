package repo

import (
	"bytes"
	"compress/gzip"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sluice/internal/blob"
	"sluice/internal/deb"
	"sluice/internal/release"
	"sluice/internal/rpm"
)

// deb checks dists: signatures, what they vouch for, what the indices list.
func (f *fsck) deb() {
	dir := path.Join("dists", f.m.Identity.Suite)
	at := f.m.Publication.Date
	inside, ok := f.text(dir + "/InRelease")
	if !ok {
		return
	}
	text, err := f.ring.VerifyClearsigned(inside, at)
	if err != nil {
		f.found(BadSignature, dir+"/InRelease", f.m.Files[dir+"/InRelease"].SHA256, "%v", err)
		return
	}
	if plain, ok := f.text(dir + "/Release"); ok {
		if beside, ok := f.text(dir + "/Release.gpg"); ok {
			if err := f.ring.Verify(plain, beside, at); err != nil {
				f.found(BadSignature, dir+"/Release.gpg", f.m.Files[dir+"/Release.gpg"].SHA256, "%v", err)
			}
		}
		if !bytes.Equal(plain, text) {
			f.found(BadIndex, dir+"/Release", f.m.Files[dir+"/Release"].SHA256, "it is not what InRelease says")
		}
	}
	fields, files, err := deb.ReadRelease(text)
	if err != nil {
		f.found(BadIndex, dir+"/InRelease", "", "%v", err)
		return
	}
	if date, err := time.Parse(time.RFC1123, fields.Get("Date")); err != nil || !date.Equal(at) {
		f.found(BadIndex, dir+"/InRelease", "", "its date is %s, the publication's %s", fields.Get("Date"), at)
	}
	for _, i := range files {
		f.aptFile(dir, i)
	}
	for arch := range strings.FieldsSeq(fields.Get("Architectures")) {
		f.stanzas(path.Join(dir, component, "binary-"+arch, "Packages"), func(p release.Package) bool {
			return p.Architecture == arch || p.Architecture == "all"
		})
	}
	f.stanzas(path.Join(dir, component, "source/Sources"), func(p release.Package) bool { return p.Architecture == "source" })
}

// aptFile checks a line of the Release file: the file is served with these
// bytes, under its name and under its hash.
func (f *fsck) aptFile(dir string, i deb.IndexFile) {
	want := Entry{blob.Digest(i.SHA256), i.Size}
	name := path.Join(dir, i.Path)
	_, compressed := f.m.Files[name+".gz"]
	e, ok := f.m.Files[name]
	if !ok && compressed {
		return // a hash of what is served compressed only
	}
	if e != want {
		f.found(BadIndex, name, e.SHA256, "the Release file says %s, %d bytes", i.SHA256, i.Size)
	}
	if hash := path.Join(path.Dir(name), "by-hash/SHA256", i.SHA256); f.m.Files[hash] != want {
		f.found(BadIndex, hash, want.SHA256, "the index is not served under its hash")
	}
}

// stanzas compares a Packages or Sources file, and its gzip form, with what is published.
func (f *fsck) stanzas(name string, is func(release.Package) bool) {
	text, ok := f.text(name)
	if !ok {
		return
	}
	if packed, ok := f.text(name + ".gz"); ok {
		if got, err := gunzip(packed); err != nil || !bytes.Equal(got, text) {
			f.found(BadIndex, name+".gz", f.m.Files[name+".gz"].SHA256, "it does not unpack to the same index (%v)", err)
		}
	}
	got := map[string]Entry{}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		if strings.TrimSpace(block) == "" {
			continue
		}
		all, err := deb.ParseParagraphs([]byte(block))
		if err != nil || len(all) != 1 {
			f.found(BadIndex, name, f.m.Files[name].SHA256, "a stanza cannot be read: %v", err)
			return
		}
		p := all[0]
		size, _ := strconv.ParseInt(p.Get("Size"), 10, 64)
		at, sum := p.Get("Filename"), p.Get("SHA256")
		if dir := p.Get("Directory"); dir != "" {
			first := strings.Fields(p.Get("Checksums-Sha256")) // of the .dsc
			if len(first) < 3 {
				f.found(BadIndex, name, f.m.Files[name].SHA256, "a source package without checksums")
				return
			}
			at, sum = path.Join(dir, first[2]), first[0]
			size, _ = strconv.ParseInt(first[1], 10, 64)
		}
		got[at] = Entry{blob.Digest(sum), size}
	}
	f.listed(name, f.published(is), got)
}

func (f *fsck) published(is func(release.Package) bool) []release.Package {
	var out []release.Package
	for _, p := range f.m.Publication.Packages {
		if is(p) {
			out = append(out, p)
		}
	}
	return out
}

func gunzip(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, maxManifest))
}

// rpm checks repodata: the signature, what it vouches for, what primary lists.
func (f *fsck) rpm() {
	const name = "repodata/repomd.xml"
	text, ok := f.text(name)
	if !ok {
		return
	}
	if beside, ok := f.text(name + ".asc"); ok {
		if err := f.ring.Verify(text, beside, f.m.Publication.Date); err != nil {
			f.found(BadSignature, name+".asc", f.m.Files[name+".asc"].SHA256, "%v", err)
		}
	}
	revision, data, err := rpm.ReadRepomd(text)
	if err != nil || revision != f.m.Publication.Revision {
		f.found(BadIndex, name, f.m.Files[name].SHA256, "revision %d instead of %d, %v", revision, f.m.Publication.Revision, err)
		return
	}
	kinds := map[string]bool{}
	for _, d := range data {
		kinds[d.Type] = true
		f.rpmFile(d)
	}
	for _, part := range rpmParts {
		if !kinds[part.kind] {
			f.found(BadIndex, name, f.m.Files[name].SHA256, "it does not list %s", part.kind)
		}
	}
}

var packageID = regexp.MustCompile(`<package pkgid="([0-9a-f]{64})"`)

func (f *fsck) rpmFile(d rpm.Data) {
	e := f.m.Files[d.Path]
	if string(e.SHA256) != d.SHA256 || e.Size != d.Size {
		f.found(BadIndex, d.Path, e.SHA256, "repomd.xml says %s, %d bytes", d.SHA256, d.Size)
		return
	}
	packed, ok := f.text(d.Path)
	if !ok {
		return
	}
	text, err := gunzip(packed)
	if err != nil || string(blob.DigestOf(text)) != d.OpenSHA256 || int64(len(text)) != d.OpenSize {
		f.found(BadIndex, d.Path, e.SHA256, "it does not unpack to what repomd.xml says (%v)", err)
		return
	}
	if d.Type != "primary" {
		ids := map[string]bool{}
		for _, m := range packageID.FindAllSubmatch(text, -1) {
			ids[string(m[1])] = true
		}
		for _, p := range f.m.Publication.Packages { // the same packages are in all three
			if !ids[p.Published] {
				f.found(LostPackage, p.Path, blob.Digest(p.Published), "%s is published, and %s does not list it", p.ID(), d.Type)
			}
		}
		return
	}
	listed, err := rpm.ReadPrimary(text)
	if err != nil {
		f.found(BadIndex, d.Path, e.SHA256, "%v", err)
		return
	}
	got := map[string]Entry{}
	for _, l := range listed {
		got[l.Place.Path] = Entry{blob.Digest(l.Place.SHA256), l.Place.Size}
	}
	f.listed("primary.xml", f.m.Publication.Packages, got)
}
