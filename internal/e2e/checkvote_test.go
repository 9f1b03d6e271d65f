package e2e

import "testing"

// A check that ends while its change stands in the gate only says so: the vote is
// the gate's. When the change leaves the gate without a verdict, its check's vote
// is cast; one that the gate has judged keeps the gate's.
func TestCheckThatEndsInTheGate(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "build", gate: "build, publish, install"}, "good", "bad")
	build, install := s.worker.hold("build good"), s.worker.hold("install good")
	c := s.good("good")
	s.vouch(c)
	s.inQueue(c)
	build()
	s.told(c, "Check passed")
	if got := s.vote(c); got != 0 {
		t.Errorf("voted %+d while it stands in the gate", got)
	}
	s.command("dequeue", c)
	s.told(c, "Left the queue")
	s.voted(c, 1)
	s.command("enqueue", c)
	install()
	s.merged(c)
	s.voted(c, 2)

	broken := s.bad("bad")
	s.told(broken, "Check failed")
	s.voted(broken, -1)
	hold := s.worker.hold("build bad")
	s.vouch(broken)
	s.inQueue(broken)
	s.command("dequeue", broken)
	s.told(broken, "Left the queue")
	s.voted(broken, -1)
	s.command("enqueue", broken)
	hold()
	s.voted(broken, -2)
	s.empty()
}
