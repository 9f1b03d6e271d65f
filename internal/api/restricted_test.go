package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"

	contract "sluice/api"
	"sluice/internal/api"
	"sluice/internal/api/apitest"
	"sluice/internal/blob"
	"sluice/internal/deb/debtest"
	"sluice/internal/engine"
	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/repo"
)

// What nobody may read who may not read the restricted change: all that it is
// made of holds one of these.
var marks = []string{"embargo", "77703", "77704", fmt.Sprintf("%040x", 77703), fmt.Sprintf("%040x", 77704)}

// embargo is a service with a restricted change at work.
type embargo struct {
	w        *apitest.World
	hidden   record.Change
	below    record.Change // is restricted, too, and stands under it
	public   record.Change // needs it
	buildset record.Buildset
	build    record.Job
	install  record.Job // runs
	lease    string     // of install
	deb      job.Artifact
	file     job.Artifact
	test     record.TestRepository
	manifest *repo.Manifest
}

func newEmbargo(t *testing.T) *embargo {
	e := &embargo{w: apitest.New(t, func(o *api.Options) {
		o.AnswerWait = 10 * time.Second
		o.Hooks = map[string]http.Handler{"main": http.NotFoundHandler()}
	})}
	w, ctx := e.w, context.Background()
	s := w.Seed()
	e.below = s.Hidden
	w.Release(apitest.Deb, s.GoodBuildset.ID, s.Deb)
	secret := gate.Change{Ready: true, Restricted: true, Topic: "embargo-topic", NotReady: []string{"embargoed"}}
	e.hidden = w.Change(record.Change{Number: 77703, Project: "packages/embargo", Subject: "An embargoed fix", Queue: "main", Facts: secret})
	must(t, w.Store.EnsureQueue(ctx, "main@embargo-branch", gate.Dependent, "", 20))
	other := secret
	other.Topic = "" // one topic across two queues would enter neither
	w.Change(record.Change{Number: 77704, Project: "packages/embargo", Subject: "Another embargoed fix", Queue: "main@embargo-branch", Facts: other})
	must(t, w.Store.EnsureQueue(ctx, "check/main~77703", gate.Independent, "main~77703", 1))
	e.public = w.Change(record.Change{Number: 5, Project: "packages/hello", Subject: "Needs another", Queue: "main",
		Facts: gate.Change{Ready: true, Needs: []gate.Need{{Kind: gate.DependsOn, ID: e.hidden.ID, Text: "Iother"}}}})
	must(t, w.Store.EnsureQueue(ctx, "check/main~5", gate.Independent, "main~5", 1))
	w.Change(record.Change{Number: 6, Project: "packages/hello", Subject: "Another", Queue: "main", Facts: gate.Change{Ready: true}})
	for _, verb := range []string{"enqueue", "retry"} {
		_, err := w.Store.NoteCommand(ctx, record.Command{Queue: "main", Verb: verb, Change: e.hidden.ID, Who: "rita", Why: "embargoed until Monday", Answer: "#77703"})
		must(t, err)
	}
	e.work(t)
	return e
}

// work takes the restricted change through its build into its install, which runs.
func (e *embargo) work(t *testing.T) {
	w, ctx := e.w, context.Background()
	must(t, w.Engine.Decide(ctx, "main"))
	must(t, w.Engine.Decide(ctx, "check/main~77703"))
	for _, queue := range []string{"main", "check/main~77703"} {
		waiting, err := w.Store.Unprepared(ctx, queue)
		must(t, err)
		for _, b := range waiting {
			subject := record.Subject{Package: "embargoed", Project: "packages/embargo", Target: apitest.Deb, Format: job.DEB, Version: "1-embargo1", Binaries: []string{"embargoed"}}
			base := record.Base{Branches: []record.BranchBase{{Branch: b.Changes[0].Branch, Tip: "1", Commit: "2", Tree: "3"}}}
			if b.Changes[0].ID == e.hidden.ID {
				must(t, w.Store.SavePrepared(ctx, b.ID, base, []record.Subject{subject}, []job.Finding{{Severity: "warning", Message: "embargoed warning"}}, e.jobs(b)))
				if e.buildset = b; queue != "main" {
					continue
				}
				e.run(t, b)
			}
		}
	}
	waiting, err := w.Store.TestRepository(ctx, e.test.Buildset, apitest.Deb)
	must(t, err)
	e.test = waiting
	e.buildset, err = w.Store.Buildset(ctx, e.test.Buildset)
	must(t, err)
}

