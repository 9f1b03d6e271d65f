package source

import (
	"context"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/job"
)

// files is a Tree of texts.
type files map[string]string

func (f files) ReadFile(_ context.Context, name string, _ int64) ([]byte, error) {
	if text, ok := f[name]; ok {
		return []byte(text), nil
	}
	return nil, ErrNoFile
}

func (f files) List(_ context.Context, folder string) ([]string, error) {
	var out []string
	for name := range f {
		if rest, ok := strings.CutPrefix("./"+name, strings.TrimSuffix("./"+strings.TrimPrefix(folder, "./"), "/.")+"/"); ok || folder == "." {
			if folder == "." {
				rest = name
			}
			if before, _, deeper := strings.Cut(rest, "/"); deeper {
				rest = before + "/"
			}
			out = append(out, rest)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

const (
	control   = "Source: hello\nMaintainer: A <a@example.com>\nBuild-Depends: debhelper-compat (= 13), libfoo-dev (>= 2) | libbar-dev, gcc [amd64]\n\nPackage: hello\nArchitecture: any\nDescription: x\n\nPackage: hello-doc\nArchitecture: all\nDescription: y\n"
	changelog = "hello (1:2.10-3) unstable; urgency=low\n\n  * x\n\n -- A <a@example.com>  Mon, 05 Jan 2026 12:00:00 +0000\n"
	specText  = `%global major 3
Name: hello
Epoch: 1
Version: 2.%{major}
Release: 4%{?dist}
Summary: x
License: MIT
BuildRequires: gcc >= 4, (make or gmake)
BuildRequires: pkgconfig(foo)
ExclusiveArch: x86_64, aarch64
%description
Name: not this
%package devel
Summary: y
%package -n libhello
Summary: z
%files
/x
%files devel
`
)

func TestReadBothFormats(t *testing.T) {
	info, findings, err := Read(context.Background(), files{"debian/control": control, "debian/changelog": changelog, "hello.spec": specText}, "")
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v, %v", findings, err)
	}
	d, r := info.For(job.DEB), info.For(job.RPM)
	if d.Name != "hello" || d.Version != "1:2.10-3" || !slices.Equal(d.Binaries, []string{"hello", "hello-doc"}) || !slices.Contains(d.Asks, "libbar-dev") {
		t.Errorf("deb: %+v", d)
	}
	if r.Name != "hello" || r.Version != "1:2.3-4" || !slices.Equal(r.Binaries, []string{"hello", "hello-devel", "libhello"}) {
		t.Errorf("rpm: %+v", r)
	}
	if !slices.Equal(r.Asks, []string{"gcc", "make", "gmake", "pkgconfig(foo)"}) || !slices.Equal(r.Exclusive, []string{"x86_64", "aarch64"}) {
		t.Errorf("rpm asks %q on %q", r.Asks, r.Exclusive)
	}
}

// What is wrong with a tree is a finding that says where.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name string
		tree files
		want string // "FILE:LINE: MESSAGE" holds it
	}{
		{"nothing", files{"README": "x"}, "there is no packaging in the top folder"},
		{"no changelog", files{"debian/control": control}, "debian/changelog: debian/changelog is not there"},
		{"another's changelog", files{"debian/control": control, "debian/changelog": strings.Replace(changelog, "hello", "world", 1)}, "debian/changelog:1: the changelog is of \"world\""},
		{"control", files{"debian/control": "Source: hello\nno colon\n", "debian/changelog": changelog}, "debian/control:2"},
		{"package file", files{".sluice.yaml": "versoin: derived\n", "debian/control": control}, ".sluice.yaml:1"},
		{"two specs", files{"a.spec": specText, "b.spec": specText}, "there are 2 spec files"},
		{"no version", files{"a.spec": "Name: a\nRelease: 1\n"}, "a.spec: the spec has no Version tag"},
		{"unreadable version", files{"a.spec": "Name: a\nVersion: %(date)\nRelease: 1\n"}, "a.spec:2: Version: %(date) cannot be read"},
	} {
		_, findings, err := Read(context.Background(), c.tree, "")
		if err != nil || len(findings) == 0 {
			t.Errorf("%s: %v, %v", c.name, findings, err)
			continue
		}
		if got := findings[0].String(); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, not %q", c.name, got, c.want)
		}
	}
}

// Foreign bytes never bring the reader down, nor does it read for ever.
func FuzzReadSpec(f *testing.F) {
	f.Add(specText)
	f.Add("%global a %b\n%global b %a\nName: %a\n")
	f.Add("%define x %{x}%{x}\nName: %{x}\nVersion: %{?x:%{x}}\nRelease: %{!?y:1}\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := readSpec(text)
		for name, tag := range s.tags {
			if name == "" || tag.line < 1 {
				t.Errorf("tag %q at line %d", name, tag.line)
			}
		}
	})
}

func TestRequirementNames(t *testing.T) {
	for text, want := range map[string]string{
		"a >= 1, b":                "a b",
		"(a or b)":                 "a b",
		"(a >= 2 with a < 3)":      "a a",
		"perl(Foo::Bar)":           "perl(Foo::Bar)",
		"((x and y) or pkg(z))":    "x y pkg(z)",
		"":                         "",
		"python3dist(x[y]) = 1.0":  "python3dist(x[y])",
		"config(foo) = 1:2-3,bar ": "config(foo) bar",
	} {
		if got := strings.Join(requirementNames(text), " "); got != want {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		for _, n := range requirementNames(rapid.String().Draw(t, "text")) {
			if strings.ContainsAny(n, " ,") {
				t.Fatalf("name %q", n)
			}
		}
	})
}
