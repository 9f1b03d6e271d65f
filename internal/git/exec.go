package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// call says how one git process is run.
type call struct {
	dir    string // the repository
	noRepo bool   // dir is only the current folder
	stdin  io.Reader
	config [][2]string // more configuration, by the environment
}

// maxOutput bounds what a command may answer, in bytes.
const maxOutput = 256 << 20

// base is the configuration of every git process: no hooks, no attributes, no
// helpers, no protocol but those allowed, arriving objects checked.
func (s *Store) base() [][2]string {
	c := [][2]string{
		{"core.hooksPath", os.DevNull},
		{"core.attributesFile", os.DevNull},
		{"core.fsmonitor", "false"},
		{"core.askPass", ""},
		{"core.alternateRefsCommand", "true"},
		{"credential.helper", ""},
		{"gc.auto", "0"},
		{"maintenance.auto", "false"},
		{"submodule.recurse", "false"},
		{"fetch.recurseSubmodules", "false"},
		{"transfer.fsckObjects", "true"},
		{"transfer.bundleURI", "false"},
		{"protocol.allow", "never"},
		{"protocol.http.allow", "always"},
		{"protocol.https.allow", "always"},
		{"http.followRedirects", "false"}, // a redirect would take the credentials along
		{"http.lowSpeedLimit", "1"},
		{"http.lowSpeedTime", "120"},
		{"pack.writeReverseIndex", "true"},
	}
	if s.opt.AllowFile {
		c = append(c, [2]string{"protocol.file.allow", "always"})
	}
	for _, id := range s.opt.FsckIgnore {
		c = append(c, [2]string{"fetch.fsck." + id, "ignore"})
	}
	return c
}

// command prepares a git process with an environment made from nothing.
func (s *Store) command(ctx context.Context, c call, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.git, args...)
	cmd.Dir = c.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"LC_ALL=C",
		"TZ=UTC",
		"HOME=/nonexistent",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_LITERAL_PATHSPECS=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_OPTIONAL_LOCKS=0",
	}
	if !c.noRepo {
		cmd.Env = append(cmd.Env, "GIT_DIR="+c.dir)
	}
	config := append(s.base(), c.config...)
	cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(config)))
	for i, kv := range config {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, kv[1]))
	}
	// git starts helpers (git-remote-https, index-pack): they end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// commandError is a git process that failed. It names the subcommand only:
// arguments may be long, and the environment may hold credentials.
type commandError struct {
	verb   string
	code   int
	stderr string
	err    error
}

func (e *commandError) Error() string {
	if e.stderr != "" {
		return fmt.Sprintf("git %s: %v: %s", e.verb, e.err, e.stderr)
	}
	return fmt.Sprintf("git %s: %v", e.verb, e.err)
}

func (e *commandError) Unwrap() error { return e.err }

func newCommandError(ctx context.Context, verb string, err error, stderr string) error {
	e := &commandError{verb: verb, code: -1, err: err, stderr: strings.TrimSpace(stderr)}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		e.code = exit.ExitCode()
	}
	if ctx.Err() != nil {
		e.err = ctx.Err()
	}
	return e
}

// exitCode is the exit status of a failed git process, -1 for other errors.
func exitCode(err error) int {
	var e *commandError
	if errors.As(err, &e) {
		return e.code
	}
	return -1
}

// run runs git and returns its standard output.
func (s *Store) run(ctx context.Context, c call, args ...string) ([]byte, error) {
	cmd := s.command(ctx, c, args...)
	cmd.Stdin = c.stdin
	out, errOut := &boundedBuffer{max: maxOutput}, &boundedBuffer{max: 64 << 10, drop: true}
	cmd.Stdout, cmd.Stderr = out, errOut
	if err := cmd.Run(); err != nil {
		if out.full {
			return nil, fmt.Errorf("git %s: answer over %d bytes: %w", args[0], maxOutput, ErrTooLarge)
		}
		return nil, newCommandError(ctx, args[0], err, errOut.buf.String())
	}
	return out.buf.Bytes(), nil
}

// boundedBuffer keeps at most max bytes: then it fails, or drops the rest.
type boundedBuffer struct {
	buf  bytes.Buffer
	max  int
	drop bool
	full bool
}

func (b *boundedBuffer) Write(p []byte) (int, error) {
	if b.buf.Len()+len(p) > b.max {
		b.full = true
		if !b.drop {
			return 0, ErrTooLarge
		}
		b.buf.Write(p[:b.max-b.buf.Len()])
		return len(p), nil
	}
	return b.buf.Write(p)
}
