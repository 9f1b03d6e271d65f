package api_test

import (
	"context"
	"fmt"
	"testing"

	"sluice/internal/api"
	"sluice/internal/api/apitest"
	"sluice/internal/postgres"
)

// What the database stores in no text is the client's mistake.
func TestUnreadableNames(t *testing.T) {
	w := apitest.New(t, nil)
	a := newAsker(t, w)
	for _, path := range []string{"queues/%00", "queues/%2500", "queues/%ff", "queues/%25ff", "changes/%00/1", "changes?project=%ff", "changes?project=%00", "changes?%00=x"} {
		a.problem("GET", "/api/v1/"+path, "", nil, 400)
	}
	a.problem("GET", "/api/v1/queues/%C3%A9", "", nil, 404)
}

// logs are leases of which only the log is asked for.
type logs struct {
	api.Leases
	store *postgres.Store
}

func (l logs) AppendLog(ctx context.Context, lease string, start int64, data []byte) (int64, error) {
	return l.store.AppendLog(ctx, lease, start, data)
}

func TestLogRefusesAGap(t *testing.T) {
	w := apitest.New(t, func(o *api.Options) { o.Workers.Leases = logs{store: o.Store.(*postgres.Store)} })
	a := newAsker(t, w)
	s := w.Seed()
	path := "/worker/v1/leases/" + s.Lease + "/log?start="
	a.problem("POST", path+fmt.Sprint(s.LogSize+100), apitest.WorkerToken, "late", 409)
	if status, _, data := a.do("POST", path+fmt.Sprint(s.LogSize), apitest.WorkerToken, "next"); status != 204 {
		t.Errorf("what follows: %d %s", status, data)
	}
}
