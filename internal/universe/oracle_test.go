package universe

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/job"
	"sluice/internal/rpm"
	"sluice/internal/solve"
)

// The real package managers are the oracle: small random worlds are written as
// repositories, and apt-get and dnf are asked to install what the check looked
// at. What they install is never said to be uninstallable. dnf's solver is
// complete, so with it the other way round holds, too; apt-get's gives up on
// some puzzles that have an answer.

// write puts the files below a folder.
func (f folder) write(t testing.TB, dir string) {
	t.Helper()
	for p, text := range f {
		name := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// drawStanzas draws a Debian world; the first package is the one to install.
func drawStanzas(t *rapid.T) (stanzas []string) {
	names := []string{"aa", "bb", "cc", "dd", "ee"}
	entry := func(label string) string {
		e := rapid.SampledFrom(append([]string{"vv", "ww"}, names...)).Draw(t, label)
		switch rapid.IntRange(0, 4).Draw(t, "condition") {
		case 0:
			e += " (" + rapid.SampledFrom([]string{"<<", "<=", "=", ">=", ">>"}).Draw(t, "op") + " " + rapid.SampledFrom([]string{"1", "1~x", "2-1", "1:1"}).Draw(t, "v") + ")"
		case 1:
			e += rapid.SampledFrom([]string{" [amd64]", " [!amd64]", " [linux-any]", " [arm64]", ":any"}).Draw(t, "architecture")
		}
		return e
	}
	for i, n := range names {
		if i > 0 && rapid.IntRange(0, 4).Draw(t, "absent") == 0 {
			continue
		}
		s := fmt.Sprintf("Package: %s\nVersion: %s\n", n, rapid.SampledFrom([]string{"1", "1~x", "2-1", "1:1"}).Draw(t, "version"))
		if ma := rapid.SampledFrom([]string{"", "", "allowed", "foreign"}).Draw(t, "multi-arch"); ma != "" {
			s += "Multi-Arch: " + ma + "\n"
		}
		if v := rapid.SampledFrom([]string{"", "", "vv", "ww (= 1)", "vv (= 2-1), ww"}).Draw(t, "provides"); v != "" {
			s += "Provides: " + v + "\n"
		}
		var depends []string
		for range rapid.IntRange(0, 3).Draw(t, "depends") {
			d := withoutBrackets(entry("depends"))
			if rapid.Bool().Draw(t, "alternative") {
				d += " | " + withoutBrackets(entry("or"))
			}
			depends = append(depends, d)
		}
		if len(depends) > 0 {
			s += "Depends: " + strings.Join(depends, ", ") + "\n"
		}
		if rapid.IntRange(0, 2).Draw(t, "conflicts") == 0 {
			s += rapid.SampledFrom([]string{"Conflicts", "Breaks"}).Draw(t, "field") + ": " + strings.TrimSuffix(withoutBrackets(entry("refused")), ":any") + "\n"
		}
		stanzas = append(stanzas, s)
	}
	return stanzas
}

// withoutBrackets: a binary package's relations have no architectures.
func withoutBrackets(e string) string { e, _, _ = strings.Cut(e, " ["); return e }

// worlds is how many each package manager is asked about: a call takes a while.
func worlds(t *testing.T, few, many string) {
	n := few
	if os.Getenv("SLUICE_TEST_FULL") != "" {
		n = many
	}
	checks := flag.Lookup("rapid.checks")
	before := checks.Value.String()
	if before != checks.DefValue {
		return // somebody says how many
	}
	t.Cleanup(func() { _ = checks.Value.Set(before) })
	if err := checks.Value.Set(n); err != nil {
		t.Fatal(err)
	}
}

func TestAgainstApt(t *testing.T) {
	worlds(t, "40", "1000")
	const amd64 = "amd64"
	installable, refused, givenUp := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		stanzas := drawStanzas(rt)
		f := folder{}
		r := f.apt("/repo/", "x", stanzas...)
		dir := t.TempDir()
		f.write(t, dir)
		apt := aptIn(t, dir)
		why := solveOne(t, f, r, amd64, "aa")
		out, err := apt("-s", "install", "aa")
		switch {
		case err == nil && why != "":
			rt.Fatalf("apt-get installs it, and the check says: %s\n%s\n%s", why, strings.Join(stanzas, "\n"), out)
		case err == nil:
			installable++
		case why != "":
			refused++
		default:
			givenUp++
		}
	})
	t.Logf("%d installable, %d not, %d only for the solver", installable, refused, givenUp)
	if installable == 0 || refused == 0 {
		t.Error("the worlds are all of one kind")
	}
}

