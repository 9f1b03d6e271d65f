package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/job"
)

const workerToken = "the-test-workers-token"

// errGone says that the lease is over.
var errGone = errors.New("the lease is over")

// worker speaks the real worker API and answers jobs by what the tree says. The
// file `outcome` of a tree holds a line a stage, "STAGE RESULT TEXT":
//
//	build fail src/hello.c:3: 'x' undeclared
//	install error the mirror is out of reach
//	build corrupt
//	build lost            the worker never answers
type worker struct {
	site  *site
	http  *http.Client
	stop  func()
	slots int // jobs that run at once

	asked  atomic.Int64
	others []string // the service's addresses, for one without a site

	mu    sync.Mutex // guards what follows
	held  map[string]chan struct{}
	rules []func(*attempt) *job.Result
	ran   []ran
}

// ran is one attempt that the worker was given.
type ran struct {
	Buildset             int64
	Stage, Package       string
	Version, Target, Tip string
	Outcome              job.Outcome
	Number               int
}

// attempt is one under way.
type attempt struct {
	w    *worker
	spec job.Spec
	tree map[string]string
	made job.Result
}

func newWorker(s *site) *worker {
	return &worker{site: s, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}, slots: 8, held: map[string]chan struct{}{}}
}

// start lets its jobs run.
func (w *worker) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var slots sync.WaitGroup
	for range w.slots {
		slots.Go(func() {
			for ctx.Err() == nil {
				w.next(ctx)
			}
		})
	}
	w.stop = func() { cancel(); slots.Wait() }
}

// hold keeps the jobs of a package's stage, "build hello", running until they
// are let go.
func (w *worker) hold(name string) (release func()) {
	ch := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held[name] = ch
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.held[name] == ch {
			delete(w.held, name)
		}
		close(ch)
	})
}

// rule adds a rule; the last that answers counts.
func (w *worker) rule(f func(*attempt) *job.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules = append(w.rules, f)
}

// runs gives the attempts at a stage of a package so far.
func (w *worker) runs(stage job.Stage, pkg string) []ran {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []ran
	for _, r := range w.ran {
		if r.Stage == string(stage) && r.Package == pkg {
			out = append(out, r)
		}
	}
	return out
}

// next claims a job and answers for it.
func (w *worker) next(ctx context.Context) {
	var spec job.Spec
	claim := map[string]any{"labels": []string{"deb", "rpm", "nspawn"}, "architectures": []string{"amd64", "x86_64"}, "wait": 20}
	status, err := w.call(ctx, http.MethodPost, "/worker/v1/claim", claim, &spec)
	if err != nil || status != http.StatusOK {
		if err != nil && ctx.Err() == nil {
			pause(ctx, 100*time.Millisecond)
		}
		return
	}
	a := &attempt{w: w, spec: spec}
	res, err := a.run(ctx)
	if errors.Is(err, errGone) || ctx.Err() != nil {
		return
	}
	if err != nil {
		res = job.Result{Outcome: job.Error, Cause: err.Error()}
	}
	if res.Outcome == "" {
		return // lost
	}
	w.mu.Lock()
	r := ran{Buildset: spec.Buildset, Stage: string(spec.Stage), Package: spec.Package, Target: spec.Target.Name, Outcome: res.Outcome, Number: spec.Attempt}
	if spec.Version != nil {
		r.Version = spec.Version.Full
	}
	if spec.Source != nil {
		r.Tip = spec.Source.Tree
	}
	w.ran = append(w.ran, r)
	w.mu.Unlock()
	for ctx.Err() == nil {
		if _, err = w.call(ctx, http.MethodPost, a.lease("finish"), res, nil); err == nil || errors.Is(err, errGone) {
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (a *attempt) lease(what string) string { return "/worker/v1/leases/" + a.spec.Lease + "/" + what }

// fetch reads from a job's repository, as the worker does for the job's box.
func (w *worker) fetch(ctx context.Context, lease, path string, out *[]byte) (int, error) {
	return w.ask(ctx, http.Header{"Sluice-Lease": {lease}}, http.MethodGet, path, nil, out)
}

// urls are the replicas, another one first each time.
func (w *worker) urls() []string {
	if w.site == nil {
		return w.others
	}
	var all []string
	n := int(w.asked.Add(1))
	for i := range w.site.servers {
		all = append(all, w.site.servers[(n+i)%len(w.site.servers)].URL)
	}
	return all
}

// workerOf is the variable by which a test starts this program as a worker, as
// a process of its own.
const workerOf = "SLUICE_E2E_WORKER_OF"

// workAlone works until it is killed.
func workAlone(urls []string) {
	w := newWorker(nil)
	w.others = urls
	w.start()
	select {}
}

// call asks the first replica that answers.
func (w *worker) call(ctx context.Context, method, path string, in, out any) (status int, err error) {
	return w.ask(ctx, http.Header{"Authorization": {"Bearer " + workerToken}}, method, path, in, out)
}

func (w *worker) ask(ctx context.Context, header http.Header, method, path string, in, out any) (status int, err error) {
	var body []byte
	switch v := in.(type) {
	case nil:
	case []byte:
		body = v
	default:
		if body, err = json.Marshal(in); err != nil {
			return 0, err
		}
	}
	for _, url := range w.urls() {
		var resp *http.Response
		req, err2 := http.NewRequestWithContext(ctx, method, url+path, bytes.NewReader(body))
		if err2 != nil {
			return 0, err2
		}
		req.Header = header.Clone()
		if resp, err = w.http.Do(req); err != nil {
			continue
		}
		said, err2 := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case err2 != nil:
			err = err2
		case resp.StatusCode == http.StatusGone:
			return resp.StatusCode, errGone
		case resp.StatusCode >= 300:
			err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, said)
		case out == nil || resp.StatusCode == http.StatusNoContent:
			return resp.StatusCode, nil
		default:
			if raw, ok := out.(*[]byte); ok {
				*raw = said
				return resp.StatusCode, nil
			}
			return resp.StatusCode, json.Unmarshal(said, out)
		}
	}
	return 0, err
}

func (a *attempt) run(ctx context.Context) (job.Result, error) {
	if err := a.read(ctx); err != nil {
		return job.Result{}, err
	}
	log := fmt.Sprintf("%s\nattempt %d\n", a.spec.Name, a.spec.Attempt)
	if _, err := a.w.call(ctx, http.MethodPost, a.lease("log?start=0"), []byte(log), nil); err != nil {
		return job.Result{}, err
	}
	if err := a.wait(ctx); err != nil {
		return job.Result{}, err
	}
	var err error
	switch a.spec.Stage {
	case job.StageRoot:
		a.made, err = a.root(ctx)
	case job.StageBuild:
		a.made, err = a.build(ctx)
	default:
		a.made = job.Result{Outcome: job.Passed, Trace: job.Trace{Served: map[string]job.Served{}}}
		err = a.install(ctx)
	}
	if err != nil {
		return job.Result{}, err
	}
	a.w.mu.Lock()
	rules := append([]func(*attempt) *job.Result(nil), a.w.rules...)
	a.w.mu.Unlock()
	res := a.byTree()
	for _, r := range rules {
		if other := r(a); other != nil {
			res = *other
		}
	}
	return res, nil
}

// read gets the tree under test.
func (a *attempt) read(ctx context.Context) error {
	a.tree = map[string]string{}
	if a.spec.Source == nil {
		return nil
	}
	var raw []byte
	if _, err := a.w.call(ctx, http.MethodGet, "/worker/v1/blobs/"+string(a.spec.Source.Archive), nil, &raw); err != nil {
		return err
	}
	for t := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		text, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		a.tree[strings.TrimPrefix(h.Name, "./")] = string(text)
	}
}

