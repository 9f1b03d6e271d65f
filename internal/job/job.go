// Package job holds what a job is asked and what it answers: the words that
// the planner, the database, the worker API and the stages share.
//
// A job is one stage of one subject on one target and architecture in one
// buildset. It is carried out in attempts, each under a lease. A Spec is all
// that a worker is told; a Result is all that it answers. Both are JSON over
// the worker API (api/worker.yaml), so every field here is part of a contract
// between machines that may run different versions of sluice: add fields,
// never change the meaning of one.
package job

import (
	"fmt"
	"time"
)

// Stage names what a job does.
type Stage string

// The stages, in the order in which they can follow one another. Root is the
// auxiliary stage that prepares a root or a node image from its recipe (R57).
const (
	StageRoot    Stage = "root"
	StageBuild   Stage = "build"
	StageLint    Stage = "lint"
	StagePublish Stage = "publish"
	StageInstall Stage = "install"
	StageUpgrade Stage = "upgrade"
	StageSystest Stage = "systest"
)

// Stages lists every stage.
var Stages = []Stage{StageRoot, StageBuild, StageLint, StagePublish, StageInstall, StageUpgrade, StageSystest}

// Format is a package format.
type Format string

// The package formats.
const (
	DEB Format = "deb"
	RPM Format = "rpm"
)

// Outcome is how an attempt ended.
type Outcome string

// The outcomes. Error is a failure for a reason outside the change (worker
// lost, mirror out of reach, disk full): it is retried and never votes (G12).
const (
	Passed        Outcome = "passed"
	Failed        Outcome = "failed"
	Error         Outcome = "error"
	Cancelled     Outcome = "cancelled"
	NotApplicable Outcome = "not_applicable"
)

// Valid reports whether o is one of the outcomes.
func (o Outcome) Valid() bool {
	switch o {
	case Passed, Failed, Error, Cancelled, NotApplicable:
		return true
	}
	return false
}

// Spec is what a worker is asked to do: one attempt of one job.
type Spec struct {
	Job      int64  `json:"job"`
	Attempt  int    `json:"attempt"`
	Lease    string `json:"lease"`
	Stage    Stage  `json:"stage"`
	Name     string `json:"name"`     // "build hello juno/debian-12 amd64", for logs
	Buildset int64  `json:"buildset"` // 0 for a root
	Package  string `json:"package,omitempty"`
	Target   Target `json:"target"`
	// Source is the tree under test; absent for root and systest jobs that test packages only.
	Source  *Source  `json:"source,omitempty"`
	Version *Version `json:"version,omitempty"`
	// Root is the root the job runs in (build root or install root, or a node's
	// root for systest). A root job has none: it has a Recipe.
	Root   *Root   `json:"root,omitempty"`
	Recipe *Recipe `json:"recipe,omitempty"`
	// Repositories are all that the sandbox may fetch from, in the order of
	// rising priority. Paths are below the service's address.
	Repositories []Repository `json:"repositories,omitempty"`
	// Packages are the files that earlier stages of this buildset made.
	Packages []File `json:"packages,omitempty"`
	// Known are findings that the released version has already (lint counts only what is new).
	Known []Finding `json:"known,omitempty"`
	// Scripts are paths inside the source tree: the install stage's test
	// script(s), or the scenario of a system test.
	Scripts []string `json:"scripts,omitempty"`
	// Scenario describes a system test.
	Scenario *Scenario `json:"scenario,omitempty"`
	// Released names, per binary package, the version that is released now
	// ("" when there is none): upgrade starts from it.
	Released map[string]string `json:"released,omitempty"`
	Limits   Limits            `json:"limits"`
}

// Target says what is built for and tested on.
type Target struct {
	Name         string `json:"name"` // "juno/debian-12"
	Release      string `json:"release"`
	Dist         string `json:"dist"`
	Format       Format `json:"format"`
	Architecture string `json:"architecture"` // "amd64", "x86_64", … ; "all"/"noarch" never
	Codename     string `json:"codename"`     // the dist's, "bookworm"; RPM: release version, "9"
	Primary      bool   `json:"primary"`      // builds source packages and all/noarch
	// Macros are RPM macros of the target, defined for every build ("dist": ".el9").
	Macros map[string]string `json:"macros,omitempty"`
}

