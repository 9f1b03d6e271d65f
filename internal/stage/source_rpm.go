package stage

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// rpmSourceFile is a Source or Patch of a spec.
type rpmSourceFile struct {
	tag  string // "Source0"
	name string // its file name in SOURCES
	tree bool   // it is made of the tree
}

var (
	releaseTag   = regexp.MustCompile(`(?mi)^release[ \t]*:.*$`)
	changelogTag = regexp.MustCompile(`(?m)^%changelog[ \t]*$`)
	changelogTop = regexp.MustCompile(`(?m)^\* +\w{3} +(\w{3}) +(\d{1,2}) +(\d{4})`)
	sourceTag    = regexp.MustCompile(`(?mi)^((?:source|patch)\d*)[ \t]*:[ \t]*(\S+)`)
	setupName    = regexp.MustCompile(`(?m)^%(?:auto)?setup\b.*?\s-n\s*("[^"\n]+"|\S+)`)
	setupAny     = regexp.MustCompile(`(?m)^%(?:auto)?setup\b`)
	archiveName  = regexp.MustCompile(`(?i)\.(?:tar(?:\.(gz|xz|bz2|zst|lz|Z))?|tgz|txz|tbz2?|zip|crate|gem)$`)
)

// deriveSpec puts the derived release and a changelog entry into a spec.
func deriveSpec(text string, v job.Version, s *job.Source) (string, error) {
	at := releaseTag.FindStringIndex(text)
	if at == nil {
		return "", errors.New("it has no Release tag")
	}
	text = text[:at[0]] + "Release: " + v.Release + "%{?dist}" + text[at[1]:]
	date := s.Date.UTC()
	section := changelogTag.FindStringIndex(text)
	if section == nil {
		text = strings.TrimRight(text, "\n") + "\n\n%changelog\n"
		section = []int{len(text) - 1, len(text) - 1}
	} else {
		rest := text[section[1]:]
		if strings.HasPrefix(strings.TrimSpace(rest), "%autochangelog") {
			return text, nil
		}
		// rpm refuses entries out of order: never before the one below.
		if g := changelogTop.FindStringSubmatch(rest); g != nil {
			if below, err := time.Parse("Jan 2 2006", g[1]+" "+g[2]+" "+g[3]); err == nil && below.After(date) {
				date = below
			}
		}
	}
	entry := fmt.Sprintf("\n* %s %s - %s\n", date.Format("Mon Jan 02 2006"), macroSafe(person(s.Maintainer)), v.Full)
	for i, line := range messageLines(s.Message) {
		switch {
		case i == 0:
			entry += "- " + macroSafe(line) + "\n"
		case line != "":
			entry += "  " + macroSafe(line) + "\n"
		}
	}
	return text[:section[1]] + entry + text[section[1]:], nil
}

