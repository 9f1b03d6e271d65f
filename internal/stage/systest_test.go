package stage_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"sluice/internal/environment"
	"sluice/internal/job"
	"sluice/internal/sandbox/roottest"
	"sluice/internal/stage"
)

// A service is installed on one node and used from the other; then a node is
// restarted and the service is there again.
func TestSystest(t *testing.T) {
	b := newBench(t, job.DEB)
	made, _, _, err := roottest.Find(context.Background(), roottest.DebNode)
	if err != nil {
		t.Fatal(err)
	}
	node := b.addRoot(made, "node")
	tr := load(t, "hello.txtar")
	tr["debian/hello.service"] = "[Unit]\nDescription=tells the words\n\n[Service]\nExecStart=/bin/sh -c 'hello > /var/lib/hello-words'\nType=oneshot\nRemainAfterExit=yes\n\n[Install]\nWantedBy=multi-user.target\n"
	built := b.passes(b.build(tr))
	spec := job.Spec{Job: 3, Stage: job.StageSystest, Name: "systest", Target: b.target(), Root: &node, Limits: job.Limits{Timeout: 10 * time.Minute},
		Repositories: append(b.repos[:1:1], b.repository(job.Test, "test", 1001, built)),
		Scenario: &job.Scenario{Name: "words", Path: "tests/words.sh",
			Nodes: []job.Node{{Name: "server", Install: []string{"hello"}}, {Name: "client"}},
			Script: `
words=$(on server cat /var/lib/hello-words)
[[ $words == "hello, patched world" ]]
echo "from the server: $words"
on -i client tee /root/words <<<"$words"
on client sh -c 'ip -4 addr; getent hosts server'
on client false || echo "status $?"
on server reboot
on server systemctl is-active hello.service
`}}
	run := func(spec job.Spec) (job.Result, string) {
		var log bytes.Buffer
		r := stage.Run(context.Background(), spec, stage.Env{Sandbox: world.manager, Nodes: environment.NewNspawn(world.manager), Blobs: b.blobs, Repositories: server{b.mux}, Log: &log})
		return r, log.String()
	}
	r, log := run(spec)
	if r.Outcome != job.Passed || !strings.Contains(log, "from the server: hello, patched world") || !strings.Contains(log, "status 1") {
		t.Fatalf("%s: %s\n%s", r.Outcome, r.Cause, tail(log))
	}
	if got := artifacts(r, job.LogFile); len(got) != 2 || got["server.journal.txt"] == "" {
		t.Errorf("artifacts %v", got)
	}
	spec.Scenario.Script = "echo one; on server sh -c 'echo the server has no moon >&2; exit 4'\n"
	r, log = run(spec)
	if f := r.First(); r.Outcome != job.Failed || f.String() != "tests/words.sh: the server has no moon (exit status 4)" {
		t.Errorf("%s: %s\n%s", r.Outcome, r.Cause, tail(log))
	}
	spec.Scenario.Nodes[0].Install = []string{"hello-absent"}
	r, log = run(spec)
	if f := r.First(); r.Outcome != job.Failed || !strings.Contains(f.Message, "Unable to locate package hello-absent") || strings.Contains(log, "run the scenario") {
		t.Errorf("%s: %s\n%s", r.Outcome, r.Cause, tail(log))
	}
}
