package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/internal/job"
)

// Where MakeRoot's boxes have things.
const (
	newRootDir = "/root-in-the-making"
	keysDir    = "/etc/sluice-keys"
)

// mountedPaths keeps rpm from changing the owner of what is mounted from
// outside: the package filesystem owns /proc and /dev.
const mountedPaths = "%_netsharedpath /proc:/dev:/sys\n"

// MakeRoot makes a root from a recipe, writes it to out as a tar.zst, and
// gives the digest of its list of packages, by which the root is named:
// SHA-256 of the sorted lines "name version architecture". Progress goes to
// log, line by line.
//
// The tools (mmdebstrap, dnf, the recipe's script) are the worker's own. They
// run in a box whose file system shows only the worker's programs, and whose
// network is the given repositories, of kind upstream, at the address that
// they have in every box: the root's own sources need no rewriting. Signatures
// are checked with each repository's Key, or with the worker's Debian
// keyrings where a deb repository has none.
//
// What a recipe needs and the worker lacks is an error that says which
// package to install.
func (m *Manager) MakeRoot(ctx context.Context, recipe job.Recipe, repos []job.Repository, repositories http.Handler, log io.Writer, out io.Writer) (job.Digest, error) {
	d, err := m.makeRoot(ctx, recipe, repos, repositories, log, out)
	if err != nil {
		return "", fmt.Errorf("making root %s by %s: %w", recipe.Name, recipe.Method, err)
	}
	return d, nil
}

func (m *Manager) makeRoot(ctx context.Context, recipe job.Recipe, repos []job.Repository, repositories http.Handler, log io.Writer, out io.Writer) (job.Digest, error) {
	var wanted []job.Repository
	for _, r := range repos {
		if r.Kind == job.Upstream {
			if err := checkRepository(r.Format, r); err != nil {
				return "", err
			}
			wanted = append(wanted, r)
		}
	}
	if len(wanted) == 0 && recipe.Method != "script" {
		return "", errors.New("no upstream repositories to make it from: name them in the recipe's upstream list")
	}
	b, err := m.newBox(BoxOptions{Name: "root " + recipe.Name, Repositories: repositories, Limits: job.Limits{Timeout: 2 * time.Hour}}, &hostTools{paths: toolPaths()})
	if err != nil {
		return "", err
	}
	defer b.Close()
	k := &kitchen{box: b, recipe: recipe, repos: wanted, log: log}
	if err := k.prepare(); err != nil {
		return "", err
	}
	switch recipe.Method {
	case "mmdebstrap":
		err = k.mmdebstrap(ctx)
	case "dnf":
		err = k.dnf(ctx)
	case "script":
		err = k.script(ctx)
	default:
		err = fmt.Errorf("unknown method %q: use mmdebstrap, dnf or script", recipe.Method)
	}
	if err != nil {
		return "", err
	}
	return k.serve(ctx, out)
}

// kitchen is one root being made.
type kitchen struct {
	box    *Box
	recipe job.Recipe
	repos  []job.Repository
	log    io.Writer
}

func (k *kitchen) say(format string, args ...any) {
	fmt.Fprintf(k.log, "sluice: "+format+"\n", args...)
}

// prepare makes the folders, accounts and keys that the tools look for.
func (k *kitchen) prepare() error {
	b := k.box
	for _, dir := range []string{"/tmp", "/var/tmp", "/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/cache/dnf", "/var/lib/dnf", "/var/log", "/run", "/root", "/etc/apt/apt.conf.d", newRootDir, keysDir} {
		if err := b.MkdirAll(dir, Root); err != nil {
			return err
		}
	}
	for link, to := range toolLinks() {
		if err := os.Symlink(to, b.Upper()+link); err != nil {
			return err
		}
	}
	files := map[string]string{
		"/etc/passwd":          "root:x:0:0:root:/root:/bin/sh\n_apt:x:100:65534::/nonexistent:/usr/sbin/nologin\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
		"/etc/group":           "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n",
		"/etc/hosts":           "127.0.0.1 localhost sluice\n",
		"/etc/nsswitch.conf":   "passwd: files\ngroup: files\nhosts: files\n",
		"/var/lib/dpkg/status": "",
		"/root/.rpmmacros":     "%_dbpath " + makingDB + "\n%__gpg /usr/bin/gpg\n" + mountedPaths,
	}
	for _, r := range k.repos {
		if r.Key != "" {
			files[keysDir+"/"+r.Name+".asc"] = r.Key
		}
	}
	for name, text := range files {
		if err := b.WriteFile(name, []byte(text), 0o644, Root); err != nil {
			return err
		}
	}
	return nil
}

// run runs a tool in the kitchen, with its words in the log.
func (k *kitchen) run(ctx context.Context, env map[string]string, args ...string) error {
	k.say("running %s", k.recipe.Method)
	w := &lines{w: k.log}
	defer w.flush()
	return k.box.Run(ctx, Command{Args: args, Env: env, Repositories: k.box.opt.Repositories != nil, Stdout: w, Stderr: w})
}

