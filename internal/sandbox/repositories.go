package sandbox

import (
	"context"
	"fmt"
	"path"
	"sort"
	"strings"

	"sluice/internal/job"
)

// ConfigFile is a file that a package manager reads.
type ConfigFile struct {
	Path string
	Data string
}

// PackageManager is how a system is told to use repositories: the files to
// write, the directories to empty first, and the arguments that each call of
// apt-get or dnf gets before its verb.
type PackageManager struct {
	Format job.Format
	Empty  []string // directories whose files go
	Remove []string // files that go
	Files  []ConfigFile
	Args   []string
}

// Repositories says how a system of the given format uses repos, and nothing
// else, at http://127.0.0.1:3142. A repository with a key is trusted by that
// key alone (Signed-By; gpgcheck and repo_gpgcheck, of a test repository the
// latter only, for its packages are the unsigned bytes that were built); one without is trusted by
// the keys that the root has (deb), or as far as the service is (rpm).
//
// Names of repositories and files come from the service; keys and paths that
// could add a line of their own are refused.
func Repositories(format job.Format, repos []job.Repository) (*PackageManager, error) {
	for _, r := range repos {
		if err := checkRepository(format, r); err != nil {
			return nil, err
		}
	}
	switch format {
	case job.DEB:
		return aptRepositories(repos), nil
	case job.RPM:
		return dnfRepositories(repos), nil
	}
	return nil, fmt.Errorf("sandbox: no package manager for the format %q", format)
}

func checkRepository(format job.Format, r job.Repository) error {
	if r.Format != format {
		return fmt.Errorf("sandbox: repository %s is of format %s in a %s system", r.Name, r.Format, format)
	}
	for _, c := range r.Name {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", c) {
			return fmt.Errorf("sandbox: %q cannot be a repository's name: letters, digits, dot, dash and underscore only", r.Name)
		}
	}
	if r.Name == "" || r.Name[0] == '.' {
		return fmt.Errorf("sandbox: %q cannot be a repository's name", r.Name)
	}
	for _, s := range append([]string{r.Path, r.Suite, r.Origin}, r.Components...) {
		if strings.ContainsAny(s, "\n\r\x00") {
			return fmt.Errorf("sandbox: repository %s: a line break in %q", r.Name, s)
		}
	}
	if !strings.HasPrefix(r.Path, "/") || !strings.HasSuffix(r.Path, "/") {
		return fmt.Errorf("sandbox: repository %s: the path %q lacks a slash at an end", r.Name, r.Path)
	}
	return nil
}

// URL is where r is inside a box.
func URL(r job.Repository) string { return "http://" + Address + r.Path }

// aptConf is the apt configuration of every root: what an apt that works for
// a machine does otherwise than one that works for a person.
const aptConf = `// written by sluice
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::Assume-Yes "true";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::By-Hash "yes";
Acquire::Retries "2";
Acquire::http::Proxy "DIRECT";
Acquire::http::Pipeline-Depth "0";
Acquire::GzipIndexes "false";
DPkg::Use-Pty "false";
DPkg::Lock::Timeout "60";
Dpkg::Options { "--force-confdef"; "--force-confold"; };
`

func aptRepositories(repos []job.Repository) *PackageManager {
	pm := &PackageManager{
		Format: job.DEB,
		Empty:  []string{"/etc/apt/sources.list.d", "/etc/apt/preferences.d"},
		Remove: []string{"/etc/apt/sources.list", "/etc/apt/preferences"},
		Files:  []ConfigFile{{"/etc/apt/apt.conf.d/99sluice", aptConf}},
		// For the callers' eyes: `apt-get update` exits 0 without it when a
		// repository is out of reach. It is in 99sluice, too.
		Args: []string{"-q", "-o", "APT::Update::Error-Mode=any"},
	}
	for _, r := range repos {
		var s strings.Builder
		fmt.Fprintf(&s, "Types: deb\nURIs: %s\nSuites: %s\n", URL(r), r.Suite)
		if len(r.Components) > 0 {
			fmt.Fprintf(&s, "Components: %s\n", strings.Join(r.Components, " "))
		}
		if r.Key != "" {
			key := "/etc/apt/keyrings/" + r.Name + ".asc"
			pm.Files = append(pm.Files, ConfigFile{key, r.Key})
			fmt.Fprintf(&s, "Signed-By: %s\n", key)
		}
		pm.Files = append(pm.Files, ConfigFile{"/etc/apt/sources.list.d/" + r.Name + ".sources", s.String()})
		if r.Origin != "" && r.Priority != 0 {
			pin := fmt.Sprintf("Package: *\nPin: release o=%s\nPin-Priority: %d\n", r.Origin, r.Priority)
			pm.Files = append(pm.Files, ConfigFile{"/etc/apt/preferences.d/" + strings.ReplaceAll(r.Name, ".", "_") + ".pref", pin})
		}
	}
	return pm
}

