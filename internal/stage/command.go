package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// maxOutput bounds what is kept of a command's output for sluice's own use.
const maxOutput = 16 << 20

// run runs a command with its output in the log. The error of a command that
// failed is a verdict with what the finders saw.
func (a *attempt) run(ctx context.Context, b *sandbox.Box, c sandbox.Command) error {
	a.log.begin()
	w := io.Writer(a.log)
	c.Stderr = w
	if c.Stdout == nil {
		c.Stdout = w
	}
	return a.explain(ctx, c, b.Run(ctx, c))
}

// output runs a command and gives what it wrote to stdout; stderr is logged.
func (a *attempt) output(ctx context.Context, b *sandbox.Box, c sandbox.Command) (string, error) {
	out := &limited{max: maxOutput}
	c.Stdout = out
	err := a.run(ctx, b, c)
	if err == nil && out.over {
		err = a.fail("limit", "", 0, "%s printed more than %d MiB", c.Args[0], maxOutput>>20)
	}
	return out.String(), err
}

// quiet runs a command of which nothing is logged, and gives stdout and stderr.
func (a *attempt) quiet(ctx context.Context, b *sandbox.Box, c sandbox.Command) (string, error) {
	out := &limited{max: maxOutput}
	c.Stdout, c.Stderr = out, out
	return out.String2(b.Run(ctx, c))
}

// explain makes a verdict of an *ExitError, from what the finders saw.
func (a *attempt) explain(ctx context.Context, c sandbox.Command, err error) error {
	var exit *sandbox.ExitError
	if err == nil || ctx.Err() != nil || !errors.As(err, &exit) {
		return err
	}
	seen := a.log.found()
	if seen.Outside != "" {
		return outside("%s: %s", a.log.StepName(), seen.Outside)
	}
	if c.Repositories && seen.Fetch != "" {
		return outside("%s: %s", a.log.StepName(), seen.Fetch)
	}
	if len(seen.Findings) > 0 {
		return fails(seen.Findings...)
	}
	return fails(lastWords("", exit, seen))
}

// lastWords is the finding when nothing else is known: the last line that
// was printed, and how the command ended.
func lastWords(file string, exit *sandbox.ExitError, seen scanned) job.Finding {
	how := fmt.Sprintf("exit status %d", exit.Code)
	if exit.Signal != "" {
		how = "signal: " + exit.Signal
	}
	message := fmt.Sprintf("%s (%s)", cutText(seen.Last, 400), how)
	if seen.Last == "" {
		message = fmt.Sprintf("%s ended with %s and said nothing", path.Base(exit.Command), how)
	}
	return job.Finding{Severity: "error", File: file, Message: message, LogLine: seen.Line, Excerpt: seen.Excerpt, Rule: "last-words"}
}

// limited keeps the first max bytes of what is written to it.
type limited struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := l.max - l.buf.Len()
	if len(p) > room {
		l.over = true
		l.buf.Write(p[:room])
		return len(p), nil
	}
	return l.buf.Write(p)
}

func (l *limited) String() string { return l.buf.String() }

// String2 gives the text beside an error.
func (l *limited) String2(err error) (string, error) { return l.String(), err }

// box makes a box on layers, with the job's limits and repositories.
func (a *attempt) box(ctx context.Context, name string, layers []sandbox.Layer) (*sandbox.Box, error) {
	opt := sandbox.BoxOptions{Name: fmt.Sprintf("%d-%s", a.spec.Job, name), Layers: layers, Limits: a.spec.Limits}
	if a.trace.next != nil {
		opt.Repositories = a.trace
	}
	return a.env.Sandbox.New(ctx, opt)
}

// root is the layer of the job's root.
func (a *attempt) root(ctx context.Context) (sandbox.Layer, error) {
	if a.spec.Root == nil {
		return sandbox.Layer{}, outside("the job names no root")
	}
	archive := a.spec.Root.Archive
	l, err := a.env.Sandbox.Root(ctx, archive, func(ctx context.Context) (io.ReadCloser, error) {
		return a.env.Blobs.Open(ctx, archive)
	})
	if err != nil && ctx.Err() == nil {
		return l, outside("preparing the root %s: %v", a.spec.Root.Name, err)
	}
	return l, err
}

// keep stores a file of a box as an artifact. A name that could mean
// anything but a plain file is refused.
func (a *attempt) keep(ctx context.Context, b *sandbox.Box, name string, kind job.ArtifactKind) error {
	base := path.Base(name)
	if !plainFile(base) {
		return a.fail("artifact", "", 0, "the build made a file with the name %q: letters, digits and . _ + - ~ ^ : only", cutText(base, 100))
	}
	f, err := b.Open(name)
	if err != nil {
		return a.fail("artifact", "", 0, "the build's file %s cannot be read: %v", base, err)
	}
	defer f.Close()
	if err := check(f, base); err != nil {
		return a.fail("artifact", "", 0, "%s: %v", base, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return a.store(ctx, base, kind, f)
}

// store uploads an artifact.
func (a *attempt) store(ctx context.Context, name string, kind job.ArtifactKind, r io.Reader) error {
	file, err := a.env.Blobs.Put(ctx, name, r)
	if err != nil {
		return fmt.Errorf("storing the artifact %s: %w", name, err)
	}
	a.artifacts = append(a.artifacts, job.Artifact{File: file, Kind: kind})
	return nil
}

// plainFile reports whether name is harmless as a file's name.
func plainFile(name string) bool {
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._+-~^:@=", r):
		default:
			return false
		}
	}
	return name != "" && name[0] != '.' && name[0] != '-' && len(name) <= 255
}

// epoch is SOURCE_DATE_EPOCH of the job.
func (a *attempt) epoch() int64 {
	if a.spec.Source == nil || a.spec.Source.Date.IsZero() {
		return stableTime.Unix()
	}
	return a.spec.Source.Date.Unix()
}

// stableTime is what files get whose content alone should count.
var stableTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
