package stage

import (
	"context"
	"errors"
	"io"
	"strings"

	"sluice/internal/environment"
	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// The system test (R17, R37, R42): the scenario's nodes are started from the
// job's root, the repositories of every change in the item's base are added
// (the test repositories outrank all others), each node's packages are
// installed, and the scenario's script drives the nodes. An installation that
// fails ends the test with that finding. The nodes' journals are artifacts,
// whatever the outcome (R48).
//
// The script is the change's own, so it runs in a box, as on any machine
// without network. The command "on" (on.go) is its only way to the nodes.

// Nodes starts the machines of a system test; environment.Driver is one.
type Nodes interface {
	Start(ctx context.Context, r environment.Request) (environment.Environment, error)
}

func (a *attempt) systest(ctx context.Context) error {
	s := a.spec.Scenario
	if s == nil || len(s.Nodes) == 0 {
		return outside("the job has no scenario with nodes")
	}
	if a.env.Nodes == nil {
		return outside("this worker cannot start nodes: give the job to one that can")
	}
	layers, err := a.ready(ctx)
	if err != nil {
		return err
	}
	a.log.Step(stepNodes)
	r := environment.Request{Name: s.Name, Layers: layers, Sources: a.spec.Repositories, Limits: a.spec.Limits, Log: a.log}
	if a.trace.next != nil {
		r.Repositories = a.trace
	}
	for _, n := range s.Nodes {
		r.Nodes = append(r.Nodes, n.Name)
	}
	env, err := a.env.Nodes.Start(ctx, r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return outside("starting the nodes %s: %v", strings.Join(r.Nodes, ", "), err)
	}
	defer env.Close()
	err = a.onNodes(ctx, env, layers)
	return errors.Join(err, a.journals(ctx, env))
}

// onNodes installs what the scenario wants, and runs its script.
func (a *attempt) onNodes(ctx context.Context, env environment.Environment, layers []sandbox.Layer) error {
	s := a.spec.Scenario
	for _, n := range s.Nodes {
		if len(n.Install) == 0 {
			continue
		}
		a.log.Step("install " + strings.Join(n.Install, " ") + " on " + n.Name)
		a.ask(n.Install...)
		c := aptCommand(true, append([]string{"--allow-downgrades", "install"}, n.Install...)...)
		if a.spec.Target.Format == job.RPM {
			c = (&dnf{a}).command(true, append([]string{"install"}, n.Install...)...)
		}
		a.log.begin()
		err := env.Exec(ctx, environment.Command{Node: n.Name, Args: c.Args, Env: c.Env, Stdout: a.log, Stderr: a.log})
		if err := nodeDown(a.explain(ctx, c, err)); err != nil {
			return err
		}
		for _, f := range a.log.found().Findings {
			if f.Rule == "scriptlet" {
				return fails(f)
			}
		}
	}
	return a.scenario(ctx, env, layers)
}

// nodeDown: a node that is gone while sluice itself uses it is no fault of
// the change that could be shown.
func nodeDown(err error) error {
	var down *environment.NodeError
	if errors.As(err, &down) {
		return outside("%v", err)
	}
	return err
}

// scenario runs the script in a box that can reach the nodes by "on".
func (a *attempt) scenario(ctx context.Context, env environment.Environment, layers []sandbox.Layer) error {
	s := a.spec.Scenario
	a.log.Step("run the scenario " + s.Name)
	b, err := a.env.Sandbox.New(ctx, sandbox.BoxOptions{Name: s.Name, Layers: layers[:1], Limits: a.spec.Limits, Repositories: &remote{a: a, env: env}})
	if err != nil {
		return err
	}
	defer b.Close()
	const script = "/srv/sluice/scenario"
	if err := errors.Join(b.WriteFile("/usr/local/bin/on", []byte(onScript), 0o755, sandbox.Root),
		b.WriteFile(script, []byte(s.Script), 0o755, sandbox.Root)); err != nil {
		return err
	}
	dir := "/srv/sluice"
	if a.spec.Source != nil {
		if err := a.unpack(ctx, b, ".", treeDir, sandbox.Root); err != nil {
			return err
		}
		dir = treeDir
	}
	args := []string{script}
	if !strings.HasPrefix(s.Script, "#!") {
		args = []string{"bash", "-eu", script}
	}
	a.log.begin()
	c := sandbox.Command{Args: args, Dir: dir, Repositories: true, Stdout: a.log, Stderr: a.log, Env: map[string]string{"LC_ALL": "C.UTF-8"}}
	for _, n := range s.Nodes {
		c.Env["ADDRESS_"+strings.ToUpper(strings.ReplaceAll(n.Name, "-", "_"))] = env.Address(n.Name)
	}
	err = b.Run(ctx, c)
	var exit *sandbox.ExitError
	if err == nil || !errors.As(err, &exit) {
		return err
	}
	seen := a.log.found()
	if seen.Outside != "" {
		return outside("%s: %s", s.Name, seen.Outside)
	}
	return fails(lastWords(s.Path, exit, seen))
}

// journals stores each node's journal, if it still can.
func (a *attempt) journals(ctx context.Context, env environment.Environment) error {
	if ctx.Err() != nil {
		return nil
	}
	a.log.Step("keep the journals")
	for _, n := range env.Nodes() {
		r, w := io.Pipe()
		go func() { w.CloseWithError(env.Journal(ctx, n, w)) }()
		err := a.store(ctx, n+".journal.txt", job.LogFile, io.LimitReader(r, 64<<20))
		r.CloseWithError(io.ErrClosedPipe)
		if err != nil {
			a.log.Printf("the journal of %s cannot be kept: %v", n, err)
		}
	}
	return nil
}
