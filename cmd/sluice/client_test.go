package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice/internal/api"
	"sluice/internal/api/apitest"
	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestClient runs the scripts of testdata/client against a real service: its
// handler, its database, its queues that decide.
func TestClient(t *testing.T) {
	w := apitest.New(t, func(o *api.Options) { o.AnswerWait = 20 * time.Second })
	s := w.Seed()
	w.Release(apitest.Deb, s.GoodBuildset.ID, s.Deb)
	other := httptest.NewServer(http.NotFoundHandler()) // no sluice
	defer other.Close()
	t.Setenv("SLUICE_URL", w.URL)
	t.Setenv("SLUICE_TOKEN", apitest.OperatorToken)
	scripts := func(name string) {
		t.Run(name, func(t *testing.T) { // returns when its scripts have ended
			testscript.Run(t, testscript.Params{
				Files: []string{"testdata/client/" + name + ".txtar"},
				Setup: func(e *testscript.Env) error {
					e.Setenv("URL", w.URL)
					e.Setenv("OTHER", other.URL)
					e.Setenv("BUILD", strconv.FormatInt(s.Build.ID, 10))
					e.Setenv("INSTALL", strconv.FormatInt(s.Install.ID, 10))
					e.Setenv("HIDDEN", strconv.FormatInt(s.HiddenBuild.ID, 10))
					e.Setenv("BUILDSET", strconv.FormatInt(s.GoodBuildset.ID, 10))
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){"sluice": sluice, "follow": follow(w, s)},
			})
		})
	}
	scripts("read")
	scripts("refuse")
	w.Decide()
	scripts("tell")
}

// sluice STATUS ARGS… runs the program and wants its exit status.
func sluice(ts *testscript.TestScript, _ bool, args []string) {
	if got := run(context.Background(), args[1:], ts.Stdout(), ts.Stderr()); fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit status %d; wanted %s", got, args[0])
	}
}

// follow reads the log of the running job until its attempt ends, which it has it do.
func follow(w *apitest.World, s *apitest.Seeded) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		ended := make(chan int, 1)
		go func() {
			ended <- run(context.Background(), []string{"logs", "-f", strconv.FormatInt(s.Running.ID, 10)}, ts.Stdout(), ts.Stderr())
		}()
		w.Log(s.Lease, s.LogSize, "last words\n")
		w.Finish(s.Lease, apitest.Passed, nil)
		if status := <-ended; status != 0 {
			ts.Fatalf("logs -f ended with %d", status)
		}
	}
}
