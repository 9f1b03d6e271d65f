package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// manager is the package manager of a target's systems: apt or dnf. Every
// method works in the box that it is given.
type manager interface {
	// refresh makes repos the box's repositories and reads their indices.
	refresh(ctx context.Context, b *sandbox.Box, repos []job.Repository) error
	// resolve finds out what an installation of wanted would fetch, installs
	// nothing, and leaves the packages in folder if download is set.
	resolve(ctx context.Context, b *sandbox.Box, want request) ([]planned, error)
	download(ctx context.Context, b *sandbox.Box, want request) (folder string, err error)
	// installFiles installs packages from a folder of the box, offline.
	installFiles(ctx context.Context, b *sandbox.Box, folder string) error
	// install installs packages by name (or name=version, name-version).
	install(ctx context.Context, b *sandbox.Box, names ...string) error
	// remove removes a package, its configuration, and what only it needed.
	remove(ctx context.Context, b *sandbox.Box, name string) error
	// exact is how a version of a package is asked for.
	exact(name, version string) string
	// versions are those of all installed packages.
	versions(ctx context.Context, b *sandbox.Box) (map[string]string, error)
}

// request is what to install: packages by name, or the build dependencies of
// the source tree in a folder of the box (deb).
type request struct {
	Names  []string
	Source string
	Extra  []string // for apt: arguments such as --arch-only
}

// planned is one package that an installation fetches.
type planned struct {
	Name, Version, Digest string
}

func (a *attempt) manager() manager {
	if a.spec.Target.Format == job.RPM {
		return &dnf{a}
	}
	return &apt{a}
}

// The steps that run nothing of the change.
const (
	stepTree  = "read the source tree"
	stepRoot  = "prepare the root"
	stepNodes = "start the nodes"
)

// ready gives the job's root with its repositories' indices on top: one layer
// for the base distribution's, which changes seldom, one for all of them.
func (a *attempt) ready(ctx context.Context) ([]sandbox.Layer, error) {
	return a.readyWith(ctx, a.spec.Repositories)
}

// readyWith is ready for a part of the job's repositories.
func (a *attempt) readyWith(ctx context.Context, all []job.Repository) ([]sandbox.Layer, error) {
	a.log.Step(stepRoot)
	root, err := a.root(ctx)
	if err != nil {
		return nil, err
	}
	a.log.Printf("root %s (%s)", a.spec.Root.Name, a.spec.Root.Digest)
	layers := []sandbox.Layer{root}
	base := upstream(all)
	for _, repos := range [][]job.Repository{base, all} {
		if len(repos) == 0 || len(layers) > 1 && len(repos) == len(base) {
			continue
		}
		state, err := a.states(ctx, repos)
		if err != nil {
			return nil, err
		}
		l, err := a.env.Sandbox.Layer(ctx, "indices 1\n"+state, layers, func(ctx context.Context, b *sandbox.Box) error {
			b.Serve(a.trace)
			return a.manager().refresh(ctx, b, repos)
		})
		if err != nil {
			return nil, a.foreign(ctx, err)
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// foreign makes a failure of fetching one outside the change: nothing of the
// change runs then.
func (a *attempt) foreign(ctx context.Context, err error) error {
	var v *verdict
	if ctx.Err() == nil && errors.As(err, &v) && v.Outcome == job.Failed {
		return outside("reading the repositories' indices: %s", v.Cause)
	}
	return err
}

// traceFile is where a layer of installed packages keeps their trace.
const traceFile = "/var/lib/sluice/trace.json"

// withPackages gives a layer on the root in which what is wanted is
// installed. It is made once for each set of packages, whichever job asks for
// it: its key is the root and the packages by name, version and digest. The
// packages are fetched in one box and installed, offline, in another.
func (a *attempt) withPackages(ctx context.Context, layers []sandbox.Layer, fetcher *sandbox.Box, want request) ([]sandbox.Layer, error) {
	m := a.manager()
	plan, err := m.resolve(ctx, fetcher, want)
	if err != nil {
		return nil, err
	}
	if len(plan) == 0 {
		a.log.Printf("everything is there already")
		return layers[:1], nil
	}
	slices.SortFunc(plan, func(x, y planned) int { return strings.Compare(x.Name, y.Name) })
	key := "packages 2\n"
	for _, p := range plan {
		key += fmt.Sprintf("%s %s %s\n", p.Name, p.Version, p.Digest)
	}
	made := false
	l, err := a.env.Sandbox.Layer(ctx, key, layers[:1], func(ctx context.Context, b *sandbox.Box) error {
		made = true
		return a.fillLayer(ctx, fetcher, b, want)
	})
	if err != nil {
		return nil, err
	}
	out := []sandbox.Layer{layers[0], l}
	if !made {
		a.log.Printf("%d packages from the cache: %s", len(plan), shortList(plan))
	}
	return out, a.readTrace(ctx, out)
}

// fillLayer fetches the packages in one box and installs them in another.
func (a *attempt) fillLayer(ctx context.Context, from, to *sandbox.Box, want request) error {
	const folder = "/var/cache/sluice"
	m := a.manager()
	before := a.trace.served()
	source, err := m.download(ctx, from, want)
	if err != nil {
		return err
	}
	list, err := from.List(source)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range list {
		if !strings.HasSuffix(f.Name, ".deb") && !strings.HasSuffix(f.Name, ".rpm") || !f.Mode.IsRegular() {
			continue
		}
		r, err := from.Open(path.Join(source, f.Name))
		if err != nil {
			return err
		}
		err = copyInto(to, path.Join(folder, f.Name), sandbox.Root, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	if err := m.installFiles(ctx, to, folder); err != nil {
		return err
	}
	versions, err := m.versions(ctx, to)
	if err != nil {
		return err
	}
	a.trace.correct(versions)
	got := a.trace.served()
	for name := range before {
		if got[name] == before[name] {
			delete(got, name)
		}
	}
	data, err := json.Marshal(got)
	if err != nil {
		return err
	}
	return errors.Join(to.Remove(folder), to.WriteFile(traceFile, data, 0o644, sandbox.Root))
}

// readTrace adds the trace of a cached layer to the job's.
func (a *attempt) readTrace(ctx context.Context, layers []sandbox.Layer) error {
	b, err := a.box(ctx, "trace", layers)
	if err != nil {
		return err
	}
	defer b.Close()
	data, err := b.ReadFile(traceFile, maxText)
	if err != nil {
		return fmt.Errorf("the trace of a cached layer: %w", err)
	}
	var got map[string]job.Served
	if err := json.Unmarshal(data, &got); err != nil {
		return fmt.Errorf("the trace of a cached layer: %w", err)
	}
	for name, s := range got {
		a.trace.note(name, s)
	}
	return nil
}

func shortList(plan []planned) string {
	var names []string
	for _, p := range plan {
		names = append(names, p.Name)
		if len(names) == 12 && len(plan) > 12 {
			names = append(names, "…")
			break
		}
	}
	return strings.Join(names, " ")
}

// ask notes names that the solver was asked for.
func (a *attempt) ask(names ...string) {
	for _, n := range names {
		a.asked[n] = true
	}
}
