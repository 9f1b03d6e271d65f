package api_test

import (
	"fmt"
	"strings"
	"testing"

	contract "sluice/api"
	"sluice/internal/api/apitest"
	"sluice/internal/job"
)

func TestReads(t *testing.T) {
	w := apitest.New(t, nil)
	a := newAsker(t, w)
	t.Run("empty", func(t *testing.T) {
		for _, path := range []string{"status", "queues", "queues/main", "changes", "repositories", "repositories/juno/debian-12/updates", "repositories/juno/el-9/updates"} {
			_, _, data := a.do("GET", "/api/v1/"+path, "", nil)
			if strings.Contains(string(data), ":null") || strings.TrimSpace(string(data)) == "null" {
				t.Errorf("%s answers with null: %s", path, data)
			}
		}
	})
	s := w.Seed()
	w.Release(apitest.Deb, s.GoodBuildset.ID, s.Deb)
	t.Run("status", func(t *testing.T) { testStatus(a) })
	t.Run("queue", func(t *testing.T) { testQueue(a, s) })
	t.Run("changes", func(t *testing.T) { testChanges(a, s) })
	t.Run("buildset", func(t *testing.T) { testBuildset(a, s) })
	t.Run("job", func(t *testing.T) { testJob(a, s) })
	t.Run("repositories", func(t *testing.T) { testRepositories(a, s) })
	t.Run("restricted", func(t *testing.T) { testRestricted(a, s) })
	t.Run("problems", func(t *testing.T) { testProblems(a, s) })
	t.Run("retried", func(t *testing.T) { testRetried(a, s) })
}

// testRetried: what waits to be tried again takes no time meanwhile.
func testRetried(a *asker, s *apitest.Seeded) {
	path := fmt.Sprintf("/api/v1/jobs/%d", s.Running.ID)
	if j := get[contract.Job](a, path).Job; j.State != "running" || j.Took == nil {
		a.t.Errorf("while it runs: %+v", j)
	}
	a.w.Finish(s.Lease, job.Result{Outcome: job.Error, Cause: "the disk is full"}, nil)
	if j := get[contract.Job](a, path).Job; j.State != "queued" || j.Took != nil || j.Cause != "the disk is full" {
		a.t.Errorf("while it waits to be tried again: %+v", j)
	}
}

func testStatus(a *asker) {
	s := get[contract.Status](a, "/api/v1/status")
	if s.Version != "1.2.3" || len(s.Queues) != 1 || s.Queues[0].Items != 3 || len(s.Workers) != 1 || s.Workers[0].Running != 1 ||
		len(s.Streams) != 1 || !s.Streams[0].Connected || s.Jobs.Running != 1 || s.Jobs.Checks != 1 {
		a.t.Errorf("status: %+v", s)
	}
}

func testQueue(a *asker, s *apitest.Seeded) {
	q := get[contract.Queue](a, "/api/v1/queues/main")
	if len(q.Items) != 3 {
		a.t.Fatalf("the queue has %d items", len(q.Items))
	}
	first, second, third := q.Items[0], q.Items[1], q.Items[2]
	if first.Place != 1 || first.Changes[0].Subject != "Say hello louder" || first.Changes[0].Project != "packages/hello" || first.State != contract.PlaceStateFailing {
		a.t.Errorf("first: %+v", first)
	}
	if first.Buildset == nil || first.Buildset.ID != s.GoodBuildset.ID || len(first.Buildset.Jobs) != 4 || first.Buildset.Finding == nil ||
		first.Buildset.Finding.Text != "debian/hello.postinst:7: frobnicate: not found" {
		a.t.Errorf("its buildset: %+v", first.Buildset)
	}
	if first.Reason == nil || first.Reason.Text == "" || first.Reason.Change != "main~1" {
		a.t.Errorf("its reason: %+v", first.Reason)
	}
	if len(second.Behind) != 1 || second.Behind[0] != first.ID {
		a.t.Errorf("the second stands behind %v", second.Behind)
	}
	if !third.Restricted || len(third.Changes) != 0 || third.Buildset != nil || third.Reason != nil {
		a.t.Errorf("the restricted one shows itself: %+v", third)
	}
	check := get[contract.Queue](a, "/api/v1/queues/check%2Fmain~4")
	if check.Kind != "independent" || len(check.Items) != 1 || check.Items[0].Buildset == nil {
		a.t.Errorf("the check: %+v", check)
	}
}

func testChanges(a *asker, s *apitest.Seeded) {
	all := get[[]contract.ChangeSummary](a, "/api/v1/changes")
	if len(all) != 3 || all[0].ID != "main~4" || all[0].Check == nil || !all[0].Check.Present || all[0].Gate != nil || all[2].Gate == nil {
		a.t.Errorf("changes: %+v", all)
	}
	if some := get[[]contract.ChangeSummary](a, "/api/v1/changes?project=packages/hello&open=true&limit=1"); len(some) != 1 || some[0].ID != "main~2" {
		a.t.Errorf("filtered: %+v", some)
	}
	if none := get[[]contract.ChangeSummary](a, "/api/v1/changes?open=false"); none == nil || len(none) != 0 {
		a.t.Errorf("closed: %+v", none)
	}
	c := get[contract.Change](a, "/api/v1/changes/main/1")
	if len(c.History) != 1 || len(c.History[0].Buildsets) != 1 || c.History[0].Buildsets[0].Finding == nil || len(c.Why) != 1 {
		a.t.Errorf("change 1: %+v", c)
	}
	behind := get[contract.Change](a, "/api/v1/changes/main/2")
	if len(behind.Needs) != 1 || behind.Needs[0].Change == nil || behind.Needs[0].Change.Subject != "Say hello louder" {
		a.t.Errorf("change 2 needs: %+v", behind.Needs)
	}
	w := get[contract.Why](a, "/api/v1/changes/main/4/why")
	if len(w.Pipelines) != 2 || w.Pipelines[0].Pipeline != "gate" || w.Pipelines[1].Pipeline != "check" || w.Pipelines[1].Reason.Text == "" {
		a.t.Errorf("why: %+v", w)
	}
}

