package stage

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// The build of an RPM package.
//
// The tree is unpacked sources with a spec. The first Source of the spec is
// made of the whole tree, under the name and with the top folder that the spec
// expects; every other Source and Patch is a file of the tree beside the spec
// or in the packaging folder. A derived version replaces the Release tag (the
// line stays where it is, so that rpm's line numbers hold) and adds an entry to
// %changelog. Build requirements come from the target's repositories, those of
// %generate_buildrequires in as many rounds as it takes; then the build runs
// without network, as the user builder, at a fixed path, with fixed dates.

// rpmTop is rpmbuild's _topdir, in every box.
const rpmTop = buildDir + "/rpm"

// rpmSource is a spec, as rpm reads it.
type rpmSource struct {
	file     string // path of the spec in the tree
	base     string // its file name
	text     string // with the derived release
	expanded string // rpmspec -P
	name     string
	version  string
	top      string // folder that the build runs in
	sources  []rpmSourceFile
	requires []string
}

func (a *attempt) buildRPM(ctx context.Context) error {
	a.log.Step(stepTree)
	src, err := a.readSpec(ctx)
	if err != nil {
		return err
	}
	layers, err := a.ready(ctx)
	if err != nil {
		return err
	}
	fetcher, err := a.box(ctx, "fetch", layers)
	if err != nil {
		return err
	}
	defer fetcher.Close()
	a.log.Step("read the spec")
	if err := a.parseSpec(ctx, fetcher, &src); err != nil {
		return err
	}
	a.log.Step("install the build requirements")
	if layers, err = a.buildRequires(ctx, layers, fetcher, src); err != nil {
		return err
	}
	b, err := a.box(ctx, "build", layers)
	if err != nil {
		return err
	}
	defer b.Close()
	a.log.Step("make the sources")
	if err := a.rpmSources(ctx, b, src); err != nil {
		return err
	}
	if err := a.generatedRequires(ctx, b, src); err != nil {
		return err
	}
	a.log.Step("build the packages")
	what := "-bb"
	if a.spec.Target.Primary {
		what = "-ba"
	}
	if err := a.notIncluded(a.run(ctx, b, a.rpmbuild("rpmbuild", what, src.path()))); err != nil {
		return err
	}
	return a.collectRPM(ctx, b)
}

// path is where the spec is in a box.
func (s rpmSource) path() string { return rpmTop + "/SPECS/" + s.base }

// rpmbuild is a call of one of rpm's build tools, with the target's macros and
// those that make builds reproducible.
func (a *attempt) rpmbuild(tool string, args ...string) sandbox.Command {
	macros := map[string]string{
		"_topdir":                            rpmTop,
		"_buildhost":                         "sluice",
		"_buildshell":                        "/bin/bash",
		"use_source_date_epoch_as_buildtime": "1",
		"source_date_epoch_from_changelog":   "0",
		"clamp_mtime_to_source_date_epoch":   "1",
	}
	for k, v := range a.spec.Target.Macros {
		macros[k] = v
	}
	c := sandbox.Command{User: sandbox.Builder, Dir: rpmTop, Args: []string{tool},
		Env: map[string]string{"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": fmt.Sprint(a.epoch())}}
	for _, k := range sortedKeys(macros) {
		c.Args = append(c.Args, "--define", k+" "+macros[k])
	}
	c.Args = append(c.Args, args...)
	return c
}

