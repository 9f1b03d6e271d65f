package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const pinPrefix = "refs/sluice/"

// Refs lists the refs whose full name is given, or that are below PREFIX/*.
func (s *Store) Refs(ctx context.Context, p Project, patterns ...string) ([]Ref, error) {
	dir, err := s.repo(p)
	if err != nil {
		return nil, err
	}
	for _, ref := range patterns {
		if err := checkRef(strings.TrimSuffix(ref, "*") + "x"); err != nil {
			return nil, err
		}
	}
	return s.refs(ctx, dir, patterns)
}

func (s *Store) refs(ctx context.Context, dir string, patterns []string) ([]Ref, error) {
	if !slices.ContainsFunc(patterns, func(p string) bool { return strings.HasSuffix(p, "*") }) {
		return s.named(ctx, dir, patterns)
	}
	args := []string{"for-each-ref", "--format=%(objectname) %(refname)", "--"}
	exact := map[string]bool{}
	for _, p := range patterns {
		exact[p] = true
		args = append(args, strings.TrimSuffix(p, "/*"))
	}
	out, err := s.run(ctx, call{dir: dir}, args...)
	if err != nil {
		return nil, err
	}
	var refs []Ref
	for line := range strings.Lines(string(out)) {
		id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			return nil, fmt.Errorf("git for-each-ref answered %.200q", line)
		}
		if exact[name] || underAny(name, patterns) {
			refs = append(refs, Ref{name, id})
		}
	}
	return refs, nil
}

// named gives those of some refs that are there.
func (s *Store) named(ctx context.Context, dir string, names []string) ([]Ref, error) {
	o, err := s.objects(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer o.close()
	var refs []Ref
	for _, n := range names {
		id, err := o.resolve(n, "commit")
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		refs = append(refs, Ref{n, id})
	}
	return refs, nil
}

func underAny(name string, patterns []string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Pin keeps a commit, and all that it stands on, from being collected, under a
// name of the caller's ("main-gate/12/3"). A pin of the same name is moved.
func (s *Store) Pin(ctx context.Context, p Project, name, commit string) error {
	if err := checkID(commit); err != nil {
		return fmt.Errorf("pin %s in %s: %w", name, p, err)
	}
	return s.updateRefs(ctx, p, "pin", fmt.Sprintf("update %s%s %s\n", pinPrefix, name, commit), pinPrefix+name)
}

// Unpin removes pins; those that are not there do not matter.
func (s *Store) Unpin(ctx context.Context, p Project, names ...string) error {
	refs := make([]string, len(names))
	for i, n := range names {
		refs[i] = pinPrefix + n
	}
	return s.drop(ctx, p, refs)
}

// Pins lists the names of all pins of a project.
func (s *Store) Pins(ctx context.Context, p Project) ([]Ref, error) {
	refs, err := s.Refs(ctx, p, pinPrefix+"*")
	for i := range refs {
		refs[i].Name = strings.TrimPrefix(refs[i].Name, pinPrefix)
	}
	return refs, err
}

// Forget removes refs of changes that are closed. What they held is collected by Gc.
func (s *Store) Forget(ctx context.Context, p Project, refs ...string) error {
	for _, r := range refs {
		if !strings.HasPrefix(r, "refs/changes/") {
			return fmt.Errorf("forget %q in %s: only refs of changes: %w", r, p, ErrInvalid)
		}
	}
	return s.drop(ctx, p, refs)
}

func (s *Store) drop(ctx context.Context, p Project, refs []string) error {
	var b strings.Builder
	for _, r := range refs {
		fmt.Fprintf(&b, "delete %s\n", r)
	}
	return s.updateRefs(ctx, p, "remove refs", b.String(), refs...)
}

// updateRefs runs a transaction of `git update-ref`, whose lines hold the refs given.
func (s *Store) updateRefs(ctx context.Context, p Project, what, lines string, refs ...string) error {
	dir, err := s.repo(p)
	if err != nil {
		return err
	}
	for _, r := range refs {
		if err := checkRef(r); err != nil {
			return fmt.Errorf("%s in %s: %w", what, p, err)
		}
	}
	if len(refs) == 0 {
		return nil
	}
	unlock, err := s.lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.run(ctx, call{dir: dir, stdin: strings.NewReader(lines)}, "update-ref", "--stdin"); err != nil {
		return fmt.Errorf("%s in %s: %w", what, p, err)
	}
	return nil
}

// Gc packs a repository and removes what nothing points at and nobody made in
// the last two weeks: a merge that is being made now is safe. Fetches wait for it.
func (s *Store) Gc(ctx context.Context, p Project) error {
	dir, err := s.repo(p)
	if err != nil {
		return err
	}
	unlock, err := s.lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	_, err1 := s.run(ctx, call{dir: dir}, "gc", "--quiet", "--prune=2.weeks.ago")
	_, err2 := s.run(ctx, call{dir: dir}, "commit-graph", "write", "--reachable")
	s.readers.drop(dir)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("collect garbage of %s: %w", p, err)
	}
	return nil
}