// macroSafe keeps a text from being read as macros.
func macroSafe(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// expectedSources reads from the expanded spec which files it wants, and
// which of them is made of the tree: the first Source, unless it is a file of
// the tree. A packed source in git is refused.
func (a *attempt) expectedSources(src *rpmSource) error {
	src.top = src.name + "-" + src.version
	if g := setupName.FindStringSubmatch(src.expanded); g != nil {
		src.top = strings.Trim(g[1], `"`)
	}
	if !plainFile(src.top) {
		return a.fail("spec", src.file, a.lineOf(src.file, "%setup"), "%%setup -n %s: not the name of a folder", cutText(src.top, 100))
	}
	first := true
	for _, g := range sourceTag.FindAllStringSubmatch(src.expanded, -1) {
		name := sourceName(g[2])
		f := rpmSourceFile{tag: g[1], name: name}
		if !plainFile(name) {
			return a.fail("spec", src.file, a.lineOf(src.file, g[1]), "%s: %q cannot be a file's name", g[1], cutText(name, 100))
		}
		isSource := strings.EqualFold(g[1][:1], "s")
		inTree := a.besides(src, name)
		if isSource && inTree != "" && archiveName.MatchString(name) {
			return a.fail("policy:unpacked-sources", inTree, 0, "a packed source in git (%s): unpack it and commit the files", g[1])
		}
		if isSource && first {
			first = false
			f.tree = inTree == ""
		}
		if !f.tree && inTree == "" {
			return a.fail("spec", src.file, a.lineOf(src.file, g[1]), "%s: there is no file %s beside the spec or in the folder %s", g[1], name, a.packaging())
		}
		src.sources = append(src.sources, f)
	}
	if first && setupAny.MatchString(src.expanded) {
		return a.fail("spec", src.file, a.lineOf(src.file, "%prep"), "%%setup without a Source: add \"Source0: %%{name}-%%{version}.tar.gz\", which is made of the tree")
	}
	return nil
}

// sourceName is the file name that rpm looks for: the end of a URL.
func sourceName(url string) string {
	if i := strings.LastIndex(url, "#/"); i >= 0 {
		return url[i+2:]
	}
	return path.Base(url)
}

// besides is the path in the tree of a file beside the spec, in the packaging
// folder, or in their SOURCES.
func (a *attempt) besides(src *rpmSource, name string) string {
	for _, dir := range []string{path.Dir(src.file), a.packaging(), path.Join(path.Dir(src.file), "../SOURCES"), path.Join(a.packaging(), "SOURCES")} {
		if p := path.Join(dir, name); a.tree.files[p] {
			return p
		}
	}
	return ""
}

// placeSpec makes rpmbuild's folders with the spec in them.
func (a *attempt) placeSpec(b *sandbox.Box, src rpmSource) error {
	for _, d := range []string{"BUILD", "BUILDROOT", "RPMS", "SOURCES", "SPECS", "SRPMS"} {
		if err := b.MkdirAll(rpmTop+"/"+d, sandbox.Builder); err != nil {
			return err
		}
	}
	return b.WriteFile(src.path(), []byte(src.text), 0o644, sandbox.Builder)
}

// besideSpec copies files of the tree to SOURCES: those named, or (nil, for
// reading the spec, which may include any) all small ones beside the spec.
func (a *attempt) besideSpec(ctx context.Context, b *sandbox.Box, src rpmSource, named map[string]string) error {
	dir := path.Dir(src.file)
	return a.eachEntry(ctx, func(h *tar.Header, r io.Reader) error {
		name, want := named[h.Name]
		if named == nil {
			name = path.Base(h.Name)
			want = path.Dir(h.Name) == dir && h.Size < 256<<10 && plainFile(name)
		}
		if !want || h.Typeflag != tar.TypeReg {
			return nil
		}
		return copyInto(b, rpmTop+"/SOURCES/"+name, sandbox.Builder, r)
	})
}

// rpmSources puts the spec and its sources in their places.
func (a *attempt) rpmSources(ctx context.Context, b *sandbox.Box, src rpmSource) error {
	if err := a.placeSpec(b, src); err != nil {
		return err
	}
	named := map[string]string{}
	for _, f := range src.sources {
		if f.tree {
			a.log.Printf("%s: %s is made of the tree, as %s/", f.tag, f.name, src.top)
			if err := a.makeSource(ctx, b, src, f); err != nil {
				return err
			}
			continue
		}
		p := a.besides(&src, f.name)
		a.log.Printf("%s: %s", f.tag, p)
		named[p] = f.name
	}
	if err := a.besideSpec(ctx, b, src, named); err != nil {
		return err
	}
	// A name that the spec expects and that is a link in git is not there now.
	for _, name := range named {
		f, err := b.Open(rpmTop + "/SOURCES/" + name)
		if err != nil {
			return a.fail("spec", a.besides(&src, name), 0, "not a regular file: %v", err)
		}
		f.Close()
	}
	a.mapSources(rpmTop+"/BUILD/"+src.top, ".", a.sources().alias)
	return nil
}

// makeSource packs the tree as the archive that the spec names.
func (a *attempt) makeSource(ctx context.Context, b *sandbox.Box, src rpmSource, f rpmSourceFile) error {
	dest := rpmTop + "/SOURCES/" + f.name
	all := func(string) bool { return true }
	date := time.Unix(a.epoch(), 0)
	pack := func(w io.Writer) error { return a.pack(ctx, w, ".", src.top, date, all) }
	suffix := strings.ToLower(path.Ext(f.name))
	program := map[string]string{".xz": "xz", ".txz": "xz", ".bz2": "bzip2", ".tbz2": "bzip2", ".tbz": "bzip2"}[suffix]
	if program != "" {
		r, w := io.Pipe()
		go func() { w.CloseWithError(pack(w)) }()
		err := a.run(ctx, b, sandbox.Command{User: sandbox.Builder, Stdin: r, Args: []string{"sh", "-ec", `"$1" -c > "$2"`, "sh", program, dest}})
		r.CloseWithError(errors.New("packing ended"))
		return err
	}
	out, err := b.Create(dest, 0o644, sandbox.Builder)
	if err != nil {
		return err
	}
	defer out.Close()
	var z io.WriteCloser
	switch suffix {
	case ".tar":
		return pack(out)
	case ".gz", ".tgz", ".crate":
		z, err = gzip.NewWriterLevel(out, gzip.BestCompression)
	case ".zst":
		z, err = zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	default:
		return a.fail("spec", src.file, a.lineOf(src.file, f.tag), "%s: %s cannot be made of the tree: use .tar.gz, .tar.xz, .tar.bz2, .tar.zst or .tar", f.tag, f.name)
	}
	if err != nil {
		return err
	}
	if err := pack(z); err != nil {
		return err
	}
	return z.Close()
}
