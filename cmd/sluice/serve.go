package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/internal/api"
	"sluice/internal/blob"
	"sluice/internal/config"
	"sluice/internal/engine"
	"sluice/internal/gerrit"
	"sluice/internal/git"
	"sluice/internal/postgres"
	"sluice/internal/publisher"
	"sluice/internal/record"
	"sluice/internal/repo"
	"sluice/internal/universe"
	"sluice/internal/upstream"
)

// serveCommand runs the service.
type serveCommand struct {
	Config  string `help:"The site file." default:"/etc/sluice/sluice.yaml" type:"existingfile"`
	Listen  string `help:"Where the HTTP server listens, HOST:PORT, instead of where the site file says." env:"SLUICE_LISTEN" placeholder:"ADDRESS"`
	Observe bool   `help:"Compute and show everything, vote and submit nothing."`
	Debug   bool   `help:"Log more."`
}

// Validate refuses what is no address.
func (c *serveCommand) Validate() error {
	if c.Listen == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("--listen %q (or SLUICE_LISTEN): HOST:PORT is wanted, 0.0.0.0:8080 for every interface", c.Listen)
	}
	return nil
}

// service is the running parts.
type service struct {
	site    *config.Site
	log     *slog.Logger
	db      database
	hub     *postgres.Hub
	blobs   *blob.FS
	engine  *engine.Engine
	up      *upstream.Server
	fetch   *fetcher
	streams map[string]*gerrit.Stream
	states  streamStates
	tokens  []api.WorkerToken
	parts   sync.WaitGroup
}

// Run serves until it is told to stop.
func (c *serveCommand) Run(ctx context.Context, o output) error {
	site, err := loadSite(c.Config, o)
	if err != nil {
		return err
	}
	if _, err := site.CheckFiles(); err != nil {
		return err
	}
	site.Listen = cmp.Or(c.Listen, site.Listen)
	s := &service{site: site, log: o.logger(c.Debug), streams: map[string]*gerrit.Stream{}, states: streamStates{states: map[string]api.StreamState{}}}
	if err := os.MkdirAll(site.Data, 0o755); err != nil {
		return err
	}
	if s.db, err = openDatabase(ctx, site, s.log); err != nil {
		return err
	}
	defer s.db.close()
	if err := s.db.store.Migrate(ctx); err != nil {
		return err
	}
	if err := s.build(c.Observe); err != nil {
		return err
	}
	defer runtime.KeepAlive(ballast())
	return s.run(ctx)
}

// ballast is never touched and takes addresses only; the collector, which runs when
// the heap has doubled, then lets a small heap grow by as much before it runs. Whoever
// has set a limit has decided that otherwise.
func ballast() []byte {
	if os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, 128<<20)
}

// build makes the parts; nothing runs yet.
func (s *service) build(observe bool) (err error) {
	data := func(parts ...string) string { return filepath.Join(append([]string{s.site.Data}, parts...)...) }
	if s.blobs, err = blob.OpenFS(data("blobs")); err != nil {
		return err
	}
	mirrors, err := git.Open(data("git"), git.Options{})
	if err != nil {
		return err
	}
	if s.fetch, err = newFetcher(s.site); err != nil {
		return err
	}
	if s.up, err = upstream.New(s.site.Upstreams, data("upstream"), s.fetch.http, s.log); err != nil {
		return err
	}
	cache, err := repo.NewDirCache(data("cache"))
	if err != nil {
		return err
	}
	p := &publisher.Publisher{Store: s.blobs, Builder: repo.NewBuilder(s.blobs, cache, 0, ""), Folder: s.site.Repositories.Export}
	if p.Release, err = signer(s.site, s.site.Keys.Release, "release", s.site.Repositories.Origin+" repositories"); err != nil {
		return err
	}
	if p.Test, err = signer(s.site, s.site.Keys.Test, "test", s.site.Repositories.Origin+" test repositories"); err != nil {
		return err
	}
	solver := universe.NewReader(&publisher.Files{Store: s.blobs, Rows: s.db.store, Upstream: s.up})
	s.hub = s.db.store.NewHub()
	s.engine = &engine.Engine{
		Site: s.site, Store: s.db.store, Gerrits: map[string]engine.Gerrit{}, Readers: map[string]engine.Reader{}, Git: mirrors, Blobs: s.blobs, Repos: p,
		Upstreams: s.up, Indices: solver, Solver: solver, Notices: s.hub, Log: s.log, Now: time.Now, Observe: observe,
	}
	if s.engine.Remote, err = remotes(s.site, s.fetch); err != nil {
		return err
	}
	for _, g := range s.site.Gerrit {
		client, err := newGerrit(g, s.fetch)
		if err != nil {
			return err
		}
		s.engine.Gerrits[g.Name] = client
		if reader, err := newReader(g, s.fetch); err != nil {
			return err
		} else if reader != nil {
			s.engine.Readers[g.Name] = reader
		}
		if g.SSH == "" {
			continue
		}
		if s.streams[g.Name], err = newStream(g); err != nil {
			return err
		}
	}
	return s.workerTokens()
}

