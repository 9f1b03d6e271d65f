package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/job"
)

// rules checks what no tag can say.
func (s *Site) rules() {
	for i := range s.Gerrit {
		s.gerritRules(fmt.Sprintf("gerrit[%d]", i), s.Gerrit[i])
	}
	for i := range s.Upstreams {
		s.upstreamRules(fmt.Sprintf("upstreams[%d]", i), s.Upstreams[i])
	}
	for i := range s.Dists {
		s.distRules(fmt.Sprintf("dists[%d]", i), s.Dists[i])
	}
	s.targetRules()
	s.projectRules()
	s.pipelineRules("pipelines.check", s.Pipelines.Check)
	if len(s.Pipelines.Check.Approve) > 0 {
		s.source.fail("pipelines.check.approve", "a check begins with each new patch set, without approval; approve belongs in pipelines.gate")
	}
	if s.Pipelines.Gate.Retest != "" {
		s.source.fail("pipelines.gate.retest", "the gate tests each change on what is ahead of it anyway; retest belongs in pipelines.check")
	}
	s.pipelineRules("pipelines.gate", s.Pipelines.Gate)
	for i, q := range s.Queues {
		if w := q.Window; w.Floor > w.Start || w.Start > w.Ceiling {
			s.source.fail(fmt.Sprintf("queues[%d].window", i), "a window needs floor ≤ start ≤ ceiling; here they are %d, %d and %d", w.Floor, w.Start, w.Ceiling)
		}
	}
	for key, empty := range map[string]bool{"queues": len(s.Queues) == 0, "channels": len(s.Channels) == 0} {
		if empty {
			s.source.fail(key, "%s is empty; it must hold at least one, or be left out", key)
		}
	}
	for i, c := range s.Scenarios {
		s.scenarioRules(fmt.Sprintf("scenarios[%d]", i), c)
	}
	if !s.LocalWorker.Enabled && len(s.Workers) == 0 {
		s.source.warn("local_worker.enabled", "there is no worker: nothing will run; enable local_worker or name one in workers")
	}
	if len(s.Pipelines.Gate.Stages) == 0 {
		s.source.warn("pipelines.gate.stages", "the gate has no stages: what is approved merges untested")
	}
	if s.Keys.Release.Equal(s.Keys.Test) {
		s.source.fail("keys.test", "the test key is the release key; packages that were never accepted would be signed as released")
	}
}

func (s *Site) gerritRules(path string, g Gerrit) {
	if g.SSH != "" && g.Key.IsZero() {
		s.source.fail(path+".ssh", "%s.ssh needs %q: {file: /path} of the account's private SSH key", path, "key")
	}
	if g.SSH != "" && g.KnownHosts == "" {
		s.source.fail(path+".ssh", "%s.ssh needs %q: the file that Gerrit's host key is checked against (ssh-keyscan writes one)", path, "known_hosts")
	}
	switch {
	case g.Public == "reader" && g.Reader == nil:
		s.source.fail(path+".public", "%s.public is reader, and %s lacks %q: the account that stands for everybody", path, path, "reader")
	case g.Public != "reader" && g.Reader != nil:
		s.source.fail(path+".reader", "%s has a reader, and %s.public is %s; write public: reader", path, path, g.Public)
	}
	if g.SSH == "" && g.WebhookSecret.IsZero() {
		s.source.warn(path, "%s has neither ssh nor webhook_secret: changes are noticed only every %s (reconcile)", path, g.Reconcile)
	}
}

func (s *Site) upstreamRules(path string, u Upstream) {
	ways := 0
	for _, given := range []bool{u.Host, u.Path != "", u.URL != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		s.source.fail(path, "%s needs exactly one of host: true, path and url", path)
	case u.Host && u.Format == job.RPM:
		s.source.fail(path+".host", "host means this machine's apt sources; an rpm upstream needs path or url")
	case u.Format == job.DEB && !u.Host && len(u.Suites) == 0:
		s.source.fail(path, "%s lacks %q: the APT suites to use, [bookworm]", path, "suites")
	case u.Host && (len(u.Suites) > 0 || len(u.Components) > 0 || u.Key != "" || u.Trusted):
		s.source.fail(path, "host takes suites, components and keys from this machine's apt sources; remove them here")
	case u.Format == job.RPM && (len(u.Suites) > 0 || len(u.Components) > 0):
		s.source.fail(path, "suites and components are APT's; an rpm repository has none")
	case u.URL != "" && u.Key == "" && !u.Trusted:
		s.source.fail(path+".url", "%s lacks %q, the file of the keys that it is signed with (or trusted: true, and nothing is checked)", path, "key")
	case u.URL != "" && u.Trusted:
		s.source.warn(path+".trusted", "%s is trusted without a signature", path)
	}
}

