package e2e

import (
	"os"
	"strings"
	"testing"
)

// A service that is stopped in order gives back what its own worker runs: nobody
// waits for a lease to run out.
func TestStopGivesJobsBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{localWorker: true, root: "sleep 600\n"})
	s.worker.slots = 0
	srv := s.serve()
	running := func() int {
		return one[int](s, `SELECT count(*) FROM attempts WHERE state = 'running'`)
	}
	s.until("its worker has something to do in both its slots", func() string {
		log, _ := os.ReadFile(srv.Log)
		n := strings.Count(string(log), "msg=begins")
		return missing(n >= 2, "%d jobs run", n)
	})
	srv.stop()
	if n := running(); n != 0 {
		t.Errorf("%d attempts wait for their leases to run out", n)
	}
	if n := one[int](s, `SELECT count(*) FROM jobs WHERE state = 'queued' AND cause = 'the worker was stopped'`); n == 0 {
		t.Error("nothing is to be tried again")
	}
	srv.start()
}
