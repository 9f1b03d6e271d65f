//go:build full

package full

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"sluice/internal/testenv"
)

// words are those of the two versions of greetd.
var words = []string{"good-morning", "good-evening"}

// formats are the targets, and the versions that the gate derives for two
// changes, one after the other.
var formats = []struct {
	target   string
	versions []string
}{
	{"juno/debian-12", []string{"1.0-1+sluice1~deb12", "1.0-1+sluice2~deb12"}},
	{"juno/rebuilt-12", []string{"1.0-1.1.rb12", "1.0-1.2.rb12"}},
}

// TestWholeWay is the story.
func TestWholeWay(t *testing.T) {
	s := newSite(t)
	first := s.worker("first")
	s.isolated()
	s.start("root: {timeout: 20m}")
	first.start()
	first.blind()

	s.roots()
	one := s.propose("full/greetd", "Package greetd", load(t, "greetd.txtar"))
	s.checked(one, 1)
	s.g.Approve(t, one.Number)
	s.merged(one)
	s.published(one, 0)
	s.asked(one, words[0])

	two := s.propose("full/greetd", "Greet in the evening", map[string]string{"WORDS": words[1] + "\n"})
	s.g.Approve(t, two.Number)
	s.merged(two)
	s.published(two, 1)
	s.asked(two, words[1])
	s.upgraded(two)
	for _, f := range formats {
		s.samePayload(f.target + "/updates")
		s.client(dist(f.target)).installs(f.target, f.versions[1])
	}

	s.redBases()

	stop(t, s.service.Process) // the worker lives through this
	s.start("build: {timeout: 90s, processes: 400}, install: {timeout: 80s, processes: 400}, root: {timeout: 20m}")
	slow := s.killed(first)
	second := s.worker("second")
	second.start()
	second.blind()
	s.hostile()
	s.merged(slow)
	s.finishedBy(slow, "second")

	s.over(first, second)
	s.fsck()
	stop(t, s.service.Process)
}

// over starts the worker that was killed once more, on its folder, and stops
// both. Nothing is left of them.
func (s *site) over(first, second *worker) {
	s.t.Helper()
	first.start() // on the folder in which it was killed
	s.until("the first worker is back", func() string {
		if n := strings.Count(readAll(first.Log), "the worker is ready"); n != 2 {
			return fmt.Sprintf("it was ready %d times", n)
		}
		return ""
	})
	if left := slices.DeleteFunc(first.left(), func(l string) bool { return strings.Contains(l, "sluice worker") || strings.Contains(l, "/tmp/sluice") }); len(left) > 0 {
		s.t.Errorf("of the sandboxes of the worker that was killed this is left:\n  %s", strings.Join(left, "\n  "))
	}
	stop(s.t, first.Process)
	stop(s.t, second.Process)
	first.nothingLeft("after it was stopped")
	second.nothingLeft("after it was stopped")
	if left := s.network.processes(); len(left) > 0 {
		s.t.Errorf("in the workers' network there is still:\n  %s", strings.Join(left, "\n  "))
	}
}

func dist(target string) string { return target[strings.Index(target, "/")+1:] }

func readAll(file string) string {
	text, _ := os.ReadFile(file)
	return string(text)
}

func load(t testing.TB, name string) map[string]string {
	t.Helper()
	a, err := txtar.ParseFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range a.Files {
		files[f.Name] = string(f.Data)
	}
	return files
}

// isolated makes sure of the workers' network: nothing but the service.
func (s *site) isolated() {
	s.t.Helper()
	in := func(script string) (string, error) {
		return trySh("", script, append([]string{}, fmt.Sprintf("NS=/proc/%d/ns/net", s.network.holder.Pid()))...)
	}
	if out, err := in(`nsenter --net=$NS ip route show default`); err != nil || out != "" {
		s.t.Errorf("the workers have a default route: %v %s", err, out)
	}
	gerrit := strings.TrimPrefix(s.g.URL, "http://")
	host, port, _ := strings.Cut(gerrit, ":")
	if out, err := in(fmt.Sprintf(`! nsenter --net=$NS bash -c '</dev/tcp/%s/%s'`, host, port)); err != nil {
		s.t.Errorf("the workers can reach Gerrit: %s", out)
	}
}

