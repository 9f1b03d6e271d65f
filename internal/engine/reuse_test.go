package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/internal/blob"
	"sluice/internal/config"
	"sluice/internal/deb"
	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/plan/plantest"
	"sluice/internal/postgres"
	"sluice/internal/record"
	"sluice/internal/testenv"
	"sluice/internal/universe"
)

// With reuse and without it the same changes land and the same are blamed, and
// what is reused is what would have come about, by the engine as it starts and
// finishes jobs, the rows of a real database, and the indices of repositories.
// The rule alone, on a list of results, is held to this in internal/plan.
func TestReuseChangesNothing(t *testing.T) {
	site := newReuseSite(t)
	history, reused, ran := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		history++
		b := &reuseBuilder{
			reuseSite: site, t: t, salt: fmt.Sprint("history ", history), sets: map[int]int64{}, publishes: map[int]int64{},
			publications: map[string]int64{}, made: map[int64]string{},
		}
		site.upstream = fmt.Sprintf("/upstream/%d/", history)
		steps := 24
		if testenv.Full() {
			steps = 40
		}
		plantest.Play(t, rapid.IntRange(10, steps).Draw(t, "steps"), false,
			&plantest.World{Builder: plantest.Forgetful{}}, &plantest.World{Builder: b})
		reused, ran = reused+b.reused, ran+b.ran
	})
	t.Logf("%d histories, %d jobs reused, %d run", history, reused, ran)
	if reused == 0 || ran == 0 {
		t.Errorf("%d jobs were reused and %d run", reused, ran)
	}
}

// reuseSite is an engine on a database of its own. Its blobs and keys are
// nobody's; its indices are read from memory.
type reuseSite struct {
	store    *postgres.Store
	engine   *Engine
	files    shelves
	upstream string // where the base distribution's repository of this history is
	released int64  // the newest publication
	serial   int    // of that
	leases   int
}

const (
	reuseTarget     = "juno/d"
	reuseRepository = reuseTarget + "/main"
)