func (e *embargo) jobs(b record.Buildset) []record.NewJob {
	one := func(stage job.Stage, needs ...string) record.NewJob {
		name := string(stage) + " embargoed"
		return record.NewJob{
			Name: name, Stage: stage, Package: "embargoed", Target: apitest.Deb, Architecture: "amd64", Voting: true, MaxAttempts: 3, Needs: needs, Priority: -1,
			Spec: job.Spec{Stage: stage, Name: name, Package: "embargoed", Source: &job.Source{Project: "main:packages/embargo"}, Repositories: []job.Repository{
				{Kind: job.Test, Name: fmt.Sprintf("buildset-%d", b.ID), Path: fmt.Sprintf("/test/%d/%s/", b.ID, apitest.Deb), Format: job.DEB},
			}},
		}
	}
	build := one(job.StageBuild)
	publish := one(job.StagePublish, build.Name)
	return []record.NewJob{build, publish, one(job.StageInstall, publish.Name)}
}

func (e *embargo) run(t *testing.T, b record.Buildset) {
	w, ctx := e.w, context.Background()
	e.build = w.Start(b, job.StageBuild)
	lease := w.Claim()
	w.Log(lease, 0, "embargoed words of a build\n")
	path := filepath.Join(t.TempDir(), "embargoed.txt")
	must(t, os.WriteFile(path, []byte("an embargoed file"), 0o644))
	e.file = w.File(path, job.Report)
	e.deb = w.File(debtest.Build(t, t.TempDir(), debtest.Package{Name: "embargoed", Version: "1-embargo1"}), job.BinaryPackage)
	w.Finish(lease, job.Result{Outcome: job.Passed, Artifacts: []job.Artifact{e.deb, e.file}, Findings: []job.Finding{{Severity: "warning", File: "embargoed.c", Message: "embargoed"}}},
		map[string]*record.PackageInfo{e.deb.Name: {Name: "embargoed", Version: "1-embargo1", Architecture: "all", Source: "embargoed"}})
	publish := w.Start(b, job.StagePublish)
	digest, err := w.Publisher.BuildTest(ctx, engine.TestRequest{
		Format: job.DEB, Codename: "bookworm", Architectures: []string{"amd64"}, Origin: engine.TestOrigin(b.ID), Label: "embargo",
		Packages: []record.Artifact{{Name: e.deb.Name, Kind: e.deb.Kind, Digest: e.deb.Digest, Size: e.deb.Size}}, At: time.Now(),
	})
	must(t, err)
	e.test = record.TestRepository{Buildset: b.ID, Target: apitest.Deb, Manifest: digest}
	must(t, w.Store.FinishPublish(ctx, publish.ID, job.Result{Outcome: job.Passed}, []record.TestRepository{e.test}))
	e.manifest, err = repo.LoadManifest(ctx, w.Blobs, blob.Digest(digest))
	must(t, err)
	e.install = w.Start(b, job.StageInstall)
	e.lease = w.Claim()
	w.Log(e.lease, 0, "embargoed words of an install\n")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const strangersToken = "guess"

// users are the kinds of those who ask, by their token. The last may see it all.
var users = []struct {
	name, token string
	may         bool
}{
	{"a visitor", "", false}, {"a token that nobody has", strangersToken, false}, {"a worker", apitest.WorkerToken, false},
	{"an operator", apitest.OperatorToken, false}, {"an operator with the right", apitest.ReaderToken, true},
}

// Nobody who may not read a restricted change is told anything of it, on any
// route that there is.
func TestRestrictedOnEveryRoute(t *testing.T) {
	e := newEmbargo(t)
	e.w.Decide() // commands are answered
	asked := append(e.contractRequests(t), e.otherRequests(t)...)
	if len(asked) < 100 {
		t.Fatalf("only %d requests", len(asked))
	}
	slices.SortStableFunc(asked, func(a, b request) int { return strings.Compare(a.method, b.method) }) // reading before commanding
	for _, u := range users {
		told := map[string]bool{}
		for _, r := range asked {
			status, text := e.ask(t, r, u.token)
			mark := markIn(text)
			if mark != "" && !u.may {
				t.Errorf("%s: %s %s tells of it (%s):\n%s", u.name, r.method, r.path, mark, text)
			}
			if mark != "" {
				told[r.route] = true
			}
			if status >= 500 {
				t.Errorf("%s: %s %s: %d %s", u.name, r.method, r.path, status, text)
			}
		}
		if !u.may {
			continue
		}
		for _, route := range []string{
			"/api/v1/changes", "/api/v1/changes/{gerrit}/{number}", "/api/v1/changes/{gerrit}/{number}/why", "/api/v1/queues", "/api/v1/queues/{name}",
			"/api/v1/buildsets/{id}", "/api/v1/jobs/{id}", "/api/v1/jobs/{id}/log", "/blobs/{sha256}/{name}", "/test/{buildset}/{release}/{dist}/*",
		} {
			if !told[route] {
				t.Errorf("%s is not told of it by %s, so that this proves nothing", u.name, route)
			}
		}
	}
}

type request struct{ method, route, path string }

func markIn(text string) string {
	for _, m := range marks {
		if strings.Contains(text, m) {
			return m
		}
	}
	return ""
}

// ask gives an answer with its headers; of a stream that does not end, its beginning.
func (e *embargo) ask(t *testing.T, r request, token string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var body io.Reader
	if r.method == "POST" {
		body = strings.NewReader(`{"why": "for a test"}`)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, e.w.URL+r.path, body)
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := e.w.Server.Client().Transport.RoundTrip(req)
	must(t, err)
	defer answer.Body.Close()
	var text strings.Builder
	answer.Header.Del("Location") // says again what was asked
	must(t, answer.Header.Write(&text))
	if strings.HasPrefix(answer.Header.Get("Content-Type"), "text/event-stream") {
		return answer.StatusCode, text.String() // TestRestrictedEvents
	}
	_, err = io.Copy(&text, answer.Body)
	must(t, err)
	return answer.StatusCode, text.String()
}

// contractRequests fill every path of the contract with all that there is, also
// with what the restricted change made.
func (e *embargo) contractRequests(t *testing.T) []request {
	doc, err := openapi3.NewLoader().LoadFromData(contract.Spec)
	must(t, err)
	var ids []string
	for i := range 40 {
		ids = append(ids, fmt.Sprint(i+1))
	}
	values := map[string][]string{
		"name": {"main", "check%2Fmain~77703", "main@embargo-branch", "check%2Fmain~5"}, "gerrit": {"main"}, "number": {"77703", "77704", "5", "6"},
		"id": ids, "release": {"juno"}, "dist": {"debian-12", "el-9"}, "channel": {"updates"},
	}
	var out []request
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			for _, p := range fill(t, path, values) {
				out = append(out, request{method, path, p})
			}
		}
	}
	for _, query := range []string{"?project=packages/embargo", "?open=true", "?limit=500"} {
		out = append(out, request{"GET", "/api/v1/changes", "/api/v1/changes" + query})
	}
	return append(out, request{"GET", "/api/v1/openapi.yaml", "/api/v1/openapi.yaml"}, request{"GET", "/api/*", "/api/v1/no-such"})
}

