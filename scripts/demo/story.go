package main

import (
	"embed"
	"fmt"
	"strings"
)

// The files that the maintainer brings along: specs, a service, its test.
//
//go:embed specs/*.spec files/*
var brought embed.FS

func bring(name string) string {
	b, err := brought.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(b)
}

// source is one source package of Debian's archive, and what our first version adds.
type source struct {
	name string
	spec bool // it is built for the RPM target too
	file string
	more map[string]string // further files: path → text
}

func (s source) project() string { return "packages/" + s.name }

// packages are few and small, and each builds in seconds.
var packages = []source{
	{name: "figlet", spec: true, file: "tests: {install: [debian/installed.sh]}\n", more: map[string]string{"debian/installed.sh": bring("files/installed.sh")}},
	{name: "tree"},
	{name: "sysvbanner", file: "version: declared\n"},
	{name: "mini-httpd", spec: true},
}

func packageNames() (all []string) {
	for _, p := range packages {
		all = append(all, p.name)
	}
	return all
}

// The outcomes that a change can have to have.
const (
	lands     = "merged"
	fails     = "failed"
	conflicts = "conflict"
)

// change is one change of the story: how it is made, what has to become of
// it, and what became of it.
type change struct {
	pkg       string
	subject   string
	body      string
	on        *change // it stands on this one in Gerrit (a chain)
	dependsOn *change // footer Depends-On
	edit      func(t tree, c *change) error
	expect    string
	systest   bool // a system test is among its jobs

	// What the first finding has to be: a file and line of the tree (line 0:
	// only the file), and words that its message holds.
	file  string
	line  int
	words []string

	id, commit string
	number     int
	told       *outcome // what became of it
}

func (c *change) project() string { return "packages/" + c.pkg }

func (c *change) String() string { return fmt.Sprintf("change %d %s", c.number, c.pkg) }

// tell is the story of a run: each change is made on what the earlier runs
// left, and differs from theirs by the run's number.
func tell(run int) []*change {
	note := fmt.Sprintf("run %d", run)
	chain1 := &change{pkg: "sysvbanner", subject: "Say in the manual who draws the letters", expect: lands, edit: declared(run, 1)}
	chain2 := &change{pkg: "sysvbanner", subject: "Say in the manual where the letters go", on: chain1, expect: lands, edit: declared(run, 2)}
	box := &change{
		pkg: "figlet", subject: "Add figlet-box", body: "Letters in a box, for other packages to use.\nMade in " + note + " of the demo.", expect: lands,
		edit: func(t tree, _ *change) error {
			if err := t.write("debian/figlet-box", strings.ReplaceAll(bring("files/figlet-box"), "@RUN@", fmt.Sprint(run))); err != nil {
				return err
			}
			_, err := t.setLine("debian/figlet.install", "debian/figlet-box", "figlet.el", "debian/figlet-box usr/bin")
			return err
		},
	}
	return []*change{
		{pkg: "figlet", subject: "Say which run of the demo it was built in", expect: lands, edit: func(t tree, _ *change) error {
			_, err := t.setLine("figlet.c", `      printf("Built in run`, `printf("Version: %s, date:`, fmt.Sprintf(`      printf("Built in %s of the demo\n");`, note))
			return err
		}},
		{
			pkg: "tree", subject: "Count the runs of the demo", body: "It does not compile: a parenthesis is not closed.", expect: fails,
			file: "tree.c", words: []string{"expected", "before", "token"},
			edit: func(t tree, c *change) (err error) {
				c.line, err = t.setLine("tree.c", "  int runs", "bool needfulltree, showversion", fmt.Sprintf("  int runs = (%d;", run))
				return err
			},
		},
		chain1, chain2,
		{pkg: "figlet", subject: "chkfont(6): say where fonts are", body: "Does not touch what the other change to figlet touches.", expect: lands, edit: func(t tree, _ *change) error {
			_, err := t.setLine("chkfont.6", "The fonts of", ".SH DESCRIPTION", "The fonts of FIGlet are in /usr/share/figlet ("+note+").")
			return err
		}},
		{pkg: "mini-httpd", subject: "Serve under systemd, and say which version serves", body: "With a system test: a client asks a server over the network.", expect: lands, systest: true, edit: underSystemd(note)},
		{
			pkg: "tree", subject: "Use a library for trees", body: "It would build, and cannot be installed: no such package exists.", expect: fails,
			file: "debian/control", words: []string{"tree needs libtree-of-nowhere"},
			edit: func(t tree, _ *change) error {
				return t.replace("debian/control", "Depends: ${shlibs:Depends}, ${misc:Depends}", "Depends: ${shlibs:Depends}, ${misc:Depends}, libtree-of-nowhere")
			},
		},
		{
			pkg: "tree", subject: "Index the trees at installation", body: "It builds, and does not install: its script fails.", expect: fails,
			words: []string{"tree: post-installation script subprocess returned error exit status 3: no trees to index"},
			edit: func(t tree, _ *change) error {
				return t.write("debian/postinst", fmt.Sprintf("#!/bin/sh\nset -e\n# %s\necho no trees to index >&2\nexit 3\n", note))
			},
		},
		{pkg: "tree", subject: "Name the run as Ada wants it", expect: lands, edit: named("Ada", note)},
		{pkg: "tree", subject: "Name the run as Bob wants it", body: "Of the same line as Ada's: they cannot both land.", expect: conflicts, file: "tree.c", words: []string{"conflict"}, edit: named("Bob", note)},
		box,
		{
			pkg: "tree", subject: "Ship a banner, drawn by figlet-box", body: "Builds only with the figlet of the other change.", dependsOn: box, expect: lands,
			edit: func(t tree, _ *change) error {
				if err := t.replace("debian/control", "Build-Depends: debhelper-compat (= 13)\n", "Build-Depends: debhelper-compat (= 13), figlet\n"); err != nil {
					return err
				}
				_, err := t.setLine("debian/rules", "\tmkdir -p $(PREFIX)/share/doc/tree", "$(MAKE) install PREFIX",
					fmt.Sprintf("\tmkdir -p $(PREFIX)/share/doc/tree && figlet-box --run %d tree > $(PREFIX)/share/doc/tree/BANNER", run))
				return err
			},
		},
	}
}

