package git

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// mirrorOfGerrit is an empty store, and a new project of a real Gerrit as the gate's account reads it.
func mirrorOfGerrit(t *testing.T, version string) (*testenv.GerritServer, *Store, Remote) {
	t.Helper()
	g := testenv.GerritVersion(t, version)
	name := g.Project(t, "", "")
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return g, s, Remote{Project: Project{"main", name}, URL: g.URL + "/a/" + name, User: g.Gate.Name, Password: g.Gate.Token}
}

// One commit comes in one request, with all that it stands on, from a real
// Gerrit; whatever is in the way of that, it comes as git fetches it.
func TestFetchCommit(t *testing.T) {
	for _, version := range gerritVersions {
		t.Run(version, func(t *testing.T) {
			g, s, r := mirrorOfGerrit(t, version)
			p, name := r.Project, r.Project.Name
			first := g.Push(t, testenv.Proposal{Project: name, Message: "First", Files: map[string]string{"a": "a\n", "d/b": strings.Repeat("b\n", 5000)}})
			if err := s.FetchCommit(ctx, r, "refs/heads/main", g.Tip(t, name, "main"), "refs/heads/main"); err != nil {
				t.Fatalf("into a mirror that is not there: %v", err)
			}
			if err := s.fetchCommit(ctx, r, first.Ref, first.Revision, []string{"refs/heads/main"}); err != nil {
				t.Fatalf("a change in one request: %v", err)
			}
			g.Land(t, first.Number)
			second := g.Push(t, testenv.Proposal{Project: name, Message: "Second", Files: map[string]string{"d/c": "c\n"}, Past: true})
			tip := g.Tip(t, name, "main")
			if err := s.fetchCommit(ctx, r, "refs/heads/main", tip, []string{"refs/heads/main"}); err != nil {
				t.Fatalf("what the branch is at now, in one request: %v", err)
			}
			if at, err := s.Resolve(ctx, p, "refs/heads/main"); at != tip || err != nil {
				t.Errorf("the mirror's branch is at %s, %v, want %s", at, err, tip)
			}
			dir, _ := s.repo(p)
			if out, err := s.run(ctx, call{dir: dir}, "fsck", "--full", "--strict"); err != nil {
				t.Errorf("git fsck: %v %s", err, out)
			}
			if _, err := s.ReadFile(ctx, p, tip, "d/c", 100); err != nil {
				t.Errorf("a file of change %d: %v", second.Number, err)
			}
			away := r
			away.URL = "http://127.0.0.1:1/a/" + name
			if err := s.FetchCommit(ctx, away, "refs/heads/main", first.Revision, "refs/heads/main"); err != nil {
				t.Errorf("the branch was forced back to what is here: %v", err)
			}
			if at, err := s.Resolve(ctx, p, "refs/heads/main"); at != first.Revision || err != nil {
				t.Errorf("the mirror's branch is at %s, %v, want %s", at, err, first.Revision)
			}
			if err := s.FetchCommit(ctx, r, "refs/heads/main", strings.Repeat("1", 40), "refs/heads/main"); !errors.Is(err, ErrNotFound) {
				t.Errorf("a commit that the branch is not at: %v", err)
			}
			r.Password = "wrong-secret"
			if err := s.FetchCommit(ctx, r, "refs/heads/main", strings.Repeat("1", 40), "refs/heads/main"); err == nil || strings.Contains(err.Error(), "wrong-secret") {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
}

// A server can answer anything; none of it is taken for a pack that is not one.
func TestFetchCommitHostile(t *testing.T) {
	b := repository(t)
	at := b.commit(files{"a": "a\n"})
	b.flush()
	if err := b.store.updateRefs(ctx, b.project, "begin", "update refs/heads/main "+at+"\n", "refs/heads/main"); err != nil {
		t.Fatal(err)
	}
	packet := func(line string) string { return fmt.Sprintf("%04x%s", len(line)+4, line) }
	asked := 0
	for _, answer := range []string{
		"", "0", "0000", "0001", "0003", "zzzz", "fffe" + "x", "not a packet",
		packet("packfile\n"), packet("packfile\n") + "0000", packet("packfile\n") + packet("\x01PACK\x00\x00\x00\x02\x00\x00\x00\x01") + "0000",
		packet("packfile\n") + packet("\x03no such commit"), packet("acknowledgments\n") + packet("NAK\n") + "0000",
		packet("packfile\n") + strings.Repeat(packet("\x01"+strings.Repeat("x", 65000)), commitPack/65000+2),
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			_, _ = w.Write([]byte(answer))
		}))
		r := Remote{Project: b.project, URL: srv.URL}
		if err := b.store.fetchCommit(ctx, r, "refs/heads/main", strings.Repeat("2", 40), []string{"refs/heads/main"}); err == nil {
			t.Errorf("taken for an answer: %.60q", answer)
		}
		srv.Close()
		if now, err := b.store.Resolve(ctx, b.project, "refs/heads/main"); now != at || err != nil {
			t.Errorf("after %.60q the branch is at %s, %v", answer, now, err)
		}
	}
	if asked == 0 {
		t.Error("no server was asked")
	}
}

// Nothing that a server sends crashes the reading of it.
func FuzzReadPack(f *testing.F) {
	f.Add([]byte("000dpackfile\n0006\x01P0000"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pack, err := readPack(bytes.NewReader(data))
		if err == nil && len(pack) > len(data) {
			t.Errorf("%d bytes of pack from %d", len(pack), len(data))
		}
	})
}

// What a real Gerrit makes of a submit is made here without fetching it, but for
// a branch's first merge; and nothing that it has not made.
func TestForesee(t *testing.T) {
	for _, version := range gerritVersions {
		t.Run(version, func(t *testing.T) {
			g, s, r := mirrorOfGerrit(t, version)
			p, name := r.Project, r.Project.Name
			const ref = "refs/heads/main"
			if err := s.FetchCommit(ctx, r, ref, g.Tip(t, name, "main"), ref); err != nil {
				t.Fatal(err)
			}
			var pushed []*testenv.Pushed
			for i, subject := range []string{"Forwarded", "Merged first", `A "quoted" one`, "Grüße", "The last\n\nwith more to say"} {
				pushed = append(pushed, g.Push(t, testenv.Proposal{Project: name, Message: subject, Files: map[string]string{fmt.Sprintf("f%d", i): "x\n"}}))
			}
			for i, c := range pushed {
				if err := s.FetchCommit(ctx, r, c.Ref, c.Revision, ref); err != nil {
					t.Fatal(err)
				}
				under, err := s.Resolve(ctx, p, ref)
				if err != nil {
					t.Fatal(err)
				}
				m, err := s.Merge(ctx, MergeRequest{Project: p, Base: under, SubmitType: MergeIfNecessary, Committer: bot, Changes: []ChangeRevision{{c.Number, c.Revision}}})
				if err != nil {
					t.Fatal(err)
				}
				l := Landing{Ref: ref, Change: c.Revision, Tree: m.Tree, Since: time.Now()}
				g.Land(t, c.Number)
				tip := g.Tip(t, name, "main")
				for what, wrong := range map[string]Landing{
					"another tree": {ref, c.Revision, emptyTree, l.Since}, "another change": {ref, pushed[0].Revision, m.Tree, l.Since},
					"another time": {ref, c.Revision, m.Tree, l.Since.Add(-time.Hour)},
				} {
					if made, err := s.Foresee(ctx, p, tip, wrong); made || err != nil {
						t.Errorf("%d: %s: made %t, %v", i, what, made, err)
					}
				}
				made, err := s.Foresee(ctx, p, tip, l)
				if want := i > 1; made != want || err != nil {
					t.Errorf("%d: made %t, want %t: %v", i, made, want, err)
				}
				if tree, err := s.Tree(ctx, p, tip); made && (tree != m.Tree || err != nil) {
					t.Errorf("%d: its tree is %s, %v, want %s", i, tree, err, m.Tree)
				}
				if err := s.FetchCommit(ctx, r, ref, tip, ref); err != nil {
					t.Fatal(err)
				}
			}
			dir, _ := s.repo(p)
			if out, err := s.run(ctx, call{dir: dir}, "fsck", "--full", "--strict"); err != nil {
				t.Errorf("git fsck: %v %s", err, out)
			}
		})
	}
}