func testBuildset(a *asker, s *apitest.Seeded) {
	b := get[contract.Buildset](a, fmt.Sprintf("/api/v1/buildsets/%d", s.GoodBuildset.ID))
	if b.Queue != "main" || b.Pipeline != "gate" || b.Item != 1 || len(b.Changes) != 1 || len(b.Branches) != 1 || len(b.Publications) != 1 ||
		len(b.Packages) != 1 || len(b.Repositories) != 1 {
		a.t.Fatalf("buildset: %+v", b)
	}
	r := b.Repositories[0]
	if want := fmt.Sprintf("%s/test/%d/juno/debian-12/", a.w.URL, b.Buildset.ID); r.Address != want || !strings.Contains(r.Sources.Text, "URIs: "+want) {
		a.t.Errorf("test repository: %+v", r)
	}
}

func testJob(a *asker, s *apitest.Seeded) {
	build := get[contract.Job](a, fmt.Sprintf("/api/v1/jobs/%d", s.Build.ID))
	if build.Job.State != "passed" || len(build.Attempts) != 1 || len(build.Artifacts) != 1 || len(build.Steps) != 1 ||
		len(build.Trace.Served) != 1 || build.Trace.Served[0].Name != "libc6" || build.Inputs.Tree == nil || len(build.Changes) != 1 {
		a.t.Errorf("build: %+v", build)
	}
	if _, _, data := a.do("GET", fmt.Sprintf("/api/v1/jobs/%d", s.Build.ID), "", nil); strings.Contains(string(data), "SECRET") {
		a.t.Errorf("a key of the spec is shown: %s", data)
	}
	install := get[contract.Job](a, fmt.Sprintf("/api/v1/jobs/%d", s.Install.ID))
	if len(install.Findings) != 1 || install.Findings[0].LogLine != 2 || len(install.Needs) != 1 || install.Needs[0].ID != s.Publish.ID {
		a.t.Errorf("install: %+v", install)
	}
}

func testRepositories(a *asker, s *apitest.Seeded) {
	all := get[[]contract.RepositorySummary](a, "/api/v1/repositories")
	if len(all) != 2 || all[0].Name != "juno/debian-12/updates" || all[0].Publication == nil || all[1].Publication != nil || all[1].Format != "rpm" {
		a.t.Errorf("repositories: %+v", all)
	}
	r := get[contract.Repository](a, "/api/v1/repositories/juno/debian-12/updates")
	if len(r.Packages) != 1 || r.Packages[0].Name != "hello" || len(r.Publications) != 1 || !r.Publications[0].Current {
		a.t.Errorf("repository: %+v", r)
	}
	for _, want := range []string{"Suites: bookworm\n", "URIs: " + a.w.URL + "/repo/juno/debian-12/updates/\n", "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n"} {
		if !strings.Contains(r.Sources.Text, want) {
			a.t.Errorf("the sources lack %q:\n%s", want, r.Sources.Text)
		}
	}
	rpm := get[contract.Repository](a, "/api/v1/repositories/juno/el-9/updates")
	if !strings.Contains(rpm.Sources.Text, "mirrorlist="+a.w.URL+"/repo/juno/el-9/updates/mirrorlist\n") || !strings.HasSuffix(rpm.Sources.File, ".repo") {
		a.t.Errorf("the .repo file: %+v", rpm.Sources)
	}
}

// Nothing made from a restricted change is found.
func testRestricted(a *asker, s *apitest.Seeded) {
	for _, path := range []string{
		"/api/v1/changes/main/3", "/api/v1/changes/main/3/why", fmt.Sprintf("/api/v1/buildsets/%d", s.HiddenBuildset.ID),
		fmt.Sprintf("/api/v1/jobs/%d", s.HiddenBuild.ID), fmt.Sprintf("/api/v1/jobs/%d/log", s.HiddenBuild.ID),
	} {
		a.problem("GET", path, "", nil, 404)
	}
	if status, _, _ := a.do("GET", fmt.Sprintf("/blobs/%s/embargoed.txt", s.HiddenFile.Digest), "", nil); status != 404 {
		a.t.Errorf("the restricted artifact: %d", status)
	}
	for _, path := range []string{"/api/v1/queues/main", "/api/v1/changes", "/api/v1/status"} {
		if _, _, data := a.do("GET", path, "", nil); strings.Contains(string(data), "embargo") || strings.Contains(string(data), "packages/secret") {
			a.t.Errorf("%s tells of the restricted change: %s", path, data)
		}
	}
}

func testProblems(a *asker, s *apitest.Seeded) {
	for path, status := range map[string]int{
		"/api/v1/nothing": 404, "/api/nothing": 404, "/api/v1/jobs/999": 404, "/api/v1/jobs/x": 400, "/api/v1/queues/none": 404,
		"/api/v1/changes/main/999": 404, "/api/v1/changes?limit=0": 400, "/api/v1/changes?open=perhaps": 400, "/api/v1/buildsets/999": 404,
		"/api/v1/repositories/a/b/c": 404, fmt.Sprintf("/api/v1/jobs/%d/log", s.Publish.ID): 404,
	} {
		a.problem("GET", path, "", nil, status)
	}
	a.problem("DELETE", "/api/v1/status", apitest.OperatorToken, nil, 405)
	a.problem("PUT", "/api/v1/jobs/1", "", nil, 405)
}