// readSpec finds the spec and derives its release.
func (a *attempt) readSpec(ctx context.Context) (rpmSource, error) {
	var src rpmSource
	given := ""
	if a.spec.Source != nil && a.spec.Source.Spec != "" {
		given = path.Clean(a.spec.Source.Spec)
	}
	t, err := a.readTree(ctx, func(name string) bool {
		return name == given || strings.HasSuffix(name, ".spec") && (path.Dir(name) == a.packaging() || path.Dir(name) == ".")
	})
	if err != nil {
		return src, err
	}
	a.tree = t
	var specs []string
	for name := range t.text {
		if given == "" || name == given {
			specs = append(specs, name)
		}
	}
	slices.Sort(specs)
	if len(specs) > 1 {
		specs = slices.DeleteFunc(specs, func(s string) bool { return path.Base(s) != a.spec.Package+".spec" })
	}
	switch {
	case len(specs) == 0 && given != "":
		return src, a.fail("policy:no-packaging", given, 0, "there is no such file: an RPM package needs its spec")
	case len(specs) == 0:
		return src, a.fail("policy:no-packaging", "", 0, "there is no spec in the folder %s, or more than one and none is named %s.spec", a.packaging(), a.spec.Package)
	}
	src.file, src.base = specs[0], path.Base(specs[0])
	if !plainFile(src.base) {
		return src, a.fail("policy:path", src.file, 0, "a name that rpmbuild cannot take: letters, digits and . _ + - ~ only")
	}
	src.text = string(t.text[src.file])
	if v := a.spec.Version; v != nil && !v.Declared {
		if src.text, err = deriveSpec(src.text, *v, a.spec.Source); err != nil {
			return src, a.fail("spec", src.file, 0, "%v", err)
		}
	}
	a.log.Printf("spec %s", src.file)
	a.mapSources(rpmTop+"/BUILD", ".", map[string]string{"spec": src.file, src.path(): src.file, src.base: src.file})
	return src, nil
}

