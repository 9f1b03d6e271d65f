package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// No secret of the site, no lease and no key of a test repository comes into a
// log, a row that is shown, or an answer.
func TestSecretsStay(t *testing.T) {
	t.Parallel()
	const operator, hook = "the-operators-token", "the-webhooks-secret"
	s := newSite(t, options{more: "operators: [{name: olga, token: {value: " + operator + "}}]"})
	s.project("hello")
	s.serve()
	c := s.good("hello")
	s.told(c, "Check passed")
	for _, token := range []string{operator, "wrong-" + operator} {
		req, _ := http.NewRequest(http.MethodPost, s.servers[0].URL+"/api/v1/queues/main/pause?token="+hook, strings.NewReader(`{"why": "a test"}`))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	secrets := map[string]string{operator: "the operator's token", hook: "a query", workerToken: "the worker's token", s.g.Gate.Token: "the gate's token"}
	for _, query := range []string{`SELECT lease FROM attempts`, `SELECT key FROM buildsets`} {
		rows, err := s.db.Query(context.Background(), query)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(all) == 0 {
			t.Fatalf("%s: %v, %v", query, all, err)
		}
		for _, secret := range all {
			secrets[secret] = query
		}
	}
	key, err := os.ReadFile(s.g.Gate.Key)
	if err != nil {
		t.Fatal(err)
	}
	secrets[strings.Split(string(key), "\n")[2]] = "the gate's private key"
	look := func(where, text string) {
		for secret, what := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", where, what)
			}
		}
	}
	log, err := os.ReadFile(s.servers[0].Log)
	if err != nil || !strings.Contains(string(log), "path=/worker/v1/leases/…/finish") {
		t.Errorf("the service's log: %v", err)
	}
	look("the service's log", string(log))
	for _, table := range []string{"changes", "queues", "items", "jobs", "artifacts", "effects", "commands", "settings", "gerrit_events", "river_job"} {
		look("the table "+table, one[string](s, `SELECT coalesce(string_agg(t::text, ' '), '') FROM `+table+` t`))
	}
	look("the logs of jobs", one[string](s, `SELECT coalesce(string_agg(encode(data, 'escape'), ' '), '') FROM log_chunks`))
	for _, path := range []string{"/api/v1/status", "/api/v1/changes", "/api/v1/queues/main", "/api/v1/buildsets/1", "/metrics", "/readyz"} {
		_, text := s.get(path)
		look(path, text)
	}
	for n := range one[int](s, `SELECT max(id) FROM jobs`) {
		for _, path := range []string{"", "/log"} {
			_, text := s.get("/api/v1/jobs/" + fmt.Sprint(n+1) + path)
			look("the job "+fmt.Sprint(n+1), text)
		}
	}
}
