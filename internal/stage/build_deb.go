package stage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"runtime"
	"strings"

	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// The build of a Debian package.
//
// The tree is unpacked sources with debian/ (in the packaging folder). A
// source package is made from it first, in /build/source; it is unpacked again
// at /build/NAME-UPSTREAM, and the binary packages are built from that, so what
// is tested is that the published source package builds. The path, the dates
// and the tools are fixed: two builds of one tree give the same bytes (but for
// .buildinfo and .changes, which hold the date).
//
// Format "3.0 (quilt)" (and "1.0" with a revision) needs an upstream tarball,
// and git holds none. If one of the job's repositories already has this
// upstream version, its tarball is taken, so that a name never stands for two
// contents; what the tree changed since becomes a patch (--auto-commit).
// Otherwise the tarball is made of the tree without debian/: sorted as git
// sorts, owner root, one fixed date, gzip without a name or date.
//
// A tree of "3.0 (quilt)" may have its patch series applied or not. It is
// applied if the last patch can be reversed exactly and the first cannot be
// applied; then the series is reversed before the tarball is made. If neither
// is possible, the series does not fit the tree, and that is the finding.

// buildDir is where packages are built, in every box.
const buildDir = "/build"

// debSource is a Debian source tree, as its own files describe it.
type debSource struct {
	control  deb.Control
	name     string
	version  string // full, of this build
	upstream string // without epoch and revision
	format   string // "3.0 (quilt)", …
	revision bool   // the version has one
}

func (d debSource) dir() string { return d.name + "-" + d.upstream }

func (a *attempt) buildDEB(ctx context.Context) error {
	a.log.Step(stepTree)
	src, err := a.readDEB(ctx)
	if err != nil {
		return err
	}
	layers, err := a.ready(ctx)
	if err != nil {
		return err
	}
	if err := a.applicable(ctx, layers, src); err != nil {
		return err
	}
	if layers, err = a.buildDepends(ctx, layers, src); err != nil {
		return err
	}
	b, err := a.box(ctx, "build", layers)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := a.sourcePackage(ctx, b, src); err != nil {
		return err
	}
	if err := a.binaryPackages(ctx, b, src); err != nil {
		return err
	}
	return a.collectDEB(ctx, b, src)
}

// readDEB reads what debian/ says, without running any of it.
func (a *attempt) readDEB(ctx context.Context) (debSource, error) {
	var src debSource
	debian := path.Join(a.packaging(), "debian")
	wanted := map[string]bool{}
	for _, f := range []string{"control", "changelog", "source/format", "rules", "patches/series"} {
		wanted[path.Join(debian, f)] = true
	}
	t, err := a.readTree(ctx, func(name string) bool { return wanted[name] })
	if err != nil {
		return src, err
	}
	a.tree = t
	a.mapSources(buildDir+"/source", a.packaging(), nil)
	for _, f := range []string{"control", "changelog", "rules"} {
		if name := path.Join(debian, f); !t.files[name] {
			return src, a.fail("policy:no-packaging", name, 0, "there is no such file: a Debian package needs it")
		}
	}
	if src.control, err = deb.ReadControl(t.text[path.Join(debian, "control")]); err != nil {
		return src, a.broken(path.Join(debian, "control"), err)
	}
	top, err := deb.ReadChangelogTop(t.text[path.Join(debian, "changelog")])
	if err != nil {
		return src, a.broken(path.Join(debian, "changelog"), err)
	}
	if top.Source != src.control.Name() {
		return src, a.fail("policy:name", path.Join(debian, "changelog"), 1, "it names the package %s, and debian/control names it %s", top.Source, src.control.Name())
	}
	src.name, src.version = top.Source, top.Version
	if v := a.spec.Version; v != nil && !v.Declared {
		src.version = v.Full
	}
	if err := deb.CheckVersion(src.version); err != nil {
		return src, outside("the version derived for this build: %v", err)
	}
	src.upstream = withoutEpoch(src.version)
	if i := strings.LastIndexByte(src.upstream, '-'); i >= 0 {
		src.upstream, src.revision = src.upstream[:i], true
	}
	src.format = strings.TrimSpace(string(t.text[path.Join(debian, "source/format")]))
	if src.format == "" {
		src.format = "1.0"
	}
	a.log.Printf("source package %s, version %s, format %s", src.name, src.version, src.format)
	return src, nil
}

var lineNumber = regexp.MustCompile(`\bline (\d+)(?:: )?`)

// broken is the finding for a file of the packaging that does not parse.
func (a *attempt) broken(file string, err error) error {
	message := strings.TrimPrefix(err.Error(), deb.ErrBad.Error()+": ")
	message = strings.Replace(message, deb.ErrBad.Error()+": ", "", 1)
	line := 0
	if g := lineNumber.FindStringSubmatch(message); g != nil {
		line = atoi(g[1])
		message = strings.Replace(message, g[0], "", 1)
	}
	if i := strings.LastIndex(file, "debian/"); i >= 0 {
		message = strings.TrimPrefix(message, file[i:]+": ")
	}
	return a.fail("parse", file, line, "%s", message)
}

