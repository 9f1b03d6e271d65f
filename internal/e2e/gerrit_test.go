package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"sluice/internal/gate"
	"sluice/internal/record"
	"sluice/internal/testenv"
)

// files are the packaging of a package, and more.
func files(name string, more map[string]string) map[string]string {
	f := map[string]string{
		"debian/control":   fmt.Sprintf("Source: %[1]s\nMaintainer: A Person <person@example.com>\nStandards-Version: 4.6.2\n\nPackage: %[1]s\nArchitecture: all\nDescription: a package\n long\n", name),
		"debian/changelog": fmt.Sprintf("%s (1.0-1) unstable; urgency=low\n\n  * First.\n\n -- A Person <person@example.com>  Mon, 05 Jan 2026 12:00:00 +0000\n", name),
		"debian/rules":     "#!/usr/bin/make -f\n%:\n\tdh $@\n",
		"src/hello.c":      "int main(void)\n{\n\treturn 0;\n}\n",
	}
	maps.Copy(f, more)
	return f
}

// dependsOn is the packaging of a package that is built with others.
func dependsOn(name string, on ...string) map[string]string {
	f := files(name, nil)
	f["debian/control"] = strings.Replace(f["debian/control"], "Standards-Version", "Build-Depends: "+strings.Join(on, ", ")+"\nStandards-Version", 1)
	return f
}

// project makes a project that holds a package.
func (s *site) project(name string) string {
	s.t.Helper()
	return s.projectWith(name, files(name, nil))
}

func (s *site) projectWith(name string, tree map[string]string) string {
	s.t.Helper()
	return s.projectAs(name, "", tree)
}

// projectAs makes a project of a submit type.
func (s *site) projectAs(name, submitType string, tree map[string]string) string {
	s.t.Helper()
	p := s.g.Project(s.t, s.name+"/"+name, submitType)
	s.g.Push(s.t, testenv.Proposal{Project: p, Message: "Begin " + name, Files: tree, Past: true})
	return p
}

// propose pushes a change of a package.
func (s *site) propose(name, message string, tree map[string]string) *testenv.Pushed {
	s.t.Helper()
	return s.g.Push(s.t, testenv.Proposal{Project: s.name + "/" + name, Message: message, Files: tree})
}

// remove proposes to take files away.
func (s *site) remove(name, message string, paths ...string) *testenv.Pushed {
	s.t.Helper()
	return s.g.Push(s.t, testenv.Proposal{Project: s.name + "/" + name, Message: message, Remove: paths})
}

// amend pushes a new patch set.
func (s *site) amend(c *testenv.Pushed, name, message string, tree map[string]string) *testenv.Pushed {
	s.t.Helper()
	return s.g.Push(s.t, testenv.Proposal{Project: s.name + "/" + name, Message: message, ChangeID: c.ChangeID, Files: tree})
}

// id is a change's name in the service.
func id(c *testenv.Pushed) string { return fmt.Sprintf("main~%d", c.Number) }

// status of a change in Gerrit.
func (s *site) status(c *testenv.Pushed) string { return s.g.Change(s.t, c.Number).Status }

// vote is the gate's on a change.
func (s *site) vote(c *testenv.Pushed) int {
	return s.g.Change(s.t, c.Number).VoteOf(s.g.Gate, "Verified")
}

// said gives what the gate wrote on a change, in order.
func (s *site) said(c *testenv.Pushed) []string {
	var out []string
	for _, m := range s.g.Change(s.t, c.Number).Messages {
		if m.Author.Username == s.g.Gate.Name {
			out = append(out, m.Message)
		}
	}
	return out
}

// merged waits until the changes have merged.
func (s *site) merged(changes ...*testenv.Pushed) {
	s.t.Helper()
	for _, c := range changes {
		s.until(fmt.Sprintf("change %d merges", c.Number), func() string {
			if got := s.status(c); got != "MERGED" {
				return "it is " + got + "\n" + strings.Join(s.said(c), "\n---\n")
			}
			return ""
		})
	}
}

