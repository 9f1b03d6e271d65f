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
	"sluice/internal/trial"
)

// service is the running sluice, as its API shows it.
type service struct {
	url   string
	moved chan struct{} // has an element when something has changed
	died  <-chan struct{}
}

// site is the end of the demo's site file.
const site = `stages:
  lint: {voting: false} # Debian's packages have old sins
repositories: {origin: Sluice demo, label: Sluice demo}
`

// startService writes the site file and starts the service.
func (d *demo) startService(ctx context.Context) error {
	g := trial.Gerrit{
		URL: d.gerrit.url, SSH: "127.0.0.1:" + d.gerrit.settings["GERRIT_SSH_PORT"], User: "gate",
		TokenFile: d.place.path("gate-token"), KeyFile: d.place.path("gerrit/accounts/gate.key"), KnownHostsFile: d.place.path("gerrit/known_hosts"),
	}
	if err := os.WriteFile(g.TokenFile, []byte(d.gerrit.settings["GATE_TOKEN"]), 0o600); err != nil {
		return err
	}
	s := &trial.Service{
		Program: "bin/sluice", URL: fmt.Sprintf("http://127.0.0.1:%d", d.place.Ports["service"]),
		Config: d.place.path("sluice.yaml"), Database: os.Getenv("DATABASE_URL"),
	}
	text := trial.Site(s.URL, d.place.path("sluice"), g) + trial.RealDists(d.place.path("rpm-distro"), "packages/*") + site
	if err := os.WriteFile(s.Config, []byte(text), 0o644); err != nil {
		return err
	}
	err := s.Serve(ctx, d.place.path("serve.log"), "/readyz")
	if s.Process != nil {
		d.procs.add(s.Process)
		err = errors.Join(err, os.WriteFile(d.place.path("serve.pid"), fmt.Append(nil, s.Pid()), 0o644))
	}
	if err != nil {
		return err
	}
	d.service = &service{url: s.URL, moved: make(chan struct{}, 1), died: s.Ended}
	go d.service.listen(ctx)
	return nil
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
