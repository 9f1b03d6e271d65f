package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sluice/api"
	"sluice/internal/trial"
)

// clients installs what landed as an outside client does: in a fresh copy of
// the dist's minimal root, with the sources that the service tells people to
// write, and nothing else.
func (d *demo) clients(ctx context.Context, story []*change) error {
	for _, target := range trial.Targets {
		if err := d.client(ctx, target, story); err != nil {
			return fmt.Errorf("as a client of %s: %w", target, err)
		}
	}
	return nil
}

func (d *demo) client(ctx context.Context, target string, story []*change) error {
	r, err := get[api.Repository](ctx, d.service, "repositories/%s/updates", target)
	if err != nil {
		return err
	}
	root := d.place.path("client")
	defer os.RemoveAll(root)
	if err := d.freshRoot(ctx, root, target, story); err != nil {
		return err
	}
	for _, folder := range []string{"etc/apt/sources.list.d", "etc/yum.repos.d"} {
		if err := os.RemoveAll(filepath.Join(root, folder)); err != nil {
			return err
		}
	}
	_ = os.Remove(filepath.Join(root, "etc/apt/sources.list"))
	file := filepath.Join(root, r.Sources.File)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(r.Sources.Text), 0o644); err != nil {
		return err
	}
	wanted, version := []string{"figlet"}, []string{"rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}"}
	install := [][]string{{"dnf", "-y", "--setopt=install_weak_deps=False", "install"}}
	check := []string{"gpgcheck=1", "repo_gpgcheck=1"}
	if r.Repository.Format == "deb" {
		wanted, version = []string{"figlet", "tree", "sysvbanner"}, []string{"dpkg-query", "-W", "-f", "${Version}"}
		install = [][]string{{"apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"}, {"apt-get", "-q", "-y", "--no-install-recommends", "install"}}
		check = []string{"Signed-By:"}
	}
	for _, c := range check {
		if !strings.Contains(r.Sources.Text, c) {
			return fmt.Errorf("%s does not say %s:\n%s", r.Sources.File, c, r.Sources.Text)
		}
	}
	install[len(install)-1] = append(install[len(install)-1], wanted...)
	for _, args := range install {
		if _, err := d.inside(ctx, root, args...); err != nil {
			return err
		}
	}
	for _, name := range wanted {
		got, err := d.inside(ctx, root, append(version, name)...)
		if err != nil {
			return err
		}
		if landed := landedVersion(r, name); got != landed {
			return fmt.Errorf("%s %s was installed, and %s has landed", name, got, landed)
		}
		say("%s installs %s %s from %s, signature checked (%s)", install[0][0], name, got, r.Repository.Address, strings.Join(check, ", "))
	}
	return d.runs(ctx, root)
}

// runs holds the installed figlet to be the one that this run has landed.
func (d *demo) runs(ctx context.Context, root string) error {
	said, err := d.inside(ctx, root, "figlet", "-v")
	if err != nil {
		return err
	}
	if note := fmt.Sprintf("Built in run %d of the demo", d.place.Run); !strings.Contains(said, note) {
		return fmt.Errorf("the installed figlet does not say %q:\n%s", note, said)
	}
	art, err := d.inside(ctx, root, "figlet", "sluice")
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n\n", art)
	return nil
}

func landedVersion(r api.Repository, name string) string {
	for _, p := range r.Packages {
		if p.Kind == "package" && p.Name == name {
			return p.Version
		}
	}
	return "none"
}

// freshRoot unpacks the root that the install tests of the target had.
func (d *demo) freshRoot(ctx context.Context, root, target string, story []*change) error {
	address, err := d.rootArchive(ctx, target, story)
	if err != nil {
		return err
	}
	body, err := d.service.open(ctx, address)
	if err != nil {
		return err
	}
	defer body.Close()
	archive := d.place.path("client.tar.zst")
	defer os.Remove(archive)
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	if _, err = out.ReadFrom(body); err != nil {
		out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	return d.procs.do(ctx, d.place.path("client.log"), nil, "tar", "--zstd", "--numeric-owner", "-xpf", archive, "-C", root)
}

// rootArchive finds it by the jobs of what has landed.
func (d *demo) rootArchive(ctx context.Context, target string, story []*change) (string, error) {
	for _, c := range story {
		if c.told.result != lands {
			continue
		}
		b, err := get[api.Buildset](ctx, d.service, "buildsets/%d", c.told.buildset)
		if err != nil {
			return "", err
		}
		for _, s := range b.Buildset.Jobs {
			if s.Stage != "install" || s.Target != target {
				continue
			}
			job, err := get[api.Job](ctx, d.service, "jobs/%d", s.ID)
			if err != nil {
				return "", err
			}
			for _, n := range job.Needs {
				if n.Stage != "root" {
					continue
				}
				made, err := get[api.Job](ctx, d.service, "jobs/%d", n.ID)
				if err != nil {
					return "", err
				}
				for _, a := range made.Artifacts {
					if a.Kind == "root" {
						return a.Address, nil
					}
				}
			}
		}
	}
	return "", fmt.Errorf("no install job of %s names its root", target)
}

// inside runs a command in a root, with this machine's network, and gives what it says.
func (d *demo) inside(ctx context.Context, root string, args ...string) (string, error) {
	box := []string{"--die-with-parent", "--bind", root, "/", "--dev", "/dev", "--proc", "/proc", "--perms", "1777", "--tmpfs", "/tmp",
		"--cap-add", "ALL", "--unshare-pid", "--clearenv", "--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "--setenv", "LC_ALL", "C.UTF-8",
		"--setenv", "HOME", "/root", "--setenv", "DEBIAN_FRONTEND", "noninteractive", "--chdir", "/"}
	out, err := d.procs.output(ctx, nil, "bwrap", append(box, args...)...)
	if err != nil {
		return "", fmt.Errorf("%s: %w:\n%s", strings.Join(args, " "), err, trial.LastLines(string(out), 15))
	}
	return string(bytes.TrimRight(out, "\n")), nil
}
