package environment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// Driver starts environments.
type Driver interface {
	// Name is the driver's name in configuration and labels: "nspawn".
	Name() string
	// Start starts every node and returns when all have booted. What it
	// started is gone if it returns an error.
	Start(ctx context.Context, r Request) (Environment, error)
}

// Request describes an environment.
type Request struct {
	Name  string   // for messages
	Nodes []string // names: they become host names
	// Layers are the root of every node, the lowest first.
	Layers []sandbox.Layer
	// Repositories serves http://127.0.0.1:3142/ in each node; nil: nothing does.
	Repositories http.Handler
	// Sources, if any, are made the only repositories of each node.
	Sources []job.Repository
	Limits  job.Limits // of each node
	// Log gets the consoles' output, a line at a time, with the node's name.
	Log io.Writer
}

// Environment is a set of running nodes.
type Environment interface {
	// Nodes gives their names in the order of the request.
	Nodes() []string
	// Address gives a node's address in the environment's network.
	Address(node string) string
	// Exec runs a command on a node as root and waits. Its error is a
	// *sandbox.ExitError if the command failed, ctx's error if it was stopped
	// (its process group is killed), a *NodeError if the node is not there.
	Exec(ctx context.Context, c Command) error
	// PackageArgs are the arguments that apt-get or dnf needs on the nodes
	// before its verb, for the request's Sources.
	PackageArgs() []string
	// Reboot restarts a node and returns when it has booted again. Its files stay.
	Reboot(ctx context.Context, node string) error
	// Journal writes a node's journal as text: an artifact of a test.
	Journal(ctx context.Context, node string, w io.Writer) error
	// Close stops every node and leaves nothing behind. It may be called
	// more than once.
	Close() error
}

// Command is a command on a node.
type Command struct {
	Node           string
	Args           []string
	Env            map[string]string
	Dir            string // "/" if empty
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// NodeError says that a node, not the command on it, failed.
type NodeError struct {
	Node string
	What string
	Err  error
	// Console is the last of what the node printed.
	Console string
}

func (e *NodeError) Error() string {
	s := fmt.Sprintf("node %s: %s", e.Node, e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Console != "" {
		s += "\nits console ends with:\n" + e.Console
	}
	return s
}

// Unwrap gives the cause.
func (e *NodeError) Unwrap() error { return e.Err }

// ErrNoNode is the cause when a request names a node that the environment lacks.
var ErrNoNode = errors.New("the environment has no such node")

// ErrDown is the cause when a node does not run.
var ErrDown = errors.New("the node is down")

var nodeName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$`)

// maxNodes is how many an environment may have.
const maxNodes = 32

// check refuses a request that cannot work.
func (r *Request) check() error {
	if len(r.Nodes) == 0 || len(r.Nodes) > maxNodes {
		return fmt.Errorf("environment %s: %d nodes; it must have 1 to %d", r.Name, len(r.Nodes), maxNodes)
	}
	seen := map[string]bool{"localhost": true}
	for _, n := range r.Nodes {
		if !nodeName.MatchString(n) || seen[n] {
			return fmt.Errorf("environment %s: %q cannot be a node's name: names are unique, of lower-case letters, digits and dashes", r.Name, n)
		}
		seen[n] = true
	}
	return nil
}