// parseSpec lets rpm read the spec, and refuses architectures that it excludes.
func (a *attempt) parseSpec(ctx context.Context, b *sandbox.Box, src *rpmSource) error {
	if err := a.placeSpec(b, *src); err != nil {
		return err
	}
	if err := a.besideSpec(ctx, b, *src, nil); err != nil {
		return err
	}
	text, err := a.output(ctx, b, a.rpmbuild("rpmspec", "-q", "--srpm", "--qf",
		`%{NAME}\n%|EPOCH?{%{EPOCH}:}|%{VERSION}\n%{RELEASE}\n[%{EXCLUSIVEARCH} ]\n[%{EXCLUDEARCH} ]\n`, src.path()))
	if err != nil {
		return a.notIncluded(err)
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 5 || lines[0] == "" {
		return a.fail("spec", src.file, 0, "rpmspec says nothing of its name and version")
	}
	src.name, src.version = lines[0], withoutEpoch(lines[1])
	if !plainFile(src.name) || !plainFile(src.version) {
		return a.fail("spec", src.file, 0, "Name or Version hold characters that no package may have: %q %q", src.name, src.version)
	}
	a.log.Printf("source package %s, version %s-%s", src.name, lines[1], lines[2])
	arch := a.spec.Target.Architecture
	if only := strings.Fields(lines[3]); len(only) > 0 && !slices.Contains(only, arch) && !slices.Contains(only, "noarch") {
		return notApplicable("%s has ExclusiveArch: %s, and this is %s", src.name, strings.Join(only, " "), arch)
	}
	if slices.Contains(strings.Fields(lines[4]), arch) {
		return notApplicable("%s has ExcludeArch: %s", src.name, arch)
	}
	if !a.spec.Target.Primary {
		archs, err := a.output(ctx, b, a.rpmbuild("rpmspec", "-q", "--qf", `%{ARCH}\n`, src.path()))
		if err != nil {
			return err
		}
		if strings.ReplaceAll(archs, "noarch\n", "") == "" {
			return notApplicable("all packages of %s are noarch: they are built on the primary architecture", src.name)
		}
	}
	if src.expanded, err = a.output(ctx, b, a.rpmbuild("rpmspec", "-P", src.path())); err != nil {
		return err
	}
	if err := a.expectedSources(src); err != nil {
		return err
	}
	needs, err := a.output(ctx, b, a.rpmbuild("rpmspec", "-q", "--buildrequires", src.path()))
	src.requires = requirements(needs)
	return err
}

// requirements are rpm's lines of requirements that dnf can be asked for.
func requirements(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "rpmlib(") && !strings.HasPrefix(line, "-") {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// notIncluded: rpm's own refusal of an architecture is no failure.
func (a *attempt) notIncluded(err error) error {
	if v, ok := asVerdict(err); ok {
		for _, f := range v.Findings {
			if strings.HasPrefix(f.Message, "Architecture is not included") || strings.HasPrefix(f.Message, "Architecture is excluded") ||
				strings.HasPrefix(f.Message, "No compatible architectures found") {
				return notApplicable("%s", f.Message)
			}
		}
	}
	return err
}

// buildRequires gives the root with the build requirements installed.
func (a *attempt) buildRequires(ctx context.Context, layers []sandbox.Layer, fetcher *sandbox.Box, src rpmSource) ([]sandbox.Layer, error) {
	for _, r := range src.requires {
		a.ask(strings.Fields(r)[0])
	}
	if len(src.requires) == 0 {
		return layers[:1], nil
	}
	out, err := a.withPackages(ctx, layers, fetcher, request{Names: src.requires})
	return out, a.missingRequires(src, err)
}

// missingRequires says of unmet requirements where the spec asks for them.
func (a *attempt) missingRequires(src rpmSource, err error) error {
	v, ok := asVerdict(err)
	if !ok {
		return err
	}
	found := false
	for i := range v.Findings {
		f := &v.Findings[i]
		if what, ok := strings.CutPrefix(f.Message, "No match for argument: "); ok {
			f.Message = "BuildRequires: " + what + ": no matching package to install"
			f.Rule, f.File, found = "build-requires", src.file, true
			f.Line = a.lineOf(src.file, strings.Fields(what + " ")[0])
		}
	}
	if found {
		v.Findings = slices.DeleteFunc(v.Findings, func(f job.Finding) bool { return strings.HasPrefix(f.Message, "Unable to find a match") })
		return fails(v.Findings...)
	}
	return v
}

// generatedRequires installs what %generate_buildrequires asks for, round by
// round, until nothing is missing.
func (a *attempt) generatedRequires(ctx context.Context, b *sandbox.Box, src rpmSource) error {
	if !strings.Contains(src.text, "%generate_buildrequires") { // rpmspec -P leaves it out
		return nil
	}
	a.log.Step("install the generated build requirements")
	if err := a.manager().refresh(ctx, b, a.spec.Repositories); err != nil {
		return err
	}
	for range 10 {
		a.log.begin()
		c := a.rpmbuild("rpmbuild", "-br", src.path())
		c.Stdout, c.Stderr = a.log, a.log
		err := b.Run(ctx, c)
		var exit *sandbox.ExitError
		if err == nil {
			return nil
		}
		if !errors.As(err, &exit) || exit.Code != 11 {
			return a.explain(ctx, c, err)
		}
		needs, err := a.output(ctx, b, sandbox.Command{User: sandbox.Builder, Args: []string{"sh", "-ec",
			`rpm -qp --requires "$1"/SRPMS/*.buildreqs.nosrc.rpm; rm -f "$1"/SRPMS/*.buildreqs.nosrc.rpm`, "sh", rpmTop}})
		if err != nil {
			return err
		}
		names := requirements(needs)
		for _, n := range names {
			a.ask(strings.Fields(n)[0])
		}
		if err := a.manager().install(ctx, b, names...); err != nil {
			return a.missingRequires(src, err)
		}
	}
	return a.fail("build-requires", src.file, a.lineOf(src.file, "generate_buildrequires"), "%%generate_buildrequires asks for something new in every round")
}

// collectRPM stores what was built. What is noarch counts on the primary
// architecture only.
func (a *attempt) collectRPM(ctx context.Context, b *sandbox.Box) error {
	a.log.Step("keep the artifacts")
	isRPM := func(k job.ArtifactKind) func(string) (job.ArtifactKind, bool) {
		return func(name string) (job.ArtifactKind, bool) { return k, strings.HasSuffix(name, ".rpm") }
	}
	if a.spec.Target.Primary {
		if err := a.collect(ctx, b, rpmTop+"/SRPMS", isRPM(job.SourcePackage)); err != nil {
			return err
		}
	}
	dirs, err := b.List(rpmTop + "/RPMS")
	if err != nil {
		return a.fail("artifact", "", 0, "the build made no packages: %v", err)
	}
	for _, d := range dirs {
		if !d.Mode.IsDir() || d.Name == "noarch" && !a.spec.Target.Primary {
			continue
		}
		if err := a.collect(ctx, b, rpmTop+"/RPMS/"+d.Name, isRPM(job.BinaryPackage)); err != nil {
			return err
		}
	}
	if !a.made(job.BinaryPackage) {
		return a.fail("artifact", "", 0, "the spec has no %%files section: it makes no binary package")
	}
	return nil
}
