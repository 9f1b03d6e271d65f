package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A rev is a full object id of a commit, or a full ref name. A treeish is
// either of these, or the full object id of a tree. Nothing else is taken:
// short names and expressions could mean something else tomorrow.

// Resolve returns the id of the commit that rev names.
func (s *Store) Resolve(ctx context.Context, p Project, rev string) (string, error) {
	dir, err := s.repo(p)
	if err != nil {
		return "", err
	}
	return s.resolve(ctx, dir, rev, "commit")
}

// Tree returns the id of the tree of a treeish.
func (s *Store) Tree(ctx context.Context, p Project, treeish string) (string, error) {
	dir, err := s.repo(p)
	if err != nil {
		return "", err
	}
	return s.resolve(ctx, dir, treeish, "tree")
}

func (s *Store) resolve(ctx context.Context, dir, rev, kind string) (string, error) {
	if err := checkRev(rev); err != nil {
		return "", err
	}
	o, err := s.objects(ctx, dir)
	if err != nil {
		return "", err
	}
	defer o.close()
	return o.resolve(rev, kind)
}

// CommitInfo reads a commit.
func (s *Store) CommitInfo(ctx context.Context, p Project, rev string) (Commit, error) {
	dir, err := s.repo(p)
	if err != nil {
		return Commit{}, err
	}
	id, err := s.resolve(ctx, dir, rev, "commit")
	if err != nil {
		return Commit{}, err
	}
	o, err := s.objects(ctx, dir)
	if err != nil {
		return Commit{}, err
	}
	defer o.close()
	c, err := o.commit(id)
	if err != nil {
		return Commit{}, err
	}
	return c.public(), nil
}

// IsAncestor says whether a is contained in b; a commit is contained in itself.
func (s *Store) IsAncestor(ctx context.Context, p Project, a, b string) (bool, error) {
	dir, err := s.repo(p)
	if err != nil {
		return false, err
	}
	if err := errors.Join(checkRev(a), checkRev(b)); err != nil {
		return false, err
	}
	_, err = s.run(ctx, call{dir: dir}, "merge-base", "--is-ancestor", a, b)
	switch exitCode(err) {
	case 1:
		return false, nil
	case 128:
		return false, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err == nil, err
}

// MergeBase lists the best common ancestors of two commits; none for histories
// that have nothing in common.
func (s *Store) MergeBase(ctx context.Context, p Project, a, b string) ([]string, error) {
	dir, err := s.repo(p)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkRev(a), checkRev(b)); err != nil {
		return nil, err
	}
	bases, err := s.mergeBases(ctx, dir, a, b)
	if exitCode(err) == 128 {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return bases, err
}

// CountCommits counts a commit and all its ancestors.
func (s *Store) CountCommits(ctx context.Context, p Project, rev string) (int, error) {
	dir, err := s.repo(p)
	if err != nil {
		return 0, err
	}
	if err := checkRev(rev); err != nil {
		return 0, err
	}
	out, err := s.run(ctx, call{dir: dir}, "rev-list", "--count", "--end-of-options", rev)
	if exitCode(err) == 128 {
		return 0, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// ChangedPaths lists the paths of files that differ between two treeishes,
// sorted; a renamed file is there with both its names.
func (s *Store) ChangedPaths(ctx context.Context, p Project, from, to string) ([]string, error) {
	dir, err := s.repo(p)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkRev(from), checkRev(to)); err != nil {
		return nil, err
	}
	out, err := s.run(ctx, call{dir: dir}, "diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff",
		"--no-textconv", "--end-of-options", from, to, "--")
	if exitCode(err) == 128 {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	return splitZero(out), nil
}

func splitZero(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(data, []byte{0})), "\x00")
}

// ListFiles lists the files, links and submodules of a treeish, in git's order:
// all of them, or those below one folder (without a slash at its end).
func (s *Store) ListFiles(ctx context.Context, p Project, treeish, folder string) ([]File, error) {
	dir, err := s.repo(p)
	if err != nil {
		return nil, err
	}
	return s.list(ctx, dir, treeish, folder)
}

func (s *Store) list(ctx context.Context, dir, treeish, folder string) ([]File, error) {
	if err := checkRev(treeish); err != nil {
		return nil, err
	}
	args := []string{"ls-tree", "-r", "-z", "-l", "--full-tree", "--end-of-options", treeish}
	if folder != "" {
		if strings.ContainsRune(folder, 0) || strings.HasSuffix(folder, "/") {
			return nil, fmt.Errorf("folder %q: %w", folder, ErrInvalid)
		}
		args = append(args, "--", folder+"/")
	}
	out, err := s.run(ctx, call{dir: dir}, args...)
	if exitCode(err) == 128 {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	return parseList(out)
}

// parseList reads what `git ls-tree -r -l -z` writes.
func parseList(data []byte) ([]File, error) {
	var files []File
	for _, line := range splitZero(data) {
		head, path, ok := strings.Cut(line, "\t")
		f := strings.Fields(head)
		if !ok || len(f) != 4 || path == "" {
			return nil, fmt.Errorf("git ls-tree answered %.200q", line)
		}
		mode, err := strconv.ParseUint(f[0], 8, 32)
		if err != nil {
			return nil, fmt.Errorf("git ls-tree answered %.200q: mode: %w", line, err)
		}
		if err := checkID(f[2]); err != nil {
			return nil, fmt.Errorf("git ls-tree answered %.200q: %w", line, err)
		}
		size := int64(-1)
		if f[3] != "-" {
			if size, err = strconv.ParseInt(f[3], 10, 64); err != nil || size < 0 {
				return nil, fmt.Errorf("git ls-tree answered %.200q: size", line)
			}
		}
		files = append(files, File{Path: path, Mode: canonical(Mode(mode)), ID: f[2], Size: size})
	}
	return files, nil
}

// ReadFile reads one file of a treeish, of at most limit bytes; for a symlink
// its target. Errors: ErrNotFound if there is no such file, ErrTooLarge.
func (s *Store) ReadFile(ctx context.Context, p Project, treeish, path string, limit int64) ([]byte, error) {
	data, err := s.readFile(ctx, p, treeish, path, limit)
	if err != nil {
		return nil, fmt.Errorf("read %q of %s in %s: %w", path, treeish, p, err)
	}
	return data, nil
}

func (s *Store) readFile(ctx context.Context, p Project, treeish, path string, limit int64) ([]byte, error) {
	dir, err := s.repo(p)
	if err != nil {
		return nil, err
	}
	id, err := s.resolve(ctx, dir, treeish, "tree")
	if err != nil {
		return nil, err
	}
	o, err := s.objects(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer o.close()
	at := entry{ModeTree, id}
	for _, name := range strings.Split(path, "/") {
		entries, err := o.tree(at)
		if err != nil {
			return nil, err
		}
		if at = entries[name]; at.mode == 0 {
			return nil, ErrNotFound
		}
	}
	if !at.isFile() || at.mode == ModeSubmodule {
		return nil, fmt.Errorf("not a file: %w", ErrNotFound)
	}
	return o.read("blob", at.id, limit)
}