// fill gives the path with each value of each of its parameters.
func fill(t *testing.T, path string, values map[string][]string) []string {
	t.Helper()
	before, rest, found := strings.Cut(path, "{")
	if !found {
		return []string{path}
	}
	name, after, _ := strings.Cut(rest, "}")
	if len(values[name]) == 0 {
		t.Fatalf("%s: no value is known for %q", path, name)
	}
	var out []string
	for _, v := range values[name] {
		out = append(out, fill(t, before+v+after, values)...)
	}
	return out
}

// otherRequests are those of every route beside the contract. A route that this
// does not know fails the test: say how it is asked.
func (e *embargo) otherRequests(t *testing.T) []request {
	values := map[string][]string{
		"release": {"juno"}, "dist": {"debian-12"}, "channel": {"updates"}, "id": {"1", "2"}, "name": {"x.deb"},
		"buildset": {fmt.Sprint(e.test.Buildset), fmt.Sprint(e.test.Buildset, "-"), fmt.Sprint(e.test.Buildset, "-", strings.Repeat("0", 32)), fmt.Sprint("0", e.test.Buildset)},
		"sha256":   {string(e.deb.Digest), string(e.file.Digest), string(e.test.Manifest)}, "digest": {string(e.deb.Digest)}, "lease": {e.lease},
	}
	below := map[string][]string{
		"/test/": {"", "sluice.sources", "dists/", "dists/bookworm/"}, "/publication/": {"", "dists/"}, "/repo/": {"", "sluice.sources"},
		"/queue/": {"main", "main@embargo-branch"}, "/change/": {"main/77703"}, "/buildset/": {"1"}, "/job/": {"1"},
		"/repositories/": {"juno/debian-12/updates"}, "/repository/": {"juno/debian-12/updates"},
	}
	for name := range e.manifest.All() {
		below["/test/"] = append(below["/test/"], name)
	}
	var out []request
	must(t, chi.Walk(e.w.Server.Config.Handler.(chi.Routes), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if strings.HasPrefix(route, "/worker/v1/") || strings.HasPrefix(route, "/api/v1/") || strings.HasPrefix(route, "/hooks/") && method != "POST" ||
			method != "GET" && method != "HEAD" && method != "POST" {
			return nil // a worker is given what its jobs need; contractRequests asks for the API
		}
		paths := []string{route}
		if prefix, ok := strings.CutSuffix(route, "*"); ok {
			paths = nil
			first := "/" + strings.SplitN(route, "/", 3)[1] + "/"
			if len(below[first]) == 0 {
				t.Fatalf("%s: it is not known what is below it", route)
			}
			for _, b := range below[first] {
				paths = append(paths, prefix+b)
			}
		}
		for _, p := range paths {
			for _, filled := range fill(t, p, values) {
				out = append(out, request{method, route, filled})
			}
		}
		return nil
	}))
	return out
}

