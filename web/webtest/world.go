package webtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/api"
)

// scene makes a world; each call that makes a thing puts it in its place.
type scene struct {
	*World
	now  time.Time
	next int64 // id of the next buildset or job
}

func (s *scene) id() int64 {
	s.next++
	return s.next
}

func (s *scene) ago(d time.Duration) time.Time { return s.now.Add(-d).UTC().Truncate(time.Millisecond) }

const gerritURL = "https://review.example.com/"

// Busy is a gate with work: items that pass, test, fail, conflict and wait,
// checks, outcomes, repositories. The job that fails is number FailedJob.
func Busy(now time.Time) *World {
	s := &scene{World: empty(), now: now, next: 100}
	s.Status = api.Status{
		Version: "v1.4.0", Now: now,
		Workers: []api.Worker{
			{Name: "build-1", Labels: []string{"deb", "rpm"}, Architectures: []string{"amd64"}, Version: "v1.4.0", SeenAt: s.ago(2 * time.Second), Running: 3},
			{Name: "build-2", Labels: []string{"deb", "rpm", "kvm"}, Architectures: []string{"amd64"}, Version: "v1.4.0", SeenAt: s.ago(4 * time.Second), Running: 2},
			{Name: "old-arm", Labels: []string{"deb"}, Architectures: []string{"arm64"}, Version: "v1.3.2", SeenAt: s.ago(50 * time.Minute)},
		},
		Streams: []api.Stream{{Gerrit: "main", URL: gerritURL, Connected: true, Since: new(s.ago(26 * time.Hour))}},
		Jobs:    api.JobCounts{Waiting: 6, Queued: 2, Running: 5, Checks: 2},
	}
	s.past()
	s.gate()
	s.checks()
	s.repositories()
	return s.World
}

// Quiet is a service that has just been started: a queue, and nothing else.
func Quiet(now time.Time) *World {
	w := empty()
	w.Status = api.Status{
		Version: "v1.4.0", Now: now,
		Streams: []api.Stream{{Gerrit: "main", URL: gerritURL, Error: "dial tcp 192.0.2.7:29418: connection refused"}},
	}
	w.Queues = []api.Queue{{Name: "main", Kind: "dependent", Window: 20}}
	w.Repositories = []api.Repository{{
		Repository: api.RepositorySummary{Name: "juno/debian-12/updates", Release: "juno", Dist: "debian-12", Target: "juno/debian-12", Channel: "updates", Format: "deb", Address: "http://sluice.example.com/repo/juno/debian-12/updates/"},
		Sources:    debSources("http://sluice.example.com/repo/juno/debian-12/updates/"),
	}}
	return w
}

func empty() *World {
	return &World{Buildsets: map[int64]*api.Buildset{}, Jobs: map[int64]*api.Job{}, Logs: map[int64]*Log{}}
}

// change adds a change, newest first.
func (s *scene) change(number, patchSet int, project, subject, owner string) api.ChangeRef {
	ref := api.ChangeRef{
		ID: fmt.Sprintf("main~%d", number), Gerrit: "main", Number: number, PatchSet: patchSet, Project: project, Branch: "master",
		Subject: subject, Owner: owner, URL: fmt.Sprintf("%sc/%s/+/%d", gerritURL, project, number),
		Revision: strings.Repeat(fmt.Sprintf("%x", number%16), 40),
	}
	s.Changes = append([]api.Change{{
		Change: api.ChangeSummary{
			ID: ref.ID, Gerrit: ref.Gerrit, Number: number, PatchSet: patchSet, Revision: ref.Revision, Project: project, Branch: ref.Branch,
			Subject: subject, Owner: owner, URL: ref.URL, Status: api.Open, Queue: "main", Checked: true, UpdatedAt: s.ago(time.Minute),
		},
		Message: subject + "\n\nSaid at more length here.\n\nChange-Id: I" + strings.Repeat("0", 36) + fmt.Sprint(number) + "\n",
		Author:  owner, Ready: true,
	}}, s.Changes...)
	return ref
}

func (s *scene) of(ref api.ChangeRef) *api.Change {
	for i := range s.Changes {
		if s.Changes[i].Change.ID == ref.ID {
			return &s.Changes[i]
		}
	}
	panic("no such change: " + ref.ID)
}

// stages of a package in one target, with a letter for the state of each:
// p passed, r running, w waiting, q queued, f failed, e error, c cancelled, u reused, n not applicable.
type stages struct{ pkg, target, states string }

