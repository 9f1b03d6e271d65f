package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"sluice/api"
)

// service is the running sluice, as its API shows it.
type service struct {
	url   string
	moved chan struct{} // has an element when something has changed
	died  <-chan struct{}
}

// site is the site file of the demo.
const site = `listen: 127.0.0.1:%[1]d
url: http://127.0.0.1:%[1]d
data: %[2]s/sluice
gerrit:
  - name: main
    url: %[3]s
    ssh: 127.0.0.1:%[4]s
    user: gate
    token: {file: %[2]s/gate-token}
    key: {file: %[2]s/gerrit/accounts/gate.key}
    known_hosts: %[2]s/gerrit/known_hosts
upstreams:
  - {name: debian, format: deb, host: true} # this machine's own apt sources
  - {name: distro, format: rpm, path: %[2]s/rpm-distro/repo}
dists:
  - name: debian-12
    format: deb
    codename: bookworm
    suffix: "~deb12"
    upstreams: [debian]
    architectures: [{name: amd64}]
    roots:
      build: {method: mmdebstrap, variant: buildd, include: [debhelper, fakeroot]}
      install: {method: mmdebstrap, variant: minbase}
      node: {method: mmdebstrap, variant: minbase, include: [systemd-sysv, dbus, iproute2]}
  - name: rebuilt-12 # what scripts/rpm-distro.sh makes
    format: rpm
    codename: "12"
    suffix: ".rb12"
    upstreams: [distro]
    architectures: [{name: x86_64}]
    roots:
      build: {method: dnf, include: [buildsys-build, dnf, dnf-plugins-core]}
      install: {method: dnf, include: [basesystem, rpm, dnf]}
      node: {method: dnf, include: [basesystem, systemd, rpm, dnf, dbus]}
releases: [{name: juno}]
targets:
  - {release: juno, dist: debian-12}
  - {release: juno, dist: rebuilt-12}
projects:
  - {project: "packages/*", branch: main, releases: [juno], queue: main}
pipelines:
  check: {stages: [build, publish, install], votes: {passed: 1, failed: -1}}
  gate:
    stages: [build, publish, lint, install, upgrade, systest]
    approve: {Workflow: 1}
    votes: {passed: 2, failed: -2}
    fail_fast: true
stages:
  lint: {voting: false} # Debian's packages have old sins
queues: [{name: main}]
repositories: {origin: Sluice demo, label: Sluice demo}
`

// targets are those of the site, and their repositories.
var targets = []string{"juno/debian-12", "juno/rebuilt-12"}

// startService writes the site file and starts the service.
func (d *demo) startService(ctx context.Context) error {
	token := d.place.path("gate-token")
	if err := os.WriteFile(token, []byte(d.gerrit.settings["GATE_TOKEN"]), 0o600); err != nil {
		return err
	}
	text := fmt.Sprintf(site, d.place.Ports["service"], d.place.dir, d.gerrit.url, d.gerrit.settings["GERRIT_SSH_PORT"])
	if err := os.WriteFile(d.place.path("sluice.yaml"), []byte(text), 0o644); err != nil {
		return err
	}
	run, err := d.procs.keep(d.place.path("serve.log"), nil, "bin/sluice", "serve", "--config", d.place.path("sluice.yaml"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.place.path("serve.pid"), fmt.Append(nil, run.cmd.Process.Pid), 0o644); err != nil {
		return err
	}
	d.service = &service{url: fmt.Sprintf("http://127.0.0.1:%d", d.place.Ports["service"]), moved: make(chan struct{}, 1), died: run.ended}
	for try := 0; !d.service.ready(ctx); try++ {
		select {
		case <-run.ended:
			log, _ := readFile(d.place.path("serve.log"))
			return fmt.Errorf("sluice serve ended while starting: %w\n%s", errors.Join(run.err, ctx.Err()), lastLines(log, 15))
		default:
		}
		if try > 1200 {
			return fmt.Errorf("sluice serve is not ready after 5 minutes: see %s", d.place.path("serve.log"))
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	go d.service.listen(ctx)
	return nil
}

// ready asks whether the service can do its work.
func (s *service) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// get reads one answer of the API.
func get[T any](ctx context.Context, s *service, format string, args ...any) (v T, err error) {
	path := fmt.Sprintf("/api/v1/"+format, args...)
	body, err := s.open(ctx, s.url+path)
	if err != nil {
		return v, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&v); err != nil {
		return v, fmt.Errorf("GET %s: %w", path, err)
	}
	return v, nil
}

// open reads an address of the service.
func (s *service) open(ctx context.Context, address string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		resp.Body.Close()
		return nil, fmt.Errorf("GET %s: %s: %s", address, resp.Status, text)
	}
	return resp.Body, nil
}

// listen hears the service's events. Each only says to look.
func (s *service) listen(ctx context.Context) {
	for ctx.Err() == nil {
		body, err := s.open(ctx, s.url+"/api/v1/events")
		if err == nil {
			lines := bufio.NewScanner(body)
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), "event:") && !strings.HasSuffix(lines.Text(), "log") {
					select {
					case s.moved <- struct{}{}:
					default:
					}
				}
			}
			body.Close()
		}
		_ = pause(ctx, time.Second)
	}
}

// wait returns when something has changed, and now and then.
func (s *service) wait(ctx context.Context) error {
	// What happens together is looked at together.
	if err := pause(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	select {
	case <-s.moved:
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	case <-s.died:
		return errors.New("sluice serve has ended")
	}
	return nil
}

// rootsMade waits until all roots are made, and says how it goes.
func (s *service) rootsMade(ctx context.Context) error {
	said, quiet := -1, time.Now()
	for {
		st, err := get[api.Status](ctx, s, "status")
		if err != nil {
			return err
		}
		left := st.Jobs.Waiting + st.Jobs.Queued + st.Jobs.Running
		if len(st.Workers) > 0 && left == 0 {
			return nil
		}
		if left != said {
			if said, quiet = left, time.Now(); left > 0 {
				say("%d jobs to go: roots for builds, installs and nodes are made once, and an earlier run may have left some", left)
			}
		}
		if time.Since(quiet) > patience {
			return fmt.Errorf("no root was made for %s", patience)
		}
		if err := s.wait(ctx); err != nil {
			return err
		}
	}
}