// A restricted test repository is there for who knows its address, and for the
// job that was told to read it, while that runs; and for everybody once it is
// public.
func TestRestrictedTestRepository(t *testing.T) {
	e := newEmbargo(t)
	keyed := "/test/" + fmt.Sprint(e.test.Buildset) + "-" + e.test.Key + "/" + apitest.Deb + "/"
	const file = "dists/bookworm/main/binary-amd64/Packages"
	get := func(path, header, value string) (int, http.Header, string) {
		answer, text := fetch(t, e.w, "GET", path, "apt", header, value)
		return answer.StatusCode, answer.Header, string(text)
	}
	if e.test.Address() != keyed {
		t.Errorf("its address is %s", e.test.Address())
	}
	if status, h, text := get(keyed+file, "Accept", "*/*"); status != 200 || !strings.Contains(text, "Package: embargoed") || h.Get("Cache-Control") != "private, no-store" {
		t.Errorf("by its key: %d %v", status, h)
	}
	if status, _, text := get(keyed+"sluice.sources", "Accept", "*/*"); status != 200 || !strings.Contains(text, "URIs: "+e.w.URL+keyed) {
		t.Errorf("what a client writes: %d %s", status, text)
	}
	if status, h, _ := get(e.test.Path()+file, "Sluice-Lease", e.lease); status != 200 || h.Get("Cache-Control") != "private, no-store" {
		t.Errorf("by the lease of its job: %d %v", status, h)
	}
	other := fmt.Sprintf("%032x", 1)
	if status, _, _ := get(e.test.Path()+file, "Sluice-Lease", other); status != 404 {
		t.Errorf("by no lease: %d", status)
	}
	e.w.Finish(e.lease, job.Result{Outcome: job.Passed}, nil)
	if status, _, _ := get(e.test.Path()+file, "Sluice-Lease", e.lease); status != 404 {
		t.Errorf("by a lease that is over: %d", status)
	}
	for _, c := range []record.Change{e.below, e.hidden} {
		if status, _, _ := get(e.test.Path()+file, "Accept", "*/*"); status != 404 {
			t.Errorf("while change %d is restricted: %d", c.Number, status)
		}
		c.Facts.Restricted = false
		e.w.Change(c)
	}
	if status, h, _ := get(e.test.Path()+file, "Accept", "*/*"); status != 200 || h.Get("Cache-Control") != "no-cache" {
		t.Errorf("once it is public: %d %v", status, h)
	}
	if status, _, _ := get(keyed+file, "Accept", "*/*"); status != 200 {
		t.Errorf("at its old address: %d", status)
	}
}

