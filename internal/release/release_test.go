package release_test

import (
	"cmp"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sluice/internal/release"
)

func dpkgLess(t *testing.T, a, b string) bool {
	t.Helper()
	return exec.Command("dpkg", "--compare-versions", a, "lt", b).Run() == nil
}

// rpmLess asks rpm itself, with the epoch stripped and the dist tag added.
func rpmLess(t *testing.T, a, b string) bool {
	t.Helper()
	version := func(s string) (string, string) {
		_, rest, found := strings.Cut(s, ":")
		if !found {
			rest = s
		}
		v, r, _ := strings.Cut(rest, "-")
		return v, r
	}
	av, ar := version(a)
	bv, br := version(b)
	out, err := exec.Command("rpm", "--eval", "%{lua: print(rpm.vercmp('"+av+"','"+bv+"'), rpm.vercmp('"+ar+"','"+br+"'))}").Output()
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(out))
	return f[0] == "-1" || f[0] == "0" && f[1] == "-1"
}

func TestDerivedVersionsSortByTheirTools(t *testing.T) {
	derive := func(f release.Format, tree string, n int, suffix string) string {
		d, err := release.DeriveVersion(release.Derivation{Format: f, Tree: tree, Count: n, Suffix: suffix})
		if err != nil {
			t.Fatal(err)
		}
		return d.Full
	}
	rising := map[release.Format][][]string{
		release.DEB: {
			{"1:2.10-3", derive("deb", "1:2.10-3", 1, "deb12"), derive("deb", "1:2.10-3", 1, "deb13"), derive("deb", "1:2.10-3", 2, "deb12"),
				derive("deb", "1:2.10-3", 10, "deb12"), "1:2.10-4", derive("deb", "1:2.10-4", 1, "deb12"), "1:2.10.1-1", "1:2.11-1"},
			{"2.10", derive("deb", "2.10", 1, "deb12"), derive("deb", "2.10", 9, "deb12"), derive("deb", "2.10", 10, "deb12"), "2.10.1", "2.11"},
			{"5.2-2+b3", derive("deb", "5.2-2+b3", 4, "deb12"), "5.2-2+b4"},
			{"5.2~rc1-1", derive("deb", "5.2~rc1-1", 4, "deb12"), "5.2-1"},
		},
		release.RPM: {
			{"2.10-3.el9", derive("rpm", "1:2.10-3", 1, "") + ".el9", derive("rpm", "2.10-3", 2, "") + ".el9", derive("rpm", "2.10-3", 10, "") + ".el9", "2.10-4.el9", "2.11-1.el9"},
			{"2.10-3", derive("rpm", "2.10-3", 1, ""), "2.10-4"},
			{"2.10-0.1.rc1", derive("rpm", "2.10-0.1.rc1", 3, ""), "2.10-0.2.rc1", "2.10-1"},
		},
	}
	for format, chains := range rising {
		less := map[release.Format]func(*testing.T, string, string) bool{release.DEB: dpkgLess, release.RPM: rpmLess}[format]
		for _, chain := range chains {
			for i := range chain[1:] {
				if !less(t, chain[i], chain[i+1]) {
					t.Errorf("%s: %s should be older than %s", format, chain[i], chain[i+1])
				}
			}
		}
	}
}

func TestCounts(t *testing.T) {
	for _, c := range []struct {
		format   release.Format
		tree     string
		versions []string
		want     int
	}{
		{"deb", "2.10-3", nil, 1},
		{"deb", "2.10-3", []string{"2.10-3+sluice1~deb12", "2.10-3+sluice2~deb12", "2.10-2+sluice9~deb12", "2.10-3"}, 3},
		{"deb", "2.10-3+sluice2~deb12", []string{"2.10-3+sluice2~deb12"}, 3},
		{"rpm", "1:2.10-3", []string{"1:2.10-3.1", "1:2.10-3.12", "1:2.10-2.30", "2.10-3.40"}, 13},
	} {
		if got := release.NextCount(c.format, c.tree, c.versions); got != c.want {
			t.Errorf("NextCount(%s, %v) = %d, want %d", c.tree, c.versions, got, c.want)
		}
	}
}

func TestWhatCannotBeDerived(t *testing.T) {
	for _, d := range []release.Derivation{
		{Format: "deb", Tree: "", Count: 1, Suffix: "deb12"},
		{Format: "deb", Tree: "1.0-1", Count: 0, Suffix: "deb12"},
		{Format: "deb", Tree: "1.0-1", Count: 1, Suffix: "~deb12"},
		{Format: "deb", Tree: "1.0-", Count: 1, Suffix: "deb12"},
		{Format: "deb", Tree: "1.0 1", Count: 1, Suffix: "deb12"},
		{Format: "deb", Tree: "1.0\n1", Count: 1, Suffix: "deb12"},
		{Format: "rpm", Tree: "1.0", Count: 1},
		{Format: "rpm", Tree: "1.0-1-1", Count: 1},
		{Format: "apk", Tree: "1.0-1", Count: 1},
	} {
		if got, err := release.DeriveVersion(d); err == nil {
			t.Errorf("%+v gave %+v", d, got)
		}
	}
}

func TestCheckDeclared(t *testing.T) {
	for _, c := range []struct {
		declared, released string
		ok                 bool
	}{{"2", "", true}, {"2", "1", true}, {"2", "2", false}, {"1", "2", false}} {
		err := release.CheckDeclared("hello", c.declared, c.released, cmp.Compare[string])
		if (err == nil) != c.ok || err != nil && !errors.Is(err, release.ErrNotGreater) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestDatesGrow(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	for _, c := range []struct{ previous, want time.Time }{
		{time.Time{}, now.Truncate(time.Second)},
		{now.Add(-time.Hour), now.Truncate(time.Second)},
		{now.Truncate(time.Second), now.Truncate(time.Second).Add(time.Second)},
		{now.Add(time.Hour).Truncate(time.Second), now.Add(time.Hour).Truncate(time.Second).Add(time.Second)},
	} {
		if got := release.NextDate(c.previous, now); !got.Equal(c.want) {
			t.Errorf("after %v: %v, want %v", c.previous, got, c.want)
		}
	}
}

func TestDiffLatestKeep(t *testing.T) {
	p := func(n, v, d string) release.Package {
		return release.Package{Name: n, Version: v, Architecture: "amd64", Tested: d}
	}
	old, now := []release.Package{p("a", "1", "x"), p("b", "1", "y")}, []release.Package{p("a", "1", "x"), p("b", "2", "z"), p("a", "3", "w")}
	d := release.Diff(old, now)
	if len(d.Added) != 2 || len(d.Removed) != 1 || d.Removed[0].Version != "1" {
		t.Errorf("%+v", d)
	}
	l := release.Latest(now, cmp.Compare[string])
	if len(l) != 2 || l[0].Version != "3" || l[1].Version != "2" {
		t.Errorf("%+v", l)
	}
	day, t0 := 24*time.Hour, time.Unix(0, 0)
	for _, c := range []struct {
		serial int64
		after  time.Duration
		want   bool
	}{{2, 9 * day, false}, {9, 2 * day, false}, {3, 3 * day, true}} {
		if got := release.DefaultKeep.Expired(0, c.serial, t0, t0.Add(c.after)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
