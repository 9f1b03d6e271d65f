package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"sluice/internal/config"
	"sluice/internal/job"
	"sluice/internal/record"
)

// ensureRoot gives the root of a kind for a target: the newest that was made by
// the present recipe, or the one that is being made. One that has grown old is
// used until its successor is there (R40, R57).
func (e *Engine) ensureRoot(ctx context.Context, t job.Target, kind string) (record.Root, error) {
	d, ok := e.Site.Dist(t.Dist)
	if !ok {
		return record.Root{}, fmt.Errorf("no dist %q in the site file", t.Dist)
	}
	r := recipeOf(d, kind)
	if r.Method == "" {
		return record.Root{}, fmt.Errorf("dist %s has no recipe for a %s root in the site file (dists.roots.%s)", d.Name, kind, kind)
	}
	recipe := job.Recipe{
		Name: d.Name + " " + kind, Method: r.Method, Kind: kind, Include: r.Include, Variant: r.Variant, Upstream: d.Upstreams,
	}
	if r.Script != "" {
		text, err := os.ReadFile(r.Script)
		if err != nil {
			return record.Root{}, fmt.Errorf("script of the %s root of %s: %w", kind, d.Name, err)
		}
		recipe.Script = string(text)
	}
	repos, err := e.upstreams(d, t.Architecture)
	if err != nil {
		return record.Root{}, err
	}
	row := record.Root{Dist: d.Name, Kind: kind, Architecture: t.Architecture}
	if row.Recipe, err = recipeHash(recipe, d, repos); err != nil {
		return record.Root{}, err
	}
	name := fmt.Sprintf("root %s %s %s", kind, d.Name, t.Architecture)
	rules := e.rules()[job.StageRoot]
	target := job.Target{
		Name: d.Name, Dist: d.Name, Format: d.Format, Architecture: t.Architecture, Codename: d.Codename,
		Primary: t.Architecture == d.Primary, Macros: macros(d),
	}
	plan := record.NewJob{
		Name: name, Stage: job.StageRoot, Target: d.Name, Architecture: t.Architecture, Priority: -10,
		MaxAttempts: rules.MaxAttempts, Labels: []string{string(d.Format)},
		Spec: job.Spec{Stage: job.StageRoot, Name: name, Target: target, Recipe: &recipe, Repositories: repos, Limits: rules.Limits},
	}
	return e.Store.EnsureRoot(ctx, row, plan, r.Refresh.D().Seconds())
}

var rootKinds = []string{"build", "install", "node"}

func recipeOf(d config.Dist, kind string) config.Root {
	return map[string]config.Root{"build": d.Roots.Build, "install": d.Roots.Install, "node": d.Roots.Node}[kind]
}

func recipeHash(r job.Recipe, d config.Dist, repos []job.Repository) (string, error) {
	b, err := json.Marshal([]any{r, d.Codename, repos})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}

// upstreams gives the base distribution's repositories of a dist.
func (e *Engine) upstreams(d config.Dist, architecture string) ([]job.Repository, error) {
	var out []job.Repository
	for _, name := range d.Upstreams {
		repos, err := e.Upstreams.Repositories(name, architecture)
		if err != nil {
			return nil, fmt.Errorf("upstream %s of %s: %w", name, d.Name, err)
		}
		out = append(out, repos...)
	}
	return out, nil
}

// PrepareRoots has the roots of every supported target made before the first
// change asks for them, and renewed when they are old.
func (e *Engine) PrepareRoots(ctx context.Context) error {
	for _, t := range e.Site.Targets {
		d, _ := e.Site.Dist(t.Dist)
		if !t.Supported(e.Now()) {
			continue
		}
		for _, a := range d.Architectures {
			for _, kind := range rootKinds { // in the order in which a change needs them
				if recipeOf(d, kind).Method == "" {
					continue
				}
				tt := target(t, d)
				tt.Architecture = a.Name
				if _, err := e.ensureRoot(ctx, tt, kind); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
