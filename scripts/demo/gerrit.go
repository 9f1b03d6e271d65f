package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sluice/internal/trial"
)

// gerrit is the demo's Gerrit.
type gerrit struct {
	url      string
	settings map[string]string // of scripts/gerrit.sh
	env      []string
	work     string // folder of the maintainer's clones
}

// startGerrit starts one, anew if a killed run left it, and makes the projects.
func (d *demo) startGerrit(ctx context.Context) (*gerrit, error) {
	g := &gerrit{settings: map[string]string{}, work: d.place.path("work"), env: []string{
		"GERRIT_SITE=" + d.place.path("gerrit"), fmt.Sprintf("GERRIT_OWNER_PID=%d", os.Getpid()),
		fmt.Sprintf("HTTP_PORT=%d", d.place.Ports["gerrit"]), fmt.Sprintf("SSH_PORT=%d", d.place.Ports["ssh"]),
	}}
	began := time.Now()
	if err := g.stop(d); err != nil {
		return nil, err
	}
	if err := d.procs.do(ctx, d.place.path("gerrit.log"), g.env, "scripts/gerrit.sh", "up"); err != nil {
		return nil, err
	}
	text, err := readFile(d.place.path("gerrit", "env"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			g.settings[name] = value
		}
	}
	g.url = g.settings["GERRIT_URL"]
	for _, p := range packages {
		if err := d.procs.do(ctx, d.place.path("gerrit.log"), g.env, "scripts/gerrit.sh", "project", p.project()); err != nil {
			return g, err
		}
	}
	say("Gerrit %s answers at %s, after %s", g.settings["GERRIT_VERSION"], g.url, time.Since(began).Round(time.Second))
	cleared, err := g.abandonOpen(ctx)
	if cleared > 0 {
		say("%d changes that earlier runs left open are abandoned", cleared)
	}
	return g, err
}

func (g *gerrit) stop(d *demo) error {
	return d.procs.do(context.Background(), d.place.path("gerrit-down.log"), g.env, "scripts/gerrit.sh", "down")
}

// rest calls Gerrit as a user.
func (g *gerrit) rest(ctx context.Context, user, method, path string, body, into any) error {
	return trial.REST(ctx, g.url, user, g.settings[strings.ToUpper(user)+"_TOKEN"], method, path, body, into)
}

// changeInfo is what the demo looks at in Gerrit's answer about a change.
type changeInfo struct {
	Number   int    `json:"_number"`
	Status   string `json:"status"`
	Messages []struct {
		Message string `json:"message"`
		Author  struct {
			Username string `json:"username"`
		} `json:"author"`
	} `json:"messages"`
}

func (g *gerrit) change(ctx context.Context, number int) (c changeInfo, err error) {
	return c, g.rest(ctx, "admin", http.MethodGet, fmt.Sprintf("/changes/%d?o=MESSAGES&o=DETAILED_ACCOUNTS", number), nil, &c)
}

// approve gives the reviewer's votes: what lets a change enter the gate.
func (g *gerrit) approve(ctx context.Context, number int) error {
	return g.rest(ctx, "reviewer", http.MethodPost, fmt.Sprintf("/changes/%d/revisions/current/review", number),
		map[string]any{"labels": map[string]int{"Code-Review": 2, "Workflow": 1}}, nil)
}

// abandonOpen clears away what an earlier run left open.
func (g *gerrit) abandonOpen(ctx context.Context) (int, error) {
	var open []changeInfo
	if err := g.rest(ctx, "admin", http.MethodGet, "/changes/?q=status:open&n=500", nil, &open); err != nil {
		return 0, err
	}
	for _, c := range open {
		if err := g.rest(ctx, "admin", http.MethodPost, fmt.Sprintf("/changes/%d/abandon", c.Number), map[string]string{"message": "Of an earlier run of the demo."}, nil); err != nil && !strings.Contains(err.Error(), "change is ") { // a killed Gerrit's index lags behind
			return 0, err
		}
	}
	return len(open), nil
}

