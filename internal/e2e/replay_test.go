package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/history"
	"sluice/internal/testenv"
)

// replay decides again all that the queues of a story have decided: whatever
// happened to the service, the record has no gap, and comes out the same.
func (s *site) replay() {
	s.t.Helper()
	ctx := context.Background()
	rows, err := s.db.Query(ctx, `SELECT DISTINCT queue FROM history ORDER BY queue`)
	if err != nil {
		s.t.Error(err)
		return
	}
	var queues []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			s.t.Error(err)
		}
		queues = append(queues, name)
	}
	for _, queue := range queues {
		r := &history.Replayer{}
		decisions, err := s.store.History(ctx, queue, 0, 1_000_000)
		if err != nil {
			s.t.Error(err)
		}
		for _, row := range decisions {
			d, err := history.Unpack(row)
			if err != nil {
				s.t.Error(err)
				break
			}
			diff, err := r.Next(d)
			if err != nil {
				s.t.Errorf("the history of %s: %v", queue, err)
				break
			}
			if diff != nil {
				s.t.Errorf("decision %d of %s differs in its %s:\nwas %s\nnow %s", d.Version, queue, diff.What, diff.Was, diff.Now)
				break
			}
		}
		if r.Decided != len(decisions) {
			s.t.Errorf("%d of %d decisions of %s come out the same", r.Decided, len(decisions), queue)
		}
	}
}

// TestReplayARun is a run with a bit of everything; what it decided comes out the
// same by the program, over the API and from a file, and a simulation tells of it.
// With SLUICE_RECORD=FILE the history is written there: that is how
// internal/history/testdata/run.jsonl is made.
func TestReplayARun(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none", window: "{start: 3, floor: 2, ceiling: 6}", more: "operators: [{name: olga, token: {value: operator-secret}}]"}, "aa", "bb", "cc", "dd")
	release := s.worker.hold("install aa")
	first, failing, last := s.good("aa"), s.bad("bb"), s.good("cc")
	for _, c := range []*testenv.Pushed{first, failing, last} {
		s.g.Approve(t, c.Number)
		s.inQueue(c)
	}
	parent := s.propose("dd", "The parent", map[string]string{"a": "a\n"})
	child := s.g.Push(t, testenv.Proposal{Project: s.name + "/dd", Message: "The child", On: parent, Files: map[string]string{"b": "b\n"}})
	s.g.Approve(t, child.Number)
	s.g.Approve(t, parent.Number)
	s.inQueue(parent, child)
	s.command("promote", parent)
	s.command("pause", nil)
	s.command("resume", nil)
	s.command("dequeue", last)
	release()
	s.merged(first, parent, child)
	s.told(failing, "Gate failed")
	s.command("enqueue", last)
	s.merged(last)
	s.empty()

	file := os.Getenv("SLUICE_RECORD")
	if file == "" {
		file = filepath.Join(t.TempDir(), "run.jsonl.gz")
	}
	if out := s.program(0, "replay", "--export", file); !strings.Contains(out, "decisions are in "+file) {
		t.Errorf("the export says %s", out)
	}
	for _, args := range [][]string{{"replay"}, {"replay", file}} {
		if out := s.program(0, args...); !strings.Contains(out, "come out the same") {
			t.Errorf("%v says %s", args, out)
		}
	}
	var played struct {
		Now struct{ Changes map[string]any }
	}
	if err := json.Unmarshal([]byte(s.program(0, "simulate", "--json", file)), &played); err != nil || len(played.Now.Changes) < 3 {
		t.Errorf("the simulation of the run: %v, %+v", err, played)
	}
	if out := s.program(0, "simulate", "--window", "1", file); !strings.Contains(out, "what if") {
		t.Errorf("what if the window were one: %s", out)
	}
	spoilt := filepath.Join(t.TempDir(), "spoilt.jsonl")
	write(t, spoilt, strings.Replace(s.lines(file), `"kind":"publish"`, `"kind":"answer"`, 1))
	if out := s.program(1, "replay", spoilt); !strings.Contains(out, "What was decided then, and is not now") {
		t.Errorf("of a history that was spoilt: %s", out)
	}
}

// lines gives an exported history as text.
func (s *site) lines(file string) string {
	s.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	r, err := history.NewReader(f)
	if err != nil {
		s.t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := history.NewWriter(&out, r.Header)
	for err == nil {
		var d history.Decision
		if d, err = r.Next(); err == nil {
			text, _ := json.Marshal(d)
			err = w.Add(text)
		}
	}
	return out.String()
}

// program runs the command line's client as an operator, wants its exit status,
// and gives what it writes.
func (s *site) program(status int, args ...string) string {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(path, slices.Clone(args)...)
	cmd.Env = append(os.Environ(), "SLUICE_URL="+s.servers[0].URL, "SLUICE_TOKEN=operator-secret")
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != status {
		s.t.Errorf("sluice %s ends with %d, not %d:\n%s", strings.Join(args, " "), got, status, out)
	}
	return string(out)
}
