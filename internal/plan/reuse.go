package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/internal/job"
)

// definition is raised when what a stage does changes: results of an older
// sluice are then not reused.
const definition = 2

// StaticKey is the hash of all that a job is known to depend on before it runs:
// what it is asked, without its place in the world (ids, queue position, names
// of buildsets) and without the repositories, of which the trace tells what
// was really read.
func StaticKey(s job.Spec) (string, error) {
	s.Job, s.Attempt, s.Lease, s.Buildset = 0, 0, "", 0
	s.Repositories = nil
	s.Limits = job.Limits{} // a result does not depend on the room it had
	if s.Root != nil {
		root := *s.Root
		root.Archive = "" // the same packages in another archive are the same root
		s.Root = &root
	}
	if s.Source != nil {
		source := *s.Source
		if s.Stage != job.StageBuild {
			source.Date, source.Message, source.Maintainer = time.Time{}, "", ""
		}
		s.Source = &source
	}
	b, err := json.Marshal(struct {
		Definition int
		Spec       job.Spec
	}{definition, s})
	if err != nil {
		return "", fmt.Errorf("static key of %s: %w", s.Name, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// Kin is the hash of what a job is asked beside the package under test: jobs of
// one tree with equal kin are the same test of it, whatever version it was
// built as and whatever was released then.
func Kin(s job.Spec) (string, error) {
	s.Version, s.Packages, s.Known, s.Released = nil, nil, nil, nil
	if s.Source != nil {
		s.Source = &job.Source{Tree: s.Source.Tree, Project: s.Source.Project, Packaging: s.Source.Packaging, Spec: s.Source.Spec}
	}
	return StaticKey(s)
}

// Offered is a package that a base offers.
type Offered struct {
	Name    string
	Version string
	Digest  job.Digest // of the file as it is served
	Tested  job.Digest // of the file as it was tested, before it was signed
	// Mentions gives the names in its relations.
	Mentions func() []string
}

// stands reports whether a digest stands for the package's bytes.
func (o *Offered) stands(d job.Digest) bool { return d == o.Digest || d == o.Tested }

// Offer is what there is under a name: the package that is called so and would
// be taken, and those that provide it.
type Offer struct {
	Is *Offered // nil: none
	By []Offered
}

// Base answers what a job would be offered, by all repositories that it reads.
type Base interface {
	Offer(name string) Offer
	// Away reports whether a repository of this name could not be looked at.
	Away(repository string) bool
}

// Around is the digest of all that the run of a trace had to choose from: what
// the bases offer under each name that it was served or asked for, and under
// each name that a package which it was served mentions. A package that comes,
// goes or changes under one of these can change what would be served.
func Around(t job.Trace, bases ...Base) job.Digest {
	h := sha256.New()
	for _, b := range bases {
		for _, name := range around(t, b) {
			o := b.Offer(name)
			if o.Is == nil && len(o.By) == 0 {
				continue
			}
			fmt.Fprintf(h, "%s:", name)
			if o.Is != nil {
				fmt.Fprintf(h, " %s", o.Is.Tested)
			}
			for _, p := range o.By {
				fmt.Fprintf(h, " %s=%s", p.Name, p.Tested)
			}
			fmt.Fprintln(h)
		}
		fmt.Fprintln(h)
	}
	return job.Digest(hex.EncodeToString(h.Sum(nil)))
}

func around(t job.Trace, b Base) []string {
	names := slices.Clone(t.Asked)
	for name := range t.Served {
		names = append(names, name)
		if o := b.Offer(name); o.Is != nil {
			names = append(names, o.Is.Mentions()...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Holds reports whether a trace would come about again on the bases: the first
// is what a job reads, further ones are what it reads before that. When it does
// not, why names the first package that differs.
func Holds(t job.Trace, bases ...Base) (ok bool, why string) {
	if t.Unsure {
		return false, "what it was served changed while it ran"
	}
	b := bases[0]
	for _, name := range slices.Sorted(maps.Keys(t.Served)) {
		served := t.Served[name]
		switch o := b.Offer(name); {
		case o.Is == nil && b.Away(served.Repository):
		case o.Is == nil:
			return false, fmt.Sprintf("it was given %s %s, which is not there now", name, served.Version)
		case !o.Is.stands(served.Digest):
			return false, fmt.Sprintf("it was given %s %s, and would be given %s %s now", name, served.Version, name, o.Is.Version)
		}
	}
	if Around(t, bases...) != t.Around {
		return false, "something that it asks for, or that its dependencies ask for, is there now, or another one, or gone"
	}
	return true, ""
}
