package webtest

import (
	"fmt"
	"strings"
	"time"

	"sluice/api"
)

// FailedChange is the change of Busy whose build fails, QueuedChange one that is tested.
const (
	FailedChange = 1043
	QueuedChange = 1045
)

const (
	deb = "juno/debian-12"
	rpm = "juno/el-9"
)

// item puts a buildset's changes at the end of the gate.
func (s *scene) item(state api.PlaceState, word string, b *api.Buildset, changes []api.ChangeRef, behind ...int64) {
	q := &s.Queues[0]
	it := api.Item{
		ID: int64(len(q.Items) + 12), Place: len(q.Items) + 1, State: state, Word: word, Active: len(q.Items) < q.Window, Changes: changes,
		Behind: behind, EnteredAt: s.ago(time.Duration(9-len(q.Items)) * time.Minute),
	}
	if state != "failing" && state != "conflict" {
		left := time.Duration(3+4*len(q.Items)) * time.Minute
		it.Estimate = &api.Estimate{At: s.ago(-left), From: s.ago(-left / 2), To: s.ago(-2 * left), Chance: 0.96}
	}
	h := api.ItemHistory{Item: it.ID, Queue: "main", Pipeline: "gate", Changes: changes, EnteredAt: it.EnteredAt}
	outcome := &api.Outcome{Item: it.ID, Present: true, EnteredAt: it.EnteredAt}
	if b != nil {
		it.Buildset = &b.Buildset
		outcome.Buildset = &b.Buildset.ID
		h.Buildsets = []api.BuildsetSummary{b.Buildset}
		for _, j := range b.Buildset.Jobs {
			it.Total++
			if j.State != "waiting" && j.State != "queued" && j.State != "running" {
				it.Done++
			}
		}
	}
	for _, ref := range changes {
		c := s.of(ref)
		c.Change.Gate = outcome
		c.History = append([]api.ItemHistory{h}, c.History...)
		c.Why = append(c.Why, api.PipelineReason{Pipeline: "gate", Queue: "main", Reason: api.Reason{
			Text: fmt.Sprintf("#%d is number %d of the queue main: %s", ref.Number, it.Place, word), Who: "the gate",
			Next: "it merges when its jobs have passed and all ahead have merged",
		}})
	}
	q.Items = append(q.Items, it)
}

func (s *scene) gate() {
	s.Queues = []api.Queue{{Name: "main", Kind: "dependent", Window: 6}, {Name: "main@stable", Kind: "dependent", Window: 20}}
	one := func(r api.ChangeRef) []api.ChangeRef { return []api.ChangeRef{r} }

	a := one(s.change(1042, 3, "zlib", "Read gzip headers with an extra field", "Ada Lind"))
	s.item("submitting", "submitting", s.buildset("main", "testing", a, stages{"zlib", deb, "ppppp"}, stages{"zlib", rpm, "ppppp"}), a)

	f := one(s.change(FailedChange, 1, "hello", "Greet the world by its name", "Jon Berg"))
	failed := s.buildset("main", "testing", f, stages{"hello", deb, "fccccc"}, stages{"hello", rpm, "rwwww"})
	s.finds(failed, "failed", api.Finding{
		Severity: "error", File: "src/hello.c", Line: 7, Message: "unknown type name ‘strng’; did you mean ‘struct’?", LogLine: 212,
		Text: "src/hello.c:7: unknown type name ‘strng’; did you mean ‘struct’?",
		Excerpt: []string{
			"x86_64-linux-gnu-gcc -DHAVE_CONFIG_H -I. -I./lib -O2 -c -o src/hello.o src/hello.c",
			"src/hello.c:7:2: error: unknown type name ‘strng’; did you mean ‘struct’?",
			"    7 |  strng name = \"world\";",
			"      |  ^~~~~",
		},
	})
	s.item("failing", "failing: build hello failed", failed, f, 12)
	for i := range s.of(f[0]).Why {
		s.of(f[0]).Why[i].Reason.Next = "it keeps its place: if one of those under it leaves, it is tested again without that; if all merge, it is reported"
		s.of(f[0]).Why[i].Reason.Children = []api.Reason{
			{Text: "the job build hello juno/debian-12 amd64: failed", Who: "the author", Job: "build hello juno/debian-12 amd64", Next: "a new patch set takes its place"},
			{Text: "#1042 is ahead and unmerged: if it leaves, #1043 is tested again without it", Who: "the gate", Change: "main~1042"},
		}
	}

	c := one(s.change(1044, 2, "jq", "Keep the order of keys in --sort-keys=false", "Mira Novak"))
	s.item("passed", "passed, waits for #1042 ahead", s.buildset("main", "testing", c, stages{"jq", deb, "uuuup"}, stages{"jq", rpm, "ppppp"}), c, 12)

	d := []api.ChangeRef{s.change(QueuedChange, 5, "libevent", "Close idle connections after their time-out", "Ada Lind"), s.change(1046, 2, "memcached", "Use the new time-out of libevent", "Ada Lind")}
	s.item("testing", "testing 7/11", s.buildset("main", "testing", d, stages{"libevent", deb, "ppppr"}, stages{"memcached", deb, "pp rww"}, stages{"libevent", rpm, "ppnww"}), d, 12, 14)

	e := one(s.change(1047, 1, "zlib", "Drop the assembler for 68k", "Tomás Vega"))
	conflict := s.buildset("main", "conflict", e)
	conflict.Buildset.Conflict = &api.Conflict{Files: []string{"contrib/asm68k/longest_match.S", "debian/changelog"}, With: "main~1042", Text: "with a change ahead"}
	s.item("conflict", "conflict: with #1042", conflict, e, 12)

	g := one(s.change(1048, 4, "curl", "Say which certificate was refused", "Priya Anand"))
	s.item("testing", "testing 2/10", s.buildset("main", "testing", g, stages{"curl", deb, "pprww"}, stages{"curl", rpm, "qwwww"}), g, 12, 14, 15)
	h := one(s.change(1049, 1, "less", "Do not clear the screen on exit", "Jon Berg"))
	s.item("waiting", "waiting outside the window", nil, h)
	i := one(s.change(1050, 2, "openssh-packaging", "Ship the socket unit switched off", "Mira Novak"))
	s.item("waiting", "waiting outside the window", nil, i)
	s.of(g[0]).Needs = []api.Need{
		{Kind: "parent", ID: "main~1045", Change: &d[0]},
		{Kind: "depends-on", Text: "Depends-On: I5f0c9d33"},
	}
}

