package stage

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// sourcePackage makes the .dsc and its tarballs in /build/source.
func (a *attempt) sourcePackage(ctx context.Context, b *sandbox.Box, src debSource) error {
	a.log.Step("make the source package")
	top := buildDir + "/source"
	dir := top + "/" + src.dir()
	if err := b.MkdirAll(top, sandbox.Builder); err != nil {
		return err
	}
	if err := a.unpack(ctx, b, a.packaging(), dir, sandbox.Builder); err != nil {
		return err
	}
	a.mapSources(dir, a.packaging(), nil)
	if err := a.derivedChangelog(b, dir, src); err != nil {
		return err
	}
	patched, err := a.unapply(ctx, b, dir, src)
	if err != nil {
		return err
	}
	args := []string{"dpkg-source"}
	if src.needsOrig() {
		found, err := a.previousOrig(ctx, b, top, src)
		if err != nil {
			return err
		}
		if found && src.format == "3.0 (quilt)" {
			args = append(args, "--auto-commit")
		}
		if !found {
			if err := a.makeOrig(ctx, b, top, dir, src, patched); err != nil {
				return err
			}
		}
	}
	return a.run(ctx, b, sandbox.Command{User: sandbox.Builder, Dir: top, Args: append(args, "-b", src.dir()),
		Env: map[string]string{"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": fmt.Sprint(a.epoch())}})
}

// needsOrig: "3.0 (quilt)", and "1.0" with a revision.
func (d debSource) needsOrig() bool {
	return d.revision && (d.format == "3.0 (quilt)" || strings.HasPrefix(d.format, "1.0"))
}

// derivedChangelog writes the entry of a derived version on top of the changelog.
func (a *attempt) derivedChangelog(b *sandbox.Box, dir string, src debSource) error {
	if a.spec.Version == nil || a.spec.Version.Declared {
		return nil
	}
	old := a.tree.text[path.Join(a.packaging(), "debian/changelog")]
	entry := debEntry(src.name, src.version, a.spec.Target.Codename, a.spec.Source)
	a.log.Write([]byte(entry))
	return b.WriteFile(dir+"/debian/changelog", append([]byte(entry), old...), 0o644, sandbox.Builder)
}

// debEntry is a changelog entry made from a commit.
func debEntry(name, version, codename string, s *job.Source) string {
	if codename == "" {
		codename = "unstable"
	}
	var e strings.Builder
	fmt.Fprintf(&e, "%s (%s) %s; urgency=medium\n\n", name, version, codename)
	for i, line := range messageLines(s.Message) {
		switch {
		case i == 0:
			fmt.Fprintf(&e, "  * %s\n", line)
		case line == "":
			e.WriteString("\n")
		default:
			fmt.Fprintf(&e, "    %s\n", line)
		}
	}
	fmt.Fprintf(&e, "\n -- %s  %s\n\n", person(s.Maintainer), s.Date.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	return e.String()
}

// messageLines are the lines of a commit message that belong in a changelog:
// no footers, no control characters, at most 40.
func messageLines(message string) []string {
	var lines []string
	for line := range strings.Lines(message) {
		line = strings.TrimRight(tidy(line), " \t")
		if footer(line) {
			continue
		}
		if line = cutText(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), 300); line == "" && len(lines) == 0 {
			continue
		}
		lines = append(lines, line)
		if len(lines) == 40 {
			break
		}
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 {
		return []string{"No description."}
	}
	return lines
}

// footer reports whether a line is one of Gerrit's footers.
func footer(line string) bool {
	for _, f := range []string{"Change-Id: ", "Depends-On: ", "Signed-off-by: ", "Reviewed-on: ", "Reviewed-by: ", "Tested-by: "} {
		if len(line) >= len(f) && strings.EqualFold(line[:len(f)], f) {
			return true
		}
	}
	return false
}

// person makes "Name <mail>" of an author, fit for one line.
func person(s string) string {
	s = strings.Join(strings.Fields(tidy(strings.ReplaceAll(s, "\n", " "))), " ")
	name, mail, ok := strings.Cut(s, "<")
	mail = strings.TrimSpace(strings.TrimRight(mail, "> "))
	name = strings.TrimSpace(strings.NewReplacer("<", "", ">", "").Replace(name))
	if name == "" {
		name = "unknown"
	}
	if !ok || mail == "" || strings.ContainsAny(mail, " <>") {
		mail = "unknown@localhost"
	}
	return name + " <" + mail + ">"
}

// unapply reverses the patch series of a tree that has it applied, and
// reports whether it did.
func (a *attempt) unapply(ctx context.Context, b *sandbox.Box, dir string, src debSource) (bool, error) {
	series := seriesOf(a.tree.text[path.Join(a.packaging(), "debian/patches/series")])
	if src.format != "3.0 (quilt)" || len(series) == 0 {
		return false, nil
	}
	try := func(patch string, args ...string) error {
		f, err := b.Open(dir + "/debian/patches/" + patch)
		if err != nil {
			return a.fail("patch", path.Join(a.packaging(), "debian/patches", patch), 0, "named in debian/patches/series, and not there: %v", err)
		}
		defer f.Close()
		_, err = a.quiet(ctx, b, sandbox.Command{User: sandbox.Builder, Dir: dir, Stdin: f,
			Args: append([]string{"patch", "-p1", "-F0", "-s", "-f", "--no-backup-if-mismatch", "-r", "-"}, args...)})
		return err
	}
	first := try(series[0], "--dry-run", "-N")
	last := try(series[len(series)-1], "--dry-run", "-R")
	if err := ctx.Err(); err != nil {
		return false, err
	}
	for _, err := range []error{first, last} {
		if _, ok := asVerdict(err); ok {
			return false, err
		}
	}
	switch {
	case first == nil:
		a.log.Printf("the patch series is not applied in the tree (%d patches)", len(series))
		return false, nil
	case last != nil:
		return false, a.fail("patch", path.Join(a.packaging(), "debian/patches", series[0]), 0, "the patch is neither applied in the tree nor can it be applied")
	}
	a.log.Printf("the patch series is applied in the tree (%d patches): reversing it", len(series))
	for i := len(series) - 1; i >= 0; i-- {
		if err := try(series[i], "-R"); err != nil {
			if _, ok := asVerdict(err); ok || ctx.Err() != nil {
				return false, err
			}
			return false, a.fail("patch", path.Join(a.packaging(), "debian/patches", series[i]), 0, "the patch cannot be reversed, though those behind it in the series are applied")
		}
	}
	return true, nil
}

// seriesOf reads debian/patches/series.
func seriesOf(text []byte) []string {
	var out []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 0 && !strings.Contains("/"+f[0]+"/", "/../") {
			out = append(out, f[0])
		}
	}
	return out
}