// roots waits until the service's own root jobs have made all roots.
func (s *site) roots() {
	s.t.Helper()
	s.until("the roots are made", func() string {
		made, failed := row[int](s, `SELECT count(*) FROM roots WHERE archive <> ''`), row[string](s, `SELECT name || ': ' || cause FROM jobs WHERE stage = 'root' AND state = 'error' LIMIT 1`)
		if failed != "" {
			s.t.Fatalf("%s", failed)
		}
		if made < 3*len(formats) {
			return fmt.Sprintf("%d of %d", made, 3*len(formats))
		}
		return ""
	})
}

// propose pushes a change; the project is made when it is not there.
func (s *site) propose(project, subject string, files map[string]string) *testenv.Pushed {
	s.t.Helper()
	if err := s.g.REST(s.g.Admin, "GET", "/projects/"+strings.ReplaceAll(project, "/", "%2F"), nil, nil); err != nil {
		s.g.Project(s.t, project, "")
	}
	return s.g.Push(s.t, testenv.Proposal{Project: project, Message: subject, Files: files})
}

// checked waits for the check's vote and gives its message.
func (s *site) checked(p *testenv.Pushed, vote int) string {
	s.t.Helper()
	message := ""
	s.until(fmt.Sprintf("change %d is checked", p.Number), func() string {
		c := s.g.Change(s.t, p.Number)
		for _, m := range c.Messages {
			if m.Author.Username == s.g.Gate.Name && strings.Contains(m.Message, "Check ") {
				message = m.Message
			}
		}
		if got := c.VoteOf(s.g.Gate, "Verified"); message == "" || got == 0 {
			return fmt.Sprintf("vote %d, message %q", got, message)
		} else if got != vote {
			s.t.Fatalf("change %d (%s) has the vote %+d, and %+d is right:\n%s\n%s", p.Number, c.Subject, got, vote, message, s.log(p))
		}
		return ""
	})
	return message
}

// log gives the log of the change's job that failed, for the test's own words.
func (s *site) log(p *testenv.Pushed) string {
	id := row[int64](s, `SELECT j.id FROM jobs j JOIN buildsets b ON b.id = j.buildset WHERE b.changes @> $1::jsonb AND j.state IN ('failed', 'error')
		AND EXISTS (SELECT FROM attempts a WHERE a.job = j.id) ORDER BY j.id LIMIT 1`, ofChange(p))
	if id == 0 {
		return s.state()
	}
	text := string(s.get(fmt.Sprintf("/api/v1/jobs/%d/log", id)))
	return fmt.Sprintf("log of job %d:\n%s", id, text[max(0, len(text)-5000):])
}

func ofChange(p *testenv.Pushed) string { return fmt.Sprintf(`[{"id": "main~%d"}]`, p.Number) }

// merged waits until Gerrit has merged a change.
func (s *site) merged(p *testenv.Pushed) {
	s.t.Helper()
	s.until(fmt.Sprintf("change %d is merged", p.Number), func() string {
		c := s.g.Change(s.t, p.Number)
		if c.Status == "MERGED" {
			return ""
		}
		if v := c.VoteOf(s.g.Gate, "Verified"); v < 0 {
			s.t.Fatalf("change %d (%s) failed:\n%s\n%s", p.Number, c.Subject, c.Messages[len(c.Messages)-1].Message, s.log(p))
		}
		return c.Status
	})
}

// buildset is the change's in the gate.
func (s *site) buildset(p *testenv.Pushed) int64 {
	s.t.Helper()
	return row[int64](s, `SELECT id FROM buildsets WHERE queue = 'main' AND changes @> $1::jsonb ORDER BY id DESC LIMIT 1`, ofChange(p))
}