// Lanes is a gate with four lanes: two of several items, a change that nothing
// ahead can affect, and a restricted one.
func Lanes(now time.Time) *World {
	s := &scene{World: empty(), now: now, next: 100}
	s.Status = api.Status{Version: "v1.4.0", Now: now, Streams: []api.Stream{{Gerrit: "main", URL: gerritURL, Connected: true}}}
	s.Queues = []api.Queue{{Name: "main", Kind: "dependent", Window: 2}}
	put := func(number int, project, subject, owner string, lane int64, state api.PlaceState, word, jobs string, behind ...int64) {
		changes := []api.ChangeRef{s.change(number, 1, project, subject, owner)}
		var b *api.Buildset
		if jobs != "" {
			b = s.buildset("main", "testing", changes, stages{project, deb, jobs}, stages{project, rpm, jobs})
		}
		s.item(state, word, b, changes, behind...)
		it := &s.Queues[0].Items[len(s.Queues[0].Items)-1]
		it.Lane, it.Active = &lane, jobs != ""
	}
	put(1060, "libevent", "Close idle connections after their time-out", "Ada Lind", 12, "passed", "passed, about to be submitted", "pppppp")
	put(1061, "zlib", "Read gzip headers with an extra field", "Jon Berg", 13, "testing", "testing", "pprww")
	put(1062, "memcached", "Use the new time-out of libevent", "Ada Lind", 12, "testing", "testing", "ppppr", 12)
	put(1063, "tzdata", "Follow 2026c", "Olu Adeyemi", 15, "testing", "testing", "prwwww")
	put(1064, "curl", "Read compressed answers by the new zlib", "Priya Anand", 13, "testing", "testing", "rwwww", 13)
	put(1065, "tor", "Ask libevent for its version", "Mira Novak", 12, "waiting", "waiting outside the window", "")
	s.Queues[0].Items = append(s.Queues[0].Items, api.Item{
		ID: 18, Place: 7, State: "testing", Word: "a restricted item", Active: true, Restricted: true, Behind: []int64{}, EnteredAt: s.ago(time.Minute),
	})
	s.Queues[0].Lanes = &[]api.Lane{
		{ID: 12, Name: "libevent, memcached and 1 more", Items: 3, Active: 2, Window: 2},
		{ID: 13, Name: "zlib, curl", Items: 2, Active: 2, Window: 2},
		{ID: 15, Name: "tzdata", Items: 1, Active: 1, Window: 2},
	}
	return s.World
}

