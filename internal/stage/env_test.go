package stage_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"sluice/internal/job"
	"sluice/internal/sandbox"
	"sluice/internal/sandbox/roottest"
	"sluice/internal/stage"
)

// world is what all tests share: one Manager, blobs, a gpg key.
var world struct {
	manager *sandbox.Manager
	dir     string
	key     string // armoured public key
	gpgHome string
}

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	if world.dir, err = os.MkdirTemp("", "sluice-stage-test-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(world.dir)
	cache, err := roottest.Cache()
	if err != nil {
		return 1, err
	}
	ctx := context.Background()
	// Layers live on between test runs; a second run at the same time has its own.
	world.manager, err = sandbox.Open(ctx, cache+"/stage", sandbox.Options{})
	if errors.Is(err, sandbox.ErrInUse) {
		world.manager, err = sandbox.Open(ctx, world.dir+"/sandbox", sandbox.Options{})
	}
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.manager.Close()) }()
	world.gpgHome = world.dir + "/gpg"
	if err := os.Mkdir(world.gpgHome, 0o700); err != nil {
		return 1, err
	}
	if _, err := gpg("--quick-gen-key", "--passphrase", "", "Stage test <stage@example.com>", "ed25519"); err != nil {
		return 1, err
	}
	defer exec.Command("gpgconf", "--homedir", world.gpgHome, "--kill", "all").Run()
	if world.key, err = gpg("--armor", "--export"); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func gpg(args ...string) (string, error) {
	c := exec.Command("gpg", append([]string{"--homedir", world.gpgHome, "--batch", "--yes", "--quiet"}, args...)...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("gpg %v: %w: %s", args, err, errs.String())
	}
	return string(out), err
}

// blobs is a folder of files named by their digests.
type blobs struct{ dir string }

func (b blobs) Open(_ context.Context, d job.Digest) (io.ReadCloser, error) {
	return os.Open(filepath.Join(b.dir, string(d)))
}

func (b blobs) Put(_ context.Context, name string, r io.Reader) (job.File, error) {
	f, err := os.CreateTemp(b.dir, "part-")
	if err != nil {
		return job.File{}, err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), r)
	if err != nil {
		os.Remove(f.Name())
		return job.File{}, err
	}
	d := job.Digest(hex.EncodeToString(sum.Sum(nil)))
	return job.File{Name: name, Digest: d, Size: n}, os.Rename(f.Name(), filepath.Join(b.dir, string(d)))
}

// server serves repositories by path.
type server struct {
	mux *http.ServeMux
}

func (s server) Handler(_ context.Context, repos []job.Repository) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, repo := range repos {
			if strings.HasPrefix(r.URL.Path, repo.Path) {
				s.mux.ServeHTTP(w, r)
				return
			}
		}
		http.NotFound(w, r)
	}), nil
}

// bench is where one test runs stages.
type bench struct {
	t     *testing.T
	blobs blobs
	mux   *http.ServeMux
	root  job.Root // build root
	bare  job.Root // install root
	repos []job.Repository
	form  job.Format
	log   string // of the last run
}

var (
	debBuild = job.Recipe{Name: "debian-build", Method: "mmdebstrap", Kind: "build", Include: []string{"fakeroot"}}
	rpmBuild = job.Recipe{Name: "rpm-build", Method: "dnf", Kind: "build", Include: []string{"@buildsys-build", "dnf"}}
)

type rootsOf struct {
	build, install roottest.Made
	repo           job.Repository
	handler        http.Handler
}

var debRoots = sync.OnceValues(func() (rootsOf, error) { return findRoots(debBuild, roottest.DebInstall) })
var rpmRoots = sync.OnceValues(func() (rootsOf, error) { return findRoots(rpmBuild, roottest.RPMInstall) })

func findRoots(build, install job.Recipe) (r rootsOf, err error) {
	ctx := context.Background()
	if r.build, r.repo, r.handler, err = roottest.Find(ctx, build); err == nil {
		r.install, _, _, err = roottest.Find(ctx, install)
	}
	return r, err
}

