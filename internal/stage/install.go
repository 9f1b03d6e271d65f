package stage

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/rpm"
	"sluice/internal/sandbox"
)

// Install and upgrade tests (R16, R35, R36): every binary package, one by
// one, each in a fresh copy of the minimal root: installed (or upgraded from
// the released version) from the test repository, which outranks all others;
// the installed version must be the tested one; the package's test scripts
// run as root; the package is removed with its configuration, and what it
// left behind is a warning.

// treeDir is where the source tree is for test scripts.
const treeDir = "/srv/sluice/source"

// tested is a binary package under test.
type tested struct {
	name    string
	version string
	file    job.File
}

func (a *attempt) install(ctx context.Context) error {
	return a.eachPackage(ctx, func(p tested) string { return "" })
}

func (a *attempt) upgrade(ctx context.Context) error {
	any := false
	for _, v := range a.spec.Released {
		any = any || v != ""
	}
	if !any {
		return notApplicable("none of the packages has a released version to upgrade from")
	}
	return a.eachPackage(ctx, func(p tested) string { return a.spec.Released[p.name] })
}

// eachPackage tests every package. All are tested, even if one fails: people
// want to know all that is wrong. A failure outside the change ends it.
func (a *attempt) eachPackage(ctx context.Context, from func(tested) string) error {
	if err := a.readScripts(ctx); err != nil {
		return err
	}
	repos := a.spec.Repositories
	if a.spec.Stage == job.StageUpgrade {
		repos = released(repos)
	}
	layers, err := a.readyWith(ctx, repos)
	if err != nil {
		return err
	}
	packages, err := a.packages(ctx)
	if err != nil {
		return err
	}
	var failed []job.Finding
	var skipped error
	done := 0
	for _, p := range packages {
		before := from(p)
		if a.spec.Stage == job.StageUpgrade && before == "" {
			continue
		}
		err := a.onePackage(ctx, layers, p, before)
		if isNotApplicable(err) {
			skipped = errors.Join(skipped, err)
			continue
		}
		done++
		if v, ok := asVerdict(err); ok {
			failed = append(failed, v.Findings...)
			continue
		}
		var limit *sandbox.LimitError
		if errors.As(err, &limit) && ctx.Err() == nil {
			failed = append(failed, a.limited(limit.Error()).Findings...)
			continue
		}
		if err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fails(once(failed)...)
	}
	if done == 0 {
		return skipped
	}
	return nil
}

// once leaves out what is said again for a package that needs another one
// that fails.
func once(findings []job.Finding) []job.Finding {
	seen := map[string]bool{}
	return slices.DeleteFunc(findings, func(f job.Finding) bool {
		again := seen[f.String()]
		seen[f.String()] = true
		return again
	})
}

// released are the repositories of the world before the change: an upgrade
// starts there, where nothing of the change or those ahead outranks it.
func released(repos []job.Repository) []job.Repository {
	var out []job.Repository
	for _, r := range repos {
		if r.Kind == job.Upstream || r.Kind == job.Released {
			out = append(out, r)
		}
	}
	return out
}

// readScripts makes sure that the test scripts are in the tree.
func (a *attempt) readScripts(ctx context.Context) error {
	if len(a.spec.Scripts) == 0 {
		return nil
	}
	a.log.Step(stepTree)
	t, err := a.readTree(ctx, func(string) bool { return false })
	if err != nil {
		return err
	}
	a.tree = t
	for _, s := range a.spec.Scripts {
		if !t.files[s] {
			return a.fail("policy:script", s, 0, "there is no such file: it is named as a test script")
		}
	}
	a.mapSources(treeDir, "", nil)
	return nil
}