func (s *scene) checks() {
	for i, c := range []struct {
		ref    api.ChangeRef
		stages []stages
	}{
		{s.change(1051, 1, "tzdata", "Follow 2026c", "Olu Adeyemi"), []stages{{"tzdata", deb, "prwwww"}, {"tzdata", rpm, "pprw"}}},
		{s.change(1052, 7, "busybox", "Build ash with line editing for the rescue image", "Priya Anand"), []stages{{"busybox", deb, "ewwww"}}},
	} {
		queue := fmt.Sprintf("check/main~%d", c.ref.Number)
		refs := []api.ChangeRef{c.ref}
		b := s.buildset(queue, "testing", refs, c.stages...)
		entered := s.ago(time.Duration(i+1) * 50 * time.Second)
		s.of(c.ref).Change.Check = &api.Outcome{Item: 1, Buildset: &b.Buildset.ID, Present: true, EnteredAt: entered}
		s.of(c.ref).History = []api.ItemHistory{{Item: 1, Queue: queue, Pipeline: "check", Changes: refs, EnteredAt: entered, Buildsets: []api.BuildsetSummary{b.Buildset}}}
		s.Queues = append(s.Queues, api.Queue{Name: queue, Kind: "independent", Window: 1, Items: []api.Item{{
			ID: 1, Place: 1, State: "testing", Word: "testing", Active: true, Changes: refs, EnteredAt: entered, Buildset: &b.Buildset, Total: len(b.Buildset.Jobs), Done: 1,
		}}})
	}
}

// past are changes that have left the gate.
func (s *scene) past() {
	for i, p := range []struct {
		number                              int
		project, subject, owner, result, is string
	}{
		{1041, "hello", "Translate the greeting into Basque", "Jon Berg", "merged", "merged"},
		{1040, "jq", "Print numbers as they were written", "Mira Novak", "failed", "install jq juno/el-9 amd64: nothing provides libonig.so.105()(64bit)"},
		{1039, "zlib", "Update to 1.3.1", "Ada Lind", "merged", "merged"},
		{1038, "curl", "Prefer HTTP/2 to mirrors", "Priya Anand", "conflict", "does not merge with the branch: lib/http2.c"},
		{1037, "memcached", "Log to the journal", "Ada Lind", "merged", "merged"},
	} {
		ref := s.change(p.number, 1+i%3, p.project, p.subject, p.owner)
		c := s.of(ref)
		left := s.ago(time.Duration(i*i*9+2) * time.Minute)
		state := api.BuildsetState("ended")
		states := "ppppp"
		if p.result == "failed" {
			states = "pppfc"
		}
		b := s.buildset("main", state, []api.ChangeRef{ref}, stages{p.project, deb, states})
		if p.result == "merged" {
			c.Change.Status = api.Merged
			b.Buildset.PublishedAt, b.Buildset.EndedAt = &left, &left
		}
		c.Change.UpdatedAt = left
		c.Change.Gate = &api.Outcome{Item: int64(i), Buildset: &b.Buildset.ID, Result: p.result, Reason: p.is, EnteredAt: left.Add(-6 * time.Minute), LeftAt: &left}
		c.History = []api.ItemHistory{{Item: int64(i), Queue: "main", Pipeline: "gate", Changes: []api.ChangeRef{ref}, Result: p.result, Reason: p.is, EnteredAt: left.Add(-6 * time.Minute), LeftAt: &left, Buildsets: []api.BuildsetSummary{b.Buildset}}}
	}
}

func (s *scene) repositories() {
	for _, target := range []string{deb, rpm} {
		release, dist, _ := strings.Cut(target, "/")
		format, file := api.RepositorySummaryFormat("deb"), debSources
		if target == rpm {
			format, file = "rpm", rpmSources
		}
		name := target + "/updates"
		address := "http://sluice.example.com/repo/" + name + "/"
		r := api.Repository{Sources: file(address)}
		for i, p := range []string{"zlib", "zlib1g-dev", "hello", "jq", "libjq1", "memcached", "curl", "libcurl4", "less", "tzdata"} {
			r.Packages = append(r.Packages, api.Package{
				Name: p, Version: fmt.Sprintf("1.%d-%d+juno%d", i+2, i%3+1, i), Architecture: "amd64", Source: strings.TrimPrefix(p, "lib"), SourceVersion: "1.0",
				Kind: "package", Size: int64(41e3 + i*90e3), File: "pool/" + p, Sha256: strings.Repeat("0c", 32), Address: address + "pool/" + p, Buildset: 100, Serial: 40 - i,
			})
		}
		for i := range 4 {
			r.Publications = append(r.Publications, api.Publication{
				ID: int64(40 - i), Serial: 40 - i, Packages: len(r.Packages) - i, Who: "the gate", Why: "merged " + []string{"1041 hello", "1039 zlib", "1037 memcached", "1035 less"}[i],
				At: s.ago(time.Duration(i*i*40+2) * time.Minute), Current: i == 0, Address: fmt.Sprintf("http://sluice.example.com/publication/%d/", 40-i),
			})
		}
		r.Repository = api.RepositorySummary{
			Name: name, Release: release, Dist: dist, Target: target, Channel: "updates", Format: format, Address: address, Packages: len(r.Packages), Publication: &r.Publications[0],
		}
		s.Repositories = append(s.Repositories, r)
	}
}
