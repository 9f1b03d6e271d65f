package repo

import (
	"context"
	"fmt"
	"path"
	"slices"

	"sluice/internal/blob"
	"sluice/internal/deb"
)

// aptIndices gathers the files below dists/SUITE.
type aptIndices struct {
	dir   string // dists/SUITE
	texts map[string][]byte
	files []deb.IndexFile
}

// add enters one form of an index under its name and under its hash; a form
// that is nil is not made.
func (a *aptIndices) add(name string, text []byte) {
	if text == nil {
		return
	}
	sum := string(blob.DigestOf(text))
	a.texts[path.Join(a.dir, name)] = text
	a.texts[path.Join(a.dir, path.Dir(name), "by-hash/SHA256", sum)] = text
	a.files = append(a.files, deb.IndexFile{Path: name, Size: int64(len(text)), SHA256: sum})
}

func (a *aptIndices) addAll(name string, i index) {
	a.add(name, i.plain)
	a.add(name+".gz", i.gz)
	a.add(name+".xz", i.xz)
}

// debIndices makes dists.
func (b *Builder) debIndices(ctx context.Context, s state) (map[string][]byte, error) {
	a := &aptIndices{dir: path.Join("dists", s.Identity.Suite), texts: map[string][]byte{}}
	if s.Identity.Suite == "" || s.Identity.Codename == "" || len(s.architectures) == 0 {
		return nil, fmt.Errorf("an APT repository wants a suite, a codename and architectures")
	}
	of := map[string][]*record{}
	for _, r := range s.records {
		arch := r.Package.Architecture
		switch {
		case arch == "all":
			for _, to := range s.architectures {
				of[to] = append(of[to], r)
			}
		case arch == "source" || slices.Contains(s.architectures, arch):
			of[arch] = append(of[arch], r)
		default:
			return nil, fmt.Errorf("%s: %w: the repository has the architectures %v", r.Package.File, ErrPackage, s.architectures)
		}
	}
	stanza := func(r *record) string { return r.Index }
	for _, arch := range s.architectures {
		i, err := b.assemble(ctx, part{name: "packages", text: stanza, xz: s.xz}, of[arch])
		if err != nil {
			return nil, err
		}
		a.addAll(path.Join(component, "binary-"+arch, "Packages"), i)
		if !s.contents {
			continue
		}
		// Of older versions of a package, nothing is listed.
		c, err := b.assemble(ctx, part{name: "contents", text: func(r *record) string { return r.Contents }}, newest(of[arch]))
		if err != nil {
			return nil, err
		}
		a.add(path.Join(component, "Contents-"+arch+".gz"), c.gz)
		// The Release file has the uncompressed file's hash too; it is not served.
		a.files = append(a.files, deb.IndexFile{Path: path.Join(component, "Contents-"+arch), Size: int64(len(c.plain)), SHA256: string(blob.DigestOf(c.plain))})
	}
	i, err := b.assemble(ctx, part{name: "sources", text: stanza, xz: s.xz}, of["source"])
	if err != nil {
		return nil, err
	}
	a.addAll(path.Join(component, "source/Sources"), i)
	return a.texts, s.signRelease(a)
}

// newest are the records without those that a newer version follows.
func newest(records []*record) []*record {
	var out []*record
	for i, r := range records {
		if i+1 == len(records) || records[i+1].Package.Name != r.Package.Name {
			out = append(out, r)
		}
	}
	return out
}

// signRelease makes Release, InRelease and Release.gpg.
func (s state) signRelease(a *aptIndices) error {
	text := deb.Release{
		Origin: s.Identity.Origin, Label: s.Identity.Label, Suite: s.Identity.Suite, Codename: s.Identity.Codename,
		Description: s.description, Date: s.Publication.Date, ValidUntil: s.ValidUntil,
		Architectures: s.architectures, Components: []string{component},
		NotAutomatic: s.notAutomatic, ButAutomaticUpgrades: s.upgrades, Files: a.files,
	}.Text()
	inside, err := s.signer.Clearsign(text, s.Publication.Date)
	if err != nil {
		return err
	}
	beside, err := s.signer.DetachSign(text, s.Publication.Date)
	if err != nil {
		return err
	}
	a.texts[a.dir+"/Release"], a.texts[a.dir+"/InRelease"], a.texts[a.dir+"/Release.gpg"] = text, inside, beside
	return nil
}