// told waits until the gate has written a comment with all of the words on a
// change, and gives it.
func (s *site) told(c *testenv.Pushed, words ...string) (comment string) {
	s.t.Helper()
	s.until(fmt.Sprintf("change %d is told %q", c.Number, words), func() string {
		all := s.said(c)
		for _, m := range all {
			missing := false
			for _, w := range words {
				missing = missing || !strings.Contains(m, w)
			}
			if !missing {
				comment = m
				return ""
			}
		}
		return "it was told:\n" + strings.Join(all, "\n---\n")
	})
	return comment
}

// voted waits for the gate's vote.
func (s *site) voted(c *testenv.Pushed, want int) {
	s.t.Helper()
	s.until(fmt.Sprintf("change %d has the vote %+d", c.Number, want), func() string {
		if got := s.vote(c); got != want {
			return fmt.Sprintf("it is %+d\n%s", got, strings.Join(s.said(c), "\n---\n"))
		}
		return ""
	})
}

// one reads a single value from the database.
func one[T any](s *site, query string, args ...any) T {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		var v T
		err := s.db.QueryRow(ctx, query, args...).Scan(&v)
		if err == nil {
			return v
		}
		if mortal := s.opt.embedded || s.opt.database != ""; !mortal || ctx.Err() != nil { // it may have been killed
			s.t.Fatalf("%s: %v", query, err)
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// inQueue waits until the changes stand in the gate's queue.
func (s *site) inQueue(changes ...*testenv.Pushed) {
	s.t.Helper()
	for _, c := range changes {
		s.until(fmt.Sprintf("change %d enters the queue", c.Number), func() string {
			if s.stands(c) {
				return ""
			}
			return "it does not stand there"
		})
	}
}

func (s *site) stands(c *testenv.Pushed) bool {
	q, err := s.store.Queue(context.Background(), s.queue)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range q.State.Items {
		for _, r := range i.Changes {
			if string(r.ID) == id(c) {
				return true
			}
		}
	}
	return false
}

// empty waits until the queue is, and nothing is left to do for it.
func (s *site) empty() {
	s.t.Helper()
	s.until("the queue empties", func() string {
		q, err := s.store.Queue(context.Background(), s.queue)
		if err != nil {
			return err.Error()
		}
		if n := len(q.State.Items); n > 0 {
			return fmt.Sprintf("%d items", n)
		}
		if n := one[int](s, `SELECT count(*) FROM buildsets WHERE landed_at IS NOT NULL AND published_at IS NULL AND ($1 = 'main' OR queue = $1)`, s.queue); n > 0 {
			return fmt.Sprintf("%d buildsets to publish", n)
		}
		if n := one[int](s, `SELECT count(*) FROM effects WHERE done_at IS NULL AND ($1 = 'main' OR queue = $1)`, s.queue); n > 0 {
			return fmt.Sprintf("%d things to tell", n)
		}
		return ""
	})
}

// command gives an administrator's command and its answer.
func (s *site) command(verb string, c *testenv.Pushed) string {
	s.t.Helper()
	ctx := context.Background()
	change := gate.ChangeID("")
	if c != nil {
		change = gate.ChangeID(id(c))
	}
	n, err := s.store.Command(ctx, s.queue, verb, change, "ada", "for a test")
	if err != nil {
		s.t.Fatal(err)
	}
	answer := ""
	s.until("an answer to "+verb, func() string {
		text, done, err := s.store.Answer(ctx, n)
		var refused record.Refusal
		if errors.As(err, &refused) {
			answer = string(refused)
			return ""
		}
		if err != nil || !done {
			return fmt.Sprint("none yet ", err)
		}
		answer = text
		return ""
	})
	return answer
}

// get reads from the service over HTTP, as anybody does.
func (s *site) get(path string) (int, string) {
	s.t.Helper()
	resp, err := http.Get(s.servers[0].URL + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// released gives a package's stanza in the released repository.
func (s *site) released(name string) (map[string]string, bool) {
	status, index := s.get("/repo/juno/debian-12/updates/dists/bookworm/main/binary-amd64/Packages")
	if status != http.StatusOK {
		return nil, false
	}
	return stanza(index, name)
}
