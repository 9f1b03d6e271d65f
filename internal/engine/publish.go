package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sluice/internal/job"
	"sluice/internal/record"
)

// Publisher makes repositories. It holds the keys.
type Publisher interface {
	// PublicKeys gives the armoured public keys that release and test repositories are signed with.
	PublicKeys() (release, test string, err error)
	// ReadPackage reads a package file that a worker made; the error says what is wrong with it.
	ReadPackage(ctx context.Context, f job.Format, a job.Artifact) (*record.PackageInfo, error)
	// BuildTest makes a test repository and gives the digest of its manifest.
	BuildTest(ctx context.Context, r TestRequest) (manifest string, err error)
	// BuildRelease makes the next publication of a repository.
	BuildRelease(ctx context.Context, r ReleaseRequest) (ReleaseResult, error)
	// Export writes a publication as a tree for web servers and rsync, and points at it.
	Export(ctx context.Context, repository, manifest string) error
}

// TestRequest is what a test repository is made of.
type TestRequest struct {
	Format        job.Format
	Codename      string
	Architectures []string
	Origin        string
	Label         string
	Packages      []record.Artifact // packages, and source packages with their files
	At            time.Time
}

// ReleaseRequest is what the next publication of a repository is made of: the
// one before and what is added. A package that is added takes the place of all
// of the same name and architecture.
type ReleaseRequest struct {
	Repository    record.Repository
	Codename      string
	Architectures []string
	Origin        string
	Label         string
	ValidFor      time.Duration // 0: no Valid-Until
	// Previous is the publication that it follows, nil for the first.
	Previous *record.Publication
	// Add are packages and source packages as they were tested.
	Add      []record.Artifact
	Buildset int64
	At       time.Time
}

// ReleaseResult is a publication that is made and not yet pointed at.
type ReleaseResult struct {
	Manifest string
	State    string // blob, to make the next one from
	Packages int
	Added    []record.Package
	Removed  []record.Package
}

// publishTest makes the test repository of one target of a buildset (R14, R30, R31).
func (e *Engine) publishTest(ctx context.Context, jobID int64) error {
	j, err := e.Store.Job(ctx, jobID)
	if err != nil || j.State != "running" {
		return err
	}
	began := e.Now()
	// Source packages too: a change behind to the same upstream version builds on the same tarball.
	files, err := e.testFiles(ctx, *j.Buildset, j.Target, func(a record.Artifact) bool {
		return a.Kind == job.BinaryPackage || a.Kind == job.SourcePackage && j.Spec.Target.Format == job.DEB
	})
	if err != nil {
		return err
	}
	d, ok := e.Site.Dist(j.Spec.Target.Dist)
	if !ok {
		return fmt.Errorf("no dist %q in the site file any more", j.Spec.Target.Dist)
	}
	if len(files) == 0 { // every build was not applicable
		return e.Store.FinishPublish(ctx, jobID, job.Result{Outcome: job.NotApplicable, Cause: "there is no package to publish"}, nil)
	}
	manifest, err := e.Repos.BuildTest(ctx, TestRequest{
		Format: d.Format, Codename: d.Codename, Architectures: architectureNames(d), Origin: TestOrigin(*j.Buildset),
		Label: e.Site.Repositories.Label + " test", Packages: files, At: e.Now(),
	})
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		cause := "the test repository could not be made: " + err.Error()
		return e.Store.FinishPublish(ctx, jobID, job.Result{Outcome: job.Error, Cause: cause}, nil)
	}
	res := job.Result{Outcome: job.Passed, Steps: []job.Step{{Name: "publish", Elapsed: e.Now().Sub(began)}}}
	return e.Store.FinishPublish(ctx, jobID, res, []record.TestRepository{{Buildset: *j.Buildset, Target: j.Target, Manifest: manifest}})
}

// publish releases what a buildset tested: into the first channel of each of
// its targets, the very packages, signed (R1, R25, R51). Each repository moves
// by one compare-and-swap; what is there already is not added again.
func (e *Engine) publish(ctx context.Context, buildset int64) error {
	b, err := e.Store.Buildset(ctx, buildset)
	if err != nil || b.PublishedAt != nil {
		return err
	}
	targets := map[string]bool{}
	for _, s := range b.Packages {
		targets[s.Target] = true
	}
	for _, t := range e.Site.Targets { // the site's order
		if !targets[t.Name()] {
			continue
		}
		if err := e.publishTarget(ctx, b, t.Name()); err != nil {
			return fmt.Errorf("publish buildset %d to %s: %w", buildset, t.Name(), err)
		}
	}
	return e.Store.Published(ctx, buildset)
}

