package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	contract "sluice/api"
	"sluice/internal/api"
	"sluice/internal/api/apitest"
	"sluice/internal/gate"
	"sluice/internal/history"
)

// What a queue decided is there for operators, page by page, and comes out the
// same; the subjects of restricted changes only for those who ask.
func TestHistory(t *testing.T) {
	w := apitest.New(t, nil)
	a := newAsker(t, w)
	w.Seed()
	path := "/api/v1/queues/main/history"
	a.problem("GET", path, "", nil, 401)
	a.problem("GET", path, "wrong", nil, 401)
	a.problem("GET", path, apitest.WorkerToken, nil, 403)
	a.problem("GET", path, apitest.OperatorToken, nil, 404) // there is a restricted one in it
	a.problem("GET", path+"?after=1", apitest.OperatorToken, nil, 404)
	a.problem("GET", path+"?restricted=true", apitest.OperatorToken, nil, 403)
	a.problem("GET", "/api/v1/queues/nowhere/history", apitest.ReaderToken, nil, 404)
	a.problem("GET", path+"?limit=501", apitest.ReaderToken, nil, 400)
	if status, _, _ := a.do("GET", "/api/v1/queues/check%2Fmain~4/history", apitest.OperatorToken, nil); status != 200 {
		t.Errorf("the history of a check in which nothing is restricted: %d", status)
	}
	read := func(query string) (h contract.History, text string) {
		t.Helper()
		status, _, data := a.do("GET", path+query, apitest.ReaderToken, nil)
		if status != 200 || json.Unmarshal(data, &h) != nil {
			t.Fatalf("%s: %d %s", query, status, data)
		}
		return h, string(data)
	}
	all, text := read("")
	if len(all.Decisions) == 0 || all.More || all.Present == nil {
		t.Fatalf("%d decisions, more %v", len(all.Decisions), all.More)
	}
	if strings.Contains(text, "embargoed") {
		t.Error("a restricted change's subject is told")
	}
	if _, text := read("?restricted=true"); !strings.Contains(text, "embargoed") {
		t.Error("it is not told to who asks")
	}
	r, after, pages := &history.Replayer{}, "", 0
	for {
		h, _ := read("?limit=1" + after)
		for _, text := range h.Decisions {
			var d history.Decision
			if err := json.Unmarshal(text, &d); err != nil {
				t.Fatal(err)
			}
			if diff, err := r.Next(d); diff != nil || err != nil {
				t.Fatal(diff, err)
			}
		}
		if pages++; !h.More {
			break
		}
		after = fmt.Sprintf("&after=%d", h.Next)
	}
	if r.Decided != len(all.Decisions) || pages != r.Decided {
		t.Errorf("%d decisions on %d pages; %d at once", r.Decided, pages, len(all.Decisions))
	}
	if none, _ := read("?to=2020-01-01T00:00:00Z"); len(none.Decisions) != 0 {
		t.Errorf("%d decisions before there were any", len(none.Decisions))
	}
}

// The estimate stands at the item and in why, of what is shown; what is late is
// due now.
func TestEstimates(t *testing.T) {
	at := time.Now().Truncate(time.Second)
	w := apitest.New(t, func(o *api.Options) {
		o.Estimates = func(_ context.Context, queue string) (map[gate.ChangeID]gate.Outlook, time.Time, error) {
			return map[gate.ChangeID]gate.Outlook{
				"main~1": {Merges: 0.9, Early: -time.Minute, Median: 6 * time.Minute, Late: 9 * time.Minute}, "main~3": {Merges: 1},
			}, at, nil
		}
	})
	a := newAsker(t, w)
	w.Seed()
	for _, it := range get[contract.Queue](a, "/api/v1/queues/main").Items {
		first := !it.Restricted && it.Changes[0].Number == 1
		if (it.Estimate != nil) != first {
			t.Errorf("place %d: %+v", it.Place, it.Estimate)
		}
		if first && (!it.Estimate.At.Equal(at.Add(6*time.Minute)) || it.Estimate.From.Before(at) || it.Estimate.Chance != 0.9) {
			t.Errorf("%+v", it.Estimate)
		}
	}
	for _, p := range get[contract.Why](a, "/api/v1/changes/main/1/why").Pipelines {
		if (p.Estimate != nil) != (p.Pipeline == "gate") {
			t.Errorf("%s: %+v", p.Pipeline, p.Estimate)
		}
	}
}

// What was measured is enough for an estimate of what waits behind.
func TestEstimatesAreReckoned(t *testing.T) {
	w := apitest.New(t, nil)
	w.Seed()
	w.SQL(`UPDATE jobs SET state = 'passed', started_at = now() - interval '10 minutes', ended_at = now() WHERE state = 'waiting'`)
	x, err := w.Engine.Expect(context.Background(), "main")
	if err != nil || len(x.Changes) == 0 {
		t.Errorf("%+v, %v", x, err)
	}
	again, err := w.Engine.Expect(context.Background(), "main")
	if err != nil || !again.At.Equal(x.At) {
		t.Errorf("reckoned twice within a second: %s, %s, %v", x.At, again.At, err)
	}
}
