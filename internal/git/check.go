package git

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// CheckTree says what in a tree must not be unpacked or built, in git's order:
// names that leave their folder, hide, or cannot be written everywhere; links
// that point out of the tree; submodules; and archives where a package's
// sources belong, for sources are unpacked in Gerrit (R69). No problem: nil.
func (s *Store) CheckTree(ctx context.Context, p Project, treeish string) ([]Problem, error) {
	dir, err := s.repo(p)
	if err != nil {
		return nil, err
	}
	files, err := s.list(ctx, dir, treeish, "")
	if err != nil {
		return nil, err
	}
	o, err := s.objects(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer o.close()
	places := sourcePlaces(files)
	var problems []Problem
	add := func(kind ProblemKind, name, format string, args ...any) {
		problems = append(problems, Problem{kind, name, fmt.Sprintf(format, args...)})
	}
	for _, f := range files {
		if m := nameProblem(f.Path); m != "" {
			add(BadName, f.Path, "%s: rename it", m)
		}
		switch f.Mode {
		case ModeSubmodule:
			add(HasSubmodule, f.Path, "a submodule: its content is in another repository: add the files themselves")
		case ModeSymlink:
			target, err := o.read("blob", f.ID, maxLink)
			switch {
			case errors.Is(err, ErrTooLarge):
				add(EscapingLink, f.Path, "a link with a target of %d bytes", f.Size)
			case err != nil:
				return nil, fmt.Errorf("check %q of %s: %w", f.Path, treeish, err)
			default:
				if m := linkProblem(f.Path, string(target)); m != "" {
					add(EscapingLink, f.Path, "%s: point it to a file in the tree", m)
				}
			}
		default:
			if m := archiveProblem(f.Path, places); m != "" {
				add(PackedSources, f.Path, "%s: unpack it and commit the files (R69)", m)
			}
		}
	}
	return problems, nil
}

// nameProblem says why a path must not be written to a disk.
func nameProblem(name string) string {
	if len(name) > 1024 {
		return fmt.Sprintf("a path of %d bytes, over 1024", len(name))
	}
	if strings.HasPrefix(name, "/") {
		return "an absolute path"
	}
	if !utf8.ValidString(name) {
		return "a name that is not UTF-8"
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f {
			return fmt.Sprintf("a control character (%#U) in its name", r)
		}
	}
	for _, part := range strings.Split(name, "/") {
		switch {
		case part == "" || part == "." || part == "..":
			return fmt.Sprintf("a path with %q in it, which leaves its folder", part)
		case isDotGit(part):
			return "a name that stands for git's own folder"
		case len(part) > 255:
			return fmt.Sprintf("a name of %d bytes, over 255", len(part))
		}
	}
	return ""
}

// ignoredByHFS are characters that some file systems leave out of names.
var ignoredByHFS = strings.NewReplacer("\u200c", "", "\u200d", "", "\u200e", "", "\u200f", "", "\u202a", "", "\u202b", "",
	"\u202c", "", "\u202d", "", "\u202e", "", "\u206a", "", "\u206b", "", "\u206c", "", "\u206d", "", "\u206e", "", "\u206f", "", "\ufeff", "")

// isDotGit: on some file system this name opens .git.
func isDotGit(part string) bool {
	n := strings.ToLower(ignoredByHFS.Replace(part))
	n, _, _ = strings.Cut(n, ":") // NTFS streams
	n = strings.TrimRight(n, " .")
	return n == ".git" || n == "git~1"
}

// linkProblem says why a link must not be followed, or unpacked at all.
func linkProblem(name, target string) string {
	switch {
	case target == "":
		return "a link without a target"
	case strings.ContainsAny(target, "\x00\n"):
		return "a link whose target holds a line break or NUL"
	case strings.HasPrefix(target, "/"):
		return fmt.Sprintf("a link to the absolute path %q", target)
	}
	// ".." counts only at the beginning: behind a name, which may be a link
	// itself, nobody can tell from the text where it leads.
	depth, down := strings.Count(name, "/"), false
	for _, part := range strings.Split(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 || down {
				return fmt.Sprintf("a link to %q, which may be outside the tree", target)
			}
		default:
			down = true
		}
	}
	for _, part := range strings.Split(target, "/") {
		if isDotGit(part) {
			return fmt.Sprintf("a link to %q, git's own folder", target)
		}
	}
	return ""
}

var (
	// sourceArchive matches what only ever is a package's packed source.
	sourceArchive = regexp.MustCompile(`(?i)(\.orig(-[a-z0-9-]+)?\.tar(\.[a-z0-9]+)?|\.debian\.tar(\.[a-z0-9]+)?|\.diff\.(gz|bz2|xz)|\.src\.rpm|\.nosrc\.rpm|\.dsc)$`)
	// packed matches archives and packages of any kind.
	packed = regexp.MustCompile(`(?i)\.(tar|tar\.(gz|bz2|xz|zst|zstd|lz|lzma|lz4|lzo|z|br)|t[gbxlz]z|tbz2|tzst|taz|zip|7z|rar|cpio|cpio\.(gz|bz2|xz|zst)|crate|gem|whl|jar|war|egg|deb|udeb|ddeb|rpm)$`)
	// placeNames are folders that hold a package's sources wherever they are.
	placeNames = map[string]bool{"SOURCES": true, "debian": true, "rpm": true, "packaging": true, "SRPMS": true}
)

// sourcePlaces are the folders whose files serve as a package's sources: the
// top, those with a spec file in them or named as a spec's sources are, and
// the parents of debian/.
func sourcePlaces(files []File) map[string]bool {
	places := map[string]bool{".": true}
	for _, f := range files {
		dir, name := path.Split(f.Path)
		dir = path.Clean(dir)
		if strings.HasSuffix(name, ".spec") || placeNames[path.Base(dir)] {
			places[dir] = true
		}
		if name == "control" && path.Base(dir) == "debian" {
			places[path.Dir(dir)] = true
		}
	}
	return places
}

// archiveProblem says why a file is taken for packed sources.
func archiveProblem(name string, places map[string]bool) string {
	base := path.Base(name)
	switch {
	case sourceArchive.MatchString(base):
		return "a packed source"
	case places[path.Dir(name)] && packed.MatchString(base):
		return "an archive where the package's sources belong"
	}
	return ""
}