// aptIn gives apt-get with all of its folders below dir and the repository there.
func aptIn(t testing.TB, dir string) func(args ...string) (string, error) {
	t.Helper()
	for _, d := range []string{"etc/preferences.d", "etc/apt.conf.d", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("status", "")
	write("etc/sources.list", fmt.Sprintf("deb [trusted=yes] file:%s/repo x main\n", dir))
	write("apt.conf", fmt.Sprintf(`Dir "%[1]s"; Dir::Etc "etc"; Dir::Etc::main ""; Dir::Etc::parts "apt.conf.d"; Dir::State "state"; Dir::State::status "%[1]s/status"; Dir::Cache "cache";
APT::Architecture "amd64"; APT::Architectures {"amd64";}; APT::Sandbox::User "root"; Acquire::Languages "none"; APT::Install-Recommends "false"; Debug::NoLocking "true";
`, dir))
	run := func(args ...string) (string, error) {
		cmd := exec.Command("apt-get", append([]string{"-q"}, args...)...)
		cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(dir, "apt.conf"), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("update"); err != nil {
		t.Fatalf("apt-get update: %v\n%s", err, out)
	}
	return run
}

// solveOne checks one package of a repository; "" if it is installable.
func solveOne(t testing.TB, f folder, r job.Repository, arch, name string) string {
	t.Helper()
	x, err := NewReader(f).read(t.Context(), r, arch, "")
	if err != nil {
		t.Fatal(err)
	}
	target := job.Target{Name: "x", Format: r.Format, Architecture: arch, Primary: true}
	c := check{Question: Question{Target: target}, upstream: []index{x}, released: solve.NewIndex(nil, nil)}
	u := c.universe(false)
	for _, p := range x.Called(name) {
		if p.Name == name {
			if why, ok := u.Solve(p); !ok {
				return why.String()
			}
			return ""
		}
	}
	return "there is no " + name
}

// drawRPMs draws an RPM world.
func drawRPMs(t *rapid.T) []rpm.Package {
	names := []string{"aa", "bb", "cc", "dd", "ee"}
	simple := func(label string) string {
		e := rapid.SampledFrom(append([]string{"vv", "/usr/bin/tool", "ww(x)"}, names...)).Draw(t, label)
		if !strings.HasPrefix(e, "/") && rapid.Bool().Draw(t, "versioned") {
			e += " " + rapid.SampledFrom([]string{"<", "<=", "=", ">=", ">"}).Draw(t, "op") + " " + rapid.SampledFrom([]string{"1-1", "1", "2", "1:1", "1~x"}).Draw(t, "v")
		}
		return e
	}
	entry := func(label string) string {
		if rapid.IntRange(0, 3).Draw(t, "rich") > 0 {
			return simple(label)
		}
		how := rapid.SampledFrom([]string{"and", "or", "if"}).Draw(t, "how")
		return "(" + simple(label) + " " + how + " " + simple("second") + ")"
	}
	var out []rpm.Package
	for i, n := range names {
		if i > 0 && rapid.IntRange(0, 4).Draw(t, "absent") == 0 {
			continue
		}
		v := rpm.ParseEVR(rapid.SampledFrom([]string{"1-1", "2-1", "1:1-1", "1~x-1"}).Draw(t, "version"))
		p := rpm.Package{Name: n, EVR: v, Architecture: "noarch"}
		for range rapid.IntRange(0, 3).Draw(t, "requires") {
			p.Requires = append(p.Requires, rel(entry("requires")))
		}
		if rapid.IntRange(0, 2).Draw(t, "conflicts") == 0 {
			p.Conflicts = append(p.Conflicts, rel(simple("conflicts")))
		}
		if rapid.IntRange(0, 3).Draw(t, "obsoletes") == 0 {
			o := rel(simple("obsoletes"))
			if o.Name != "aa" && o.Name[0] != '/' { // asked for what is obsolete, dnf installs what obsoletes it
				p.Obsoletes = append(p.Obsoletes, o)
			}
		}
		if s := rapid.SampledFrom([]string{"", "", "vv = 1", "ww(x) = 2"}).Draw(t, "provides"); s != "" {
			p.Provides = append(p.Provides, rel(s))
		}
		if rapid.IntRange(0, 3).Draw(t, "file") == 0 {
			p.Files = append(p.Files, rpm.File{Path: "/usr/bin/tool"})
		}
		out = append(out, p)
	}
	return out
}

func TestAgainstDnf(t *testing.T) {
	worlds(t, "15", "400")
	installable, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		packages := drawRPMs(rt)
		f := folder{}
		r := f.dnf("/repo/", packages...)
		dir := t.TempDir()
		f.write(t, dir)
		why := solveOne(t, f, r, "x86_64", "aa")
		out, err := dnfInstalls(t, dir, "aa")
		if (why == "") != (err == nil) {
			rt.Fatalf("dnf: %v; the check: %q\n%s\n%s", err, why, f["/repo/repodata/primary.xml"], out)
		}
		if err == nil {
			installable++
		} else {
			refused++
		}
	})
	t.Logf("%d installable, %d not", installable, refused)
	if installable == 0 || refused == 0 {
		t.Error("the worlds are all of one kind")
	}
}

// dnfInstalls asks dnf whether it would install a package in an empty root.
func dnfInstalls(t testing.TB, dir, name string) (string, error) {
	t.Helper()
	cmd := exec.Command("dnf", "-y", "--installroot="+dir+"/root", "--setopt=cachedir="+dir+"/cache", "--setopt=reposdir="+dir+"/none", "--setopt=varsdir="+dir+"/none",
		"--setopt=install_weak_deps=False", "--setopt=logdir="+dir, "--setopt=persistdir="+dir+"/persist", "--disableplugin=*", "--releasever=9", "--forcearch=x86_64",
		"--repofrompath=x,file://"+dir+"/repo", "--setopt=x.gpgcheck=0", "--assumeno", "install", name)
	cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C")
	text, err := cmd.CombinedOutput()
	out := string(text)
	switch {
	case strings.Contains(out, "Operation aborted"), strings.Contains(out, "Nothing to do"):
		return out, nil
	case strings.Contains(out, "Problem") || strings.Contains(out, "nothing provides") || strings.Contains(out, "Unable to find a match"):
		return out, fmt.Errorf("it would not")
	}
	t.Fatalf("dnf: %v\n%s", err, out)
	return "", nil
}