func newReuseSite(t *testing.T) *reuseSite {
	t.Helper()
	ctx := t.Context()
	store, err := postgres.Open(ctx, testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	s := &reuseSite{store: store, files: shelves{files: map[string][]byte{}, known: map[job.Digest]plantest.Shelf{}}}
	s.engine = &Engine{
		Store: store, Blobs: anyBlob{}, Repos: onShelves{files: &s.files}, Upstreams: s, Indices: universe.NewReader(&s.files),
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Site: &config.Site{
			Targets: []config.Target{{Release: "juno", Dist: "d"}},
			Dists: []config.Dist{{Name: "d", Format: job.DEB, Codename: "d", Upstreams: []string{"debian"},
				Architectures: []config.Architecture{{Name: "amd64"}}}},
			Channels: []config.Channel{{Name: "main"}},
			Queues:   []config.Queue{{Name: "main"}},
		},
	}
	if err := s.engine.Init(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// Repositories is the base distribution.
func (s *reuseSite) Repositories(string, string) ([]job.Repository, error) {
	return []job.Repository{{Kind: job.Upstream, Name: "debian", Path: s.upstream, Format: job.DEB, Suite: "d", Components: []string{"main"}, Priority: 500}}, nil
}

// anyBlob has every blob.
type anyBlob struct{ Blobs }

func (anyBlob) Stat(context.Context, blob.Digest) (blob.Info, error) { return blob.Info{Size: 1}, nil }

// shelves are the files of the repositories, and what the packages in them are.
type shelves struct {
	files map[string][]byte
	known map[job.Digest]plantest.Shelf
}

// Open reads a file below the service's address.
func (s *shelves) Open(_ context.Context, name string) (io.ReadCloser, error) {
	b, ok := s.files[name]
	if !ok {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// put makes an APT repository of some packages.
func (s *shelves) put(at string, packages map[string]plantest.Shelf) {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		p := packages[name]
		fmt.Fprintf(&text, "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: x <x@example.com>\nDescription: x\n", p.Name, p.Version)
		var needs []string
		for _, n := range p.Needs {
			needs = append(needs, strings.Join(n, " | "))
		}
		if len(needs) > 0 {
			fmt.Fprintf(&text, "Depends: %s\n", strings.Join(needs, ", "))
		}
		if len(p.Provides) > 0 {
			fmt.Fprintf(&text, "Provides: %s\n", strings.Join(p.Provides, ", "))
		}
		fmt.Fprintf(&text, "Filename: pool/%[1]s.deb\nSize: 1\nSHA256: %[1]s\n\n", p.Digest())
	}
	index := []byte(text.String())
	s.files[at+"dists/d/main/binary-amd64/Packages"] = index
	s.files[at+"dists/d/InRelease"] = deb.Release{Origin: "x", Label: "x", Suite: "d", Codename: "d", Date: time.Unix(1e9, 0),
		Architectures: []string{"amd64"}, Components: []string{"main"},
		Files: []deb.IndexFile{{Path: "main/binary-amd64/Packages", Size: int64(len(index)), SHA256: string(plantest.Hash(text.String()))}}}.Text()
}

// onShelves makes test repositories, of packages that are known by their digests.
type onShelves struct {
	Publisher
	files *shelves
}

func (onShelves) PublicKeys() (release, test string, err error) { return "release", "test", nil }

func (o onShelves) ReadPackage(_ context.Context, _ job.Format, a job.Artifact) (*record.PackageInfo, error) {
	p, ok := o.files.known[a.Digest]
	if !ok {
		return nil, errors.New("nobody knows it")
	}
	return &record.PackageInfo{Name: p.Name, Version: p.Version, Architecture: "amd64", Source: p.Name, SourceVersion: p.Version}, nil
}

func (o onShelves) BuildTest(_ context.Context, r TestRequest) (string, error) {
	packages := map[string]plantest.Shelf{}
	for _, a := range r.Packages {
		p := o.files.known[a.Digest]
		packages[p.Name] = p
	}
	var buildset int64
	if _, err := fmt.Sscanf(r.Origin, TestOrigin(0)[:len(TestOrigin(0))-1]+"%d", &buildset); err != nil {
		return "", err
	}
	o.files.put(record.TestRepository{Buildset: buildset, Target: reuseTarget}.Path(), packages)
	return string(plantest.Hash(r.Origin)), nil
}

// reuseBuilder is a plantest.Builder: it has jobs planned, started, run by
// plantest.Run, and finished.
type reuseBuilder struct {
	*reuseSite
	t            *rapid.T
	salt         string // nothing of another history is reused
	sets         map[int]int64
	publishes    map[int]int64    // the publish job of a change's newest buildset that passed
	publications map[string]int64 // by what they hold
	made         map[int64]string // what a job that ran was found to be made of
	reused, ran  int
}

func (b *reuseBuilder) must(err error) {
	if err != nil {
		b.t.Fatal(err)
	}
}

// Build has a change built on a base.
func (b *reuseBuilder) Build(c plantest.Change, root []string, base plantest.Base, again bool) bool {
	set := b.buildset(c, root, base)
	truth := plantest.Run(c, root, base)
	passed := b.run(set, c, truth)
	if again {
		b.must(b.store.RetryJob(context.Background(), b.job(set, job.StageBuild).ID))
		ran := b.ran
		passed = b.run(set, c, truth)
		if b.ran != ran+1 {
			b.t.Fatalf("what was to be run again was not: %+v", b.job(set, job.StageBuild))
		}
	}
	if passed {
		b.sets[c.ID], b.publishes[c.ID] = set, b.job(set, job.StagePublish).ID
	}
	return passed
}

// run brings a buildset to its end and says whether it passed.
func (b *reuseBuilder) run(set int64, c plantest.Change, truth plantest.Ran) bool {
	ctx := context.Background()
	b.must(b.engine.startJobs(ctx, set))
	j := b.job(set, job.StageBuild)
	if j.ReusedFrom != nil {
		b.reused++
		if from := b.made[*j.ReusedFrom]; from != truth.Made || !truth.Passed {
			b.t.Fatalf("change %d was given a result of %s; it would be of %s", c.ID, from, truth.Made)
		}
	} else {
		b.ran++
		b.made[j.ID] = truth.Made
		b.work(j.ID, b.result(c, truth))
		j = b.job(set, job.StageBuild)
	}
	if j.State == "failed" {
		return false
	}
	b.must(b.engine.startJobs(ctx, set))
	publish := b.job(set, job.StagePublish)
	b.must(b.engine.publishTest(ctx, publish.ID))
	if publish = b.job(set, job.StagePublish); j.State != "passed" || publish.State != "passed" {
		b.t.Fatalf("the build is %s and the publish is %s: %s", j.State, publish.State, publish.Cause)
	}
	return true
}

// result is what a worker answers.
func (b *reuseBuilder) result(c plantest.Change, truth plantest.Ran) job.Result {
	res := job.Result{Outcome: job.Failed, Cause: "exit status 2", Trace: truth.Trace}
	if truth.Passed {
		b.files.known[c.Made.Digest()] = c.Made
		f := job.File{Name: fmt.Sprintf("%s_%s_amd64.deb", c.Made.Name, c.Made.Version), Digest: c.Made.Digest(), Size: 1}
		res.Outcome, res.Cause, res.Artifacts = job.Passed, "", []job.Artifact{{File: f, Kind: job.BinaryPackage}}
	}
	return res
}

// work claims the job that waits for a worker, and answers.
func (b *reuseBuilder) work(id int64, res job.Result) {
	ctx := context.Background()
	b.leases++
	lease := fmt.Sprint("lease", b.leases)
	spec, err := b.engine.Claim(ctx, record.Worker{Name: "w", Labels: []string{"deb"}, Architectures: []string{"amd64"}}, lease)
	b.must(err)
	if spec == nil || spec.Job != id {
		j, _ := b.store.Job(ctx, id)
		b.t.Fatalf("job %d is to be run, which is %s; there is %+v", id, j.State, spec)
	}
	b.must(b.engine.Finish(ctx, lease, res))
}

func (b *reuseBuilder) job(set int64, stage job.Stage) record.Job {
	jobs, err := b.store.BuildsetJobs(context.Background(), set)
	b.must(err)
	for _, j := range jobs {
		if j.Stage == stage {
			return j
		}
	}
	b.t.Fatalf("buildset %d has no %s", set, stage)
	return record.Job{}
}

// buildset plans a change on a base.
func (b *reuseBuilder) buildset(c plantest.Change, root []string, base plantest.Base) int64 {
	ctx := context.Background()
	pinned := record.Base{Publications: map[string]int64{}}
	var ahead []int64
	for _, l := range base {
		switch l.Kind {
		case job.Upstream:
			b.files.put(b.upstream, l.Has)
		case job.Released:
			pinned.Publications[reuseRepository] = b.publication(l.Has)
		default:
			pinned.Ahead = append(pinned.Ahead, b.sets[l.Change])
			ahead = append(ahead, b.publishes[l.Change])
		}
	}
	q, err := b.store.Queue(ctx, "main")
	b.must(err)
	st := q.State
	item, serial := st.NextItem, st.NextBuildset
	st.NextItem++
	st.NextBuildset++
	refs := []gate.Ref{{ID: gate.ChangeID(fmt.Sprint("main~", item)), Number: int(item), PatchSet: 1, Revision: "r1"}}
	b.must(b.store.Commit(ctx, q, st, []gate.Effect{
		{Kind: gate.Enter, Item: item, Changes: refs}, {Kind: gate.Prepare, Item: item, Buildset: serial, Changes: refs},
	}, record.Decided{}))
	set, err := b.store.ItemBuildset(ctx, "main", serial)
	b.must(err)
	b.must(b.store.SavePrepared(ctx, set.ID, pinned, nil, nil, b.plan(c, root, ahead)))
	return set.ID
}

func (b *reuseBuilder) plan(c plantest.Change, root []string, ahead []int64) []record.NewJob {
	tree := b.salt + " " + c.Tree()
	made := b.root(root)
	return plan.Jobs(plan.Request{
		Stages: []job.Stage{job.StageBuild, job.StagePublish},
		Rules:  map[job.Stage]plan.Rules{job.StageBuild: {Voting: true, MaxAttempts: 1}, job.StagePublish: {Voting: true, MaxAttempts: 1}},
		Roots:  func(job.Target, string) int64 { return made },
		Subjects: []plan.Subject{{
			Subject:       record.Subject{Package: c.Made.Name, Target: reuseTarget},
			Target:        job.Target{Name: reuseTarget, Release: "juno", Dist: "d", Format: job.DEB, Codename: "d"},
			Architectures: []plan.Architecture{{Name: "amd64", Voting: true, Primary: true}},
			Source:        job.Source{Archive: plantest.Hash(tree), Tree: tree, Project: "main:p"},
			Version:       job.Version{Full: c.Made.Version},
			NeedsAhead:    ahead,
		}},
	})
}

// root gives the job that made a root with some packages in it.
func (b *reuseBuilder) root(packages []string) int64 {
	recipe := string(plantest.Hash(append([]string{b.salt}, packages...)...))
	made, err := b.store.EnsureRoot(context.Background(), record.Root{Dist: "d", Kind: "build", Architecture: "amd64", Recipe: recipe},
		record.NewJob{Name: "root build d amd64", Stage: job.StageRoot, Target: "d", Architecture: "amd64", Labels: []string{"deb"}, MaxAttempts: 1,
			Spec: job.Spec{Stage: job.StageRoot}}, 1e6)
	b.must(err)
	if made.Archive == "" {
		archive := job.File{Name: "root.tar.zst", Digest: job.Digest(recipe), Size: 1}
		b.work(made.Job, job.Result{Outcome: job.Passed, RootDigest: plantest.Hash(packages...), Artifacts: []job.Artifact{{File: archive, Kind: job.RootArchive}}})
	}
	return made.Job
}

// publication gives one that holds some packages.
func (b *reuseBuilder) publication(packages map[string]plantest.Shelf) int64 {
	what := fmt.Sprint(packages)
	if id, ok := b.publications[what]; ok {
		return id
	}
	b.serial++
	id, err := b.store.Publish(context.Background(), record.Publication{
		Repository: reuseRepository, Serial: b.serial, Manifest: string(plantest.Hash(b.salt, what)), Who: "a test", Why: "it is so",
	}, b.released, nil, nil)
	b.must(err)
	b.released, b.publications[what] = id, id
	b.files.put(path.Join("/publication", fmt.Sprint(id))+"/", packages)
	return id
}
