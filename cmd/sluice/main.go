// Command sluice gates packages: a change proposed in Gerrit is built, published
// to a test repository, installed and system-tested before it merges; the
// moment it merges, the very packages that were tested are in the signed
// repositories. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is stamped by the Makefile.
var version = "dev"

// commands is what the program can do.
type commands struct {
	Serve       serveCommand   `cmd:"" help:"Run the service."`
	Worker      workerCommand  `cmd:"" help:"Run jobs on this machine for a service."`
	Migrate     migrateCommand `cmd:"" help:"Bring the database's schema to this version (serve does it too)."`
	CheckConfig checkCommand   `cmd:"" help:"Say what is wrong with a site file or a package file, without starting anything."`
	Fsck        fsckCommand    `cmd:"" help:"Check the database's invariants, every blob and every published repository."`
	Doctor      doctorCommand  `cmd:"" help:"Check that Gerrit lets the gate do its work."`

	clientCommands

	Version kong.VersionFlag `help:"Say the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends what does not heed the first
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run carries out one command and gives its exit status: 0 done, 1 failed, 2 used wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c commands
	status := -1
	parser, err := kong.New(&c,
		kong.Name("sluice"), kong.Description("A package gate in front of Gerrit."), kong.Vars{"version": version},
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { status = code }), kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(output{stdout, stderr}))
	if err != nil {
		fmt.Fprintln(stderr, "sluice:", err)
		return 1
	}
	words, err := parser.Parse(args)
	if status >= 0 {
		return status
	}
	if err != nil {
		fmt.Fprintf(stderr, "sluice: %v%s\n", err, advice(err.Error()))
		return 2
	}
	if err = words.Run(); err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintln(stderr, "sluice:", err)
	}
	var wrong misuse
	switch {
	case errors.As(err, &wrong):
		return 2
	case err != nil:
		return 1
	}
	return 0
}

// advice says what to do about words that are no command line.
func advice(wrong string) string {
	switch {
	case strings.HasPrefix(wrong, "--config: ") && strings.HasSuffix(wrong, "no such file or directory"):
		return "; --config says where the site file is, README.md how to write one"
	case strings.HasPrefix(wrong, "unexpected argument") && !strings.Contains(wrong, "did you mean"):
		return "; sluice --help says what there is"
	}
	return ""
}

// misuse is an error in what was given on the command line: no service could do it.
type misuse struct{ error }

func misused(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

// errSaid is a failure that was already told.
var errSaid = errors.New("failed")

// output is where a command writes.
type output struct{ out, err io.Writer }

// logger writes to standard error, a line an event.
func (o output) logger(debug bool) *slog.Logger {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(o.err, &slog.HandlerOptions{Level: level}))
}
