package testenv

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Proposal is a change, or a new patch set of one, as a maintainer would push it.
type Proposal struct {
	Project string
	Branch  string // "main" if empty
	Message string // subject, and body with footers such as Depends-On

	Files  map[string]string // path → content, added or replaced; content that begins with #! is executable
	Remove []string          // paths taken away
	Dir    string            // a directory whose files become the whole tree, before Files and Remove; may be empty

	On       *Pushed // the patch set that this one stands on; nil: the branch's head
	ChangeID string  // "I…" of the change that this is a new patch set of; "" for a new change

	By      User     // the maintainer if empty
	Topic   string   // may be empty
	Options []string // further push options: "wip", "private", "hashtag=x"
	Past    bool     // past all review, straight to the branch, as the administrator: no change is made
}

// Pushed is a patch set that Gerrit has taken.
type Pushed struct {
	Number   int
	ChangeID string
	PatchSet int
	Revision string
	Ref      string // refs/changes/…
}

// Push pushes a proposal with git over HTTP and returns what Gerrit made of it.
func (g *GerritServer) Push(t testing.TB, p Proposal) *Pushed {
	t.Helper()
	pushed, err := g.TryPush(t, p)
	if err != nil {
		t.Fatalf("testenv: Gerrit: %v", err)
	}
	return pushed
}

// TryPush is Push for what Gerrit may refuse: the error holds git's output.
func (g *GerritServer) TryPush(t testing.TB, p Proposal) (*Pushed, error) {
	t.Helper()
	if p.Branch == "" {
		p.Branch = "main"
	}
	if p.Past {
		p.By = g.Admin
		g.pushes.Do(func() {
			rule := map[string]any{"rules": map[string]any{"Administrators": map[string]any{"action": "ALLOW", "force": true}}}
			g.must(t, g.Admin, http.MethodPost, "/projects/All-Projects/access", map[string]any{
				"add": map[string]any{"refs/heads/*": map[string]any{"permissions": map[string]any{"push": rule}}}}, nil)
		})
	}
	if p.By.Name == "" {
		p.By = g.Maintainer
	}
	w := &work{t: t, dir: t.TempDir()}
	remote := g.GitURL(p.By, p.Project)
	w.git("init", "-q", "-b", "work")
	base := "refs/heads/" + p.Branch
	if p.On != nil {
		base = p.On.Ref
	}
	w.git("fetch", "-q", "--depth=50", remote, base)
	w.git("reset", "-q", "--hard", "FETCH_HEAD")
	w.write(p)
	if p.ChangeID == "" {
		p.ChangeID = newChangeID(t, p, w.dir)
	}
	w.env = append(w.env, "GIT_AUTHOR_NAME="+p.By.Name, "GIT_COMMITTER_NAME="+p.By.Name,
		"GIT_AUTHOR_EMAIL="+p.By.Name+"@example.com", "GIT_COMMITTER_EMAIL="+p.By.Name+"@example.com")
	w.git("add", "-A", "-f")
	w.git("commit", "-q", "--allow-empty", "-m", withFooter(p.Message, "Change-Id: "+p.ChangeID))
	revision := w.git("rev-parse", "HEAD")

	options := p.Options
	if p.Topic != "" {
		options = append([]string{"topic=" + p.Topic}, options...)
	}
	target := "HEAD:refs/for/" + p.Branch
	if p.Past {
		target = "HEAD:refs/heads/" + p.Branch
	}
	if len(options) > 0 {
		target += "%" + strings.Join(options, ",")
	}
	if out, err := w.run("push", "-q", remote, target); err != nil {
		return nil, fmt.Errorf("git push to %s %s: %w\n%s", p.Project, target, err, out)
	}
	if p.Past {
		return &Pushed{Revision: revision}, nil
	}
	return g.Find(t, revision)
}

// Find asks Gerrit which change a revision belongs to.
func (g *GerritServer) Find(t testing.TB, revision string) (*Pushed, error) {
	t.Helper()
	var found []ChangeInfo
	if err := g.REST(g.Admin, http.MethodGet, "/changes/?o=ALL_REVISIONS&q="+url.QueryEscape("commit:"+revision), nil, &found); err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("revision %s belongs to %d changes", revision, len(found))
	}
	r := found[0].Revisions[revision]
	return &Pushed{Number: found[0].Number, ChangeID: found[0].ChangeID, PatchSet: r.Number, Revision: revision, Ref: r.Ref}, nil
}

// GitURL is a project's address for git, with the user's token in it.
func (g *GerritServer) GitURL(user User, project string) string {
	return strings.Replace(g.URL, "://", "://"+user.Name+":"+url.QueryEscape(user.Token)+"@", 1) + "/a/" + project
}

// Fetch makes a clone of a project (all branches, and the refs given) and returns its directory.
func (g *GerritServer) Fetch(t testing.TB, user User, project string, refs ...string) string {
	t.Helper()
	w := &work{t: t, dir: t.TempDir()}
	w.git("init", "-q", "-b", "work")
	args := []string{"fetch", "-q", g.GitURL(user, project), "+refs/heads/*:refs/heads/*"}
	for _, ref := range refs {
		args = append(args, "+"+ref+":"+ref)
	}
	w.git(args...)
	return w.dir
}

// work is a temporary work tree.
type work struct {
	t   testing.TB
	dir string
	env []string
}

func (w *work) run(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = w.dir
	cmd.Env = append(append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0"), w.env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (w *work) git(args ...string) string {
	w.t.Helper()
	out, err := w.run(args...)
	if err != nil {
		w.t.Fatalf("testenv: git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// write makes the proposal's tree.
func (w *work) write(p Proposal) {
	w.t.Helper()
	if p.Dir != "" {
		w.git("rm", "-r", "-q", "-f", "--ignore-unmatch", ".")
		if out, err := exec.Command("cp", "-a", p.Dir+"/.", w.dir).CombinedOutput(); err != nil {
			w.t.Fatalf("testenv: copy %s: %v\n%s", p.Dir, err, out)
		}
	}
	for _, path := range p.Remove {
		if err := os.RemoveAll(filepath.Join(w.dir, path)); err != nil {
			w.t.Fatalf("testenv: %v", err)
		}
	}
	for path, content := range p.Files {
		path = filepath.Join(w.dir, path)
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			w.t.Fatalf("testenv: %v", err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			w.t.Fatalf("testenv: %v", err)
		}
		if err := os.Chmod(path, mode); err != nil {
			w.t.Fatalf("testenv: %v", err)
		}
	}
}

// newChangeID is one that no other proposal has.
func newChangeID(t testing.TB, p Proposal, dir string) string {
	sum := sha1.Sum([]byte(t.Name() + p.Project + p.Message + dir + fmt.Sprint(unique.Add(1))))
	return "I" + hex.EncodeToString(sum[:])
}

// withFooter adds a line to the message's footers: behind them if the message ends with some, else as a paragraph.
func withFooter(message, footer string) string {
	message = strings.TrimRight(message, "\n")
	last := message[strings.LastIndex(message, "\n")+1:]
	key, _, found := strings.Cut(last, ": ")
	if strings.Contains(message, "\n\n") && found && !strings.Contains(key, " ") {
		return message + "\n" + footer
	}
	return message + "\n\n" + footer
}
