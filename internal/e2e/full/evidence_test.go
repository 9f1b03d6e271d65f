//go:build full

package full

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/internal/testenv"
)

// called is greetd under another name.
func (s *site) called(name string) map[string]string {
	s.t.Helper()
	files := map[string]string{}
	for path, text := range load(s.t, "greetd.txtar") {
		files[strings.ReplaceAll(path, "greetd", name)] = strings.ReplaceAll(text, "greetd", name)
	}
	return files
}

// debOnly takes away what makes it a package of the other format.
func debOnly(name string, files map[string]string) map[string]string {
	delete(files, name+".spec")
	return files
}

// alone takes away its scenario.
func alone(files map[string]string) map[string]string {
	files[".sluice.yaml"] = "tests:\n  install: [tests/installed.sh]\n"
	return files
}

// ill are the files of a package in which lint, upgrade and system test find
// something wrong, in both formats.
func ill(name string, sound map[string]string) map[string]string {
	files := map[string]string{
		"debian/control":    strings.Replace(sound["debian/control"], "Standards-Version: 4.6.2\n", "", 1),
		".sluice.yaml":      strings.Replace(sound[".sluice.yaml"], "tests:\n", "tests:\n  upgrade: [tests/upgraded.sh]\n", 1),
		"tests/upgraded.sh": "#!/bin/sh\necho 'what was there is lost' >&2\nexit 3\n",
		"tests/answer.sh":   "#!/bin/bash\necho 'nobody answers' >&2\nexit 4\n",
	}
	if spec, ok := sound[name+".spec"]; ok {
		spec = strings.Replace(spec, "%files\n", "install -D -m 0644 WORDS %{buildroot}%{_datadir}/"+name+"/WORDS\n\n%files\n%attr(0777,root,root) %{_datadir}/"+name+"/WORDS\n", 1)
		files[name+".spec"] = spec
	}
	return files
}

// brittle are the files of a package that builds, and does not install.
func brittle(name string, sound map[string]string) map[string]string {
	const script = "echo 'it falls apart' >&2\nexit 5\n"
	return map[string]string{
		"debian/" + name + ".postinst": "#!/bin/sh\nset -e\n" + script,
		name + ".spec":                 strings.Replace(sound[name+".spec"], "%files\n", "%post\n"+script+"\n%files\n", 1),
	}
}

func with(files, more map[string]string) map[string]string {
	out := maps.Clone(files)
	maps.Copy(out, more)
	return out
}

// redBases is the story of a site that comes to ask more of its packages than it
// did: what is released already fails lint, installation, upgrade and system
// test. Nobody is blamed for that on whose branch it is so; whoever spoils what
// is sound is.
func (s *site) redBases() {
	s.t.Helper()
	const (
		roots = "root: {timeout: 20m}"
		check = "check: {stages: [build, publish, install]"
		gate  = "stages: [build, publish, lint, install, upgrade, systest]"
	)
	elder, hale := s.called("elder"), debOnly("hale", s.called("hale"))
	fragile, brisk := alone(s.called("fragile")), alone(debOnly("brisk", s.called("brisk")))
	stop(s.t, s.service.Process)
	s.start(roots, check, "check: {stages: []", gate, "stages: [build, publish]")
	s.lands(
		s.propose("full/elder", "Package elder", with(elder, ill("elder", elder))),
		s.propose("full/hale", "Package hale", hale),
		s.propose("full/brisk", "Package brisk", brisk),
		s.propose("full/fragile", "Package fragile", with(fragile, brittle("fragile", fragile))),
	)
	stop(s.t, s.service.Process)
	s.start(roots, check, "check: {stages: []", "fail_fast: true", "fail_fast: false")

	more := map[string]string{"README": "There is more to say.\n"}
	innocent, cracked := s.propose("full/elder", "Say more", more), s.propose("full/fragile", "Say more", more)
	plain := s.propose("full/plain", "Package plain", alone(debOnly("plain", s.called("plain"))))
	for _, c := range []*testenv.Pushed{innocent, cracked, plain} {
		s.g.Approve(s.t, c.Number)
	}
	s.merged(plain)
	s.isRed(innocent, "lint elder", "upgrade elder", "systest elder/answer")
	s.isRed(cracked, "install fragile")
	s.spoil(brisk, hale)

	mended := s.propose("full/elder", "Mend it", elder)
	glued := s.propose("full/fragile", "Mend it", map[string]string{
		"debian/fragile.postinst": "#!/bin/sh\nset -e\n#DEBHELPER#\n", "fragile.spec": fragile["fragile.spec"],
	})
	s.lands(mended, glued)
	s.merged(innocent)
	s.merged(cracked)
	s.landed(mended, innocent)
	s.landed(glued, cracked)
	s.toldOnce(innocent, cracked)
}

// spoil makes one job after the other of sound packages fail: each time the
// change is blamed that did it.
func (s *site) spoil(brisk, hale map[string]string) {
	s.t.Helper()
	sick := ill("brisk", brisk)
	blamed := func(job string, c *testenv.Pushed) {
		s.t.Helper()
		s.g.Approve(s.t, c.Number)
		s.isBlamed(c, job)
	}
	blamed("lint brisk", s.propose("full/brisk", "Spoil its control file", map[string]string{"debian/control": sick["debian/control"]}))
	blamed("install brisk", s.propose("full/brisk", "Spoil its first installation", map[string]string{
		"tests/installed.sh": "#!/bin/sh\ngrep ' upgrade brisk' /var/log/dpkg.log || { echo 'the house is on fire' >&2; exit 3; }\n",
	}))
	blamed("upgrade brisk", s.propose("full/brisk", "Spoil its upgrades", map[string]string{
		".sluice.yaml": sick[".sluice.yaml"], "tests/upgraded.sh": sick["tests/upgraded.sh"],
	}))
	blamed("systest hale/answer", s.propose("full/hale", "Spoil its answer", map[string]string{"tests/answer.sh": ill("hale", hale)["tests/answer.sh"]}))
}

