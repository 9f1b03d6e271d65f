package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/api"
	"sluice/internal/testenv"
)

// operator is the command line with an operator's token; it gives what is written
// on both outputs, and whether the command was obeyed.
func (s *site) operator(token string, args ...string) (text string, obeyed bool) {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "SLUICE_URL="+s.servers[0].URL, "SLUICE_TOKEN="+token)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// does gives a command that has to be obeyed, twice: the second time changes nothing.
func (s *site) does(args ...string) {
	s.t.Helper()
	args = append(args, "--why", "because of "+args[0])
	for range 2 {
		if text, ok := s.operator("ada-secret", args...); !ok {
			s.t.Fatalf("sluice %s: %s", strings.Join(args, " "), text)
		}
	}
}

// queued waits until the queue holds these changes, in this order.
func (s *site) queued(changes ...*testenv.Pushed) {
	s.t.Helper()
	s.until("the queue's order", func() string {
		st, _ := s.facts("main")
		var got, want []string
		for _, it := range st.Items {
			got = append(got, fmt.Sprint(it.Changes[0].Number))
		}
		for _, c := range changes {
			want = append(want, fmt.Sprint(c.Number))
		}
		return missing(strings.Join(got, " ") == strings.Join(want, " "), "it is %v, not %v", got, want)
	})
}

// An operator pauses, resumes, enqueues, dequeues and promotes on the command line.
// Each is the same when given twice, undone by its opposite, and recorded with who
// and why; a promotion is undone by promoting those that stood ahead.
func TestOperator(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none"})
	for _, p := range []string{"aa", "bb", "cc", "dd"} {
		s.project(p)
	}
	token := filepath.Join(s.dir, "ada")
	write(t, token, "ada-secret")
	s.opt.more = "operators: [{name: ada, token: {file: " + token + "}}]"
	s.serve()
	change := func(c *testenv.Pushed) string { return fmt.Sprintf("main~%d", c.Number) }

	s.does("pause", "main")
	a, b, c, d := s.good("aa"), s.good("bb"), s.good("cc"), s.good("dd")
	for _, x := range []*testenv.Pushed{a, b, c} {
		s.vouch(x)
		s.inQueue(x)
	}
	s.says(a, "paused by ada (because of pause)", "an administrator", "it goes on when the queue is resumed")
	s.queued(a, b, c)
	s.does("promote", change(c))
	s.queued(c, a, b)
	s.does("promote", change(b))
	s.does("promote", change(a))
	s.queued(a, b, c)
	s.does("dequeue", change(b))
	s.queued(a, c)
	s.says(b, "was taken out of the queue by ada (because of dequeue)", "it stays out until it is enqueued or has a new patch set")
	s.does("enqueue", change(b))
	s.queued(a, c, b)
	s.known(d)
	s.does("enqueue", change(d)) // nobody has approved it
	s.queued(a, c, b, d)
	s.does("dequeue", change(d))
	s.queued(a, c, b)
	if text, ok := s.operator("", "resume", "main", "--why", "let me"); ok || !strings.Contains(text, "operator") {
		t.Errorf("anybody may resume: %s", text)
	}
	s.explained()
	s.does("resume", "main")
	s.merged(a, b, c)
	s.empty()
	s.inOrder(singly(a, c, b)...)
	if text, ok := s.operator("ada-secret", "dequeue", change(a), "--why", "too late"); ok || !strings.Contains(text, "merged") {
		t.Errorf("what has merged is dequeued: %s", text)
	}

	_, text := s.get(fmt.Sprintf("/api/v1/changes/main/%d", b.Number))
	var answer struct{ Commands []api.Command }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	var verbs []string
	for _, k := range answer.Commands {
		verbs = append(verbs, k.Verb)
		if k.Who != "ada" || k.Why != "because of "+k.Verb || !k.Done || k.Answer == "" || k.At.IsZero() {
			t.Errorf("recorded: %+v", k)
		}
	}
	if got := strings.Join(verbs, " "); got != "enqueue enqueue dequeue dequeue promote promote" {
		t.Errorf("recorded: %s", got)
	}
}

// explained fails unless the API and the command line say, of every change that is
// known and may be seen, where it is: down to somebody who can do something, and
// what happens next.
func (s *site) explained() {
	s.t.Helper()
	for _, n := range numbersOf(s) {
		c := &testenv.Pushed{Number: n}
		status, text := s.get(fmt.Sprintf("/api/v1/changes/main/%d/why", n))
		var answer api.Why
		if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || len(answer.Pipelines) == 0 {
			s.t.Errorf("why %d: %d %s", n, status, text)
			continue
		}
		for _, p := range answer.Pipelines {
			if !leads(p.Reason, false) {
				s.t.Errorf("the answer on %d leads nowhere:\n%s", n, s.why(c))
			}
		}
	}
}

func numbersOf(s *site) []int {
	s.t.Helper()
	var all []int
	list := one[string](s, `SELECT coalesce(json_agg(number), '[]')::text FROM changes WHERE gerrit = 'main' AND facts->'restricted' IS NULL`)
	if err := json.Unmarshal([]byte(list), &all); err != nil {
		s.t.Fatal(err)
	}
	return all
}

func leads(r api.Reason, next bool) bool {
	next = next || r.Next != ""
	if len(r.Children) == 0 {
		return next && r.Who != "" && r.Text != ""
	}
	for _, child := range r.Children {
		if leads(child, next) {
			return true
		}
	}
	return false
}