func newBench(t *testing.T, format job.Format) *bench {
	t.Helper()
	find := debRoots
	if format == job.RPM {
		find = rpmRoots
	}
	r, err := find()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, blobs: blobs{t.TempDir()}, mux: http.NewServeMux(), form: format, repos: []job.Repository{r.repo}}
	b.mux.Handle(r.repo.Path, r.handler)
	for i, made := range []roottest.Made{r.build, r.install} {
		*[]*job.Root{&b.root, &b.bare}[i] = b.addRoot(made, fmt.Sprint(i))
	}
	return b
}

// addRoot makes a cached root a blob.
func (b *bench) addRoot(made roottest.Made, name string) job.Root {
	b.t.Helper()
	blob := filepath.Join(b.blobs.dir, string(made.Archive))
	if os.Link(made.Path, blob) != nil {
		if err := os.Symlink(made.Path, blob); err != nil {
			b.t.Fatal(err)
		}
	}
	return job.Root{Name: "test " + name, Archive: made.Archive, Digest: made.Digest}
}

// tree is a source tree for a test: path → content.
type tree map[string]string

func load(t *testing.T, name string) tree {
	t.Helper()
	a, err := txtar.ParseFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out := tree{}
	for _, f := range a.Files {
		out[f.Name] = string(f.Data)
	}
	return out
}

// edit replaces old by new in a file; it must be there.
func (tr tree) edit(t *testing.T, file, old, new string) tree {
	t.Helper()
	if !strings.Contains(tr[file], old) {
		t.Fatalf("%s does not hold %q", file, old)
	}
	tr[file] = strings.Replace(tr[file], old, new, 1)
	return tr
}

// source stores a tree as the blob of a job.
func (b *bench) source(tr tree) *job.Source {
	b.t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var names []string
	for n := range tr {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		mode := int64(0o644)
		if strings.HasPrefix(tr[n], "#!") {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Size: int64(len(tr[n])), Mode: mode}); err != nil {
			b.t.Fatal(err)
		}
		io.WriteString(w, tr[n])
	}
	w.Close()
	f, err := b.blobs.Put(context.Background(), "source.tar", &buf)
	if err != nil {
		b.t.Fatal(err)
	}
	return &job.Source{Archive: f.Digest, Project: "hello", Packaging: ".", Date: time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC),
		Maintainer: "Bob Maintainer <bob@example.com>", Message: "Greet more warmly\n\nPeople asked for it, 100% of them.\n\nChange-Id: I0123\n"}
}

func (b *bench) target() job.Target {
	t := job.Target{Name: "test/" + string(b.form), Release: "test", Format: b.form, Architecture: "amd64", Primary: true, Dist: "debian-12"}
	if b.form == job.DEB {
		t.Codename = b.repos[0].Suite
	} else {
		t.Architecture, t.Codename, t.Macros = "x86_64", "12", map[string]string{"dist": ".t1"}
	}
	return t
}

// build is the spec of a build job.
func (b *bench) build(tr tree) job.Spec {
	return job.Spec{Job: 1, Attempt: 1, Stage: job.StageBuild, Name: "build hello", Package: "hello", Target: b.target(),
		Source: b.source(tr), Version: &job.Version{Declared: true}, Root: &b.root, Repositories: b.repos,
		Limits: job.Limits{Timeout: 10 * time.Minute}}
}

// run carries out a job.
func (b *bench) run(spec job.Spec) job.Result {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	return b.runIn(ctx, spec)
}

func (b *bench) runIn(ctx context.Context, spec job.Spec) job.Result {
	b.t.Helper()
	var log bytes.Buffer
	r := stage.Run(ctx, spec, stage.Env{Sandbox: world.manager, Blobs: b.blobs, Repositories: server{b.mux}, Log: &log})
	b.log = log.String()
	if b.t.Failed() || os.Getenv("SLUICE_TEST_LOG") != "" {
		b.t.Log(b.log)
	}
	return r
}

// passes fails the test if the job does not pass.
func (b *bench) passes(spec job.Spec) job.Result {
	b.t.Helper()
	r := b.run(spec)
	if r.Outcome != job.Passed {
		b.t.Fatalf("%s: %s\n%s", r.Outcome, r.Cause, tail(b.log))
	}
	return r
}

