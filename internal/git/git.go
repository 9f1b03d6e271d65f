// Package git is the service's only way to a project's history. It keeps bare
// mirrors of Gerrit's projects, merges changes as Gerrit would (rule G8), and
// hands out the trees that packages are built from.
//
// # Who does what
//
// The git program fetches, stores, walks history and collects garbage. It runs
// without a work tree, without hooks, with an environment and configuration
// made here from nothing, so that neither the machine's nor a repository's
// files steer it. The three-way merge of trees and texts is in this package
// (treemerge.go, textmerge.go, diff.go), because git's own merge disagrees with
// Gerrit's: it detects renames, reads attributes, and picks other lines as
// common. What is here follows the rules of JGit's resolve and recursive
// mergers with the histogram difference, and a corpus in the tests holds it to
// a real Gerrit: equal trees, equal refusals.
//
// # What is where
//
// A [Store] is a directory with one bare repository per [Project]. Refs:
//
//	refs/heads/…, refs/changes/…  as fetched from Gerrit
//	refs/sluice/…                 pins: speculative commits that must not be collected
//
// Everything in a Store can be fetched or made again: a lost or damaged
// repository is mended by removing its folder.
//
// # Foreign content
//
// Objects, names and messages come from people we do not know. Objects are
// checked when they arrive; ids and ref names are checked before git sees them;
// no in-tree attribute, hook or configuration is obeyed; [Store.CheckTree] says
// what in a tree must not be unpacked or built.
package git

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: the repository, commit, ref or path is not there.
	ErrNotFound = errors.New("not found")
	// ErrAlreadyMerged: the change is contained in the base.
	ErrAlreadyMerged = errors.New("already merged")
	// ErrTooLarge: an object is larger than the limit that was given.
	ErrTooLarge = errors.New("too large")
	// ErrInvalid: a project, id, ref or path that must not reach git.
	ErrInvalid = errors.New("invalid name")
	// ErrSubmodule: the tree holds a submodule, whose content is elsewhere.
	ErrSubmodule = errors.New("tree holds a submodule")
)

// Project names a project of one Gerrit.
type Project struct {
	Gerrit string // the site's name for the Gerrit, "main"
	Name   string // Gerrit's name for the project, "packages/hello"
}

// String is the form used everywhere else: "main:packages/hello".
func (p Project) String() string { return p.Gerrit + ":" + p.Name }

// ParseProject is the inverse of Project.String.
func ParseProject(s string) (Project, error) {
	gerrit, name, ok := strings.Cut(s, ":")
	p := Project{Gerrit: gerrit, Name: name}
	if !ok {
		return Project{}, fmt.Errorf("project %q: want GERRIT:NAME: %w", s, ErrInvalid)
	}
	return p, p.check()
}

var gerritName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (p Project) check() error {
	if !gerritName.MatchString(p.Gerrit) {
		return fmt.Errorf("project %q: Gerrit's name must be letters, digits, '.', '_' or '-': %w", p, ErrInvalid)
	}
	if p.Name == "" || strings.ContainsAny(p.Name, "\x00\n\r") {
		return fmt.Errorf("project %q: empty, or a line break in it: %w", p, ErrInvalid)
	}
	return nil
}

// Options of a Store.
type Options struct {
	// Git is the git program; "git" from PATH when empty. 2.36 or newer.
	Git string
	// FsckIgnore lists git's fsck message ids ("zeroPaddedFilemode") that old
	// histories hold and that are let in nevertheless.
	FsckIgnore []string
	// AllowFile permits file:// remotes (tests and local mirrors).
	AllowFile bool
}

// Remote is where a project is fetched from.
type Remote struct {
	Project Project
	// URL is http(s)://host/a/NAME, without user and password in it.
	URL string
	// User and Password, if any, go to git through its environment: they are
	// in no argument, no log line and no file.
	User, Password string
	// Proxy is the proxy's URL; NoProxy the hosts reached without it, separated by commas.
	Proxy, NoProxy string
	// CABundle is a file of PEM certificates to trust instead of the system's.
	CABundle string
}

// Ref is a ref and the id of the object that it points to.
type Ref struct {
	Name string
	ID   string
}

// SubmitType is a Gerrit project's, with INHERIT resolved by the caller.
type SubmitType string

// Gerrit's submit types.
const (
	FastForwardOnly   SubmitType = "FAST_FORWARD_ONLY"
	MergeIfNecessary  SubmitType = "MERGE_IF_NECESSARY"
	MergeAlways       SubmitType = "MERGE_ALWAYS"
	RebaseIfNecessary SubmitType = "REBASE_IF_NECESSARY"
	RebaseAlways      SubmitType = "REBASE_ALWAYS"
	CherryPick        SubmitType = "CHERRY_PICK"
)