// output runs a tool and gives what it printed, at most 16 MiB.
func (k *kitchen) output(ctx context.Context, args ...string) (string, error) {
	var out, bad bytes.Buffer
	err := k.box.Run(ctx, Command{Args: args, Stdout: &capped{w: &out, left: 16 << 20}, Stderr: &capped{w: &bad, left: 4096}})
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(bad.String()))
	}
	return out.String(), nil
}

// script runs the recipe's own script. It makes the tree at $ROOT.
func (k *kitchen) script(ctx context.Context) error {
	if err := k.box.WriteFile("/root/make-root", []byte(k.recipe.Script), 0o755, Root); err != nil {
		return err
	}
	env := map[string]string{"ROOT": newRootDir, "KIND": k.recipe.Kind, "INCLUDE": strings.Join(k.recipe.Include, " ")}
	for _, r := range k.repos {
		env["UPSTREAM_"+variable(r.Name)] = URL(r)
	}
	if !strings.HasPrefix(k.recipe.Script, "#!") {
		return k.run(ctx, env, "/bin/sh", "-e", "/root/make-root")
	}
	return k.run(ctx, env, "/root/make-root")
}

// variable makes a repository's name part of an environment variable's.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// serve lists the packages, finishes the tree and packs it.
func (k *kitchen) serve(ctx context.Context, out io.Writer) (job.Digest, error) {
	list, format, err := k.packages(ctx)
	if err != nil {
		return "", fmt.Errorf("listing its packages: %w", err)
	}
	if err := k.finish(format); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(list))
	digest := job.Digest(hex.EncodeToString(sum[:]))
	k.say("%d packages, root %s; packing", strings.Count(list, "\n"), digest)
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return "", err
	}
	if err := k.box.root.pack(ctx, z, newRootDir, nil); err != nil {
		return "", err
	}
	return digest, z.Close()
}

// packages gives the sorted list of the root's packages, by the worker's own
// tools: an install root need not have any.
func (k *kitchen) packages(ctx context.Context) (string, job.Format, error) {
	var list string
	var err error
	format := job.RPM
	if k.box.exists(newRootDir + "/var/lib/dpkg/status") {
		format = job.DEB
		list, err = k.output(ctx, "dpkg-query", "--admindir="+newRootDir+"/var/lib/dpkg", "-W", "-f", "${Package} ${Version} ${Architecture}\n")
	} else {
		db, e := k.moveDatabase(ctx)
		if e != nil {
			return "", format, e
		}
		list, err = k.output(ctx, "rpm", "--root", newRootDir, "--dbpath", db, "-qa", "--qf", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE} %{ARCH}\n")
	}
	if err != nil {
		return "", format, err
	}
	all := strings.Split(strings.TrimSuffix(list, "\n"), "\n")
	sort.Strings(all)
	if list == "" {
		return "", format, errors.New("there are none")
	}
	return strings.Join(all, "\n") + "\n", format, nil
}

// finish sets what is the same in every root.
func (k *kitchen) finish(format job.Format) error {
	t := k.box.root
	at := func(p string) string { return newRootDir + p }
	for _, d := range []string{"/proc", "/dev", "/sys", "/run", "/tmp"} {
		if err := t.mkdirAll(at(d), 0o755, 0, 0); err != nil {
			return err
		}
	}
	for _, d := range []string{"/tmp", "/run", "/dev", "/var/cache/dnf", "/var/cache/apt/archives"} {
		list, err := k.box.List(at(d))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, f := range list {
			if err := k.box.Remove(path.Join(at(d), f.Name)); err != nil {
				return err
			}
		}
	}
	// An identity is a machine's own, not its image's.
	if err := t.mkdirAll(at("/etc"), 0o755, 0, 0); err != nil {
		return err
	}
	if err := t.replace(at("/etc/machine-id"), nil, 0o444); err != nil {
		return err
	}
	if k.recipe.Kind != "node" {
		if err := t.mkdirAll(at("/usr/sbin"), 0o755, 0, 0); err != nil {
			return err
		}
		if err := t.replace(at("/usr/sbin/policy-rc.d"), []byte("#!/bin/sh\n# written by sluice: no service starts in a root\nexit 101\n"), 0o755); err != nil {
			return err
		}
	}
	if format != job.DEB {
		if err := t.mkdirAll(at("/etc/rpm"), 0o755, 0, 0); err != nil {
			return err
		}
		return t.replace(at("/etc/rpm/macros.sluice"), []byte("# written by sluice\n"+mountedPaths), 0o644)
	}
	for _, timer := range []string{"apt-daily.timer", "apt-daily-upgrade.timer"} {
		dir := at("/etc/systemd/system")
		if err := t.mkdirAll(dir, 0o755, 0, 0); err != nil {
			return err
		}
		if err := t.link("/dev/null", dir+"/"+timer); err != nil {
			return err
		}
	}
	if err := t.mkdirAll(at("/etc/apt/apt.conf.d"), 0o755, 0, 0); err != nil {
		return err
	}
	return t.replace(at("/etc/apt/apt.conf.d/99sluice"), []byte(aptConf), 0o644)
}
