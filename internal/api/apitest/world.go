// Package apitest is a small service for tests of what speaks HTTP: the real
// handler on a real database, a real blob store and real repositories, with
// changes at every stage of their way. Only tests import it.
package apitest

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/api"
	"sluice/internal/blob"
	"sluice/internal/config"
	"sluice/internal/engine"
	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/postgres"
	"sluice/internal/publisher"
	"sluice/internal/record"
	"sluice/internal/repo"
	"sluice/internal/signing"
	"sluice/internal/testenv"
)

// OperatorToken, ReaderToken (of an operator who is shown what is restricted) and
// WorkerToken are tokens that the service knows.
const (
	OperatorToken = "operator-secret"
	ReaderToken   = "reader-secret"
	WorkerToken   = "worker-secret"
)

const site = `
gerrit:
  - {name: main, url: "http://gerrit.example.com", user: sluice, token: {value: secret}, ssh: "gerrit.example.com:29418", key: {value: x}, known_hosts: /dev/null}
upstreams:
  - {name: debian, format: deb, host: true}
  - {name: el, format: rpm, path: /srv/el}
dists:
  - {name: debian-12, format: deb, codename: bookworm, suffix: "~deb12", upstreams: [debian], architectures: [{name: amd64}]}
  - {name: el-9, format: rpm, codename: "9", suffix: ".el9", upstreams: [el], architectures: [{name: x86_64}]}
releases: [{name: juno}]
targets:
  - {release: juno, dist: debian-12}
  - {release: juno, dist: el-9}
projects:
  - {project: "packages/*", releases: [juno]}
queues: [{name: main}]
operators:
  - {name: olga, token: {value: operator-secret}}
  - {name: rita, token: {value: reader-secret}, restricted: true}
`

var key = sync.OnceValue(func() *signing.Signer {
	k, err := signing.Generate(signing.Template{Name: "api test"}, time.Now().Add(-time.Hour))
	if err != nil {
		panic(err)
	}
	return signing.NewSigner(k)
})

// World is the running parts.
type World struct {
	T         testing.TB
	Site      *config.Site
	Store     *postgres.Store
	Hub       *postgres.Hub
	Engine    *engine.Engine
	Blobs     *blob.FS
	Publisher *publisher.Publisher
	Server    *httptest.Server
	URL       string // of the service, with no slash at the end
	dsn       string
}

// SQL does to the database what only a test would.
func (w *World) SQL(statement string, args ...any) {
	w.T.Helper()
	conn, err := pgx.Connect(context.Background(), w.dsn)
	w.must(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), statement, args...)
	w.must(err)
}

// New starts a service without any rows; change may alter its options.
func New(t testing.TB, change func(*api.Options)) *World {
	t.Helper()
	ctx := context.Background()
	w := &World{T: t}
	var err error
	w.Site, _, err = config.Parse("site.yaml", []byte(site))
	w.must(err)
	w.dsn = testenv.Postgres(t)
	w.Store, err = postgres.Open(ctx, w.dsn)
	w.must(err)
	t.Cleanup(w.Store.Close)
	w.must(w.Store.Migrate(ctx))
	w.Hub = w.Store.NewHub()
	w.run(w.Hub.Run)
	w.Blobs, err = blob.OpenFS(filepath.Join(t.TempDir(), "blobs"))
	w.must(err)
	cache, err := repo.NewDirCache(filepath.Join(t.TempDir(), "cache"))
	w.must(err)
	w.Publisher = &publisher.Publisher{Store: w.Blobs, Builder: repo.NewBuilder(w.Blobs, cache, 0, t.TempDir()), Release: key(), Test: key()}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w.Engine = &engine.Engine{Site: w.Site, Store: w.Store, Notices: w.Hub, Log: log, Now: time.Now}
	w.must(w.Engine.Init(ctx))
	w.Server = httptest.NewUnstartedServer(nil)
	w.URL = "http://" + w.Server.Listener.Addr().String()
	w.Site.URL = w.URL
	o := api.Options{
		Site: w.Site, Version: "1.2.3", Store: w.Store, Blobs: w.Blobs, Feed: w.Hub, Facts: w.Engine.Facts, Model: w.Engine.Model,
		ReleaseKey: key().PublicArmored(), TestKey: key().PublicArmored(), Log: log, Heartbeat: 100 * time.Millisecond,
		Workers: &api.Workers{Waits: w.Hub, Blobs: w.Blobs, Tokens: []api.WorkerToken{{Name: "anvil", Token: WorkerToken}}, MaxBlob: 1 << 20},
		Streams: func() []api.StreamState {
			return []api.StreamState{{Gerrit: "main", Connected: true, Since: time.Now()}}
		},
		Gerrits: map[string]func(context.Context) error{"main": func(context.Context) error { return io.ErrUnexpectedEOF }},
		Page:    fstest.MapFS{"index.html": {Data: []byte("<!DOCTYPE html><title>sluice</title>")}, "assets/app.js": {Data: []byte("void 0")}},
	}
	if change != nil {
		change(&o)
	}
	w.Server.Config.Handler, err = api.Handler(o)
	w.must(err)
	w.Server.Start()
	t.Cleanup(func() {
		w.Server.CloseClientConnections()
		w.Server.Close()
	})
	return w
}

