package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// The service, its database and its worker are killed again and again while a
// queue runs (G22). Nothing is lost, nothing happens twice, the queue empties.
func TestKilled(t *testing.T) {
	kills := 10
	if testenv.Full() {
		kills = 50
	}
	s := newSite(t, options{check: "none", embedded: true, reconcile: 2 * time.Second})
	names := []string{"aa", "bb", "cc"}
	for _, name := range names {
		s.project(name)
	}
	s.serve()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	var good, bad []*testenv.Pushed
	for i := range kills { // a change for each kill, so that there is always something under way
		name := names[i%len(names)]
		if i%4 == 3 {
			c := s.propose(name, fmt.Sprintf("Break %s %d", name, i), map[string]string{"outcome": "build fail src/hello.c:3: error: broken\n"})
			s.g.Approve(t, c.Number)
			bad = append(bad, c)
		} else {
			c := s.propose(name, fmt.Sprintf("Mend %s %d", name, i), map[string]string{fmt.Sprintf("src/f%d.c", i): "int i;\n"})
			s.g.Approve(t, c.Number)
			good = append(good, c)
		}
		for range dice.IntN(25) { // a random moment: so many things after the approval
			select {
			case <-s.feed:
			case <-time.After(300 * time.Millisecond):
			}
		}
		s.killOne(dice.IntN(3))
	}
	s.merged(good...)
	for _, c := range bad {
		s.voted(c, -2)
	}
	s.empty()
	s.nothingTwice(append(good, bad...)...)
	if n := countOf(s, `SELECT count(*) FROM buildsets WHERE landed_at IS NOT NULL`); n != len(good) {
		t.Errorf("%d buildsets landed of %d good changes", n, len(good))
	}
}

// killOne kills a part and has it started again, as whoever watches over it does.
func (s *site) killOne(which int) {
	s.t.Helper()
	switch which {
	case 0:
		s.t.Log("kill the service")
		s.servers[0].kill()
		s.servers[0].start()
	case 1:
		s.t.Log("kill the worker")
		s.worker.stop()
		s.worker.start()
		one[int](s, `WITH dead AS (UPDATE attempts SET expires_at = now() WHERE state = 'running' RETURNING 1) SELECT count(*) FROM dead`)
	case 2:
		s.t.Log("kill the database")
		text, err := os.ReadFile(filepath.Join(s.dir, "data/postgres/data/postmaster.pid"))
		if err != nil {
			return // it is between two lives
		}
		if pid, err := strconv.Atoi(strings.SplitN(string(text), "\n", 2)[0]); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