var (
	names  = []api.Stage{"build", "lint", "publish", "install", "upgrade", "systest"}
	states = map[byte]api.JobState{'p': "passed", 'r': "running", 'w': "waiting", 'q': "queued", 'f': "failed", 'e': "error", 'c': "cancelled", 'u': "passed", 'n': "not_applicable"}
	took   = []float64{38.4, 4.2, 0.6, 11.3, 14.8, 96}
)

// buildset adds a buildset with its jobs.
func (s *scene) buildset(queue string, state api.BuildsetState, changes []api.ChangeRef, all ...stages) *api.Buildset {
	b := &api.Buildset{
		Queue: queue, Pipeline: "gate", Item: s.next, Changes: changes,
		Buildset: api.BuildsetSummary{ID: s.id(), Number: s.next - 90, State: state, CreatedAt: s.ago(4 * time.Minute)},
	}
	if strings.HasPrefix(queue, "check/") {
		b.Pipeline = "check"
	}
	for _, st := range all {
		format, file := api.SubjectFormat("deb"), debSources
		if strings.Contains(st.target, "el-") {
			format, file = "rpm", rpmSources
		}
		address := fmt.Sprintf("http://sluice.example.com/test/%d/%s/", b.Buildset.ID, st.target)
		b.Packages = append(b.Packages, api.Subject{Package: st.pkg, Project: changes[0].Project, Target: st.target, Format: format, Version: "2.10-3+juno4", Binaries: []string{st.pkg, "lib" + st.pkg + "1"}})
		if !slices.ContainsFunc(b.Repositories, func(r api.TestRepository) bool { return r.Target == st.target }) {
			b.Repositories = append(b.Repositories, api.TestRepository{Target: st.target, Address: address, Sources: file(address), CreatedAt: s.ago(2 * time.Minute)})
		}
		for i := range len(st.states) {
			if st.states[i] != ' ' {
				b.Buildset.Jobs = append(b.Buildset.Jobs, s.job(b, st, i))
			}
		}
	}
	b.Branches = []api.BranchBase{{Project: changes[0].Project, Branch: "master", Tip: strings.Repeat("4be1", 10), Commit: strings.Repeat("9c07", 10), Tree: strings.Repeat("13df", 10)}}
	b.Publications = []api.PinnedPublication{{Repository: "juno/debian-12/updates", Publication: 41, Address: "http://sluice.example.com/publication/41/"}}
	s.Buildsets[b.Buildset.ID] = b
	return b
}

// job adds a job with its attempt and log.
func (s *scene) job(b *api.Buildset, st stages, i int) api.JobSummary {
	letter := st.states[i]
	j := api.JobSummary{
		ID: s.id(), Stage: names[i], Package: st.pkg, Target: st.target, Architecture: "amd64", Voting: names[i] != "lint",
		State: states[letter], Reused: letter == 'u', Name: fmt.Sprintf("%s %s %s amd64", names[i], st.pkg, st.target),
	}
	if j.Stage == "publish" { // of all packages at once
		j.Package, j.Name = "all", fmt.Sprintf("publish all %s amd64", st.target)
	}
	j.Word = strings.ReplaceAll(string(j.State), "_", " ")
	full := &api.Job{Buildset: &b.Buildset.ID, Queue: &b.Queue, Changes: b.Changes, StaticKey: strings.Repeat("b7c4e1d2", 8), CreatedAt: b.Buildset.CreatedAt, Labels: []string{"deb"}}
	switch letter {
	case 'w':
		if i > 0 {
			j.WaitsFor = string(names[max(0, i-1)])
		}
	case 'r':
		j.Attempt, j.StartedAt, j.Took = 1, new(s.ago(21*time.Second)), new(21.0)
		full.Attempts = []api.Attempt{{Number: 1, Worker: "build-1", State: "running", LogSize: 900, ClaimedAt: s.ago(21 * time.Second)}}
		s.Logs[j.ID] = &Log{Text: buildLog(st.pkg, 40, false)}
	case 'p', 'f', 'e', 'u':
		j.Attempt, j.StartedAt, j.EndedAt, j.Took = 1, new(s.ago(3*time.Minute)), new(s.ago(3*time.Minute-time.Duration(took[i]*1e9))), new(took[i])
		j.Word = fmt.Sprintf("%s in %.1f s", j.State, took[i])
		full.Attempts = []api.Attempt{{Number: 1, Worker: "build-2", State: "finished", Outcome: new(string(j.State)), LogSize: 14000, ClaimedAt: *j.StartedAt, EndedAt: j.EndedAt}}
		s.Logs[j.ID] = &Log{Text: buildLog(st.pkg, 240, letter == 'f'), Ended: true}
		full.Steps = []api.Step{{Name: "unpack", LogLine: 1, Took: 0.4}, {Name: "build dependencies", LogLine: 4, Took: 6.1}, {Name: "build", LogLine: 20, Took: 28.9}}
		full.Trace.Served = []api.Served{
			{Name: "debhelper", Version: "13.11.4", Repository: "debian-12", Sha256: strings.Repeat("a1", 32)},
			{Name: "gcc-12", Version: "12.2.0-14", Repository: "debian-12", Sha256: strings.Repeat("b2", 32)},
			{Name: "zlib1g-dev", Version: "1:1.2.13+juno7", Repository: "juno/debian-12/updates", Sha256: strings.Repeat("c3", 32)},
		}
		full.Inputs = api.Inputs{Project: new(b.Changes[0].Project), Version: new("2.10-3+juno4"), Root: new("debian-12-build"), Timeout: new(1800.0), Tree: new(strings.Repeat("13df", 10))}
		if letter != 'f' && i == 0 {
			full.Artifacts = []api.Artifact{
				{Name: st.pkg + "_2.10-3+juno4_amd64.deb", Kind: "package", Size: 53244, Sha256: strings.Repeat("5e", 32), Address: "/blobs/5e/x.deb"},
				{Name: st.pkg + "_2.10-3+juno4.dsc", Kind: "source", Size: 1290, Sha256: strings.Repeat("6f", 32), Address: "/blobs/6f/x.dsc"},
			}
		}
	}
	full.Job = j
	s.Jobs[j.ID] = full
	return j
}