// Source is the unpacked tree as a deterministic tar (blob).
type Source struct {
	Archive Digest `json:"archive"` // tar of the tree, uncompressed
	Tree    string `json:"tree"`    // git tree id
	Project string `json:"project"`
	// Packaging is the folder that holds debian/ or the spec: "." by default.
	Packaging string `json:"packaging"`
	Spec      string `json:"spec,omitempty"` // path of the .spec inside the tree
	// Date is the author date of the change: SOURCE_DATE_EPOCH, changelog entry.
	Date       time.Time `json:"date"`
	Maintainer string    `json:"maintainer"` // "Name <mail>" of the author
	Message    string    `json:"message"`    // subject and body: the changelog entry
}

// Version says which version a build makes.
type Version struct {
	// Declared: the tree's own version is used as it is. Otherwise Full is derived.
	Declared bool   `json:"declared"`
	Full     string `json:"full"`              // deb: "1:2.10-3+sluice4~deb12"; rpm: "1:2.10-4"
	Release  string `json:"release,omitempty"` // rpm: the Release tag without %dist
}

// Root is an operating system tree, stored as a tar.zst blob.
type Root struct {
	Name    string `json:"name"`    // "juno/debian-12 build"
	Archive Digest `json:"archive"` // tar.zst with numeric owners, xattrs and device-free
	// Digest names the root by the packages that are in it (name, version, architecture, sorted).
	Digest Digest `json:"digest"`
}

// Recipe says how a root is made.
type Recipe struct {
	Name string `json:"name"`
	// Method is "mmdebstrap", "dnf" (dnf --installroot) or "script".
	Method string `json:"method"`
	// Kind is "build", "install" or "node".
	Kind     string   `json:"kind"`
	Include  []string `json:"include,omitempty"`  // packages, or @groups for dnf
	Variant  string   `json:"variant,omitempty"`  // mmdebstrap's
	Script   string   `json:"script,omitempty"`   // text of the script, run as root on the worker with $ROOT and $UPSTREAM_<NAME>
	Upstream []string `json:"upstream,omitempty"` // names; their Repositories are in the Spec
}

// RepositoryKind says why a job may read a repository.
type RepositoryKind string

// The kinds of repository, in the order of rising priority.
const (
	Upstream RepositoryKind = "upstream" // the base distribution, through the service's caching proxy
	Released RepositoryKind = "released" // this target's released repository, pinned to one publication
	Ahead    RepositoryKind = "ahead"    // the test repository of an item that this one stands behind
	Test     RepositoryKind = "test"     // this buildset's own test repository
)

// Repository is one that the sandbox may fetch from.
type Repository struct {
	Kind RepositoryKind `json:"kind"`
	Name string         `json:"name"` // unique in the job; a file name
	// Path is where it is below the service's address, "/test/7/juno/debian-12/", with a slash at both ends.
	Path   string `json:"path"`
	Format Format `json:"format"`
	// APT: suite and components; empty for RPM.
	Suite      string   `json:"suite,omitempty"`
	Components []string `json:"components,omitempty"`
	Origin     string   `json:"origin,omitempty"` // APT pin: release o=ORIGIN
	// Key is the armoured public key that signs it; empty: the root trusts it already (upstream).
	Key string `json:"key,omitempty"`
	// State names the state that the base distribution's index was in when the job was started.
	State string `json:"state,omitempty"`
	// Priority: APT pin (over 1000 for test) or dnf priority (smaller wins).
	Priority int `json:"priority"`
}

// Scenario is a system test: nodes, and a script that uses one from another.
type Scenario struct {
	Name  string `json:"name"`
	Nodes []Node `json:"nodes"`
	// Script is run on the worker's side of the environment with a shell
	// function or command `on NODE COMMAND…` that runs a command on a node;
	// its text, with the path it came from.
	Script string `json:"script"`
	Path   string `json:"path"`
}

// Node is one machine of an environment.
type Node struct {
	Name    string   `json:"name"`
	Install []string `json:"install,omitempty"` // packages to install before the script
}

