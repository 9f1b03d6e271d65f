package stage

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// apt is the manager of deb systems.
type apt struct{ a *attempt }

var aptEnv = map[string]string{"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}

// aptArgs: every call is quiet about progress, and fails where it should.
var aptArgs = []string{"apt-get", "-q", "-y", "-o", "APT::Update::Error-Mode=any", "-o", "DPkg::Use-Pty=false", "--no-install-recommends"}

func aptCommand(network bool, args ...string) sandbox.Command {
	return sandbox.Command{Args: append(append([]string{}, aptArgs...), args...), Env: aptEnv, Repositories: network}
}

func (m *apt) refresh(ctx context.Context, b *sandbox.Box, repos []job.Repository) error {
	if _, err := b.ConfigureRepositories(ctx, repos); err != nil {
		return err
	}
	return m.a.run(ctx, b, aptCommand(true, "update"))
}

func (m *apt) verb(want request) []string {
	if want.Source != "" {
		return append(append([]string{"build-dep"}, want.Extra...), want.Source)
	}
	return append([]string{"install"}, want.Names...)
}

var (
	uriLine     = regexp.MustCompile(`^'[^']*' (\S+?)_(\S+?)_\S+?\.deb \d+ ?(\S*)$`)
	builddeps   = regexp.MustCompile(`^builddeps:\S* : (?:Depends: )?`)
	unmetAt     = regexp.MustCompile(`Build-Depends: ([a-z0-9][a-z0-9+.-]+)`)
	reportWords = []string{"Reading package lists", "Building dependency tree", "Reading state information", "Note, using directory"}
)

func (m *apt) resolve(ctx context.Context, b *sandbox.Box, want request) ([]planned, error) {
	args := append([]string{"--print-uris"}, m.verb(want)...)
	text, err := m.a.tee(ctx, b, aptCommand(false, args...), func(line string) bool {
		for _, w := range reportWords {
			if strings.HasPrefix(line, w) {
				return false
			}
		}
		return !strings.HasPrefix(line, "'")
	})
	if err != nil {
		return nil, m.buildDepends(want, err)
	}
	var plan []planned
	for line := range strings.Lines(text) {
		if g := uriLine.FindStringSubmatch(strings.TrimSpace(line)); g != nil {
			plan = append(plan, planned{Name: g[1], Version: g[2], Digest: g[3]})
		}
	}
	return plan, nil
}

// buildDepends says of unmet build dependencies where they are asked for.
func (m *apt) buildDepends(want request, err error) error {
	var v *verdict
	if want.Source == "" || !errors.As(err, &v) || v.Outcome != job.Failed {
		return err
	}
	for i := range v.Findings {
		f := &v.Findings[i]
		if !builddeps.MatchString(f.Message) {
			continue
		}
		f.Message = builddeps.ReplaceAllString(f.Message, "Build-Depends: ")
		f.Rule = "build-depends"
		f.File, f.Line = m.a.sources().prefixed("debian/control"), 0
		if g := unmetAt.FindStringSubmatch(f.Message); g != nil {
			f.Line = m.a.lineOf(f.File, g[1])
		}
	}
	if len(v.Findings) > 0 {
		v.Cause = v.Findings[0].String()
	}
	return v
}

func (m *apt) download(ctx context.Context, b *sandbox.Box, want request) (string, error) {
	args := append([]string{"--download-only"}, m.verb(want)...)
	return "/var/cache/apt/archives", m.a.run(ctx, b, aptCommand(true, args...))
}

func (m *apt) installFiles(ctx context.Context, b *sandbox.Box, folder string) error {
	if err := m.noServices(b); err != nil {
		return err
	}
	c := sandbox.Command{Env: aptEnv, Args: []string{"sh", "-ec",
		strings.Join(aptArgs, " ") + ` --allow-downgrades install "$1"/*.deb; rm -f /var/cache/apt/*.bin`, "sh", folder}}
	return m.a.run(ctx, b, c)
}

// noServices keeps maintainer scripts from starting services in a box.
func (m *apt) noServices(b *sandbox.Box) error {
	return b.WriteFile("/usr/sbin/policy-rc.d", []byte("#!/bin/sh\nexit 101\n"), 0o755, sandbox.Root)
}

func (m *apt) install(ctx context.Context, b *sandbox.Box, names ...string) error {
	if err := m.noServices(b); err != nil {
		return err
	}
	err := m.a.run(ctx, b, aptCommand(true, append([]string{"--allow-downgrades", "install"}, names...)...))
	return m.deepen(ctx, b, names, err)
}

// deepen asks apt again, with the dependency that "is not going to be
// installed", until it names the one that is missing.
func (m *apt) deepen(ctx context.Context, b *sandbox.Box, names []string, err error) error {
	for range 4 {
		var v *verdict
		if !errors.As(err, &v) || v.Outcome != job.Failed || len(v.Findings) == 0 {
			return err
		}
		g := regexp.MustCompile(`Depends: (\S+).* but it is not going to be installed`).FindStringSubmatch(v.Findings[0].Message)
		if g == nil {
			return err
		}
		names = append(append([]string{}, names...), g[1])
		deeper := m.a.run(ctx, b, aptCommand(false, append([]string{"--simulate", "install"}, names...)...))
		var w *verdict
		if !errors.As(deeper, &w) || w.Outcome != job.Failed || len(w.Findings) == 0 || w.Findings[0].Rule != "dependency" {
			return err
		}
		w.Findings = append(w.Findings, v.Findings...)
		err = fails(w.Findings...)
	}
	return err
}

func (m *apt) remove(ctx context.Context, b *sandbox.Box, name string) error {
	return m.a.run(ctx, b, aptCommand(false, "--purge", "--autoremove", "--allow-remove-essential", "remove", name))
}

func (m *apt) exact(name, version string) string { return name + "=" + version }

func (m *apt) versions(ctx context.Context, b *sandbox.Box) (map[string]string, error) {
	text, err := m.a.output(ctx, b, sandbox.Command{Args: []string{"dpkg-query", "-W", "-f", `${db:Status-Status}\t${Package}\t${Version}\n`}})
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(f) == 3 && f[0] == "installed" {
			out[f[1]] = f[2]
		}
	}
	return out, err
}
