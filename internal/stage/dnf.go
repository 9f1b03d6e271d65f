package stage

import (
	"context"
	"fmt"
	"io"
	"strings"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// dnf is the manager of rpm systems.
type dnf struct{ a *attempt }

var dnfEnv = map[string]string{"LC_ALL": "C.UTF-8", "HOME": "/root", "COLUMNS": "400"}

// command is a call of dnf with the target's release version.
func (m *dnf) command(network bool, args ...string) sandbox.Command {
	all := []string{"dnf", "-y", "--disableplugin=local", "--setopt=install_weak_deps=False", "--setopt=keepcache=False", "--setopt=best=True"}
	if v := m.a.spec.Target.Codename; v != "" {
		all = append(all, "--releasever="+v)
	}
	if !network {
		all = append(all, "--cacheonly")
	}
	return sandbox.Command{Args: append(all, args...), Env: dnfEnv, Repositories: network}
}

func (m *dnf) refresh(ctx context.Context, b *sandbox.Box, repos []job.Repository) error {
	if _, err := b.ConfigureRepositories(ctx, repos); err != nil {
		return err
	}
	return m.a.run(ctx, b, m.command(true, "makecache"))
}

// resolve reads the table of a transaction that is not carried out. Packages
// are keyed by their repository's state, as the table has no digests.
func (m *dnf) resolve(ctx context.Context, b *sandbox.Box, want request) ([]planned, error) {
	if len(want.Names) == 0 {
		return nil, nil
	}
	m.a.log.begin()
	c := m.command(false, append([]string{"--assumeno", "install"}, want.Names...)...)
	out := &limited{max: maxOutput}
	c.Stdout, c.Stderr = io.MultiWriter(m.a.log, out), m.a.log
	err := b.Run(ctx, c)
	plan, ok := parseTransaction(out.String())
	if err != nil && !ok {
		return nil, m.a.explain(ctx, c, err)
	}
	states := map[string]string{}
	for _, r := range m.a.spec.Repositories {
		if states[r.Name], err = m.a.states(ctx, []job.Repository{r}); err != nil {
			return nil, err
		}
		if r.Kind == job.Upstream {
			states[r.Name] = r.Path // name, version and architecture say it all
		}
	}
	for i := range plan {
		plan[i].Digest = states[plan[i].Digest]
	}
	return plan, nil
}

// parseTransaction reads the table that dnf prints before it asks: name,
// architecture, version, repository, size. Long names are on a line of their
// own. Digest is the repository. ok is false when there was no table, and no
// word that there is nothing to do.
func parseTransaction(text string) (plan []planned, ok bool) {
	var fields []string
	rules := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "Nothing to do"):
			return nil, true
		case strings.HasPrefix(line, "=====") && strings.Trim(line, "=") == "", strings.HasPrefix(line, "-----"):
			rules++
			continue
		case strings.HasPrefix(line, "Transaction Summary"), strings.HasPrefix(line, "Transaction Summary:"):
			return tablePackages(fields), true
		case rules < 2, strings.HasSuffix(line, ":"), strings.HasPrefix(line, "replacing "):
			continue
		}
		fields = append(fields, strings.Fields(line)...)
	}
	return nil, false
}

// tablePackages reads the columns; a size in bytes has no unit.
func tablePackages(f []string) (plan []planned) {
	for len(f) >= 5 {
		plan = append(plan, planned{Name: f[0] + "." + f[1], Version: f[2], Digest: f[3]})
		f = f[5:]
		if len(f) > 0 && (f[0] == "k" || f[0] == "M" || f[0] == "G") {
			f = f[1:]
		}
	}
	return plan
}

func (m *dnf) download(ctx context.Context, b *sandbox.Box, want request) (string, error) {
	const folder = "/var/cache/sluice-download"
	if err := b.MkdirAll(folder, sandbox.Root); err != nil {
		return "", err
	}
	return folder, m.a.run(ctx, b, m.command(true, append([]string{"--downloadonly", "--downloaddir=" + folder, "install"}, want.Names...)...))
}

func (m *dnf) installFiles(ctx context.Context, b *sandbox.Box, folder string) error {
	c := m.command(false, "install")
	c.Args = []string{"sh", "-ec", `folder=$1; shift; exec "$@" --disablerepo=* "$folder"/*.rpm`, "sh", folder}
	c.Args = append(c.Args, m.command(false, "install").Args...)
	return m.a.run(ctx, b, c)
}

func (m *dnf) install(ctx context.Context, b *sandbox.Box, names ...string) error {
	if err := m.a.run(ctx, b, m.command(true, append([]string{"install"}, names...)...)); err != nil {
		return err
	}
	// dnf goes on, and exits with 0, after a scriptlet that failed.
	for _, f := range m.a.log.found().Findings {
		if f.Rule == "scriptlet" {
			return fails(f)
		}
	}
	return nil
}

func (m *dnf) remove(ctx context.Context, b *sandbox.Box, name string) error {
	if err := m.a.run(ctx, b, m.command(false, "remove", name)); err != nil {
		return err
	}
	for _, f := range m.a.log.found().Findings {
		if f.Rule == "scriptlet" {
			return fails(f)
		}
	}
	return nil
}

func (m *dnf) exact(name, version string) string {
	if epoch, rest, ok := strings.Cut(version, ":"); ok {
		if epoch == "0" {
			return name + "-" + rest
		}
		return name + "-" + epoch + ":" + rest
	}
	return name + "-" + version
}

func (m *dnf) versions(ctx context.Context, b *sandbox.Box) (map[string]string, error) {
	text, err := m.a.output(ctx, b, sandbox.Command{Args: []string{"rpm", "-qa", "--qf", `%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n`}, Env: dnfEnv})
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if name, version, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			out[name] = version
		}
	}
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("the root %s has no rpm database", m.a.spec.Root.Name)
	}
	return out, err
}
