package source

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/deb"
)

const declaredControl = `Source: hello
# what it is built with
Build-Depends: debhelper-compat (= 13),
# a comment between
 libfoo-dev (>= 2) [amd64], a | b <!nocheck>,
Build-Depends-Indep: python3:any

Package: hello
Architecture: any
Depends: ${shlibs:Depends}, hello-data (= ${source:Version}),
 libfoo
Breaks: old (<< 1)

Package: hello-udeb
Package-Type: udeb
Architecture: any
`

func TestControlDeclares(t *testing.T) {
	c, err := deb.ReadControl([]byte(declaredControl))
	if err != nil {
		t.Fatal(err)
	}
	r := reader{ctx: t.Context(), tree: files{}}
	want := Declares{File: "debian/control", Build: []Entry{
		{"Build-Depends", "debhelper-compat (= 13)", 3}, {"Build-Depends", "libfoo-dev (>= 2) [amd64]", 5}, {"Build-Depends", "a | b <!nocheck>", 5},
		{"Build-Depends-Indep", "python3:any", 6},
	}, Packages: []Declared{{Name: "hello", Line: 8, Architectures: []string{"any"}, Entries: []Entry{
		{"Depends", "${shlibs:Depends}", 10}, {"Depends", "hello-data (= ${source:Version})", 10}, {"Depends", "libfoo", 11}, {"Breaks", "old (<< 1)", 12},
	}}}}
	if d := cmp.Diff(want, r.debDeclares(".", c)); d != "" {
		t.Error(d)
	}
	r.tree = files{"debian/rules": "debian/control: debian/control.in\n"}
	if !r.debDeclares(".", c).Loose {
		t.Error("rules that write the control file")
	}
	r.tree = files{"debian/rules": "\tdh_gencontrol -- -v7\n"}
	if p := r.debDeclares(".", c).Packages[0]; !p.AnyVersion || !p.Open || len(p.Entries) != 0 {
		t.Errorf("rules that call gencontrol: %+v", p)
	}
}

const declaredSpec = `%global api 2
%if 0%{?fedora}
%global other 3
BuildRequires: only-fedora
%endif
%define body() Requires: not-this \
Requires: nor-this
Name: hello
Version: 1
Release: 4%{?dist}
BuildRequires: gcc, make >= 4 pkgconfig(foo)
BuildRequires: (a or b) %{unknown}
Requires: lib%{name}%{?_isa} = %{version}-%{release}, x%{other}
Requires(post): /bin/sh
%{?systemd_requires}

%description
Requires: prose

%package devel
Obsoletes: hello-dev < %{api}
Provides: hello-dev = %{api}

%package -n extra
BuildArch: noarch
Version: 9

%files
%files devel
%if %{with extra}
%files -n extra
%endif
`

func TestSpecDeclares(t *testing.T) {
	want := Declares{File: "hello.spec", Loose: true, Build: []Entry{
		{"BuildRequires", "gcc", 11}, {"BuildRequires", "make >= 4", 11}, {"BuildRequires", "pkgconfig(foo)", 11}, {"BuildRequires", "(a or b)", 12},
	}, Packages: []Declared{
		{Name: "hello", Line: 1, Open: true, Entries: []Entry{{"Requires", "libhello = 1-%{release}", 13}, {"Requires", "/bin/sh", 14}}},
		{Name: "hello-devel", Line: 20, Entries: []Entry{{"Obsoletes", "hello-dev < 2", 21}, {"Provides", "hello-dev = 2", 22}}},
		{Name: "extra", Line: 24, Architectures: []string{"noarch"}, AnyVersion: true, Maybe: true},
	}}
	if d := cmp.Diff(want, readSpecDeclares("hello.spec", declaredSpec)); d != "" {
		t.Error(d)
	}
}

// A macro that may make packages, and a name that nobody can read here, leave
// open what is built.
func TestLooseSpecs(t *testing.T) {
	const head, tail = "Name: hello\nVersion: 1\nRelease: 1\n", "%description\nx\n%build\n%configure\n%files\n"
	for text, want := range map[string]bool{
		head + tail: false,
		head + "%package -n python%{v}-x\n" + tail:       true,
		head + "%package doc\n" + tail:                   false,
		head + "%description\nx\n%lang_package\n" + tail: true,
		head + "%kernel_module_package\n" + tail:         true,
	} {
		if got := readSpecDeclares("hello.spec", text).Loose; got != want {
			t.Errorf("%v, not %v:\n%s", got, want, text)
		}
	}
}