// workerTokens reads the site's workers, and makes one for the service's own.
func (s *service) workerTokens() error {
	for _, w := range s.site.Workers {
		token, err := w.Token.Reveal()
		if err != nil {
			return fmt.Errorf("token of worker %s: %w", w.Name, err)
		}
		s.tokens = append(s.tokens, api.WorkerToken{Name: w.Name, Token: token, Labels: w.Labels})
	}
	if s.site.LocalWorker.Enabled {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret)
		s.tokens = append(s.tokens, api.WorkerToken{Name: "local", Token: hex.EncodeToString(secret), Labels: s.site.LocalWorker.Labels})
	}
	return nil
}

// run starts the parts in the order in which they need each other, waits for
// the end, and stops them in the opposite order.
func (s *service) run(ctx context.Context) error {
	if err := s.engine.Init(ctx); err != nil {
		return err
	}
	handler, err := s.handler()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.site.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.part(func() { s.hub.Run(running) })
	if err := s.db.store.StartWork(running, s.log.With("part", "river"), s.engine.Do, s.periodic()); err != nil {
		stop()
		return err
	}
	s.part(func() {
		if err := s.engine.Run(running); err != nil {
			s.log.Error("the engine ended", "error", err)
		}
	})
	server := &http.Server{Handler: waitsEnd(running, handler), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	s.part(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the HTTP server ended", "error", err)
		}
	})
	s.listen(running)
	s.part(func() { s.sweep(running) })
	s.part(func() { s.warm(running) })
	working, stopWorking := context.WithCancel(running)
	defer stopWorking()
	worked := s.localWorker(working, listener.Addr().String())
	s.log.Info("sluice serves", "url", s.site.URL, "listen", listener.Addr().String(), "version", version)
	<-ctx.Done()
	s.log.Info("stopping")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	stopWorking()
	select { // while somebody still takes its jobs back
	case <-worked:
	case <-grace.Done():
	}
	stop()
	_ = server.Shutdown(grace)
	_ = server.Close()
	err = s.db.store.StopWork(grace)
	s.parts.Wait()
	return err
}

func (s *service) part(f func()) { s.parts.Go(f) }

// periodic is what River has done again and again, by one replica at a time.
func (s *service) periodic() []postgres.Periodic {
	var out []postgres.Periodic
	for _, g := range s.site.Gerrit {
		out = append(out, postgres.Periodic{Every: g.Reconcile.D(), Task: record.Task{Kind: record.TaskReconcile, Gerrit: g.Name}})
	}
	return append(out, postgres.Periodic{Every: time.Minute, Task: record.Task{Kind: record.TaskReds}})
}

// listen follows each Gerrit's events. At each new connection it asks what is
// true, since what happened before is lost (G21).
func (s *service) listen(ctx context.Context) {
	for name, stream := range s.streams {
		stream.OnEvent = func(ctx context.Context, ev gerrit.Event) error { return s.engine.Event(ctx, name, ev) }
		stream.OnState = func(st gerrit.State) {
			s.states.set(name, st)
			level := slog.LevelInfo
			if !st.Connected && ctx.Err() == nil {
				level = slog.LevelWarn
			}
			s.log.Log(ctx, level, "event stream", "gerrit", name, "connected", st.Connected, "error", st.Err)
			if st.Connected {
				if err := s.db.store.Enqueue(ctx, record.Task{Kind: record.TaskReconcile, Gerrit: name}); err != nil {
					s.log.Error("reconcile after a new connection", "gerrit", name, "error", err)
				}
			}
		}
		s.part(func() { _ = stream.Run(ctx) })
	}
}