// applicable refuses what this job's architecture has no part in.
func (a *attempt) applicable(ctx context.Context, layers []sandbox.Layer, src debSource) error {
	arch := a.spec.Target.Architecture
	var wild []string
	for _, bin := range src.control.Binaries {
		for _, w := range bin.Architectures {
			if w == "any" || w == arch || w == "all" && a.spec.Target.Primary {
				return nil
			}
			if strings.Contains(w, "any-") || strings.Contains(w, "-any") {
				wild = append(wild, w)
			}
		}
	}
	if len(wild) > 0 {
		b, err := a.box(ctx, "architecture", layers[:1])
		if err != nil {
			return err
		}
		defer b.Close()
		for _, w := range wild {
			if _, err := a.quiet(ctx, b, sandbox.Command{Args: []string{"dpkg-architecture", "-a", arch, "-i", w}}); err == nil {
				return nil
			}
		}
	}
	return notApplicable("no binary package of %s is built on %s", src.name, arch)
}

// buildDepends gives the root with the build dependencies installed.
func (a *attempt) buildDepends(ctx context.Context, layers []sandbox.Layer, src debSource) ([]sandbox.Layer, error) {
	a.log.Step("install the build dependencies")
	a.ask(src.control.BuildDepends.Names(a.spec.Target.Architecture, nil)...)
	fetcher, err := a.box(ctx, "fetch", layers)
	if err != nil {
		return nil, err
	}
	defer fetcher.Close()
	const dir = "/tmp/source"
	for _, f := range []string{"control", "changelog"} {
		text := a.tree.text[path.Join(a.packaging(), "debian", f)]
		if err := fetcher.WriteFile(dir+"/debian/"+f, text, 0o644, sandbox.Root); err != nil {
			return nil, err
		}
	}
	want := request{Source: dir}
	if !a.spec.Target.Primary {
		want.Extra = []string{"--arch-only"}
	}
	have, err := a.manager().versions(ctx, fetcher)
	if err != nil {
		return nil, err
	}
	if src.control.Source.Get("Rules-Requires-Root") != "no" && have["fakeroot"] == "" {
		return nil, outside("the build root %s lacks fakeroot, which %s needs (Rules-Requires-Root is not \"no\"): add it to the root's recipe", a.spec.Root.Name, src.name)
	}
	return a.withPackages(ctx, layers, fetcher, want)
}

// binaryPackages unpacks the source package at the fixed path and builds it.
func (a *attempt) binaryPackages(ctx context.Context, b *sandbox.Box, src debSource) error {
	dir := buildDir + "/" + src.dir()
	a.log.Step("unpack the source package")
	err := a.run(ctx, b, sandbox.Command{User: sandbox.Builder, Dir: buildDir, Args: []string{
		"dpkg-source", "--no-check", "-x", "source/" + a.dsc(src), dir}})
	if err != nil {
		return err
	}
	a.mapSources(dir, a.packaging(), nil)
	a.log.Step("build the binary packages")
	what := "-B"
	if a.spec.Target.Primary {
		what = "-b"
	}
	return a.run(ctx, b, sandbox.Command{User: sandbox.Builder, Dir: dir,
		Args: []string{"dpkg-buildpackage", "-us", "-uc", what},
		Env:  map[string]string{"LC_ALL": "C.UTF-8", "DEB_BUILD_OPTIONS": fmt.Sprintf("parallel=%d", min(runtime.NumCPU(), 16))}})
}

// dsc is the name of the source package's control file.
func (a *attempt) dsc(src debSource) string {
	return src.name + "_" + withoutEpoch(src.version) + ".dsc"
}

// collectDEB stores what was built.
func (a *attempt) collectDEB(ctx context.Context, b *sandbox.Box, src debSource) error {
	a.log.Step("keep the artifacts")
	if a.spec.Target.Primary {
		if err := a.collect(ctx, b, buildDir+"/source", func(name string) (job.ArtifactKind, bool) {
			return job.SourcePackage, strings.HasSuffix(name, ".dsc") || strings.Contains(name, ".tar.") || strings.HasSuffix(name, ".diff.gz")
		}); err != nil {
			return err
		}
	}
	err := a.collect(ctx, b, buildDir, func(name string) (job.ArtifactKind, bool) {
		switch path.Ext(name) {
		case ".deb", ".udeb", ".ddeb":
			return job.BinaryPackage, true
		case ".changes", ".buildinfo":
			return job.Report, true
		}
		return "", false
	})
	if err == nil && !a.made(job.BinaryPackage) {
		err = a.fail("artifact", "", 0, "the build of %s made no binary package", src.name)
	}
	return err
}

// collect keeps the files of a directory that kind wants.
func (a *attempt) collect(ctx context.Context, b *sandbox.Box, dir string, kind func(name string) (job.ArtifactKind, bool)) error {
	list, err := b.List(dir)
	if err != nil {
		return a.fail("artifact", "", 0, "the build left no directory %s: %v", dir, err)
	}
	for _, f := range list {
		k, want := kind(f.Name)
		if !want {
			continue
		}
		if !f.Mode.IsRegular() {
			return a.fail("artifact", "", 0, "%s is not a regular file (%s)", cutText(f.Name, 100), f.Mode)
		}
		if err := a.keep(ctx, b, path.Join(dir, f.Name), k); err != nil {
			return err
		}
	}
	return nil
}

func (a *attempt) made(kind job.ArtifactKind) bool {
	for _, f := range a.artifacts {
		if f.Kind == kind {
			a.log.Printf("%s %s %s", f.Digest, f.Kind, f.Name)
		}
	}
	for _, f := range a.artifacts {
		if f.Kind == kind {
			return true
		}
	}
	return false
}

// asVerdict is err's verdict, if it is a failure of the change.
func asVerdict(err error) (*verdict, bool) {
	var v *verdict
	return v, errors.As(err, &v) && v.Outcome == job.Failed
}