// Limits bound an attempt. Zero means the worker's own default.
type Limits struct {
	Timeout   time.Duration `json:"timeout"`   // nanoseconds
	LogBytes  int64         `json:"log_bytes"` // the rest is counted, not kept
	Processes int64         `json:"processes"`
	Memory    int64         `json:"memory"` // bytes
	Disk      int64         `json:"disk"`   // bytes of the work folder
}

// Digest is a lowercase hex SHA-256.
type Digest string

// File is a stored file by name and digest.
type File struct {
	Name   string `json:"name"`
	Digest Digest `json:"digest"`
	Size   int64  `json:"size"` // bytes
}

// ArtifactKind says what a file is for.
type ArtifactKind string

// The kinds of artifact.
const (
	BinaryPackage ArtifactKind = "package" // .deb, .rpm
	SourcePackage ArtifactKind = "source"  // .dsc and its files, .src.rpm
	Report        ArtifactKind = "report"  // lintian.json, buildinfo, changes, …
	RootArchive   ArtifactKind = "root"
	LogFile       ArtifactKind = "log"
)

// Artifact is a file that a job made; its bytes were uploaded before finish.
type Artifact struct {
	File
	Kind ArtifactKind `json:"kind"`
}

// Finding is one thing that a job found wrong.
type Finding struct {
	// Severity is "error", "warning" or "info"; only errors fail a job.
	Severity string `json:"severity"`
	File     string `json:"file,omitempty"` // path in the source tree, if known
	Line     int    `json:"line,omitempty"` // 1-based; 0 unknown
	Message  string `json:"message"`        // one line
	LogLine  int    `json:"log_line"`       // 1-based line of the job's log; 0 unknown
	// Excerpt is the lines of the log around it, at most twenty.
	Excerpt []string `json:"excerpt,omitempty"`
	// Rule names what was broken, "lintian:missing-dependency", "policy:unpacked-sources".
	Rule string `json:"rule,omitempty"`
}

// String gives "file:line: message", as a compiler would.
func (f Finding) String() string {
	switch {
	case f.File != "" && f.Line > 0:
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
	case f.File != "":
		return f.File + ": " + f.Message
	}
	return f.Message
}

// Result is what a worker answers.
type Result struct {
	Outcome Outcome `json:"outcome"`
	// Cause is one line that says why the attempt did not pass.
	Cause     string     `json:"cause,omitempty"`
	Findings  []Finding  `json:"findings,omitempty"`
	Artifacts []Artifact `json:"artifacts,omitempty"`
	Trace     Trace      `json:"trace"`
	// RootDigest is set by a root job: the digest of its packages.
	RootDigest Digest `json:"root_digest,omitempty"`
	// Steps are the timed parts of the attempt.
	Steps []Step `json:"steps,omitempty"`
}

// Step is one part of an attempt, with where its lines start in the log.
type Step struct {
	Name    string        `json:"name"`
	LogLine int           `json:"log_line"`
	Elapsed time.Duration `json:"elapsed"` // nanoseconds
}

// First returns the finding that people are shown, or nil.
func (r Result) First() *Finding {
	for i := range r.Findings {
		if r.Findings[i].Severity == "error" {
			return &r.Findings[i]
		}
	}
	if len(r.Findings) > 0 {
		return &r.Findings[0]
	}
	return nil
}

// Trace is what a job was really served: the evidence on which its result can
// be reused on another base.
type Trace struct {
	// Served maps a package name to what was fetched of it.
	Served map[string]Served `json:"served,omitempty"`
	// Asked lists the names that the job asked the solver for (build
	// dependencies with their alternatives, packages to install), whether or
	// not they were there.
	Asked []string `json:"asked,omitempty"`
	// Around is the digest of all that the job had to choose from, by the names
	// that it and its dependencies ask for. The service fills it in.
	Around Digest `json:"around,omitempty"`
	// Unsure: a repository changed while the job ran, so that nobody knows which
	// state it read. The service fills it in.
	Unsure bool `json:"unsure,omitempty"`
}

// Served is one package that was fetched.
type Served struct {
	Version    string `json:"version"`
	Digest     Digest `json:"digest"`
	Repository string `json:"repository"` // Repository.Name
}