// declared is a change of the package that declares its versions: with a
// changelog entry of its own.
func declared(run, number int) func(tree, *change) error {
	return func(t tree, c *change) error {
		old, err := t.read("debian/changelog")
		if err != nil {
			return err
		}
		entry := fmt.Sprintf("sysvbanner (1:1.0-18+demo%d.%d) unstable; urgency=medium\n\n  * %s.\n\n -- Mai Maintainer <maintainer@example.com>  Sat, 14 Feb 2026 12:00:00 +0000\n\n", run, number, c.subject)
		if err := t.write("debian/changelog", entry+old); err != nil {
			return err
		}
		_, err = t.setLine("debian/banner.pod", fmt.Sprintf("Demo, line %d:", number), "=head1 SYNOPSIS", fmt.Sprintf("Demo, line %d: %s (run %d).\n", number, c.subject, run))
		return err
	}
}

// named changes a line of tree.c that another change changes too.
func named(who, note string) func(tree, *change) error {
	return func(t tree, _ *change) error {
		_, err := t.setLine("tree.c", "char *demo_run", "char *version =", fmt.Sprintf(`char *demo_run = "%s, as %s wants it";`, note, who))
		return err
	}
}

// underSystemd makes mini-httpd a service of systemd that says its package's
// version, with a system test of two nodes.
func underSystemd(note string) func(tree, *change) error {
	return func(t tree, _ *change) error {
		for name, text := range map[string]string{
			"debian/mini-httpd.service": bring("files/mini-httpd.service"),
			"debian/serves.sh":          bring("files/serves.sh"),
			".sluice.yaml": "scenarios:\n  - name: serves\n    nodes:\n      - {name: server, install: [mini-httpd]}\n      - {name: client}\n" +
				"    script: debian/serves.sh\n",
		} {
			if err := t.write(name, text); err != nil {
				return err
			}
		}
		if err := t.replace("version.h", `#define SERVER_SOFTWARE "mini_httpd/1.30 26Oct2018"`,
			"#define TEXT_OF(version) #version\n#define TEXT(version) TEXT_OF(version)\n#define SERVER_SOFTWARE \"mini_httpd/\" TEXT(PACKAGE_VERSION)"); err != nil {
			return err
		}
		if err := t.replace("debian/rules", "export CFLAGS += $(CPPFLAGS)\n", "export DEB_CFLAGS_MAINT_APPEND = -DPACKAGE_VERSION=$(DEB_VERSION)\nexport CFLAGS += $(CPPFLAGS)\n"); err != nil {
			return err
		}
		_, err := t.setLine("debian/html/index.html", "<p>Served in", "It works", "<p>Served in "+note+" of the demo.</p>")
		return err
	}
}
