package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sluice/internal/job"
	"sluice/internal/testenv"
)

// trees: what can be in a change (G8).
var trees = []scenario{
	{name: "empty-change", play: emptyChange},
	{name: "merge-commit", play: mergeCommit},
	{name: "submodule", play: submodule},
	{name: "binary-conflict", play: binaryConflict},
	{name: "deleted-and-edited", play: deletedAndEdited},
	{name: "same-change-twice", play: sameChangeTwice},
	{name: "odd-names", play: oddNames},
	{name: "odd-words", play: oddWords},
}

// git runs git in a clone.
func (s *site) git(dir string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=maintainer", "GIT_COMMITTER_NAME=maintainer", "GIT_AUTHOR_EMAIL=maintainer@example.com", "GIT_COMMITTER_EMAIL=maintainer@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// clone gives a maintainer's clone of a project, and its address.
func (s *site) clone(name string, by testenv.User) (dir, remote string) {
	s.t.Helper()
	dir = s.g.Fetch(s.t, by, s.name+"/"+name)
	s.git(dir, "checkout", "-q", "-f", "main")
	return dir, s.g.GitURL(by, s.name+"/"+name)
}

// force pushes past all review, as an administrator can.
func (s *site) force(name, what string) {
	s.t.Helper()
	dir, remote := s.clone(name, s.g.Admin)
	s.git(dir, "push", "-q", "-f", remote, what)
}

// pushed finds the change of the clone's head, which was pushed for review.
func (s *site) pushed(dir, remote string) *testenv.Pushed {
	s.t.Helper()
	s.git(dir, "push", "-q", remote, "HEAD:refs/for/main")
	p, err := s.g.Find(s.t, s.git(dir, "rev-parse", "HEAD"))
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// A change that changes nothing lands where the project lets it.
func emptyChange(s *site) {
	name := s.packages("a")[0]
	c := s.propose(name, "Say nothing", nil)
	s.g.Approve(s.t, c.Number)
	s.merged(c)
	s.once(c)
}

func mergeCommit(s *site) {
	name := s.packages("a")[0]
	first := s.edit(name, "one", "1\n")
	s.g.Approve(s.t, first.Number)
	s.merged(first)
	s.empty()
	dir, remote := s.clone(name, s.g.Maintainer)
	s.git(dir, "checkout", "-q", "-b", "side", "main~1")
	write(s.t, filepath.Join(dir, "side"), "of a side branch\n")
	s.git(dir, "add", "side")
	s.git(dir, "commit", "-q", "-m", "On a side branch\n\nChange-Id: I"+strings.Repeat("5", 40))
	s.git(dir, "checkout", "-q", "main")
	s.git(dir, "merge", "-q", "--no-ff", "-m", "Merge the side branch\n\nChange-Id: I"+strings.Repeat("6", 40), "side")
	s.git(dir, "push", "-q", remote, "side:refs/for/main")
	side, err := s.g.Find(s.t, s.git(dir, "rev-parse", "side"))
	if err != nil {
		s.t.Fatal(err)
	}
	merge := s.pushed(dir, remote)
	s.g.Approve(s.t, merge.Number)
	s.g.Approve(s.t, side.Number)
	s.merged(side, merge)
	s.once(side, merge)
}

// A submodule is a commit of elsewhere: sources are whole, so that is a finding, on its path.
func submodule(s *site) {
	name := s.packages("a")[0]
	dir, remote := s.clone(name, s.g.Maintainer)
	write(s.t, filepath.Join(dir, ".gitmodules"), "[submodule \"lib\"]\n\tpath = lib\n\turl = ../lib\n")
	s.git(dir, "add", ".gitmodules")
	s.git(dir, "update-index", "--add", "--cacheinfo", "160000,"+s.git(dir, "rev-parse", "main")+",lib")
	s.git(dir, "commit", "-q", "-m", "Bind the library\n\nChange-Id: I"+strings.Repeat("7", 40))
	c := s.pushed(dir, remote)
	s.g.Approve(s.t, c.Number)
	s.told(c, "Gate failed", "lib")
	s.voted(c, -2)
}

func binaryConflict(s *site) {
	name := s.packages("a")[0]
	first := s.edit(name, "logo.png", "\x89PNG\r\n\x00one\x00")
	s.g.Approve(s.t, first.Number)
	s.merged(first)
	s.empty()
	release := s.worker.hold("install " + name)
	left, right := s.edit(name, "logo.png", "\x89PNG\r\n\x00two\x00"), s.edit(name, "logo.png", "\x89PNG\r\n\x00three\x00")
	s.approve(left, right)
	release()
	s.merged(left)
	s.told(right, "does not merge", "logo.png")
	s.voted(right, -2)
}

func deletedAndEdited(s *site) {
	name := s.packages("a")[0]
	release := s.worker.hold("install " + name)
	gone, edited := s.remove(name, "Remove it", "src/hello.c"), s.good(name)
	s.approve(gone, edited)
	release()
	s.merged(gone)
	s.told(edited, "does not merge", "src/hello.c")
	s.voted(edited, -2)
}

// Two changes do the very same: the second adds nothing, and lands.
func sameChangeTwice(s *site) {
	name := s.packages("a")[0]
	release := s.worker.hold("install " + name)
	first, second := s.edit(name, "same", "1\n"), s.edit(name, "same", "1\n")
	s.approve(first, second)
	release()
	s.merged(first, second)
	s.once(first, second)
	if n := len(s.worker.runs(job.StageBuild, name)); n > 2 {
		s.t.Errorf("%d builds", n)
	}
}

func oddNames(s *site) {
	name := s.packages("a")[0]
	c := s.propose(name, "Name files oddly", map[string]string{
		"a b/ä ö.txt": "1\n", "-rf": "2\n", "quote\"'`$(id)": "3\n", "src/.hidden": "5\n", strings.Repeat("long", 50): "6\n"})
	s.g.Approve(s.t, c.Number)
	s.merged(c)
	s.once(c)
}

// A subject and a finding with all that a terminal, a page and JSON dislike.
func oddWords(s *site) {
	name := s.packages("a")[0]
	c := s.propose(name, "Say \"<b>hé\u202ello</b>\" \\ 'x' 🎉 & %s %!d", map[string]string{"outcome": "build fail src/hello.c:3: error: <script>\x1b[31m'%s' 🎉\x00\xff\n"})
	s.g.Approve(s.t, c.Number)
	s.voted(c, -2)
	s.told(c, "Gate failed", "src/hello.c:3: error: <script>", "'%s' 🎉")
}