// architectures are the words of each format, by what the other one says.
var architectures = map[job.Format]map[string]string{
	job.DEB: {"x86_64": "amd64", "aarch64": "arm64", "i686": "i386", "ppc64le": "ppc64el", "armv7hl": "armhf"},
	job.RPM: {"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "ppc64el": "ppc64le", "armhf": "armv7hl"},
}

// machines are the architectures that Debian and Fedora build for, or have
// proposed. There may be newer ones: an unknown word is only warned of.
var machines = map[job.Format][]string{
	job.DEB: {
		"amd64", "arm64", "armel", "armhf", "i386", "mips64el", "mipsel", "ppc64el", "riscv64", "s390x",
		"alpha", "hppa", "ia64", "loong64", "m68k", "powerpc", "ppc64", "sh4", "sparc64", "x32",
	},
	job.RPM: {
		"x86_64", "aarch64", "i686", "ppc64le", "s390x", "riscv64", "loongarch64", "armv7hl", "i386", "i586", "ppc64",
		"x86_64_v2", "x86_64_v3", "x86_64_v4",
	},
}

// suffixes are the characters that may stand in a version of each format; a
// hyphen would begin another part of it.
var suffixes = map[job.Format]*regexp.Regexp{
	job.DEB: regexp.MustCompile(`^[A-Za-z0-9.+~]*$`),
	job.RPM: regexp.MustCompile(`^[A-Za-z0-9._+~^]*$`),
}

func (s *Site) distRules(path string, d Dist) {
	for i, name := range d.Upstreams {
		if u, ok := s.Upstream(name); ok && u.Format != d.Format {
			s.source.fail(fmt.Sprintf("%s.upstreams[%d]", path, i), "upstream %q is %s, and %s is %s", name, u.Format, path, d.Format)
		}
	}
	var names []string
	for i, a := range d.Architectures {
		names = append(names, a.Name)
		at := fmt.Sprintf("%s.architectures[%d].name", path, i)
		switch word, known := architectures[d.Format][a.Name], machines[d.Format]; {
		case word != "":
			s.source.fail(at, "%s calls %s %q", d.Format, a.Name, word)
		case slices.Contains([]string{"all", "any", "noarch", "src", "source"}, a.Name):
			s.source.fail(at, "%q is no architecture of a machine; such packages are made on the primary one", a.Name)
		case a.Name != "" && len(known) > 0 && !slices.Contains(known, a.Name):
			s.source.warn(at, "%q is no architecture that is known for %s; %s", a.Name, d.Format, instead(a.Name, known))
		}
	}
	if len(names) > 0 && !slices.Contains(names, d.Primary) {
		s.source.fail(path+".primary", "%s.primary is %q; %s", path, d.Primary, instead(d.Primary, names))
	}
	if re := suffixes[d.Format]; re != nil && !re.MatchString(d.Suffix) {
		s.source.fail(path+".suffix", "%s.suffix is %q; it must fit into a version: \"~deb12\" or \".el9\"", path, d.Suffix)
	}
	if len(d.Macros) > 0 && d.Format != job.RPM {
		s.source.fail(path+".macros", "macros are RPM's; %s is %s", path, d.Format)
	}
	s.rootRules(path+".roots.build", d, d.Roots.Build)
	s.rootRules(path+".roots.install", d, d.Roots.Install)
	s.rootRules(path+".roots.node", d, d.Roots.Node)
}

func (s *Site) rootRules(path string, d Dist, r Root) {
	switch {
	case r.Method == "mmdebstrap" && d.Format == job.RPM:
		s.source.fail(path+".method", "mmdebstrap makes deb roots; an rpm dist takes dnf or script")
	case r.Method == "dnf" && d.Format == job.DEB:
		s.source.fail(path+".method", "dnf makes rpm roots; a deb dist takes mmdebstrap or script")
	case r.Method == "script" && r.Script == "":
		s.source.fail(path, "%s lacks %q: the program that fills $ROOT", path, "script")
	case r.Method != "script" && r.Script != "":
		s.source.fail(path+".script", "script is for method: script, and this one is %s", r.Method)
	case r.Method != "mmdebstrap" && r.Variant != "":
		s.source.fail(path+".variant", "variant is mmdebstrap's, and this method is %s", r.Method)
	}
}

func (s *Site) targetRules() {
	seen := map[string]Pos{}
	used := map[string]bool{}
	for i, t := range s.Targets {
		path := fmt.Sprintf("targets[%d]", i)
		if before, twice := seen[t.Name()]; twice {
			s.source.fail(path, "target %q is given twice; the first is on line %d", t.Name(), before.Line)
			continue
		}
		seen[t.Name()] = s.source.pos(path)
		used[t.Release] = true
	}
	for i, r := range s.Releases {
		if !used[r.Name] {
			s.source.warn(fmt.Sprintf("releases[%d]", i), "release %q has no target: nothing is built for it", r.Name)
		}
	}
}

func (s *Site) projectRules() {
	for i, p := range s.Projects {
		for j, before := range s.Projects[:i] {
			if (before.Gerrit == "" || before.Gerrit == p.Gerrit) && covers(before.Project, p.Project) && covers(before.Branch, p.Branch) {
				line := s.source.pos(fmt.Sprintf("projects[%d]", j)).Line
				s.source.fail(fmt.Sprintf("projects[%d]", i), "this rule never counts: the one on line %d matches first; put the narrower rule first", line)
				break
			}
		}
	}
}

// covers reports whether everything that the narrow pattern matches, the wide
// one matches too, as far as can be told without a doubt.
func covers(wide, narrow string) bool {
	return wide == narrow || wide == "**" || !strings.Contains(narrow, "*") && Glob(wide, narrow)
}

// needs says which stage each stage cannot do without.
var needs = map[job.Stage]job.Stage{
	job.StagePublish: job.StageBuild, job.StageLint: job.StageBuild, job.StageInstall: job.StagePublish,
	job.StageUpgrade: job.StagePublish, job.StageSystest: job.StagePublish,
}

func (s *Site) pipelineRules(path string, p Pipeline) {
	for i, stage := range p.Stages {
		if need := needs[stage]; need != "" && !slices.Contains(p.Stages, need) {
			s.source.fail(fmt.Sprintf("%s.stages[%d]", path, i), "stage %q needs stage %q, which is not in %s.stages", stage, need, path)
		}
	}
	if p.Votes.Failed >= p.Votes.Passed {
		s.source.fail(path+".votes", "failed votes %d, which is not below passed with %d", p.Votes.Failed, p.Votes.Passed)
	}
}

func (s *Site) scenarioRules(path string, c Scenario) {
	if c.Project == "" {
		if _, complaint := checkFile(c.Script); complaint != "" {
			s.source.fail(path+".script", "%s.script is %q; it must be a path from the root of this machine, or %q must name the project that holds it", path, c.Script, "project")
		}
	} else if _, complaint := checkInside(c.Script); complaint != "" {
		s.source.fail(path+".script", "%s.script is %q; %s", path, c.Script, complaint)
	}
	var names []string
	for _, t := range s.Targets {
		names = append(names, t.Name())
	}
	for i, glob := range c.Targets {
		if !slices.ContainsFunc(names, func(name string) bool { return Glob(glob, name) }) {
			s.source.fail(fmt.Sprintf("%s.targets[%d]", path, i), "no target matches %q; %s", glob, instead(glob, names))
		}
	}
}

// rules checks what no tag can say.
func (p *Package) rules() {
	if p.Spec != "" && p.Packaging != "" && p.Packaging != "." && !strings.HasPrefix(p.Spec, p.Packaging+"/") {
		p.source.fail("spec", "spec is %q; it must stand in the packaging folder %q", p.Spec, p.Packaging)
	}
	if p.Spec != "" && !strings.HasSuffix(p.Spec, ".spec") {
		p.source.fail("spec", "spec is %q; the name of a spec ends in .spec", p.Spec)
	}
	for i, scenario := range p.Scenarios {
		if scenario.Script == "" || scenario.Script == "." {
			p.source.fail(fmt.Sprintf("scenarios[%d].script", i), "scenarios[%d].script is empty; write the path of a script in the project", i)
		}
	}
}