func dnfRepositories(repos []job.Repository) *PackageManager {
	pm := &PackageManager{
		Format: job.RPM,
		Empty:  []string{"/etc/yum.repos.d"},
		// The plugin "local" hoards RPMs and serves stale ones.
		Args: []string{"-y", "--disableplugin=local", "--setopt=install_weak_deps=False", "--setopt=retries=2", "--setopt=keepcache=False", "--setopt=fastestmirror=False"},
	}
	for _, r := range repos {
		pm.Files = append(pm.Files, ConfigFile{"/etc/yum.repos.d/" + r.Name + ".repo", repoFile(r, "/etc/pki/sluice/"+r.Name+".asc")})
		if r.Key != "" {
			pm.Files = append(pm.Files, ConfigFile{"/etc/pki/sluice/" + r.Name + ".asc", r.Key})
		}
	}
	return pm
}

// repoFile is the .repo file of r, whose key is at the path key.
func repoFile(r job.Repository, key string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "[%s]\nname=%[1]s\nbaseurl=%s\nenabled=1\nskip_if_unavailable=0\nmetadata_expire=1\n", r.Name, URL(r))
	if r.Priority > 0 {
		fmt.Fprintf(&s, "priority=%d\n", r.Priority)
	}
	if r.Kind != job.Upstream {
		s.WriteString("module_hotfixes=1\n")
	}
	switch {
	case r.Key == "":
		s.WriteString("gpgcheck=0\nrepo_gpgcheck=0\n")
	case r.Kind == job.Test || r.Kind == job.Ahead: // packages under test are the bytes that were built: unsigned
		fmt.Fprintf(&s, "gpgcheck=0\nrepo_gpgcheck=1\ngpgkey=file://%s\n", key)
	default:
		fmt.Fprintf(&s, "gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://%s\n", key)
	}
	return s.String()
}

// ConfigureRepositories makes repos (all of one format) the only repositories
// of the box, and gives the arguments for apt-get or dnf: callers run
// `apt-get ARGS… update` or `dnf ARGS… install X` with Repositories on.
func (b *Box) ConfigureRepositories(ctx context.Context, repos []job.Repository) ([]string, error) {
	if len(repos) == 0 {
		return nil, fmt.Errorf("sandbox: box %s: no repositories", b.opt.Name)
	}
	pm, err := Repositories(repos[0].Format, repos)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return pm.Args, pm.write(b.root)
}

// write writes the configuration into a tree.
func (pm *PackageManager) write(t *tree) error {
	b := &Box{root: t}
	for _, dir := range pm.Empty {
		list, err := b.List(dir)
		if err != nil {
			continue // no such directory
		}
		for _, f := range list {
			if err := b.Remove(path.Join(dir, f.Name)); err != nil {
				return err
			}
		}
	}
	for _, name := range pm.Remove {
		if err := b.Remove(name); err != nil {
			return err
		}
	}
	files := append([]ConfigFile(nil), pm.Files...)
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	for _, f := range files {
		if err := t.mkdirAll(path.Dir(f.Path), 0o755, 0, 0); err != nil {
			return err
		}
		if err := t.replace(f.Path, []byte(f.Data), 0o644); err != nil {
			return err
		}
	}
	return nil
}