// run runs f beside the test until its end.
func (w *World) run(f func(context.Context)) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	w.T.Cleanup(func() {
		stop()
		<-done
	})
}

// Decide starts the engine: from now on each queue decides by itself.
func (w *World) Decide() {
	w.run(func(ctx context.Context) { _ = w.Engine.Run(ctx) })
}

func (w *World) must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Change stores a change as if it had been read from Gerrit.
func (w *World) Change(c record.Change) record.Change {
	w.T.Helper()
	ctx := context.Background()
	serial, _, err := w.Store.NextRead(ctx)
	w.must(err)
	c.Gerrit, c.Branch, c.PatchSet, c.Status = "main", "master", max(c.PatchSet, 1), gate.Open
	f := &c.Facts
	c.ID = gate.ChangeID("main~" + itoa(c.Number))
	c.Revision = digits(c.Number, 40)
	c.ChangeKey, c.FetchRef, c.Message = "I"+digits(c.Number, 40), "refs/changes/"+itoa(c.Number), c.Subject+"\n"
	c.Owner, c.Author, c.URL = "Mia Maintainer", "Mia Maintainer <mia@example.com>", "http://gerrit.example.com/c/"+itoa(c.Number)
	c.AuthorDate, c.UpdatedAt, c.ReadSerial, c.Checked = time.Now(), time.Now(), serial, true
	f.ID, f.Number, f.Branch = c.ID, c.Number, gate.Branch{Project: "main:" + c.Project, Branch: c.Branch}
	f.PatchSet, f.Revision, f.Subject, f.Status, f.Queue, f.Read = c.PatchSet, c.Revision, c.Subject, c.Status, c.Queue, serial
	f.ReadyAt = time.Now()
	_, err = w.Store.SaveChange(ctx, c)
	w.must(err)
	return c
}

// Prepare plans the jobs of every buildset of a queue that waits for it.
func (w *World) Prepare(queue string, packages []record.Subject, jobs ...record.NewJob) []record.Buildset {
	w.T.Helper()
	ctx := context.Background()
	w.must(w.Engine.Decide(ctx, queue))
	waiting, err := w.Store.Unprepared(ctx, queue)
	w.must(err)
	for _, b := range waiting {
		base := record.Base{Publications: map[string]int64{"juno/debian-12/updates": 1}, Branches: []record.BranchBase{{
			Branch: b.Changes[0].Branch, Tip: digits(1, 40), Commit: digits(2, 40), Tree: digits(3, 40)}}}
		w.must(w.Store.SavePrepared(ctx, b.ID, base, packages, nil, jobs))
	}
	return waiting
}

// Start lets a waiting job be claimed, and a publish begin.
func (w *World) Start(b record.Buildset, stage job.Stage) record.Job {
	w.T.Helper()
	ctx := context.Background()
	jobs, err := w.Store.BuildsetJobs(ctx, b.ID)
	w.must(err)
	for _, j := range jobs {
		if j.Stage == stage {
			w.must(w.Store.StartJob(ctx, j, j.Spec, digits(int(j.ID), 64)))
			return j
		}
	}
	w.T.Fatalf("buildset %d has no job of stage %s", b.ID, stage)
	return record.Job{}
}

// Claim has the worker take the next job, and gives the lease.
func (w *World) Claim() (lease string) {
	w.T.Helper()
	lease = digits(int(time.Now().UnixNano()%1e9), 32)
	j, _, err := w.Store.Claim(context.Background(), record.Worker{
		Name: "anvil", Labels: []string{"deb"}, Architectures: []string{"amd64", "x86_64"}, Version: "1.2.3"}, lease)
	w.must(err)
	if j == nil {
		w.T.Fatal("there was no job to claim")
	}
	return lease
}

// Log adds to the log under a lease.
func (w *World) Log(lease string, start int64, text string) int64 {
	w.T.Helper()
	size, err := w.Store.AppendLog(context.Background(), lease, start, []byte(text))
	w.must(err)
	return size
}

// Finish ends the attempt under a lease.
func (w *World) Finish(lease string, res job.Result, packages map[string]*record.PackageInfo) {
	w.T.Helper()
	w.must(w.Store.Finish(context.Background(), lease, res, packages))
}
