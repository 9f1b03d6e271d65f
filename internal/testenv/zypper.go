package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Zypper is a machine with zypper, and nothing installed by it. Debian's does not stand beside dnf's plugins, so it has a
// root of its own; it shares this machine's network.
type Zypper struct {
	t         testing.TB
	lower, at string
}

// NewZypper makes one that knows one repository, by a file for /etc/zypp/repos.d.
func NewZypper(t testing.TB, sources string) *Zypper {
	t.Helper()
	z := &Zypper{t, DebianRoot(t, "zypper"), t.TempDir()}
	put := func(name, text string) {
		t.Helper()
		path := filepath.Join(z.at, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("upper/etc/zypp/repos.d/sluice.repo", sources)
	// It keeps a list of mirrors for ten minutes; here it is to see what was published a moment ago.
	put("upper/etc/zypp/zypp.conf", "[main]\nrepo.refresh.delay = 0\n")
	for _, d := range []string{"work", "root"} {
		if err := os.Mkdir(filepath.Join(z.at, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return z
}

// Try runs zypper and gives its words.
func (z *Zypper) Try(args ...string) (string, error) {
	const enter = `mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$AT/upper,workdir=$AT/work" "$AT/root"
cd "$AT/root"; mount --rbind /dev dev; mount -t proc proc proc; mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp
exec chroot . zypper --non-interactive "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-ec", enter, "sh"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root", "LOWER=" + z.lower, "AT=" + z.at}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Run is Try that has to succeed.
func (z *Zypper) Run(args ...string) string {
	z.t.Helper()
	out, err := z.Try(args...)
	if err != nil {
		z.t.Fatalf("zypper %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// Read gives a file that it has installed, "" if it is not there.
func (z *Zypper) Read(path string) string {
	text, _ := os.ReadFile(filepath.Join(z.at, "upper", path))
	return string(text)
}
