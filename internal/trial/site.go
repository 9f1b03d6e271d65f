package trial

import (
	"fmt"
	"strings"
)

// Gerrit is one, as a site file names it; what ends in File is a path.
type Gerrit struct {
	URL, SSH, User                     string
	TokenFile, KeyFile, KnownHostsFile string
}

// Site is the beginning of a site file: where it listens, its data, its Gerrit,
// which is called main.
func Site(url, data string, g Gerrit) string {
	return fmt.Sprintf(`listen: %s
url: %s
data: %s
database: {env: DATABASE_URL}
gerrit:
  - name: main
    url: %s
    ssh: %s
    user: %s
    token: {file: %s}
    key: {file: %s}
    known_hosts: %s
`, strings.TrimPrefix(url, "http://"), url, data, g.URL, g.SSH, g.User, g.TokenFile, g.KeyFile, g.KnownHostsFile)
}

// Targets are those that RealDists makes, and their repositories.
var Targets = []string{"juno/debian-12", "juno/rebuilt-12"}

// RealDists is the part of a site file that builds packages in real roots: for
// Debian from this machine's own apt sources, and for RPM from what
// scripts/rpm-distro.sh makes. Projects whose name fits feed both.
func RealDists(distro, projects string) string {
	return fmt.Sprintf(`upstreams:
  - {name: debian, format: deb, host: true} # this machine's own apt sources
  - {name: distro, format: rpm, path: %s/repo}
dists:
  - name: debian-12
    format: deb
    codename: bookworm
    suffix: "~deb12"
    upstreams: [debian]
    architectures: [{name: amd64}]
    roots:
      build: {method: mmdebstrap, variant: buildd, include: [debhelper, fakeroot]}
      install: {method: mmdebstrap, variant: minbase}
      node: {method: mmdebstrap, variant: minbase, include: [systemd-sysv, dbus, iproute2]}
  - name: rebuilt-12 # what scripts/rpm-distro.sh makes
    format: rpm
    codename: "12"
    suffix: ".rb12"
    upstreams: [distro]
    architectures: [{name: x86_64}]
    roots:
      build: {method: dnf, include: [buildsys-build, dnf, dnf-plugins-core]}
      install: {method: dnf, include: [basesystem, rpm, dnf]}
      node: {method: dnf, include: [basesystem, systemd, rpm, dnf, dbus]}
releases: [{name: juno}]
targets:
  - {release: juno, dist: debian-12}
  - {release: juno, dist: rebuilt-12}
projects:
  - {project: %q, branch: main, releases: [juno], queue: main}
queues: [{name: main}]
pipelines:
  check: {stages: [build, publish, install], votes: {passed: 1, failed: -1}}
  gate:
    stages: [build, publish, lint, install, upgrade, systest]
    approve: {Workflow: 1}
    votes: {passed: 2, failed: -2}
    fail_fast: true
`, distro, projects)
}
