package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sluice/internal/job"
)

// definition is raised when what a stage does changes: results of an older
// sluice are then not reused.
const definition = 1

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

// Candidate is the package of a name that a solver would choose from our own
// repositories. Digests are those that stand for the same bytes: as tested, and
// as published with a signature.
type Candidate struct {
	Version string
	Digests []job.Digest
}

// View is what our own repositories (released, ahead, test) offer by name.
type View map[string]Candidate

// Add puts a package of a repository of higher priority than all before.
func (v View) Add(name, version string, digests ...job.Digest) {
	v[name] = Candidate{Version: version, Digests: digests}
}

// Holds reports whether a trace would come about again on a base with this
// view; kinds tells what the repositories of the traced run were. When it does
// not, why names the first package that differs.
func Holds(t job.Trace, kinds map[string]job.RepositoryKind, v View) (ok bool, why string) {
	for name, served := range t.Served {
		c, ours := v[name]
		was := kinds[served.Repository] != job.Upstream
		switch {
		case ours && !slices.Contains(c.Digests, served.Digest):
			return false, fmt.Sprintf("it was given %s %s, and would be given %s now", name, served.Version, c.Version)
		case !ours && was:
			return false, fmt.Sprintf("it was given %s %s, which is not there now", name, served.Version)
		}
	}
	for _, name := range t.Asked {
		_, was := t.Served[name]
		if c, ours := v[name]; ours && !was {
			return false, fmt.Sprintf("it asked for %s, which is there now as %s", name, c.Version)
		}
	}
	return true, ""
}

// Kinds maps the repositories of a spec by name.
func Kinds(s job.Spec) map[string]job.RepositoryKind {
	kinds := map[string]job.RepositoryKind{}
	for _, r := range s.Repositories {
		kinds[r.Name] = r.Kind
	}
	return kinds
}
