// Command demo plays real input to a real sluice, and judges what comes of it.
//
// It starts a Gerrit and the service, pushes source packages of Debian's
// archive and then a maintainer's changes, approves them all at once, says what
// happens as it happens, and installs what landed as an outside client would.
// It ends with a table, and with a status other than 0 if anything was not as
// it has to be. See docs/demo.md.
//
// The story (what is changed, and what has to become of it) is in story.go;
// what is held to be true at the end is in judge.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	d := &demo{began: time.Now()}
	err := d.run(ctx)
	d.end()
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		say("stopped")
	case err != nil:
		fmt.Fprintf(os.Stderr, "\ndemo: FAILED: %v\n", err)
		os.Exit(1)
	}
}

// demo is one run.
type demo struct {
	place   *place
	gerrit  *gerrit
	service *service
	procs   processes
	began   time.Time
}

// run is the whole demo, step by step.
func (d *demo) run(ctx context.Context) (err error) {
	if d.place, err = openPlace(ctx); err != nil {
		return err
	}
	say("run %d, in %s", d.place.Run, d.place.dir)
	if err := d.prepare(ctx); err != nil {
		return err
	}
	if err := d.startService(ctx); err != nil {
		return err
	}
	say("the dashboard: %s", d.service.url)
	if err := d.service.rootsMade(ctx); err != nil {
		return err
	}
	if err := d.importPackages(ctx); err != nil {
		return err
	}
	story := tell(d.place.Run)
	if err := d.play(ctx, story); err != nil {
		return err
	}
	said := d.judge(ctx, story)
	printTable(story)
	if said == nil {
		said = d.clients(ctx, story)
	}
	if err := errors.Join(said, d.fsck(ctx)); err != nil {
		return err
	}
	say("all as it has to be, after %s", time.Since(d.began).Round(time.Second))
	stays := os.Getenv("DEMO_EXIT") != "1"
	for _, words := range d.lastWords(stays) {
		say("%s", words)
	}
	if stays {
		<-ctx.Done()
	}
	return nil
}

// lastWords say what is there, once all is well: no address of what is stopped.
func (d *demo) lastWords(stays bool) []string {
	if !stays {
		return []string{fmt.Sprintf("Gerrit and the service are stopped now; logs and data are in %s, and the next run goes on from there", d.place.dir)}
	}
	return []string{
		fmt.Sprintf("the dashboard: %s   Gerrit's REST: %s", d.service.url, d.gerrit.url),
		"it stays up; Ctrl-C ends it",
	}
}

// prepare makes what is needed before the service starts, all at once: the
// Gerrit, the RPM distribution, the source packages.
func (d *demo) prepare(ctx context.Context) error {
	say("Gerrit is started, an RPM distribution and source packages are got ready")
	parts := startParts(map[string]func() error{
		"Gerrit": func() (err error) {
			d.gerrit, err = d.startGerrit(ctx)
			return err
		},
		"the RPM distribution": func() error {
			err := d.procs.do(ctx, d.place.path("rpm-distro.log"), nil, "scripts/rpm-distro.sh", d.place.path("rpm-distro"), "libssl-dev")
			if err == nil {
				say("there is a small RPM distribution, made of this machine's own packages")
			}
			return err
		},
		"the source packages": func() error {
			err := d.procs.do(ctx, d.place.path("sources.log"), nil, "scripts/demo/sources.sh", append([]string{d.place.path("sources")}, packageNames()...)...)
			if err == nil {
				say("there are source packages from this machine's Debian archive: %s", strings.Join(packageNames(), ", "))
			}
			return err
		},
	})
	return parts.wait(sayEvery, func(left []string, since time.Duration) {
		say("after %s these are still being got ready: %s", since.Round(time.Second), strings.Join(left, ", "))
	})
}

// end stops all that was started, the service first.
func (d *demo) end() {
	if d.place == nil {
		return
	}
	d.procs.stopAll()
	if err := os.Remove(d.place.path("serve.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		say("%v", err)
	}
	if d.gerrit != nil {
		if err := d.gerrit.stop(d); err != nil {
			say("Gerrit did not stop: %v", err)
		}
	}
	d.place.lock.Close()
}

// fsck holds the service's own check to be clean.
func (d *demo) fsck(ctx context.Context) error {
	say("sluice fsck checks every row, blob and published tree")
	log := d.place.path("fsck.log")
	if err := d.procs.do(ctx, log, nil, "bin/sluice", "fsck", "--config", d.place.path("sluice.yaml")); err != nil {
		return fmt.Errorf("sluice fsck is not clean: %w", err)
	}
	say("sluice fsck: clean")
	return nil
}

var sayLock sync.Mutex // a line at a time

// say tells the person who watches, with the time.
func say(format string, args ...any) {
	sayLock.Lock()
	defer sayLock.Unlock()
	fmt.Printf("%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func readFile(parts ...string) (string, error) {
	b, err := os.ReadFile(filepath.Join(parts...))
	return string(b), err
}
