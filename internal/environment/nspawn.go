package environment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"sluice/internal/sandbox"
)

// Nspawn is the driver that makes nodes with systemd-nspawn.
type Nspawn struct {
	m *sandbox.Manager
}

// NewNspawn gives the driver; nodes' files are boxes of m.
func NewNspawn(m *sandbox.Manager) *Nspawn { return &Nspawn{m: m} }

// Name is "nspawn".
func (*Nspawn) Name() string { return "nspawn" }

// Available reports what this worker lacks for the driver, or nil.
func (*Nspawn) Available() error {
	for program, pkg := range map[string]string{"systemd-nspawn": "systemd-container", "nsenter": "util-linux", "ip": "iproute2"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("environment: no %s on this worker: install the package %s", program, pkg)
		}
	}
	return nil
}

// nspawnEnv is a running environment.
type nspawnEnv struct {
	r      Request
	m      *sandbox.Manager
	holder *holder
	nodes  []*node
	args   []string
	run    string // folder of notify sockets

	once  sync.Once
	cause error
}

// Start starts all nodes side by side.
func (d *Nspawn) Start(ctx context.Context, r Request) (Environment, error) {
	if err := errors.Join(r.check(), d.Available()); err != nil {
		return nil, err
	}
	e := &nspawnEnv{r: r, m: d.m}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *nspawnEnv) start(ctx context.Context) (err error) {
	if e.r.Log != nil {
		e.r.Log = &sharedLog{w: e.r.Log}
	}
	if e.run, err = os.MkdirTemp("", "sluice-env-"); err != nil {
		return err
	}
	for i, name := range e.r.Nodes {
		n := &node{env: e, name: name, address: e.Address(name), index: i}
		e.nodes = append(e.nodes, n)
		if err := n.prepare(ctx); err != nil {
			return err
		}
	}
	var keep []string
	for _, n := range e.nodes {
		keep = append(keep, n.box.Merged())
	}
	// The holder copies the mounts that are there now: the nodes' among them.
	if e.holder, err = newHolder(keep); err != nil {
		return err
	}
	if err := e.holder.ip(ctx, "link set lo up", "link add br0 type bridge forward_delay 0", "link set br0 up"); err != nil {
		return err
	}
	errs := make([]error, len(e.nodes))
	var wait sync.WaitGroup
	for i, n := range e.nodes {
		wait.Go(func() { errs[i] = n.boot(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// hosts is the /etc/hosts of a node.
func (e *nspawnEnv) hosts() string {
	var s strings.Builder
	s.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
	for _, n := range e.r.Nodes {
		fmt.Fprintf(&s, "%s %s\n", e.Address(n), n)
	}
	return s.String()
}

// Nodes gives the nodes' names.
func (e *nspawnEnv) Nodes() []string { return append([]string(nil), e.r.Nodes...) }

// Address gives a node's address, "" if there is no such node.
func (e *nspawnEnv) Address(name string) string {
	for i, n := range e.r.Nodes {
		if n == name {
			return fmt.Sprintf("10.83.0.%d", 11+i)
		}
	}
	return ""
}

// PackageArgs are for apt-get or dnf.
func (e *nspawnEnv) PackageArgs() []string { return append([]string(nil), e.args...) }

func (e *nspawnEnv) node(name string) (*node, error) {
	for _, n := range e.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, &NodeError{Node: name, What: "unknown", Err: ErrNoNode}
}

// Close stops the nodes at once (their files are thrown away) and frees the network.
func (e *nspawnEnv) Close() error {
	e.once.Do(func() {
		var wait sync.WaitGroup
		var errs []error
		for _, n := range e.nodes {
			wait.Go(n.stop)
		}
		wait.Wait()
		if e.holder != nil {
			e.holder.close()
		}
		for _, n := range e.nodes {
			errs = append(errs, n.remove())
		}
		if e.run != "" {
			errs = append(errs, os.RemoveAll(e.run))
		}
		e.cause = errors.Join(errs...)
	})
	return e.cause
}