// checkout makes the maintainer's clone of a project at a commit, or at the
// head of its branch.
func (g *gerrit) checkout(ctx context.Context, project, commit string) (tree, error) {
	t := tree{ctx: ctx, dir: filepath.Join(g.work, project)}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return t, err
	}
	if _, err := os.Stat(filepath.Join(t.dir, ".git")); err != nil {
		if _, err := t.git("init", "-q"); err != nil {
			return t, err
		}
	}
	if _, err := t.git("fetch", "-q", g.remote(project), "+refs/heads/main:refs/remotes/gerrit/main"); err != nil {
		return t, err
	}
	if commit == "" {
		commit = "refs/remotes/gerrit/main"
	}
	if _, err := t.git("checkout", "-q", "-f", "--detach", commit); err != nil {
		return t, err
	}
	_, err := t.git("clean", "-q", "-f", "-d", "-x")
	return t, err
}

func (g *gerrit) remote(project string) string {
	return strings.Replace(g.url, "://", "://maintainer:"+url.QueryEscape(g.settings["MAINTAINER_TOKEN"])+"@", 1) + "/a/" + project
}

// propose commits the tree as the maintainer, and pushes it for review.
func (g *gerrit) propose(ctx context.Context, t tree, c *change) error {
	sum := sha1.Sum([]byte(c.project() + c.subject + time.Now().String()))
	c.id = "I" + hex.EncodeToString(sum[:])
	message := c.subject + "\n\n"
	if c.body != "" {
		message += c.body + "\n\n"
	}
	if c.dependsOn != nil {
		message += "Depends-On: " + c.dependsOn.id + "\n"
	}
	message += "Change-Id: " + c.id + "\n"
	if _, err := t.git("add", "-A", "-f"); err != nil {
		return err
	}
	if _, err := t.git("commit", "-q", "-m", message); err != nil {
		return err
	}
	var err error
	if c.commit, err = t.git("rev-parse", "HEAD"); err != nil {
		return err
	}
	if _, err := t.git("push", "-q", g.remote(c.project()), "HEAD:refs/for/main"); err != nil {
		return err
	}
	var found []changeInfo
	if err := g.rest(ctx, "maintainer", http.MethodGet, "/changes/?q="+url.QueryEscape("change:"+c.id), nil, &found); err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("Gerrit has %d changes with the id %s", len(found), c.id)
	}
	c.number = found[0].Number
	return nil
}

// tree is a work tree, as a maintainer edits it.
type tree struct {
	ctx context.Context
	dir string
}

func (t tree) git(args ...string) (string, error) {
	cmd := exec.CommandContext(t.ctx, "git", args...)
	cmd.Dir = t.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Mai Maintainer", "GIT_AUTHOR_EMAIL=maintainer@example.com",
		"GIT_COMMITTER_NAME=Mai Maintainer", "GIT_COMMITTER_EMAIL=maintainer@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s in %s: %w\n%s", args[0], t.dir, err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

func (t tree) read(name string) (string, error) { return readFile(t.dir, name) }

// write writes a file; one that begins with #! can be run.
func (t tree) write(name, text string) error {
	path, mode := filepath.Join(t.dir, name), os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// setLine replaces the line that begins with prefix; where there is none, it
// is put behind the line that holds anchor. It gives the line's number.
func (t tree) setLine(name, prefix, anchor, line string) (int, error) {
	text, err := t.read(name)
	if err != nil {
		return 0, err
	}
	lines := strings.Split(text, "\n")
	at := -1
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, prefix):
			lines[i] = line
			return i + 1, t.write(name, strings.Join(lines, "\n"))
		case at < 0 && strings.Contains(l, anchor):
			at = i
		}
	}
	if at < 0 {
		return 0, fmt.Errorf("%s of %s has no line with %q", name, t.dir, anchor)
	}
	lines = append(lines[:at+1], append([]string{line}, lines[at+1:]...)...)
	return at + 2, t.write(name, strings.Join(lines, "\n"))
}

// replace replaces a text that is there; with is in its place already: nothing is done.
func (t tree) replace(name, old, with string) error {
	text, err := t.read(name)
	if err != nil || strings.Contains(text, with) {
		return err
	}
	if !strings.Contains(text, old) {
		return fmt.Errorf("%s of %s does not say %q", name, t.dir, old)
	}
	return t.write(name, strings.Replace(text, old, with, 1))
}
