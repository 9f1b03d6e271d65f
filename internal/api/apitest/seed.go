package apitest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"sluice/internal/deb/debtest"
	"sluice/internal/engine"
	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/rpm/rpmtest"
)

func itoa(n int) string { return strconv.Itoa(n) }

// digits is n in hexadecimal, filled up.
func digits(n, length int) string { return fmt.Sprintf("%0*x", length, n) }

// Seeded names what Seed made.
type Seeded struct {
	// Good (main~1) builds and fails its install; Behind (main~2) needs it and
	// stands behind; Hidden (main~3) is restricted and stands in the queue;
	// Checked (main~4) is only checked and its build runs.
	Good, Behind, Hidden, Checked record.Change
	GoodBuildset, HiddenBuildset  record.Buildset
	CheckBuildset                 record.Buildset
	Build, Publish, Install       record.Job // of Good
	HiddenBuild                   record.Job
	Running                       record.Job // of Checked
	Lease                         string     // of Running
	LogSize                       int64      // of Running
	Deb                           job.Artifact
	HiddenFile                    job.Artifact
}

// Target names of the site.
const (
	Deb = "juno/debian-12"
	RPM = "juno/el-9"
)

func plan(arch string) []record.NewJob {
	target := job.Target{Name: Deb, Release: "juno", Dist: "debian-12", Format: job.DEB, Architecture: arch, Codename: "bookworm"}
	one := func(stage job.Stage, voting bool, needs ...string) record.NewJob {
		name := string(stage) + " hello " + Deb + " " + arch
		return record.NewJob{
			Name: name, Stage: stage, Package: "hello", Target: Deb, Architecture: arch, Voting: voting, MaxAttempts: 3, Needs: needs,
			Spec: job.Spec{
				Stage: stage, Name: name, Package: "hello", Target: target, Source: &job.Source{Project: "main/packages/hello", Tree: digits(3, 40)},
				Version: &job.Version{Full: "2.10-1+sluice1~deb12"}, Limits: job.Limits{Timeout: time.Hour},
				Repositories: []job.Repository{{Kind: job.Upstream, Name: "debian-bookworm", Path: "/upstream/debian/0/amd64/", Format: job.DEB, Key: "SECRET KEY TEXT"}},
			},
		}
	}
	build := one(job.StageBuild, true)
	publish := one(job.StagePublish, true, build.Name)
	return []record.NewJob{build, publish, one(job.StageLint, false, build.Name), one(job.StageInstall, true, publish.Name)}
}

// Store keeps a file as a blob.
func (w *World) File(path string, kind job.ArtifactKind) job.Artifact {
	w.T.Helper()
	f, err := os.Open(path)
	w.must(err)
	defer f.Close()
	d, n, err := w.Blobs.Put(context.Background(), f, "")
	w.must(err)
	return job.Artifact{File: job.File{Name: filepath.Base(path), Digest: job.Digest(d), Size: n}, Kind: kind}
}

// Seed fills the service.
func (w *World) Seed() *Seeded {
	w.T.Helper()
	s := &Seeded{}
	ready := gate.Change{Ready: true}
	s.Good = w.Change(record.Change{Number: 1, Project: "packages/hello", Subject: "Say hello louder", Queue: "main", Facts: ready})
	behind := ready
	behind.Needs = []gate.Need{{Kind: gate.Parent, ID: "main~1", PatchSet: 1}}
	s.Behind = w.Change(record.Change{Number: 2, Project: "packages/hello", Subject: "Say it twice", Queue: "main", Facts: behind})
	hidden := ready
	hidden.Restricted = true
	s.Hidden = w.Change(record.Change{Number: 3, Project: "packages/secret", Subject: "An embargoed fix", Queue: "main", Facts: hidden})
	s.Checked = w.Change(record.Change{Number: 4, Project: "packages/other", Subject: "Not approved", Queue: "main",
		Facts: gate.Change{NotReady: []string{"needs Code-Review +2"}, Needs: []gate.Need{{Kind: gate.DependsOn, Text: "Inowhere"}}}})
	w.must(w.Store.EnsureQueue(context.Background(), "check/main~4", gate.Independent, "main~4", 1))
	packages := []record.Subject{{Package: "hello", Project: "packages/hello", Target: Deb, Format: job.DEB, Version: "2.10-1+sluice1~deb12", Binaries: []string{"hello"}}}
	for _, b := range w.Prepare("main", packages, plan("amd64")...) {
		switch b.Changes[0].Number {
		case 1:
			s.GoodBuildset = b
		case 3:
			s.HiddenBuildset = b
		}
	}
	s.CheckBuildset = w.Prepare("check/main~4", packages, plan("amd64")...)[0]
	w.good(s)
	w.hidden(s)
	s.Running = w.Start(s.CheckBuildset, job.StageBuild)
	s.Lease = w.Claim()
	s.LogSize = w.Log(s.Lease, 0, "first line\n")
	return s
}