// published waits until what was tested is in every repository, at the version
// of that change, and each stage has passed for it.
func (s *site) published(p *testenv.Pushed, version int) {
	s.t.Helper()
	set := s.buildset(p)
	for _, f := range formats {
		s.until(f.target+" has the version of "+fmt.Sprint(p.Number), func() string {
			got := rows[string](s, `SELECT version FROM repository_packages WHERE repository = $1 AND name = 'greetd' AND kind = 'package' AND removed IS NULL`, f.target+"/updates")
			if !slices.Contains(got, f.versions[version]) {
				return fmt.Sprintf("%q, and %s is wanted", got, f.versions[version])
			}
			return ""
		})
		for _, stage := range []string{"build", "lint", "install", "systest"} {
			if n := row[int](s, `SELECT count(*) FROM jobs WHERE buildset = $1 AND stage = $2 AND target = $3 AND state = 'passed'`, set, stage, f.target); n != 1 {
				s.t.Errorf("buildset %d: %d passed jobs of stage %s on %s\n%s", set, n, stage, f.target, s.state())
			}
		}
	}
}

// asked makes sure that the client node was answered by the version under test.
func (s *site) asked(p *testenv.Pushed, answer string) {
	s.t.Helper()
	for i, f := range formats {
		id := row[int64](s, `SELECT id FROM jobs WHERE buildset = $1 AND stage = 'systest' AND target = $2`, s.buildset(p), f.target)
		version := f.versions[slices.Index(words, answer)]
		want := "the client was answered: " + answer + " " + version
		if log := string(s.get(fmt.Sprintf("/api/v1/jobs/%d/log", id))); !strings.Contains(log, want) {
			t := formats[i].target
			s.t.Errorf("system test of %s: %q is not in its log\n%s", t, want, log)
		}
	}
}

// upgraded makes sure that the upgrade began at the released version.
func (s *site) upgraded(p *testenv.Pushed) {
	s.t.Helper()
	for _, f := range formats {
		id := row[int64](s, `SELECT id FROM jobs WHERE buildset = $1 AND stage = 'upgrade' AND target = $2 AND state = 'passed'`, s.buildset(p), f.target)
		log := ""
		if id != 0 {
			log = string(s.get(fmt.Sprintf("/api/v1/jobs/%d/log", id)))
		}
		if want := "==> install greetd " + f.versions[0] + ", the released version"; !strings.Contains(log, want) {
			s.t.Errorf("upgrade test of %s: %q is not in its log\n%s\n%s", f.target, want, log, s.state())
		}
	}
}

// killed approves a change that builds for a while, and kills the worker with
// -9 in the middle of it. What ran under it is dead within moments.
func (s *site) killed(w *worker) *testenv.Pushed {
	s.t.Helper()
	p := s.propose("full/slow", "Build for a while", evil("slow", "@echo the slow part begins; sleep 20", ""))
	s.g.Approve(s.t, p.Number)
	s.until("the slow build runs", func() string {
		id := row[int64](s, `SELECT id FROM jobs WHERE stage = 'build' AND package = 'slow' AND state = 'running' LIMIT 1`)
		if id == 0 {
			return s.state()
		}
		if log := string(s.get(fmt.Sprintf("/api/v1/jobs/%d/log", id))); !strings.Contains(log, "\nthe slow part begins") {
			return "its log has no slow part: " + log
		}
		return ""
	})
	w.Kill()
	s.until("what ran under the killed worker is dead", func() string { return strings.Join(w.processes(), "\n") })
	return p
}

// finishedBy makes sure of who ended a change's build, and that the attempt
// before was lost.
func (s *site) finishedBy(p *testenv.Pushed, name string) {
	s.t.Helper()
	got := rows[string](s, `SELECT a.worker || ' ' || a.state FROM attempts a JOIN jobs j ON j.id = a.job
		WHERE j.stage = 'build' AND j.package = 'slow' AND j.reused_from IS NULL ORDER BY a.id`)
	if !slices.Contains(got, "first lost") || !slices.Contains(got, name+" finished") {
		s.t.Errorf("the attempts of the slow build: %q", got)
	}
}
