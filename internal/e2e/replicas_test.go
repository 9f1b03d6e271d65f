package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/testenv"
)

// Two replicas on one database, both busy with one queue; one of them is
// killed, and the other finishes its work.
func TestTwoBusyReplicas(t *testing.T) {
	t.Parallel()
	names := []string{"aa", "bb", "cc", "dd"}
	s := start(t, options{check: "none"}, names...)
	second := s.serve()
	var release []func()
	for _, name := range names {
		release = append(release, s.worker.hold("install "+name))
	}
	var all []*testenv.Pushed
	for i := range 12 {
		c := s.edit(names[i%len(names)], fmt.Sprintf("f%d", i), "x\n")
		s.approve(c)
		all = append(all, c)
	}
	busy := func(v *server) int {
		return one[int](s, `SELECT count(*) FROM river_job WHERE array_to_string(attempted_by, ' ') LIKE '%-' || $1 || '-%'`, fmt.Sprint(v.Pid()))
	}
	if a, b := busy(s.servers[0]), busy(second); a == 0 || b == 0 {
		t.Errorf("the replicas have done %d and %d tasks: both were to be busy", a, b)
	}
	for _, r := range release {
		r()
	}
	s.merged(all[0])
	second.kill()
	s.merged(all...)
	s.once(all...)
	s.nothingTwice(all...)
	if n := one[int](s, `SELECT count(*) FROM river_job WHERE state = 'running' AND array_to_string(attempted_by, ' ') LIKE '%-' || $1 || '-%'`, fmt.Sprint(second.Pid())); n != 0 {
		t.Errorf("%d tasks of the one that was killed are under way still", n)
	}
	second.start()
}

// A pause outlives the service that was told of it.
func TestPausedOverARestart(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "aa", "bb")
	release := s.worker.hold("install aa")
	a := s.good("aa")
	s.approve(a)
	s.tested(a, 0)
	if answer := s.command("pause", nil); answer == "" {
		t.Error("a pause has no answer")
	}
	s.servers[0].kill()
	s.servers[0].start()
	b := s.good("bb")
	s.approve(b)
	release()
	s.until("what was under way ends", func() string {
		n := one[int](s, `SELECT count(*) FROM jobs WHERE stage = 'install' AND state IN ('queued', 'running') AND package = 'aa'`)
		return missing(n == 0, "%d jobs", n)
	})
	if n := s.buildsetsOf(b); n != 0 || s.status(a) != "NEW" {
		t.Errorf("in a paused queue %d buildsets were started, and the head is %s", n, s.status(a))
	}
	if again := s.command("pause", nil); !strings.Contains(again, "paused") {
		t.Errorf("a second pause is answered %q", again)
	}
	s.servers[0].kill()
	s.servers[0].start()
	s.command("resume", nil)
	s.merged(a, b)
	s.once(a, b)
}