// finds gives the first job of a state its finding, and the buildset too.
func (s *scene) finds(b *api.Buildset, state api.JobState, f api.Finding) {
	for i := range b.Buildset.Jobs {
		if j := &b.Buildset.Jobs[i]; j.State == state {
			j.Finding, b.Buildset.Finding = &f, &f
			s.Jobs[j.ID].Findings = []api.Finding{f, {Severity: "warning", File: "src/hello.c", Line: 19, Message: "unused variable ‘n’ [-Wunused-variable]", LogLine: 61, Text: "src/hello.c:19: unused variable ‘n’ [-Wunused-variable]"}}
			s.Jobs[j.ID].Job = *j
			return
		}
	}
}

// buildLog is a log of a build, as make and gcc write it.
func buildLog(pkg string, lines int, fails bool) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "== unpack\n%s: source tree of 1.4 MB, 212 files\ndpkg-source: info: using options from debian/source\n== build dependencies\n", pkg)
	for n := 5; n < 20; n++ {
		fmt.Fprintf(&b, "Setting up lib%c-dev:amd64 (1.%d-2) ...\n", 'a'+n, n)
	}
	b.WriteString("== build\n")
	for n := 21; n <= lines; n++ {
		switch {
		case fails && n == 212:
			b.WriteString("src/hello.c:7:2: error: unknown type name ‘strng’; did you mean ‘struct’?\n")
		case fails && n == 213:
			b.WriteString("    7 |  strng name = \"world\";\n")
		case fails && n == 216:
			b.WriteString("make[2]: *** [Makefile:1483: src/hello.o] Error 1\n")
		case n == 61:
			b.WriteString("src/hello.c:19:7: warning: unused variable ‘n’ [-Wunused-variable]\n")
		default:
			fmt.Fprintf(&b, "\x1b[32mx86_64-linux-gnu-gcc\x1b[0m -DHAVE_CONFIG_H -I. -I./lib -Wdate-time -D_FORTIFY_SOURCE=2 -g -O2 -fstack-protector-strong -c -o lib/part%d.o lib/part%d.c\n", n, n)
		}
	}
	return []byte(b.String())
}

func debSources(address string) api.Sources {
	return api.Sources{File: "/etc/apt/sources.list.d/sluice.sources", Text: "Types: deb deb-src\nURIs: " + address + "\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEZxH0WhYJKwYBBAHaRw8BAQdAq1v2n3m4l5k6j7h8g9f0d1s2a3q4w5e6r7t8\n =6Zd2\n -----END PGP PUBLIC KEY BLOCK-----\n"}
}

func rpmSources(address string) api.Sources {
	return api.Sources{File: "/etc/yum.repos.d/sluice.repo", Text: "[sluice]\nname=juno el-9\nbaseurl=" + address + "\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=" + address + "key.asc\n"}
}
