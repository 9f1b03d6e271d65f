// Package stage carries out jobs: it turns a job.Spec into a job.Result.
//
// Run dispatches to one file per stage and format: build_deb.go, build_rpm.go,
// lint_deb.go, lint_rpm.go, install.go (with upgrade), systest.go, root.go.
// All of them work the same way. An attempt makes boxes (internal/sandbox) on
// the job's root, prints each step as "==> NAME" in the job's log, and runs the
// target's own tools in the boxes. The network is on only where packages are
// fetched from the job's repositories; whatever comes from there passes the
// recorder in trace.go, which makes the job's trace.
//
// Everything that a tool prints goes through a scanner (scanner.go) on its way
// to the log. Its finders (rules.go, multi.go) know compilers, make, dpkg,
// debhelper, rpm, apt, dnf, Python and more; when a command fails, the finding
// nearest to the cause is what people are shown. Failures for a reason outside
// the change are told apart (Outcome Error, G12): the sandbox's own, blobs or
// repositories out of reach, a full disk.
//
// The packages that are read here were made by untrusted code: files leave a
// box only through the Box's own methods, and each .deb and .rpm is read by
// internal/deb and internal/rpm before it is an artifact.
package stage

import (
	"context"
	"io"
	"net/http"
	"time"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// Sandbox makes roots, layers and boxes; *sandbox.Manager is one.
type Sandbox interface {
	Root(ctx context.Context, archive job.Digest, open func(context.Context) (io.ReadCloser, error)) (sandbox.Layer, error)
	Layer(ctx context.Context, key string, below []sandbox.Layer, make func(context.Context, *sandbox.Box) error) (sandbox.Layer, error)
	New(ctx context.Context, opt sandbox.BoxOptions) (*sandbox.Box, error)
	MakeRoot(ctx context.Context, recipe job.Recipe, repos []job.Repository, repositories http.Handler, log io.Writer, out io.Writer) (job.Digest, error)
}

// Blobs reads and stores files by digest.
type Blobs interface {
	Open(ctx context.Context, digest job.Digest) (io.ReadCloser, error)
	// Put stores what it reads under its digest, and gives it the name.
	Put(ctx context.Context, name string, r io.Reader) (job.File, error)
}

// Repositories serves a job's repositories, each below its Path, and nothing
// else. Errors are HTTP's; a 5xx makes a job's outcome Error.
type Repositories interface {
	Handler(ctx context.Context, repos []job.Repository) (http.Handler, error)
}

// Env is what an attempt works with.
type Env struct {
	Sandbox      Sandbox
	Nodes        Nodes // systest only
	Blobs        Blobs
	Repositories Repositories
	Log          io.Writer        // the job's log, as it grows
	Now          func() time.Time // nil: time.Now
}

// attempt is one job being carried out.
type attempt struct {
	spec  job.Spec
	env   Env
	log   *Log
	trace *recorder
	asked map[string]bool
	// artifacts and findings of a passing attempt (warnings).
	artifacts []job.Artifact
	findings  []job.Finding
	rootName  job.Digest
	tree      *tree // the source tree, once it is read
}

// Run carries out one attempt of a job. It returns when all of it is over:
// every box is closed, and every artifact is stored. A cancelled ctx ends it
// within a second or so with the outcome Cancelled.
func Run(ctx context.Context, spec job.Spec, env Env) job.Result {
	if env.Now == nil {
		env.Now = time.Now
	}
	a := &attempt{spec: spec, env: env, log: NewLog(env.Log, spec.Limits.LogBytes, env.Now), asked: map[string]bool{}}
	a.trace = newRecorder(spec.Repositories)
	cancel := func() {}
	if spec.Limits.Timeout > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, spec.Limits.Timeout, errTimeout)
	}
	defer cancel()
	err := a.prepare(ctx)
	if err == nil {
		err = a.dispatch(ctx)
	}
	return a.finish(ctx, err)
}

// prepare connects the repositories.
func (a *attempt) prepare(ctx context.Context) error {
	if len(a.spec.Repositories) == 0 {
		return nil
	}
	h, err := a.env.Repositories.Handler(ctx, a.spec.Repositories)
	if err != nil {
		return outside("connecting the job's repositories: %v", err)
	}
	a.trace.next = h
	return nil
}

func (a *attempt) dispatch(ctx context.Context) error {
	type key struct {
		stage  job.Stage
		format job.Format
	}
	do := map[key]func(context.Context) error{
		{job.StageBuild, job.DEB}:   a.buildDEB,
		{job.StageBuild, job.RPM}:   a.buildRPM,
		{job.StageLint, job.DEB}:    a.lintDEB,
		{job.StageLint, job.RPM}:    a.lintRPM,
		{job.StageInstall, job.DEB}: a.install,
		{job.StageInstall, job.RPM}: a.install,
		{job.StageUpgrade, job.DEB}: a.upgrade,
		{job.StageUpgrade, job.RPM}: a.upgrade,
		{job.StageSystest, job.DEB}: a.systest,
		{job.StageSystest, job.RPM}: a.systest,
	}[key{a.spec.Stage, a.spec.Target.Format}]
	if a.spec.Stage == job.StageRoot {
		do = a.makeRoot
	}
	if do == nil {
		return outside("this worker has no stage %q for the format %q: is it older than the service?", a.spec.Stage, a.spec.Target.Format)
	}
	return do(ctx)
}

// finish turns how it ended into a result.
func (a *attempt) finish(ctx context.Context, err error) job.Result {
	v := a.judge(ctx, err)
	r := job.Result{Outcome: v.Outcome, Cause: v.Cause, Findings: append(v.Findings, a.findings...), Artifacts: a.artifacts, RootDigest: a.rootName}
	r.Trace = job.Trace{Served: a.trace.served(), Asked: sortedKeys(a.asked)}
	if v.Outcome != job.Passed {
		a.log.Printf("==> %s: %s", v.Outcome, v.Cause)
	}
	steps, logErr := a.log.Close()
	r.Steps = steps
	if logErr != nil && r.Outcome == job.Passed {
		r.Outcome, r.Cause = job.Error, "the job's log could not be stored: "+logErr.Error()
	}
	return r
}
