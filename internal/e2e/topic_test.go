package e2e

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/testenv"
)

// topic proposes a change of a package in a topic.
func (s *site) topic(project, topic string) *testenv.Pushed {
	s.t.Helper()
	return s.g.Push(s.t, testenv.Proposal{
		Project: s.name + "/" + project, Message: "Part of " + topic + " in " + project, Topic: topic,
		Files: map[string]string{"src/hello.c": "int main(void) { return 2; }\n"},
	})
}

// wholeTopics is a Gerrit that submits topics whole.
func wholeTopics(t *testing.T) *testenv.GerritServer {
	return testenv.NewGerrit(t, "GERRIT_SUBMIT_WHOLE_TOPIC=true")
}

// Where Gerrit submits topics whole, a topic of three projects is one item: it
// waits until all of it is approved, is tested as one, and merges at once.
// Somebody who joins it while it is tested is tested with it, or nothing merges.
// A topic across queues never enters, and both queues are named.
func TestWholeTopic(t *testing.T) {
	t.Parallel()
	s := start(t, options{
		gerrit: wholeTopics(t), check: "none", queues: "\n  - {name: other}",
		projects: `
  - {project: "PREFIX/elsewhere", branch: main, releases: [juno], queue: other}`,
	}, "aa", "bb", "cc", "dd", "elsewhere")

	a, b, c := s.topic("aa", "all-of-it"), s.topic("bb", "all-of-it"), s.topic("cc", "all-of-it")
	s.vouch(a, b)
	s.says(a, "needs "+number(c), "Code-Review")
	if s.stands(a) || s.stands(b) {
		t.Error("a part of a topic stands in the queue")
	}
	release := s.worker.hold("install aa")
	s.vouch(c)
	s.inQueue(a, b, c)
	late := s.g.Push(t, testenv.Proposal{Project: s.name + "/dd", Message: "Joins late", Files: map[string]string{"late": "late\n"}})
	s.known(late)
	s.g.SetTopic(t, late.Number, s.g.Reviewer, "all-of-it")
	s.told(a, "Left the queue", number(late))
	release()
	s.says(a, "needs "+number(late), "Code-Review")
	s.vouch(late)
	s.merged(a, b, c, late)
	s.empty()
	s.inOrder([]*testenv.Pushed{a, b, c, late})
	if n := len(submissions(s, a, b, c, late)); n != 1 {
		t.Errorf("they were merged by %d submits", n)
	}
	for _, name := range []string{"aa", "bb", "cc", "dd"} {
		if _, ok := s.released(name); !ok {
			t.Errorf("%s is not released", name)
		}
	}

	here, there := s.topic("aa", "two-queues"), s.topic("elsewhere", "two-queues")
	s.vouch(here, there)
	s.says(here, "needs "+number(there), "the queues main and other never wait for each other")
	s.says(there, "needs "+number(here), "the queues other and main never wait for each other")
	s.explained()
	// Taken out of the topic, each goes its own way.
	s.g.SetTopic(t, there.Number, s.g.Reviewer, "")
	s.merged(here, there)
	s.empty()
}

// submissions are Gerrit's ids of the submits that merged the changes.
func submissions(s *site, changes ...*testenv.Pushed) map[string]bool {
	s.t.Helper()
	ids := map[string]bool{}
	for _, c := range changes {
		var info struct {
			ID string `json:"submission_id"`
		}
		if err := s.g.REST(s.g.Admin, "GET", fmt.Sprintf("/changes/%d", c.Number), nil, &info); err != nil {
			s.t.Fatal(err)
		}
		ids[info.ID] = true
	}
	return ids
}

// Where Gerrit submits each change by itself, a topic binds nobody.
func TestTopicThatBindsNobody(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "aa", "bb")
	a, b := s.topic("aa", "loose"), s.topic("bb", "loose")
	s.known(a, b)
	s.vouch(a)
	s.merged(a)
	s.says(b, "Code-Review")
	s.empty()
	if why := s.why(b); strings.Contains(why, number(a)) {
		t.Errorf("why: %s", why)
	}
}