// lands approves changes and waits until what they made is released.
func (s *site) lands(changes ...*testenv.Pushed) {
	s.t.Helper()
	for _, c := range changes {
		s.g.Approve(s.t, c.Number)
	}
	for _, c := range changes {
		s.merged(c)
	}
	s.until("all is released", func() string {
		return strings.Join(rows[string](s, `SELECT format('buildset %s is not', id) FROM buildsets WHERE landed_at IS NOT NULL AND published_at IS NULL`), "\n")
	})
}

// targetsOf are the targets in whose jobs a job's name shows, with the architecture.
func (s *site) targetsOf(job string) []string {
	s.t.Helper()
	found := rows[string](s, `SELECT DISTINCT name FROM jobs WHERE name LIKE $1 || ' %' AND buildset IS NOT NULL`, job)
	if len(found) == 0 {
		s.t.Fatalf("there is no job %s\n%s", job, s.state())
	}
	return found
}

// told waits for a comment of the gate that begins so.
func (s *site) told(p *testenv.Pushed, begins string) (comment string) {
	s.t.Helper()
	s.until(fmt.Sprintf("change %d is told %q", p.Number, begins), func() string {
		var all []string
		for _, m := range s.g.Change(s.t, p.Number).Messages {
			if m.Author.Username == s.g.Gate.Name && strings.Contains(m.Message, begins) {
				comment = m.Message
				return ""
			}
			all = append(all, m.Message)
		}
		return strings.Join(all, "\n---\n")
	})
	return comment
}

// isRed: nobody is blamed for what each of these jobs finds on the base too, and
// one message says so and since when.
func (s *site) isRed(p *testenv.Pushed, jobs ...string) {
	s.t.Helper()
	comment := s.told(p, "Nobody is blamed: ")
	for _, j := range jobs {
		for _, name := range s.targetsOf(j) {
			line := "- " + name + ": failed in "
			if !strings.Contains(comment, name+" fails on the branch itself since 20") || !strings.Contains(comment, line) {
				s.t.Errorf("%s is not told as red:\n%s\n%s", name, comment, s.state())
			}
			states := rows[string](s, `SELECT DISTINCT state FROM jobs WHERE name = $1 AND base_of IS NOT NULL`, name)
			if !slices.Equal(states, []string{"failed"}) {
				s.t.Errorf("%s on the base: %q", name, states)
			}
		}
	}
	if v := s.g.Change(s.t, p.Number).VoteOf(s.g.Gate, "Verified"); v < 0 {
		s.t.Errorf("change %d has the vote %+d", p.Number, v)
	}
}

// isBlamed: this job passes on the base, where it was run for that, so that the
// change answers for it.
func (s *site) isBlamed(p *testenv.Pushed, job string) {
	s.t.Helper()
	comment := s.told(p, "Gate failed")
	for _, name := range s.targetsOf(job) {
		_, rest, _ := strings.Cut(comment, "- "+name+": failed in ")
		if line, _, _ := strings.Cut(rest, "\n"); !strings.Contains(line, "it passes without this change") {
			s.t.Errorf("%s: %q\n%s\n%s", name, line, comment, s.state())
		}
		states := rows[string](s, `SELECT state FROM jobs WHERE name = $1 AND base_of IS NOT NULL`, name)
		if !slices.Equal(states, []string{"passed"}) {
			s.t.Errorf("%s on the base: %q", name, states)
		}
	}
	if v := s.g.Change(s.t, p.Number).VoteOf(s.g.Gate, "Verified"); v != -2 {
		s.t.Errorf("change %d has the vote %+d", p.Number, v)
	}
}

// landed: one before the other.
func (s *site) landed(first, then *testenv.Pushed) {
	s.t.Helper()
	for _, c := range []*testenv.Pushed{first, then} { // Gerrit knows of a merge before it is noted
		s.until(fmt.Sprintf("the landing of change %d is noted", c.Number), func() string {
			if n := row[int](s, `SELECT count(*) FROM buildsets WHERE changes @> $1::jsonb AND landed_at IS NOT NULL`, ofChange(c)); n == 0 {
				return "it is not"
			}
			return ""
		})
	}
	const query = `SELECT count(*) FROM buildsets a, buildsets b WHERE a.changes @> $1::jsonb AND b.changes @> $2::jsonb AND a.landed_at < b.landed_at`
	if n := row[int](s, query, ofChange(first), ofChange(then)); n != 1 {
		s.t.Errorf("change %d did not land before change %d, once", first.Number, then.Number)
	}
}

// toldOnce: of each job that is red people were told once, and nobody was blamed.
func (s *site) toldOnce(changes ...*testenv.Pushed) {
	s.t.Helper()
	seen := map[string]bool{}
	for _, p := range changes {
		for _, m := range s.g.Change(s.t, p.Number).Messages {
			if strings.Contains(m.Message, "Gate failed") {
				s.t.Errorf("change %d is blamed:\n%s", p.Number, m.Message)
			}
			_, told, _ := strings.Cut(m.Message, "Nobody is blamed: ")
			told, _, _ = strings.Cut(told, ". This change keeps its place")
			for _, clause := range strings.Split(told, "; ") {
				name, _, red := strings.Cut(clause, " fails on the branch itself")
				if red && seen[name] {
					s.t.Errorf("people are told of %s twice: %s", name, m.Message)
				}
				seen[name] = true
			}
		}
	}
}
