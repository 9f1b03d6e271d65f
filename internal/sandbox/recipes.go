package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"sluice/internal/job"
)

// makingDB is where rpm's database is while a root is made, in no package's
// way; it is moved to where the root's own rpm looks for it.
const makingDB = "/var/lib/sluice-rpm"

// mmdebstrap makes a root of Debian or a relative.
func (k *kitchen) mmdebstrap(ctx context.Context) error {
	if err := needed("mmdebstrap", "mmdebstrap"); err != nil {
		return err
	}
	variant := k.recipe.Variant
	if variant == "" {
		variant = map[string]string{"build": "buildd"}[k.recipe.Kind]
	}
	if variant == "" {
		variant = "minbase"
	}
	include := append([]string(nil), k.recipe.Include...)
	if k.recipe.Kind == "node" {
		include = append(include, "systemd-sysv", "dbus", "iproute2")
	}
	args := []string{
		"mmdebstrap", "--mode=root", "--format=directory", "--variant=" + variant, "--verbose",
		"--skip=check/empty,chroot/mount/sys,cleanup/apt/lists,cleanup/reproducible,output/mknod,output/dev",
		"--aptopt=APT::Sandbox::User \"root\"", "--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"2\"",
		"--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::http::Proxy \"DIRECT\"", "--aptopt=APT::Update::Error-Mode \"any\"",
		"--dpkgopt=force-unsafe-io",
	}
	if len(include) > 0 {
		args = append(args, "--include="+strings.Join(include, ","))
	}
	args = append(args, k.repos[0].Suite, newRootDir)
	for _, r := range k.repos {
		if r.Format != job.DEB {
			return fmt.Errorf("repository %s is not of format deb", r.Name)
		}
		options := ""
		if r.Key != "" {
			options = "[signed-by=" + keysDir + "/" + r.Name + ".asc] "
		}
		args = append(args, strings.TrimSpace(fmt.Sprintf("deb %s%s %s %s", options, URL(r), r.Suite, strings.Join(r.Components, " "))))
	}
	if err := k.run(ctx, nil, args...); err != nil {
		return err
	}
	// The root's sources as ConfigureRepositories writes them: the lists that
	// were fetched are valid for it.
	inside, err := k.inside()
	if err != nil {
		return err
	}
	defer inside.close()
	return aptRepositories(k.repos).write(inside)
}

// dnf makes a root of an RPM distribution.
func (k *kitchen) dnf(ctx context.Context) error {
	if err := errors.Join(needed("dnf", "dnf"), needed("rpm", "rpm")); err != nil {
		return err
	}
	include := append([]string(nil), k.recipe.Include...)
	if k.recipe.Kind == "node" {
		include = append(include, "systemd", "dbus", "dnf")
	}
	if len(include) == 0 {
		return errors.New("the recipe includes no packages: name at least one, or a group as @core")
	}
	for _, r := range k.repos {
		if r.Format != job.RPM {
			return fmt.Errorf("repository %s is not of format rpm", r.Name)
		}
		if err := k.box.WriteFile("/etc/sluice-repos/"+r.Name+".repo", []byte(repoFile(r, keysDir+"/"+r.Name+".asc")), 0o644, Root); err != nil {
			return err
		}
	}
	conf := "[main]\ninstall_weak_deps=False\nbest=True\nkeepcache=0\nplugins=0\nassumeyes=True\nretries=2\ncachedir=/var/cache/dnf\nlogdir=/var/log\npersistdir=/var/lib/dnf\nreposdir=/etc/sluice-repos\n"
	if err := k.box.WriteFile("/etc/sluice-dnf.conf", []byte(conf), 0o644, Root); err != nil {
		return err
	}
	// Scriptlets run in the root and look for /proc and /dev/null.
	const wrap = `for d in proc dev; do mkdir -p "$ROOT/$d"; mount --rbind /$d "$ROOT/$d"; done; exec "$@"`
	args := []string{
		"/bin/sh", "-ec", wrap, "dnf", "dnf", "-c", "/etc/sluice-dnf.conf", "--installroot=" + newRootDir, "--releasever=0",
		"--setopt=reposdir=/etc/sluice-repos", "--setopt=cachedir=/var/cache/dnf", "--setopt=tsflags=nodocs", "install",
	}
	if err := k.run(ctx, map[string]string{"ROOT": newRootDir}, append(args, include...)...); err != nil {
		return err
	}
	inside, err := k.inside()
	if err != nil {
		return err
	}
	defer inside.close()
	return dnfRepositories(k.repos).write(inside)
}

// moveDatabase puts rpm's database where the root's own rpm has it, and gives
// that place.
func (k *kitchen) moveDatabase(ctx context.Context) (string, error) {
	db, err := k.database(ctx)
	if err != nil || !k.box.exists(newRootDir+makingDB) {
		return db, err
	}
	const move = `d=$(realpath -m "$1$3"); case $d in "$1"/*) ;; *) echo "$3 leads out of the root"; exit 1;; esac
rm -rf "$d"; mkdir -p "$(dirname "$d")"; mv "$1$2" "$d"; rm -f "$d"/.*.lock`
	return db, k.run(ctx, nil, "/bin/sh", "-ec", move, "move", newRootDir, makingDB, db)
}

// database asks the root's own rpm where its database is. For a root without
// rpm, the folders say of which age its distribution is.
func (k *kitchen) database(ctx context.Context) (string, error) {
	if !k.box.exists(newRootDir + "/usr/bin/rpm") {
		if k.box.exists(newRootDir + "/usr/lib/sysimage/rpm") {
			return "/usr/lib/sysimage/rpm", nil
		}
		return "/var/lib/rpm", nil
	}
	db, err := k.output(ctx, "env", "HOME=/nonexistent", "chroot", newRootDir, "/usr/bin/rpm", "--eval", "%{_dbpath}")
	db = strings.TrimSpace(db)
	if err == nil && !strings.HasPrefix(db, "/") {
		err = fmt.Errorf("the root's rpm has its database at %q", db)
	}
	return db, err
}

// inside opens the root in the making.
func (k *kitchen) inside() (*tree, error) {
	f, err := k.box.root.open(newRootDir, oPathDirectory, 0)
	if err != nil {
		return nil, err
	}
	return &tree{dir: f, base: k.box.root.base}, nil
}

// needed says which package a worker lacks.
func needed(program, pkg string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("this worker has no %s: install the package %s on it, or give the job to a worker that has the label", program, pkg)
	}
	return nil
}

// hostTools are the paths of the worker's own system that MakeRoot's boxes
// see, read only: programs and the data they need, no one's files.
type hostTools struct{ paths []string }

// toolPaths are those paths, as far as they are there.
func toolPaths() []string {
	var paths []string
	for _, p := range []string{
		"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
		"/etc/dpkg", "/etc/perl", "/etc/apt/trusted.gpg.d", "/etc/ssl/certs", "/etc/debian_version", "/etc/os-release", "/etc/python3", "/etc/python3.11",
		"/etc/rpm", "/var/lib/dpkg/arch",
	} {
		info, err := os.Lstat(p)
		if err == nil && info.Mode()&os.ModeSymlink == 0 {
			paths = append(paths, p)
		}
	}
	return paths
}

// toolLinks are the links at the top of the worker's tree (merged /usr).
func toolLinks() map[string]string {
	links := map[string]string{}
	for _, p := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if to, err := os.Readlink(p); err == nil {
			links[p] = to
		}
	}
	return links
}
