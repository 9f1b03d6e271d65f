package git

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxMergeBases is where JGit gives up on a criss-cross history.
const maxMergeBases = 200

// Merge makes the commit that the branch would have after the changes were
// submitted one after the other, by Gerrit's own algorithm for the submit type
// (rule G8). Its cost depends on what differs, not on what Base stands on.
//
// What Gerrit would refuse is a result with a Conflict. Errors: ErrInvalid,
// ErrNotFound (a commit was not fetched), ErrAlreadyMerged (a change is
// contained in the base). Nothing points at the commit made: Pin it.
//
// Equal requests make equal commits. Ids differ from those that Gerrit will
// make, as dates and messages do; trees do not.
func (s *Store) Merge(ctx context.Context, r MergeRequest) (MergeResult, error) {
	m, err := s.newSubmit(ctx, r)
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge in %s: %w", r.Project, err)
	}
	defer m.objects.close()
	res, err := m.all()
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge in %s onto %s: %w", r.Project, r.Base, err)
	}
	return res, nil
}

// submit plays Gerrit's submit of the changes of one request.
type submit struct {
	ctx     context.Context
	store   *Store
	dir     string
	req     MergeRequest
	objects *objects
	tip     rawCommit // zero while the branch does not exist
	skipped []int
}

func (s *Store) newSubmit(ctx context.Context, r MergeRequest) (*submit, error) {
	dir, err := s.repo(r.Project)
	if err != nil {
		return nil, err
	}
	switch r.SubmitType {
	case FastForwardOnly, MergeIfNecessary, MergeAlways, RebaseIfNecessary, RebaseAlways, CherryPick:
	default:
		return nil, fmt.Errorf("submit type %q: want one of Gerrit's, INHERIT resolved: %w", r.SubmitType, ErrInvalid)
	}
	if r.Base != "" {
		if err := checkID(r.Base); err != nil {
			return nil, err
		}
	}
	for _, c := range r.Changes {
		if err := checkID(c.Commit); err != nil {
			return nil, fmt.Errorf("change %d: %w", c.Number, err)
		}
	}
	if len(r.Changes) == 0 {
		return nil, fmt.Errorf("no changes: %w", ErrInvalid)
	}
	if err := r.Committer.check(); err != nil {
		return nil, err
	}
	o, err := s.objects(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &submit{ctx: ctx, store: s, dir: dir, req: r, objects: o}, nil
}

func (i Identity) check() error {
	if i.Name == "" || strings.ContainsAny(i.Name+i.Email, "<>\n\x00") {
		return fmt.Errorf("committer %q <%s>: no name, or characters that end one: %w", i.Name, i.Email, ErrInvalid)
	}
	return nil
}

func (m *submit) all() (MergeResult, error) {
	var err error
	if m.req.Base != "" {
		if m.tip, err = m.objects.commit(m.req.Base); err != nil {
			return MergeResult{}, fmt.Errorf("base: %w", err)
		}
	}
	for _, ch := range m.req.Changes {
		c, err := m.objects.commit(ch.Commit)
		if err != nil {
			return MergeResult{}, fmt.Errorf("change %d: %w", ch.Number, err)
		}
		conflict, err := m.one(ch, c)
		if err != nil {
			return MergeResult{}, fmt.Errorf("change %d: %w", ch.Number, err)
		}
		if conflict != nil {
			conflict.Change = ch.Number
			return MergeResult{Conflict: conflict}, nil
		}
		// Stored at once: git walks the history that the next change is merged onto.
		if err := m.objects.flush(); err != nil {
			return MergeResult{}, err
		}
	}
	return MergeResult{Commit: m.tip.id, Tree: m.tip.tree, Skipped: m.skipped}, nil
}

// one submits one change onto the tip.
func (m *submit) one(ch ChangeRevision, c rawCommit) (*Conflict, error) {
	if m.tip.id == "" { // an unborn branch starts with the change
		return m.forward(c)
	}
	bases, err := m.store.mergeBases(m.ctx, m.dir, m.tip.id, c.id)
	if err != nil {
		return nil, err
	}
	plain := len(c.parents) == 1 && slices.Equal(bases, c.parents) // it adds its own commit only: nothing is missing
	canForward := false
	for _, b := range bases {
		if b == c.id {
			return nil, fmt.Errorf("%s is contained in %s: %w", c.id, m.tip.id, ErrAlreadyMerged)
		}
		canForward = canForward || b == m.tip.id
	}
	switch t := m.req.SubmitType; {
	case t == CherryPick && len(c.parents) <= 1:
		return m.cherryPick(ch, c)
	case t == RebaseIfNecessary && canForward:
		return m.forward(c)
	case t == RebaseIfNecessary, t == RebaseAlways:
		return m.rebase(c)
	}
	if !plain {
		if missing, err := m.missing(c); err != nil || missing != nil {
			return missing, err
		}
	}
	switch {
	case canForward && m.req.SubmitType != MergeAlways:
		return m.forward(c)
	case m.req.SubmitType == FastForwardOnly:
		return &Conflict{Reason: NotFastForward}, nil
	}
	return m.mergeCommit(c, bases)
}

// missing refuses a change that would bring along commits which are neither on
// a branch nor submitted with it: a parent that was not merged, or an older
// patch set of one that was.
func (m *submit) missing(c rawCommit) (*Conflict, error) {
	out, err := m.store.run(m.ctx, call{dir: m.dir}, "rev-list", "--max-count=1000", c.id, "--not", m.tip.id, "--branches")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{c.id: true}
	for _, ch := range m.req.Changes {
		known[ch.Commit] = true
	}
	var missing []string
	for _, id := range strings.Fields(string(out)) {
		if !known[id] {
			missing = append(missing, id)
		}
	}
	if missing == nil {
		return nil, nil
	}
	return &Conflict{Reason: MissingDependency, Files: missing}, nil
}

// forward moves the branch to the change itself.
func (m *submit) forward(c rawCommit) (*Conflict, error) {
	if m.req.RejectEmpty && len(c.parents) > 0 {
		parent, err := m.objects.commit(c.parents[0])
		if err != nil {
			return nil, err
		}
		if parent.tree == c.tree {
			return &Conflict{Reason: EmptyCommit}, nil
		}
	}
	m.tip = c
	return nil, nil
}

func (m *submit) mergeCommit(c rawCommit, bases []string) (*Conflict, error) {
	if !m.req.ContentMerge && len(bases) > 1 { // the simple merger knows one base only
		return &Conflict{Reason: ManyMergeBases}, nil
	}
	base, refused, err := m.ancestor(bases)
	if err != nil || refused != nil {
		return refused, err
	}
	tree, conflict, err := m.trees(base, m.tip.tree, c.tree)
	if err != nil || conflict != nil {
		return conflict, err
	}
	if m.req.RejectEmpty && tree == m.tip.tree {
		return &Conflict{Reason: EmptyCommit}, nil
	}
	message := m.req.Message
	if message == "" {
		message = fmt.Sprintf("Merge %q\n", c.subject())
	}
	m.commit(rawCommit{
		tree: tree, parents: []string{m.tip.id, c.id},
		author: m.ident(c), committer: m.ident(c), message: []byte(message),
	})
	return nil, nil
}

// rebase puts the difference between a change and its first parent onto the
// tip; other parents stay. Gerrit calls the change "ours" here.
func (m *submit) rebase(c rawCommit) (*Conflict, error) {
	if len(c.parents) == 0 {
		return &Conflict{Reason: RootCommit}, nil
	}
	parent, err := m.objects.commit(c.parents[0])
	if err != nil {
		return nil, err
	}
	tree, conflict, err := m.trees(parent.tree, c.tree, m.tip.tree)
	if err != nil || conflict != nil {
		return conflict, err
	}
	if m.req.RejectEmpty && tree == m.tip.tree {
		return &Conflict{Reason: EmptyCommit}, nil
	}
	n := c
	n.tree, n.committer = tree, m.ident(c)
	n.parents = append([]string{m.tip.id}, c.parents[1:]...)
	m.commit(n)
	return nil, nil
}

// cherryPick puts the difference between a change and its parent onto the tip.
// One that changes nothing any more is closed without a commit.
func (m *submit) cherryPick(ch ChangeRevision, c rawCommit) (*Conflict, error) {
	if len(c.parents) == 0 {
		return &Conflict{Reason: RootCommit}, nil
	}
	parent, err := m.objects.commit(c.parents[0])
	if err != nil {
		return nil, err
	}
	tree, conflict, err := m.trees(parent.tree, m.tip.tree, c.tree)
	if err != nil || conflict != nil {
		return conflict, err
	}
	if tree == m.tip.tree {
		if m.req.RejectEmpty {
			return &Conflict{Reason: EmptyCommit}, nil
		}
		m.skipped = append(m.skipped, ch.Number)
		return nil, nil
	}
	n := c
	n.tree, n.committer, n.parents = tree, m.ident(c), []string{m.tip.id}
	m.commit(n)
	return nil, nil
}

func (m *submit) trees(base, ours, theirs string) (string, *Conflict, error) {
	t := treeMerge{objects: m.objects, content: m.req.ContentMerge}
	tree, err := t.merge(base, ours, theirs)
	if err != nil {
		return "", nil, err
	}
	if len(t.conflicts) > 0 {
		return "", &Conflict{Reason: PathConflict, Files: t.conflicts}, nil
	}
	return tree, nil, nil
}

// ancestor is the tree of the common ancestor. Several merge bases are merged
// with one another, in order and recursively, into a virtual one.
func (m *submit) ancestor(bases []string) (tree string, refused *Conflict, err error) {
	if len(bases) == 0 {
		return emptyTree, nil, nil
	}
	if len(bases) >= maxMergeBases {
		return "", &Conflict{Reason: ManyMergeBases}, nil
	}
	first, err := m.objects.commit(bases[0])
	if err != nil {
		return "", nil, err
	}
	tree = first.tree
	for i, b := range bases[1:] {
		next, err := m.objects.commit(b)
		if err != nil {
			return "", nil, err
		}
		// The history behind those merged so far is that of a commit with all of them as parents.
		below, err := m.store.mergeBases(m.ctx, m.dir, b, bases[:i+1]...)
		if err != nil {
			return "", nil, err
		}
		base, refused, err := m.ancestor(below)
		if err != nil || refused != nil {
			return "", refused, err
		}
		t := treeMerge{objects: m.objects, content: true, virtual: true, refuseBinary: m.req.RefuseBinaryAncestor}
		if tree, err = t.merge(base, tree, next.tree); err != nil {
			return "", nil, err
		}
		if len(t.conflicts) > 0 {
			return "", &Conflict{Reason: PathConflict, Files: t.conflicts}, nil
		}
	}
	return tree, nil, nil
}

// mergeBases are the best common ancestors of a and of a merge of the others.
func (s *Store) mergeBases(ctx context.Context, dir, a string, others ...string) ([]string, error) {
	out, err := s.run(ctx, call{dir: dir}, append([]string{"merge-base", "--all", a}, others...)...)
	if exitCode(err) == 1 {
		return nil, nil
	}
	return strings.Fields(string(out)), err
}

// ident is the committer's line.
func (m *submit) ident(c rawCommit) string {
	when := m.req.When
	if when.IsZero() {
		_, _, a := parseIdent(m.tip.committer)
		_, _, b := parseIdent(c.committer)
		if when = a; b.After(a) {
			when = b
		}
		when = when.Add(time.Second)
	}
	return fmt.Sprintf("%s <%s> %d +0000", m.req.Committer.Name, m.req.Committer.Email, when.Unix())
}

func (m *submit) commit(c rawCommit) {
	c.id = m.objects.add("commit", c.format())
	m.tip = c
}