// makeOrig makes the upstream tarball: from the archive of the tree, or, when
// patches were reversed, from the tree in the box.
func (a *attempt) makeOrig(ctx context.Context, b *sandbox.Box, top, dir string, src debSource, patched bool) error {
	name := fmt.Sprintf("%s_%s.orig.tar.gz", src.name, src.upstream)
	a.log.Printf("%s is made of the tree without debian/", name)
	w, err := b.Create(top+"/"+name, 0o644, sandbox.Builder)
	if err != nil {
		return err
	}
	defer w.Close()
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if patched {
		err = a.run(ctx, b, sandbox.Command{User: sandbox.Builder, Dir: top, Stdout: z, Env: map[string]string{"LC_ALL": "C"}, Args: []string{
			"tar", "--format=gnu", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX",
			fmt.Sprintf("--mtime=@%d", stableTime.Unix()), "--exclude=./" + src.dir() + "/debian", "--exclude=./" + src.dir() + "/.pc", "-cf", "-", "./" + src.dir()}})
	} else {
		err = a.pack(ctx, z, a.packaging(), src.dir(), stableTime, func(name string) bool {
			return name != "debian" && !strings.HasPrefix(name, "debian/") && !strings.HasPrefix(name, ".pc/")
		})
	}
	if err != nil {
		return err
	}
	return z.Close()
}

// previousOrig takes the upstream tarballs from the repositories of the
// target, the highest priority first, if one has this upstream version.
func (a *attempt) previousOrig(ctx context.Context, b *sandbox.Box, top string, src debSource) (bool, error) {
	for i := len(a.spec.Repositories) - 1; i >= 0; i-- {
		r := a.spec.Repositories[i]
		if r.Kind == job.Upstream || strings.HasSuffix(r.Suite, "/") {
			continue
		}
		for _, component := range r.Components {
			p, ok, err := a.findSource(ctx, r, component, src)
			if err != nil {
				return false, err
			}
			if ok {
				return true, a.takeOrig(ctx, b, top, r, p)
			}
		}
	}
	return false, nil
}

// findSource looks for the source package with this upstream version.
func (a *attempt) findSource(ctx context.Context, r job.Repository, component string, src debSource) (deb.Paragraph, bool, error) {
	index := &limited{max: 256 << 20}
	found, err := a.get(ctx, r.Path+"dists/"+r.Suite+"/"+component+"/source/Sources.gz", index)
	if err != nil || !found {
		return deb.Paragraph{}, false, err
	}
	z, err := gzip.NewReader(&index.buf)
	if err != nil {
		return deb.Paragraph{}, false, outside("the index of source packages of %s: %v", r.Name, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, 512<<20))
	if err != nil {
		return deb.Paragraph{}, false, outside("the index of source packages of %s: %v", r.Name, err)
	}
	for stanza := range strings.SplitSeq(string(text), "\n\n") {
		if !strings.HasPrefix(stanza, "Package: "+src.name+"\n") && !strings.Contains(stanza, "\nPackage: "+src.name+"\n") {
			continue
		}
		all, err := deb.ParseParagraphs([]byte(stanza + "\n"))
		if err != nil || len(all) != 1 {
			continue
		}
		v := withoutEpoch(all[0].Get("Version"))
		if j := strings.LastIndexByte(v, '-'); j >= 0 && v[:j] == src.upstream && strings.Contains(stanza, ".orig.tar.") {
			return all[0], true, nil
		}
	}
	return deb.Paragraph{}, false, nil
}

// takeOrig copies the upstream tarballs of a source package into the box.
func (a *attempt) takeOrig(ctx context.Context, b *sandbox.Box, top string, r job.Repository, p deb.Paragraph) error {
	for line := range strings.Lines(p.Get("Checksums-Sha256")) {
		f := strings.Fields(line)
		if len(f) != 3 || !strings.Contains(f[2], ".orig") || !plainFile(f[2]) {
			continue
		}
		a.log.Printf("%s is taken from %s, which has this upstream version", f[2], r.Name)
		w, err := b.Create(top+"/"+f[2], 0o644, sandbox.Builder)
		if err != nil {
			return err
		}
		sum := newSum(w)
		found, err := a.get(ctx, r.Path+path.Join(p.Get("Directory"), f[2]), sum)
		w.Close()
		if err != nil {
			return err
		}
		if !found || sum.String() != f[0] {
			return outside("%s of %s: it is not there, or has other bytes than its index says", f[2], r.Name)
		}
	}
	return nil
}