func (e *Engine) publishTarget(ctx context.Context, b record.Buildset, target string) error {
	t, ok := e.Site.Target(target)
	if !ok {
		return fmt.Errorf("no target %q in the site file any more", target)
	}
	d, _ := e.Site.Dist(t.Dist)
	files, err := e.released(ctx, b, target)
	if err != nil || len(files) == 0 {
		return err
	}
	for {
		done, err := e.publishOnce(ctx, b, e.firstChannel(target), files, ReleaseRequest{
			Codename: d.Codename, Architectures: architectureNames(d), Origin: e.Site.Repositories.Origin,
			Label: e.Site.Repositories.Label, ValidFor: e.Site.Repositories.ValidUntil.D(), Add: files, Buildset: b.ID, At: e.Now(),
		})
		if err != nil {
			return err
		}
		if done {
			if err := e.list(ctx, b, target); err != nil {
				return err
			}
			return e.export(ctx, e.firstChannel(target))
		}
	}
}

// PublishedList is the name of the artifact that lists what was published.
const PublishedList = "published.json"

// list writes the packages that a buildset brought into a repository as an
// artifact of the job that published them for their tests (R54).
func (e *Engine) list(ctx context.Context, b record.Buildset, target string) error {
	all, err := e.Store.Packages(ctx, e.firstChannel(target), 0)
	if err != nil {
		return err
	}
	type line struct {
		Repository   string `json:"repository"`
		Name         string `json:"name"`
		Version      string `json:"version"`
		Architecture string `json:"architecture"`
		File         string `json:"file"`
		SHA256       string `json:"sha256"`
		Tested       string `json:"tested_sha256"`
		Payload      string `json:"payload_sha256"`
		Size         int64  `json:"size"`
	}
	lines := []line{}
	for _, k := range all {
		if k.Buildset == b.ID {
			lines = append(lines, line{k.Repository, k.Name, k.Version, k.Architecture, k.File, k.Digest, k.Tested, k.Payload, k.Size})
		}
	}
	text, err := json.MarshalIndent(lines, "", "  ")
	if err != nil {
		return err
	}
	digest, size, err := e.Blobs.Put(ctx, bytes.NewReader(text), "")
	if err != nil {
		return fmt.Errorf("store the list of published packages: %w", err)
	}
	return e.Store.AddArtifact(ctx, b.ID, target, job.StagePublish, job.Artifact{
		Kind: job.Report, File: job.File{Name: PublishedList, Digest: job.Digest(digest), Size: size},
	})
}

// export writes the present publication of a repository as a tree.
func (e *Engine) export(ctx context.Context, name string) error {
	return e.Store.Locked(ctx, "export "+name, func(ctx context.Context) error {
		r, err := e.Store.Repository(ctx, name)
		if err != nil || r.Publication == nil {
			return err
		}
		p, err := e.Store.Publication(ctx, *r.Publication)
		if err != nil {
			return err
		}
		return e.Repos.Export(ctx, name, p.Manifest)
	})
}

// publishOnce makes a publication on the present one and moves the pointer. It
// gives false when another publication came first.
func (e *Engine) publishOnce(ctx context.Context, b record.Buildset, name string, files []record.Artifact, r ReleaseRequest) (bool, error) {
	repository, err := e.Store.Repository(ctx, name)
	if err != nil {
		return false, err
	}
	r.Repository = repository
	serial, from := 1, int64(0)
	if repository.Publication != nil {
		p, err := e.Store.Publication(ctx, *repository.Publication)
		if err != nil {
			return false, err
		}
		if published, err := e.contains(ctx, name, b.ID); err != nil || published {
			return published, err
		}
		r.Previous, serial, from = &p, p.Serial+1, p.ID
	}
	made, err := e.Repos.BuildRelease(ctx, r)
	if err != nil {
		return false, err
	}
	who := make([]string, len(b.Changes))
	for i, c := range b.Changes {
		known, err := e.Store.Change(ctx, c.ID)
		if err != nil {
			return false, err
		}
		if who[i] = fmt.Sprintf("%d", c.Number); known.Facts.Restricted {
			who[i] = "(restricted)"
		}
	}
	_, err = e.Store.Publish(ctx, record.Publication{
		Repository: name, Serial: serial, Manifest: made.Manifest, State: made.State, Packages: made.Packages,
		Who: "the gate", Why: "merged: change " + strings.Join(who, ", "),
	}, from, made.Added, made.Removed)
	if errors.Is(err, record.ErrStale) {
		return false, nil
	}
	return err == nil, err
}

// contains reports whether a buildset's packages have been in a repository.
func (e *Engine) contains(ctx context.Context, repository string, buildset int64) (bool, error) {
	packages, err := e.Store.Packages(ctx, repository, 0)
	for _, k := range packages {
		if k.Buildset == buildset {
			return true, err
		}
	}
	return false, err
}

// released gives the files of a buildset that are released for a target: binary
// and source packages of the builds that passed.
func (e *Engine) released(ctx context.Context, b record.Buildset, target string) ([]record.Artifact, error) {
	jobs, err := e.Store.BuildsetJobs(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	var builds []int64
	for _, j := range jobs {
		if j.Stage == job.StageBuild && j.Target == target && j.State == "passed" {
			builds = append(builds, j.ID)
		}
	}
	all, err := e.Store.Artifacts(ctx, builds...)
	var out []record.Artifact
	for _, a := range all {
		if a.Kind == job.BinaryPackage || a.Kind == job.SourcePackage {
			out = append(out, a)
		}
	}
	return out, err
}