func (w *World) good(s *Seeded) {
	w.T.Helper()
	s.Build = w.Start(s.GoodBuildset, job.StageBuild)
	lease := w.Claim()
	w.Log(lease, 0, "building\n")
	w.Log(lease, 9, "built\n")
	s.Deb = w.File(debtest.Build(w.T, w.T.TempDir(), debtest.Package{Name: "hello", Version: "2.10-1+sluice1~deb12"}), job.BinaryPackage)
	w.Finish(lease, job.Result{
		Outcome: job.Passed, Artifacts: []job.Artifact{s.Deb}, Steps: []job.Step{{Name: "compile", LogLine: 1, Elapsed: time.Second}},
		Trace: job.Trace{Served: map[string]job.Served{"libc6": {Version: "2.36", Digest: job.Digest(digits(9, 64)), Repository: "debian-bookworm"}}, Asked: []string{"debhelper"}},
	}, map[string]*record.PackageInfo{s.Deb.Name: {Name: "hello", Version: "2.10-1+sluice1~deb12", Architecture: "all", Source: "hello", SourceVersion: "2.10-1+sluice1~deb12"}})
	s.Publish = w.Start(s.GoodBuildset, job.StagePublish)
	manifest, err := w.Publisher.BuildTest(context.Background(), engine.TestRequest{
		Format: job.DEB, Codename: "bookworm", Architectures: []string{"amd64"}, Origin: engine.TestOrigin(s.GoodBuildset.ID), Label: "test",
		Packages: []record.Artifact{{Name: s.Deb.Name, Kind: s.Deb.Kind, Digest: s.Deb.Digest, Size: s.Deb.Size}}, At: time.Now(),
	})
	w.must(err)
	w.must(w.Store.FinishPublish(context.Background(), s.Publish.ID, job.Result{Outcome: job.Passed},
		[]record.TestRepository{{Buildset: s.GoodBuildset.ID, Target: Deb, Manifest: manifest}}))
	s.Install = w.Start(s.GoodBuildset, job.StageInstall)
	lease = w.Claim()
	w.Log(lease, 0, "Setting up hello\npostinst: not found\n")
	w.Finish(lease, job.Result{Outcome: job.Failed, Cause: "hello does not install", Findings: []job.Finding{
		{Severity: "error", File: "debian/hello.postinst", Line: 7, Message: "frobnicate: not found", LogLine: 2, Excerpt: []string{"postinst: not found"}},
	}}, nil)
}

func (w *World) hidden(s *Seeded) {
	w.T.Helper()
	s.HiddenBuild = w.Start(s.HiddenBuildset, job.StageBuild)
	lease := w.Claim()
	w.Log(lease, 0, "embargoed\n")
	path := filepath.Join(w.T.TempDir(), "embargoed.txt")
	w.must(os.WriteFile(path, []byte("embargoed"), 0o644))
	s.HiddenFile = w.File(path, job.Report)
	w.Finish(lease, job.Result{Outcome: job.Passed, Artifacts: []job.Artifact{s.HiddenFile}}, nil)
}

// Release publishes packages in the first channel of a target, and gives the publication's number.
func (w *World) Release(target string, buildset int64, files ...job.Artifact) int64 {
	w.T.Helper()
	ctx := context.Background()
	name := target + "/updates"
	r, err := w.Store.Repository(ctx, name)
	w.must(err)
	d, _ := w.Site.Dist(filepath.Base(target))
	in := engine.ReleaseRequest{Repository: r, Codename: d.Codename, Architectures: []string{d.Architectures[0].Name}, Origin: "Sluice", Label: "Sluice", Buildset: buildset, At: time.Now()}
	serial, from := 1, int64(0)
	if r.Publication != nil {
		p, err := w.Store.Publication(ctx, *r.Publication)
		w.must(err)
		in.Previous, serial, from = &p, p.Serial+1, p.ID
	}
	for _, f := range files {
		in.Add = append(in.Add, record.Artifact{Name: f.Name, Kind: f.Kind, Digest: f.Digest, Size: f.Size})
	}
	made, err := w.Publisher.BuildRelease(ctx, in)
	w.must(err)
	id, err := w.Store.Publish(ctx, record.Publication{
		Repository: name, Serial: serial, Manifest: made.Manifest, State: made.State, Packages: made.Packages, Who: "the gate", Why: "merged: change 1",
	}, from, made.Added, made.Removed)
	w.must(err)
	return id
}

// RPMFile builds an RPM of a version and keeps it.
func (w *World) RPMFile(t testing.TB, evr string) job.Artifact {
	binary, _ := rpmtest.Build(t, rpmtest.Package{Name: "hello", EVR: evr})
	return w.File(binary, job.BinaryPackage)
}

// Passed is the least result of a job that passed.
var Passed = job.Result{Outcome: job.Passed}
