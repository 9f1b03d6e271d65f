package universe

import (
	"cmp"
	"context"
	"slices"

	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/rpm"
	"sluice/internal/solve"
)

// View is what a job's repositories offer it, by name: of each package the one
// that its package manager would take. It is a plan.Base.
type View struct {
	format job.Format
	arch   string
	layers []index // in the order of rising priority
	away   map[string]bool
	// canonical gives the digest as tested for one as published.
	canonical map[string]string
	known     map[string]plan.Offer
}

// View reads the indices of a job's repositories. One of the base distribution
// that is out of reach is left out, and the view says so; ours have to be there.
func (r *Reader) View(ctx context.Context, repositories []job.Repository, architecture string, canonical map[string]string) (*View, error) {
	v := &View{arch: architecture, away: map[string]bool{}, canonical: canonical, known: map[string]plan.Offer{}}
	for _, repository := range repositories {
		v.format = repository.Format
		x, err := r.read(ctx, repository, architecture, "")
		switch {
		case err != nil && repository.Kind == job.Upstream && ctx.Err() == nil:
			v.away[repository.Name] = true
		case err != nil:
			return nil, err
		default:
			v.layers = append(v.layers, x)
		}
	}
	return v, nil
}

// Away reports whether a repository could not be looked at.
func (v *View) Away(repository string) bool { return v.away[repository] }

// Offer gives what there is under a name.
func (v *View) Offer(name string) plan.Offer {
	if o, ok := v.known[name]; ok {
		return o
	}
	var o plan.Offer
	if p := v.top(name); p != nil {
		o.Is = v.offered(p)
	}
	providers := map[string]bool{}
	for _, l := range v.layers {
		for _, p := range l.Called(name) {
			if p.Name != name && !providers[p.Name] && v.provides(v.top(p.Name), name) {
				providers[p.Name] = true
				o.By = append(o.By, *v.offered(v.top(p.Name)))
			}
		}
	}
	slices.SortFunc(o.By, func(a, b plan.Offered) int { return cmp.Compare(a.Name, b.Name) })
	v.known[name] = o
	return o
}

func (v *View) provides(p *solve.Package, name string) bool {
	return p != nil && slices.ContainsFunc(p.Provides, func(x solve.Provide) bool { return x.Name == name })
}

// top is the package of a name that is taken: of the repository with the
// highest priority, the newest.
func (v *View) top(name string) *solve.Package {
	var best *solve.Package
	bestRank := -1
	compare := deb.Compare
	if v.format == job.RPM {
		compare = rpm.Compare
	}
	for _, l := range v.layers {
		rank := l.repository.Priority
		switch {
		case v.format == job.RPM:
			rank = 1000 - rank // the smaller one wins
		case l.repository.Kind == job.Upstream && l.manual:
			rank = 1
		}
		for _, p := range l.Called(name) {
			if p.Name != name || p.Kind != "" && p.Kind != v.arch && p.Kind != "noarch" {
				continue
			}
			if rank > bestRank || rank == bestRank && compare(p.Version, best.Version) > 0 {
				best, bestRank = p, rank
			}
		}
	}
	return best
}

func (v *View) offered(p *solve.Package) *plan.Offered {
	digest := cmp.Or(p.Digest, "none, of version "+p.Version) // which no file has
	tested := cmp.Or(v.canonical[p.Digest], digest)
	return &plan.Offered{Name: p.Name, Version: p.Version, Digest: job.Digest(digest), Tested: job.Digest(tested), Mentions: func() []string {
		var out []string
		r := p.Relations()
		for _, n := range r.Needs {
			out = append(out, n.Formula.Names()...)
		}
		for _, f := range r.Refuses {
			out = append(out, f.Atom.Name)
		}
		return out
	}}
}

var _ plan.Base = (*View)(nil)