// ChangeRevision is a change at one patch set.
type ChangeRevision struct {
	Number int
	Commit string // full id
}

// Identity of a person or program in a commit.
type Identity struct {
	Name, Email string
}

// MergeRequest asks what a branch would be with some changes submitted to it.
type MergeRequest struct {
	Project Project
	// Base is the full id of the commit to merge onto: the branch's tip, or the
	// Commit of the MergeResult of the item ahead. Empty: the branch does not exist yet.
	// The project's branches must have been fetched: what is on one of them may be
	// brought along by a change.
	Base string
	// Changes are submitted one after the other.
	Changes    []ChangeRevision
	SubmitType SubmitType
	// ContentMerge is the project's "allow content merges".
	ContentMerge bool
	// RefuseBinaryAncestor is for Gerrit 3.10 and older: in a criss-cross history a
	// binary file that differs between the merge bases refuses the merge. Newer
	// ones go on with the first base's.
	RefuseBinaryAncestor bool
	// RejectEmpty is the project's "reject empty commit upon submit".
	RejectEmpty bool
	// Committer of the commits made, and author of merge commits.
	Committer Identity
	// When is the date in the commits made. Zero: one second after the newer of
	// the commits merged, so that equal requests always make equal commits.
	When time.Time
	// Message of merge commits; empty: `Merge "SUBJECT"`. Rebased and
	// cherry-picked commits keep their own.
	Message string
}

// MergeResult is the outcome of a Merge. Exactly one of Commit and Conflict is set.
type MergeResult struct {
	Commit string // the branch's new tip; Base itself if every change was skipped
	Tree   string // its tree: what is tested, and what G16 compares
	// Skipped are changes that a cherry-pick submit closes without a commit,
	// because their tree is the tip's already.
	Skipped  []int
	Conflict *Conflict
}

// Reason says why Gerrit would refuse.
type Reason string

// The reasons of a refusal.
const (
	PathConflict      Reason = "path conflict"
	NotFastForward    Reason = "not a fast-forward"
	RootCommit        Reason = "a commit without parents cannot be rebased or cherry-picked"
	ManyMergeBases    Reason = "too many merge bases"
	EmptyCommit       Reason = "the change is empty and the project refuses empty commits"
	MissingDependency Reason = "depends on a commit that is not merged"
)

// Conflict is a refusal: a state of the item, not an error.
type Conflict struct {
	Change int // number of the change that would be refused
	Reason Reason
	// Files in conflict, sorted; names as in the tree, which need not be UTF-8.
	// For MissingDependency the commits that are missing.
	Files []string
}

// String is one line for people.
func (c *Conflict) String() string {
	s := fmt.Sprintf("change %d: %s", c.Change, c.Reason)
	if len(c.Files) > 0 {
		s += fmt.Sprintf(": %q", c.Files)
	}
	return s
}

// File is one entry of a tree.
type File struct {
	Path string // from the tree's top, as bytes: it need not be UTF-8
	Mode Mode
	ID   string
	Size int64 // bytes of a file or of a symlink's target; -1 for others
}

// Mode is a tree entry's mode, as git writes it in octal.
type Mode uint32

// The modes that git knows.
const (
	ModeTree       Mode = 0o040000
	ModeFile       Mode = 0o100644
	ModeExecutable Mode = 0o100755
	ModeSymlink    Mode = 0o120000
	ModeSubmodule  Mode = 0o160000
)

// Commit is what a commit says of itself.
type Commit struct {
	ID, Tree          string
	Parents           []string
	Author, Committer Identity
	AuthorTime        time.Time
	CommitTime        time.Time
	Message           string
}

// Subject is the first line of the message.
func (c Commit) Subject() string {
	s, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\n"), "\n")
	return s
}

// Problem is something in a tree that must not be unpacked or built.
type Problem struct {
	Kind    ProblemKind
	Path    string
	Message string // says what is wrong and what to do
}

// ProblemKind tells problems apart.
type ProblemKind string

// The kinds of problem.
const (
	BadName        ProblemKind = "name"      // leaves its folder, hides, or cannot be written
	EscapingLink   ProblemKind = "symlink"   // points out of the tree
	HasSubmodule   ProblemKind = "submodule" // content is elsewhere
	PackedSources  ProblemKind = "archive"   // R69: sources are unpacked in Gerrit
	UnreadableFile ProblemKind = "size"      // too large to look at
)
