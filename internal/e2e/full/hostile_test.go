//go:build full

package full

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sluice/internal/testenv"
)

// evil is a small package made without helpers: its build runs a line of make,
// and its postinst a shell script, if they are given.
func evil(name, build, postinst string) map[string]string {
	install := "install -d debian/tmp/DEBIAN debian/tmp/usr/share/doc/" + name
	files := map[string]string{
		"debian/changelog": name + " (1.0-1) unstable; urgency=medium\n\n  * First packaging.\n\n -- Mai Maintainer <maintainer@example.com>  Mon, 02 Nov 2026 10:00:00 +0000\n",
		"debian/control": "Source: " + name + "\nSection: misc\nPriority: optional\nMaintainer: Mai Maintainer <maintainer@example.com>\nStandards-Version: 4.6.2\nRules-Requires-Root: no\n\n" +
			"Package: " + name + "\nArchitecture: all\nDescription: package that means harm\n It is made for a test of what it may do.\n",
		"debian/copyright":     "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: 2026 Mai Maintainer\nLicense: Apache-2.0\n On Debian systems the full text is in /usr/share/common-licenses/Apache-2.0.\n",
		"debian/source/format": "3.0 (quilt)\n",
		"README":               "It is made for a test of what it may do.\n",
	}
	if postinst != "" {
		files["debian/postinst"] = "#!/bin/bash\nset -e\n" + postinst + "\n"
		install += "; install -m 0755 debian/postinst debian/tmp/DEBIAN/postinst"
	}
	if build == "" {
		build = "@:"
	}
	files["debian/rules"] = "#!/usr/bin/make -f\nSHELL := /bin/bash\nclean:\n\trm -rf debian/tmp debian/files\nbuild build-arch build-indep:\n\t" + build +
		"\nbinary-arch:\nbinary binary-indep: build\n\t" + install +
		"; install -m 0644 debian/copyright debian/tmp/usr/share/doc/" + name + "/; gzip -9nc debian/changelog > debian/tmp/usr/share/doc/" + name + "/changelog.Debian.gz\n\tdpkg-gencontrol -p" + name + " -Pdebian/tmp\n\tdpkg-deb --root-owner-group -b debian/tmp ..\n"
	return files
}

// evilRPM is the same as an RPM.
func evilRPM(name, build, post string) map[string]string {
	spec := "Name: " + name + "\nVersion: 1.0\nRelease: 1%{?dist}\nSummary: Package that means harm\nLicense: Apache-2.0\nURL: https://example.com/evil\nBuildArch: noarch\n\n" +
		"%description\nIt is made for a test of what it may do.\n\n%build\n" + strings.TrimPrefix(build, "@") + "\n\n%install\ninstall -d %{buildroot}/usr/share/" + name + "\n"
	if post != "" {
		spec += "\n%post -p /bin/bash\n" + post + "\n"
	}
	return map[string]string{name + ".spec": spec + "\n%files\n/usr/share/" + name + "\n"}
}

// harm is a package that tries something, and what its change is told.
type harm struct {
	name, build, postinst string
	want                  string // in the first finding; "" for what passes and has had no effect
	make                  func(name, build, postinst string) map[string]string
}

// staying is how long a process that wants to stay would: a number by which it
// is known.
var staying = fmt.Sprintf("31337.%d", os.Getpid())

// harms are lines of shell, or of make: each fails where it is denied, with the
// words of who denied it, or is ended at a limit.
func (s *site) harms() []harm {
	host, port, _ := strings.Cut(strings.TrimPrefix(s.service.URL, "http://"), ":")
	network := fmt.Sprintf("exec 3<>/dev/tcp/%s/%s", host, port)
	files := "cat " + filepath.Join(s.dir, "token") + " " + filepath.Join(s.dir, "site.yaml")
	forks := "bomb() { while :; do sleep 1000 & done; }; bomb"
	stays := fmt.Sprintf("echo it wants to stay; setsid sleep %[1]s </dev/null & setsid nohup sleep %[1]s </dev/null >/dev/null 2>&1 &", staying)
	return []harm{
		{"build-network", "@" + network, "", "Network is unreachable", evil},
		{"build-repositories", "@exec 3<>/dev/tcp/127.0.0.1/3142", "", "Connection refused", evil},
		{"build-files", "@" + files, "", "No such file or directory", evil},
		{"build-stays", "@" + stays, "", "", evil},
		{"build-forks", "@" + forks, "", "400 processes", evil},
		{"build-hangs", "@echo waiting for the moon; sleep 1000", "", "stopped after 1m30s", evil},
		{"build-prints", "@yes this goes on and on, and nobody reads it | head -c 100000000; echo; echo evil.c:3:1: error: the true cause; false", "", "evil.c:3: the true cause", evil},
		{"install-network", "", network, "Network is unreachable", evil},
		{"install-files", "", files, "No such file or directory", evil},
		{"install-stays", "", stays, "", evil},
		{"install-forks", "", forks, "400 processes", evil},
		{"install-hangs", "", "echo waiting for the sun; sleep 1000", "stopped after 1m20s", evil},
		{"install-prints", "", "yes this goes on and on, and nobody reads it | head -c 100000000; echo; echo the true cause >&2; exit 3", "the true cause", evil},
		{"rpm-build-network", network, "", "Network is unreachable", evilRPM},
		{"rpm-build-hangs", "echo waiting for the moon; sleep 1000", "", "stopped after 1m30s", evilRPM},
		{"rpm-post-files", "", files, "No such file or directory", evilRPM},
		{"rpm-post-stays", "", stays, "", evilRPM},
		{"rpm-post-forks", "", forks, "fork: Resource temporarily unavailable", evilRPM},
	}
}

// hostile proposes every harm, and wants each told on its change; after them a
// good change passes.
func (s *site) hostile() {
	s.t.Helper()
	all := s.harms()
	changes := make([]*testenv.Pushed, len(all))
	for i, h := range all {
		changes[i] = s.propose("full/"+h.name, "Mean harm: "+h.name, h.make(h.name, h.build, h.postinst))
	}
	for i, h := range all {
		vote := -1
		if h.want == "" {
			vote = 1
		}
		message := s.checked(changes[i], vote)
		if !strings.Contains(finding(message), h.want) {
			s.t.Errorf("%s: the finding is %q, and %q should be in it\n%s", h.name, finding(message), h.want, message)
		}
	}
	s.noHarm()
	good := s.propose("full/good", "Mean well", evil("good", "@echo all is well", "echo all is well"))
	s.checked(good, 1)
}

// noHarm looks for what must not have happened on the host.
func (s *site) noHarm() {
	s.t.Helper()
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range found {
		if cmd, _ := os.ReadFile(f); strings.Contains(string(cmd), "sleep\x00"+staying) {
			s.t.Errorf("a process of a package is still there: %s", f)
		}
	}
	if n := row[int64](s, `SELECT coalesce(max(log_size), 0) FROM attempts`); n > 2<<20 {
		s.t.Errorf("a log of %d bytes was kept", n)
	}
}

// finding is the first finding in a comment: its first indented line.
func finding(message string) string {
	for line := range strings.Lines(message) {
		if strings.HasPrefix(line, "    ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