// wait stays while the job is held; a cancel ends it.
func (a *attempt) wait(ctx context.Context) error {
	for {
		a.w.mu.Lock()
		held := a.w.held[string(a.spec.Stage)+" "+a.spec.Package]
		a.w.mu.Unlock()
		if held == nil {
			return nil
		}
		waiting, stop := context.WithCancel(ctx)
		cancelled := make(chan error, 1)
		go func() {
			var out struct{ Cancel bool }
			_, err := a.w.call(waiting, http.MethodGet, a.lease("cancelled"), nil, &out)
			if out.Cancel {
				err = errGone
			}
			cancelled <- err
		}()
		select {
		case <-held:
		case err := <-cancelled:
			if errors.Is(err, errGone) {
				stop()
				_, _ = a.w.call(ctx, http.MethodPost, a.lease("finish"), job.Result{Outcome: job.Cancelled}, nil)
				return errGone
			}
			if err != nil {
				pause(ctx, 100*time.Millisecond)
			}
		case <-ctx.Done():
		}
		stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// byTree answers as the tree's file `outcome` says.
func (a *attempt) byTree() job.Result {
	for _, line := range strings.Split(a.tree["outcome"], "\n") {
		words := strings.SplitN(line, " ", 3)
		if len(words) < 2 || words[0] != string(a.spec.Stage) {
			continue
		}
		text := words[len(words)-1]
		switch words[1] {
		case "fail":
			return failed(text)
		case "error":
			return job.Result{Outcome: job.Error, Cause: text}
		case "lost":
			return job.Result{}
		}
	}
	return a.made
}

// failed is the result of a job that found an error, "FILE:LINE: MESSAGE".
func failed(text string) job.Result {
	f := job.Finding{Severity: "error", Message: text, LogLine: 2}
	if parts := strings.SplitN(text, ":", 3); len(parts) == 3 {
		if _, err := fmt.Sscanf(parts[1], "%d", &f.Line); err == nil {
			f.File, f.Message = parts[0], strings.TrimSpace(parts[2])
		}
	}
	return job.Result{Outcome: job.Failed, Cause: "exit status 2", Findings: []job.Finding{f}}
}

// put uploads a file and gives it as an artifact.
func (a *attempt) put(ctx context.Context, name string, kind job.ArtifactKind, data []byte) (job.Artifact, error) {
	sum := sha256.Sum256(data)
	f := job.File{Name: name, Digest: job.Digest(hex.EncodeToString(sum[:])), Size: int64(len(data))}
	_, err := a.w.call(ctx, http.MethodPut, a.lease("blobs/"+string(f.Digest)), data, nil)
	return job.Artifact{File: f, Kind: kind}, err
}

func (a *attempt) root(ctx context.Context) (job.Result, error) {
	art, err := a.put(ctx, "root.tar.zst", job.RootArchive, []byte(a.spec.Name))
	return job.Result{Outcome: job.Passed, Artifacts: []job.Artifact{art}, RootDigest: art.Digest}, err
}