// packages are the binary packages under test for this architecture.
func (a *attempt) packages(ctx context.Context) ([]tested, error) {
	var out []tested
	for _, f := range a.spec.Packages {
		p := tested{file: f}
		var err error
		switch {
		case strings.HasSuffix(f.Name, ".deb") && a.spec.Target.Format == job.DEB:
			err = a.readPackage(ctx, f, func(r *os.File) error {
				d, err := deb.ReadPackage(r, f.Size)
				p.name, p.version = d.Name, d.Version
				return err
			})
		case strings.HasSuffix(f.Name, ".rpm") && !strings.HasSuffix(f.Name, ".src.rpm") && a.spec.Target.Format == job.RPM:
			err = a.readPackage(ctx, f, func(r *os.File) error {
				d, err := rpm.ReadPackage(r, f.Size)
				p.name, p.version = d.Name, d.EVR.String()
				return err
			})
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		a.ask(p.name)
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil, outside("the job names no binary packages to test")
	}
	slices.SortFunc(out, func(x, y tested) int { return strings.Compare(x.name, y.name) })
	return out, nil
}

// readPackage fetches a package to a file that has no name.
func (a *attempt) readPackage(ctx context.Context, f job.File, read func(*os.File) error) error {
	r, err := a.env.Blobs.Open(ctx, f.Digest)
	if err != nil {
		return outside("fetching %s (%s): %v", f.Name, f.Digest, err)
	}
	defer r.Close()
	t, err := os.CreateTemp("", "sluice-package-")
	if err != nil {
		return err
	}
	defer t.Close()
	os.Remove(t.Name())
	if _, err := t.ReadFrom(r); err != nil {
		return outside("fetching %s (%s): %v", f.Name, f.Digest, err)
	}
	if err := read(t); err != nil {
		return a.fail("package", "", 0, "%s: %v", f.Name, err)
	}
	return nil
}

// onePackage tests one package in a box of its own.
func (a *attempt) onePackage(ctx context.Context, layers []sandbox.Layer, p tested, before string) error {
	b, err := a.box(ctx, p.name, layers)
	if err != nil {
		return err
	}
	defer b.Close()
	m := a.manager()
	clean, err := a.snapshot(ctx, b)
	if err != nil {
		return err
	}
	if before != "" {
		a.log.Step("install " + p.name + " " + before + ", the released version")
		if err := m.install(ctx, b, m.exact(p.name, before)); err != nil {
			return a.noStart(p.name, before, err)
		}
		if err := a.isInstalled(ctx, b, p.name, before); err != nil {
			return a.noStart(p.name, before, err)
		}
		a.log.Step("upgrade " + p.name)
		if err := a.addRepositories(ctx, b, clean); err != nil {
			return err
		}
	} else {
		a.log.Step("install " + p.name)
	}
	if err := m.install(ctx, b, p.name); err != nil {
		return named(p.name, err)
	}
	if err := a.isInstalled(ctx, b, p.name, p.version); err != nil {
		return err
	}
	for _, s := range a.spec.Scripts {
		a.log.Step("run " + s + " for " + p.name)
		if err := a.script(ctx, b, s, p); err != nil {
			return err
		}
	}
	a.log.Step("remove " + p.name)
	if err := m.remove(ctx, b, p.name); err != nil {
		return named(p.name, err)
	}
	return a.leftovers(ctx, b, p, clean)
}

// addRepositories makes those of the change known to a box that began in the
// world before it. What they bring along is nothing that a package left behind.
func (a *attempt) addRepositories(ctx context.Context, b *sandbox.Box, clean map[string]bool) error {
	before, err := a.snapshot(ctx, b)
	if err != nil {
		return err
	}
	if err := a.manager().refresh(ctx, b, a.spec.Repositories); err != nil {
		return a.foreign(ctx, err)
	}
	after, err := a.snapshot(ctx, b)
	for f := range after {
		clean[f] = clean[f] || !before[f]
	}
	return err
}

// noStart: where the released version cannot be installed, nobody can upgrade
// from it. That is no fault of the change, which may well be what mends it; so
// it is no error either, which would keep that change from ever merging.
func (a *attempt) noStart(name, version string, err error) error {
	v, ok := asVerdict(err)
	if !ok {
		return err
	}
	a.warn("upgrade:released", "", "%s %s, the released version, cannot be installed, so there is nothing to upgrade from: %s", name, version, v.Cause)
	return notApplicable("%s %s, the released version, cannot be installed: %s", name, version, cutText(v.Cause, 300))
}

// named makes sure that a failure's first finding names the package.
func named(name string, err error) error {
	if v, ok := asVerdict(err); ok && len(v.Findings) > 0 && !strings.Contains(v.Findings[0].Message, name) {
		v.Findings[0].Message = name + ": " + v.Findings[0].Message
		return fails(v.Findings...)
	}
	return err
}

// isInstalled checks the installed version, and completes the trace's versions.
func (a *attempt) isInstalled(ctx context.Context, b *sandbox.Box, name, want string) error {
	versions, err := a.manager().versions(ctx, b)
	if err != nil {
		return err
	}
	a.trace.correct(versions)
	got := versions[name]
	if sameVersion(got, want) {
		return nil
	}
	if got == "" {
		return a.fail("version", "", 0, "%s is not installed, though its installation succeeded", name)
	}
	return a.fail("version", "", 0, "%s: version %s was installed, and %s is what should be tested", name, got, want)
}

// sameVersion compares full versions; an absent epoch is 0.
func sameVersion(x, y string) bool {
	return x != "" && strings.TrimPrefix(x, "0:") == strings.TrimPrefix(y, "0:")
}

// script runs a test script of the source tree, as root, without network.
func (a *attempt) script(ctx context.Context, b *sandbox.Box, name string, p tested) error {
	if _, err := b.List(treeDir); err != nil {
		if err := a.unpack(ctx, b, ".", treeDir, sandbox.Root); err != nil {
			return err
		}
	}
	args := []string{treeDir + "/" + name}
	if a.tree.mode[name]&0o111 == 0 {
		args = []string{"/bin/sh", "-e", treeDir + "/" + name}
	}
	a.log.begin()
	c := sandbox.Command{Args: args, Dir: treeDir, Stdout: a.log, Stderr: a.log,
		Env: map[string]string{"SLUICE_PACKAGE": p.name, "SLUICE_VERSION": p.version, "SLUICE_TARGET": a.spec.Target.Name, "LC_ALL": "C.UTF-8"}}
	err := b.Run(ctx, c)
	var exit *sandbox.ExitError
	if err == nil || !errors.As(err, &exit) {
		return err
	}
	seen := a.log.found()
	if seen.Outside != "" {
		return outside("%s: %s", name, seen.Outside)
	}
	return fails(lastWords(name, exit, seen))
}

// leftoverFolders are where a removed package should leave nothing; the rest
// is caches, logs and the package manager's own.
var leftoverFolders = []string{"/bin", "/boot", "/etc", "/lib", "/opt", "/sbin", "/srv", "/usr", "/var/lib", "/var/spool", "/root", "/home"}

// ignored are the package managers' own files below those.
func ignoredLeftover(p string) bool {
	for _, prefix := range []string{"/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/rpm", "/usr/lib/sysimage/rpm", "/var/lib/dnf/", "/var/lib/systemd/",
		"/var/lib/ucf", "/var/lib/pam", "/etc/ld.so.cache", "/usr/share/info/dir", "/srv/sluice", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-",
		"/usr/sbin/policy-rc.d", "/etc/.pwd.lock", "/var/lib/sluice", "/root/.gnupg", "/etc/mailcap", "/var/lib/selinux"} {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return strings.HasSuffix(p, ".pyc") || strings.HasSuffix(p, "/__pycache__")
}

// snapshot lists the files of a box.
func (a *attempt) snapshot(ctx context.Context, b *sandbox.Box) (map[string]bool, error) {
	text, err := a.output(ctx, b, sandbox.Command{Args: append(append([]string{"find"}, leftoverFolders...), "-xdev", "-not", "-type", "d"), Stderr: nil})
	if _, ok := asVerdict(err); ok { // a folder that is not there
		err = nil
	}
	files := map[string]bool{}
	for line := range strings.Lines(text) {
		files[strings.TrimSuffix(line, "\n")] = true
	}
	return files, err
}

// leftovers warns of files that were not there before the installation.
func (a *attempt) leftovers(ctx context.Context, b *sandbox.Box, p tested, before map[string]bool) error {
	versions, err := a.manager().versions(ctx, b)
	if err != nil {
		return err
	}
	if v := versions[p.name]; v != "" {
		return a.fail("remove", "", 0, "%s %s is still installed after its removal", p.name, v)
	}
	after, err := a.snapshot(ctx, b)
	if err != nil {
		return err
	}
	var left []string
	for f := range after {
		if !before[f] && !ignoredLeftover(f) {
			left = append(left, f)
		}
	}
	slices.Sort(left)
	for i, f := range left {
		if i == 20 {
			a.warn("leftover", "", "%s: %d more files are left after its removal", p.name, len(left)-i)
			break
		}
		a.warn("leftover", "", "%s: left after its removal: %s", p.name, cutText(f, 200))
	}
	return nil
}