// warm keeps the base distributions' indices at hand for the solver.
func (s *service) warm(ctx context.Context) {
	tick := time.NewTicker(5 * time.Minute)
	defer tick.Stop()
	for {
		s.engine.WarmIndices(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep ends leases that have run out, and has roots renewed.
func (s *service) sweep(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	var roots time.Time
	retained := time.Now() // not at once after a start
	for {
		if time.Since(retained) > time.Hour {
			if err := s.retain(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("remove what is old", "error", err)
			}
			retained = time.Now()
		}
		if time.Since(roots) > 5*time.Minute {
			if err := s.engine.PrepareRoots(ctx); err != nil && ctx.Err() == nil {
				s.log.Error("prepare roots", "error", err)
			}
			roots = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n, err := s.db.store.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("sweep leases", "error", err)
		} else if n > 0 {
			s.log.Warn("leases ran out", "attempts", n)
		}
		if err := s.engine.Retest(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("ask for new checks", "error", err)
		}
		if n, err := s.db.store.RescueTasks(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("rescue tasks", "error", err)
		} else if n > 0 {
			s.log.Warn("tasks of a process that is gone are done again", "tasks", n)
		}
	}
}

// retain removes what has outlived the site's retention, on one replica at a time.
func (s *service) retain(ctx context.Context) error {
	return s.db.store.Locked(ctx, "retain", func(ctx context.Context) error {
		r := s.site.Retention
		rows, err := s.db.store.Forget(ctx, postgres.Ages{
			TestRepositories: r.TestRepositories.D(), Logs: r.Logs.D(), Artifacts: r.Artifacts.D(), Events: r.Logs.D(),
			History: r.History.D(),
		})
		if err != nil {
			return err
		}
		swept, err := engine.Sweep(ctx, s.blobs, time.Now(), func(f func(string, bool)) error {
			return s.db.store.InUse(ctx, r.Publications.D(), f)
		})
		if err != nil {
			return err
		}
		files, err := s.up.Prune(r.Upstream.D())
		s.log.Info("removed what is old", "rows", rows, "blobs", swept.Blobs, "bytes", swept.Bytes, "upstream files", files)
		return err
	})
}

// localWorker runs the service's own worker as a child with an empty
// environment, and starts it again if it ends. done is closed once ctx is over
// and the worker has left.
func (s *service) localWorker(ctx context.Context, listen string) (done <-chan struct{}) {
	left := make(chan struct{})
	if !s.site.LocalWorker.Enabled {
		close(left)
		return left
	}
	self, err := os.Executable()
	if err != nil {
		s.log.Error("the local worker cannot be started", "error", err)
		close(left)
		return left
	}
	token := s.tokens[len(s.tokens)-1].Token
	args := []string{
		"worker", "--service", "http://" + listen, "--dir", filepath.Join(s.site.Data, "worker"),
		"--labels", strings.Join(s.site.LocalWorker.Labels, ","), "--slots", fmt.Sprint(s.site.LocalWorker.Slots),
	}
	s.part(func() {
		defer close(left)
		for ctx.Err() == nil {
			if err := runWorker(ctx, self, args, token); ctx.Err() == nil {
				s.log.Error("the local worker ended; it is started again", "error", err)
				select {
				case <-ctx.Done():
				case <-time.After(2 * time.Second):
				}
			}
		}
	})
	return left
}

// runWorker runs a child until it ends, or until ctx is over: then its standard
// input ends, on which it stops its jobs and leaves.
func runWorker(ctx context.Context, self string, args []string, token string) error {
	cmd := exec.Command(self, args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(in, token)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		in.Close()
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(15 * time.Second):
		_ = cmd.Process.Kill()
		return <-ended
	}
}