// A stream of events tells nobody of what he may not read.
func TestRestrictedEvents(t *testing.T) {
	e := newEmbargo(t)
	for _, u := range users {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", e.w.URL+"/api/v1/events", nil)
		req.Header.Set("Authorization", "Bearer "+u.token)
		answer, err := e.w.Server.Client().Do(req)
		must(t, err)
		if u.token == strangersToken {
			if answer.StatusCode != 401 {
				t.Errorf("%s: %d", u.name, answer.StatusCode)
			}
			continue
		}
		told := make(chan string, 1000)
		go events(t, bufio.NewReader(answer.Body), told)
		if first := <-told; !strings.HasPrefix(first, "reset") {
			t.Fatalf("%s: the first is %q", u.name, first)
		}
		// The last tells that all before it have come, as far as they come.
		e.w.Change(e.hidden)
		e.w.SQL(`SELECT pg_notify('sluice_feed', x) FROM unnest($1::text[]) x`, []string{
			fmt.Sprint("buildset ", e.buildset.ID), fmt.Sprint("job ", e.install.ID), fmt.Sprint("log ", e.install.ID),
			"queue check/main~77703", "queue main@embargo-branch",
		})
		e.w.Change(e.public)
		want := []string{
			"change main~77703", fmt.Sprint("buildset ", e.buildset.ID), fmt.Sprint("job ", e.install.ID), fmt.Sprint("log ", e.install.ID),
			"queue check/main~77703", "queue main@embargo-branch",
		}
		seen := map[string]bool{}
		for ev := range told {
			if seen[ev] = true; ev == "change main~5" {
				break
			}
		}
		for _, ev := range want {
			if seen[ev] != u.may {
				t.Errorf("%s: told of %q: %v (of %v)", u.name, ev, seen[ev], seen)
			}
		}
		answer.Body.Close()
	}
}

// An operator without the right cannot command what he is not shown, nor learn
// whether it is there; one with the right can.
func TestRestrictedCommands(t *testing.T) {
	e := newEmbargo(t)
	e.w.Decide()
	a := newAsker(t, e.w)
	why := map[string]string{"why": "for a test"}
	for _, path := range []string{
		"/api/v1/changes/main/77703/enqueue", "/api/v1/changes/main/77703/dequeue", "/api/v1/changes/main/77703/promote", "/api/v1/changes/main/77703/retry",
		"/api/v1/queues/check%2Fmain~77703/pause", "/api/v1/queues/main@embargo-branch/pause", fmt.Sprintf("/api/v1/jobs/%d/retry", e.build.ID),
	} {
		absent := strings.NewReplacer("77703", "99999", "embargo-branch", "nothing", fmt.Sprint("jobs/", e.build.ID), "jobs/99999").Replace(path)
		got, there := a.problem("POST", path, apitest.OperatorToken, why, 404), a.problem("POST", absent, apitest.OperatorToken, why, 404)
		same := strings.NewReplacer("77703", "99999", "embargo-branch", "nothing").Replace(*got.Detail)
		if got.Title != there.Title || same != *there.Detail {
			t.Errorf("%s is answered %+v, and what is not there %+v", path, got, there)
		}
	}
	status, _, data := a.do("POST", "/api/v1/changes/main/77703/dequeue", apitest.ReaderToken, why)
	if status != 200 {
		t.Errorf("with the right: %d %s", status, data)
	}
}