// failsWith checks the first finding of a job that fails, and that its line
// of the log is the one that says so.
func (b *bench) failsWith(spec job.Spec, want job.Finding) job.Result {
	b.t.Helper()
	r := b.run(spec)
	f := r.First()
	if r.Outcome != job.Failed || f == nil {
		b.t.Fatalf("%s: %s\n%s", r.Outcome, r.Cause, tail(b.log))
	}
	if f.File != want.File || f.Line != want.Line || !strings.Contains(f.Message, want.Message) {
		b.t.Errorf("first finding is %q\nwant              %q\n%s", f, want, tail(b.log))
	}
	lines := strings.Split(b.log, "\n")
	if f.LogLine < 1 || f.LogLine > len(lines) {
		b.t.Fatalf("finding %q has log line %d of %d", f, f.LogLine, len(lines))
	}
	if len(f.Excerpt) > 20 {
		b.t.Errorf("excerpt of %d lines", len(f.Excerpt))
	}
	return r
}

func tail(log string) string { return log[max(0, len(log)-6000):] }

// repository publishes packages of results as a repository.
func (b *bench) repository(kind job.RepositoryKind, name string, priority int, results ...job.Result) job.Repository {
	b.t.Helper()
	dir := b.t.TempDir()
	repo := job.Repository{Kind: kind, Name: name, Path: fmt.Sprintf("/%s-%d/", name, serial.Add(1)), Format: b.form, Priority: priority}
	for _, r := range results {
		for _, a := range r.Artifacts {
			if a.Kind != job.BinaryPackage && a.Kind != job.SourcePackage {
				continue
			}
			os.MkdirAll(dir+"/pool", 0o755)
			data, err := os.ReadFile(filepath.Join(b.blobs.dir, string(a.Digest)))
			if err == nil {
				err = os.WriteFile(dir+"/pool/"+a.Name, data, 0o644)
			}
			if err != nil {
				b.t.Fatal(err)
			}
		}
	}
	if b.form == job.RPM {
		os.MkdirAll(dir+"/pool", 0o755)
		b.sh(dir, `createrepo_c -q --excludes '*.src.rpm' .`)
	} else {
		repo.Suite, repo.Components, repo.Origin, repo.Key = b.repos[0].Suite, []string{"main"}, name, world.key
		b.sh(dir, `mkdir -p pool dists/`+repo.Suite+`/main/binary-amd64 dists/`+repo.Suite+`/main/source
			apt-ftparchive packages pool > dists/`+repo.Suite+`/main/binary-amd64/Packages
			apt-ftparchive sources pool 2>/dev/null | gzip -n > dists/`+repo.Suite+`/main/source/Sources.gz
			cd dists/`+repo.Suite+`
			apt-ftparchive -o APT::FTPArchive::Release::Origin=`+name+` -o APT::FTPArchive::Release::Codename=`+repo.Suite+` -o APT::FTPArchive::Release::Suite=`+repo.Suite+` -o APT::FTPArchive::Release::Components=main -o APT::FTPArchive::Release::Architectures=amd64 release . > ../Release
			mv ../Release .`)
		release := dir + "/dists/" + repo.Suite + "/"
		if _, err := gpg("--clearsign", "-o", release+"InRelease", release+"Release"); err != nil {
			b.t.Fatal(err)
		}
	}
	b.mux.Handle(repo.Path, http.StripPrefix(repo.Path, http.FileServer(http.Dir(dir))))
	return repo
}

var serial atomic.Int64

func (b *bench) sh(dir, script string) {
	b.t.Helper()
	c := exec.Command("sh", "-ec", script)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// artifacts maps the names of a result's files to their digests.
func artifacts(r job.Result, kinds ...job.ArtifactKind) map[string]job.Digest {
	out := map[string]job.Digest{}
	for _, a := range r.Artifacts {
		if len(kinds) == 0 || slices.Contains(kinds, a.Kind) {
			out[a.Name] = a.Digest
		}
	}
	return out
}

// files are a result's files, as a later stage is given them.
func files(r job.Result) []job.File {
	var out []job.File
	for _, a := range r.Artifacts {
		out = append(out, a.File)
	}
	return out
}
