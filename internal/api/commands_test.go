package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	contract "sluice/api"
	"sluice/internal/api"
	"sluice/internal/api/apitest"
)

func TestCommands(t *testing.T) {
	w := apitest.New(t, func(o *api.Options) { o.AnswerWait = 20 * time.Second })
	a := newAsker(t, w)
	s := w.Seed()
	retryJob := fmt.Sprintf("/api/v1/jobs/%d/retry", s.Install.ID)
	why := map[string]string{"why": "because"}
	t.Run("who may", func(t *testing.T) {
		a.problem("POST", "/api/v1/queues/main/pause", "", why, 401)
		a.problem("POST", "/api/v1/queues/main/pause", "wrong", why, 401)
		a.problem("POST", "/api/v1/queues/main/pause", apitest.WorkerToken, why, 403)
		a.problem("POST", retryJob, "", why, 401)
	})
	t.Run("reasons", func(t *testing.T) {
		for _, body := range []any{map[string]string{"why": "  "}, map[string]string{}, map[string]string{"why": "a\x00b"}, "{", "[]", map[string]string{"why": strings.Repeat("x", 2000)}} {
			a.problem("POST", "/api/v1/queues/main/pause", apitest.OperatorToken, body, 400)
		}
		a.problem("POST", "/api/v1/queues/main/pause", apitest.OperatorToken, `{"why":"`+strings.Repeat("x", 1<<20)+`"}`, 413)
	})
	t.Run("another site", func(t *testing.T) {
		r, _ := http.NewRequest("POST", w.URL+"/api/v1/queues/main/pause", strings.NewReader(`{"why":"x"}`))
		r.Header.Set("Authorization", "Bearer "+apitest.OperatorToken)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		answer, err := w.Server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if answer.StatusCode != 403 || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("a page of another site: %d %s", answer.StatusCode, answer.Header)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		a.problem("POST", "/api/v1/queues/none/pause", apitest.OperatorToken, why, 404)
		a.problem("POST", "/api/v1/changes/main/999/enqueue", apitest.OperatorToken, why, 404)
		a.problem("POST", "/api/v1/jobs/999/retry", apitest.OperatorToken, why, 404)
		a.problem("POST", fmt.Sprintf("/api/v1/jobs/%d/retry", s.Running.ID), apitest.OperatorToken, why, 409)
		a.problem("POST", "/api/v1/changes/main/1/retry?pipeline=other", apitest.OperatorToken, why, 400)
	})
	t.Run("job", func(t *testing.T) {
		got := tell(a, retryJob, 200)
		if !got.Done || got.Queue != "main" {
			t.Errorf("retry of a job: %+v", got)
		}
		if j := get[contract.Job](a, fmt.Sprintf("/api/v1/jobs/%d", s.Install.ID)); j.Job.State != "waiting" {
			t.Errorf("the job is %s", j.Job.State)
		}
		c := get[contract.Change](a, "/api/v1/changes/main/1")
		if len(c.Commands) != 1 || c.Commands[0].Who != "olga" || c.Commands[0].Why != "because" || !c.Commands[0].Done {
			t.Errorf("it is recorded as %+v", c.Commands)
		}
	})
	w.Decide()
	t.Run("decided", func(t *testing.T) {
		for _, verb := range []string{"queues/main/pause", "queues/main/resume", "changes/main/1/promote", "changes/main/4/retry",
			"changes/main/1/retry", "changes/main/4/enqueue", "changes/main/2/dequeue", "changes/main/1/retry?pipeline=gate"} {
			got := tell(a, "/api/v1/"+verb, 200)
			if !got.Done || got.Answer == "" || got.Command == nil {
				t.Errorf("%s: %+v", verb, got)
			}
			if want := "main"; verb == "changes/main/4/retry" {
				if got.Queue != "check/main~4" {
					t.Errorf("%s went to %s", verb, got.Queue)
				}
			} else if got.Queue != want {
				t.Errorf("%s went to %s", verb, got.Queue)
			}
		}
		tell(a, "/api/v1/queues/main/pause", 200)
		if q := get[contract.Queue](a, "/api/v1/queues/main"); q.Paused == nil || q.Paused.Who != "olga" || q.Paused.Why != "because" {
			t.Errorf("the queue is not paused: %+v", q.Paused)
		}
	})
}

// tell gives a command.
func tell(a *asker, path string, status int) contract.Answer {
	a.t.Helper()
	got, _, data := a.do("POST", path, apitest.OperatorToken, map[string]string{"why": "because"})
	var out contract.Answer
	if got != status || json.Unmarshal(data, &out) != nil {
		a.t.Fatalf("POST %s: %d %s", path, got, data)
	}
	return out
}

// A command that no queue decides on is stored, and that is said.
func TestCommandIsStored(t *testing.T) {
	w := apitest.New(t, func(o *api.Options) { o.AnswerWait = time.Millisecond })
	a := newAsker(t, w)
	w.Seed()
	got := tell(a, "/api/v1/changes/main/1/dequeue", 202)
	if got.Done || got.Command == nil {
		t.Fatalf("%+v", got)
	}
	if _, done, err := w.Store.Answer(context.Background(), *got.Command); err != nil || done {
		t.Errorf("answered: %v, %v", done, err)
	}
}
