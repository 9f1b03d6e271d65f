package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/git"
)

// mirror is what is known of the projects' repositories, of which internal/git
// keeps copies. It can be lost.
type mirror struct {
	commits sync.Map           // "project commit" → its tree, of commits that are here
	configs sync.Map           // git.Project → projectConfig
	flights singleflight.Group // of fetches
	once    sync.Once          // makes moves
	moves   chan move          // branches that the gate has just moved
	landing sync.Map           // gate.Branch → git.Landing: what the last submit should make of it
	mu      sync.Mutex         // guards tips
	tips    map[gate.Branch]tip
}

// tip is where a branch was.
type tip struct {
	commit string
	at     time.Time // before it was asked for
}

// move is the way of a branch to a commit.
type move struct {
	branch gate.Branch
	to     string
}

func (m *mirror) moved() chan move {
	m.once.Do(func() { m.moves = make(chan move, 64) })
	return m.moves
}

// fetchBranch has the branch's tip in the mirror, and gives it. Gerrit is asked
// where the branch is, which is quick; only what the mirror does not have is fetched.
func (e *Engine) fetchBranch(ctx context.Context, project git.Project, branch gate.Branch) (string, error) {
	commit, err := e.Gerrits[project.Gerrit].Branch(ctx, project.Name, branch.Branch)
	if err != nil {
		return "", fmt.Errorf("branch %s of %s: %w", branch.Branch, project, err)
	}
	return commit, e.haveTip(ctx, project, branch.Branch, commit)
}

// lookAt is fetchBranch for the sake of the submit that follows just now.
func (e *Engine) lookAt(ctx context.Context, project git.Project, branch gate.Branch) (string, error) {
	at := e.Now()
	commit, err := e.fetchBranch(ctx, project, branch)
	if err == nil {
		e.mirror.saw(branch, tip{commit, at})
	}
	return commit, err
}

// saw notes where a branch was, unless it was seen later.
func (m *mirror) saw(branch gate.Branch, t tip) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tips == nil {
		m.tips = map[gate.Branch]tip{}
	}
	if m.tips[branch].at.Before(t.at) {
		m.tips[branch] = t
	}
}

// seen gives where a branch was, when it was last asked for.
func (m *mirror) seen(branch gate.Branch) tip {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tips[branch]
}

// justNow is how long what lookAt has seen counts for the submit that follows. A
// push in that time is found as one between question and submit is: by the
// comparison after it (G16).
const justNow = time.Second

// fetchedBranch is fetchBranch, but for a branch that was looked at just now.
func (e *Engine) fetchedBranch(ctx context.Context, project git.Project, branch gate.Branch) (string, error) {
	if t := e.mirror.seen(branch); e.Now().Sub(t.at) < justNow {
		return t.commit, nil
	}
	return e.fetchBranch(ctx, project, branch)
}

// fetchChanges has the commits of a branch's changes in the mirror.
func (e *Engine) fetchChanges(ctx context.Context, project git.Project, branch gate.Branch, refs []gate.Ref) error {
	for _, r := range refs {
		c, err := e.Store.Change(ctx, r.ID)
		if err != nil {
			return err
		}
		if err := e.have(ctx, project, branch.Branch, patchSetRef(c.FetchRef, r.PatchSet), r.Revision); err != nil {
			return err
		}
	}
	return nil
}

// have fetches a change's commit, unless the mirror has it; it mostly stands on
// what is there of its branch.
func (e *Engine) have(ctx context.Context, project git.Project, branch, ref, commit string) error {
	if _, err := e.tree(ctx, project, commit); err == nil {
		return nil
	}
	return e.fetchCommit(ctx, project, branch, ref, commit)
}

// haveTip has a branch's tip in the mirror, and the mirror's branch there, for a
// merge looks up what is on the branches.
func (e *Engine) haveTip(ctx context.Context, project git.Project, branch, commit string) error {
	e.foresee(ctx, project, branch, commit)
	return e.fetchCommit(ctx, project, branch, "refs/heads/"+branch, commit)
}

// foresee has a branch's tip in the mirror without fetching it, if it is what the
// submit just before is known to have made of it.
func (e *Engine) foresee(ctx context.Context, project git.Project, branch, commit string) {
	l, ok := e.mirror.landing.Load(gate.Branch{Project: project.String(), Branch: branch})
	if !ok {
		return
	}
	if _, err := e.tree(ctx, project, commit); err == nil {
		return
	}
	if _, err := e.Git.Foresee(ctx, project, commit, l.(git.Landing)); err != nil && ctx.Err() == nil {
		e.Log.Debug("a merge is fetched", "project", project, "commit", commit, "error", err)
	}
}

// fetchCommit fetches what nobody else is fetching in this moment.
func (e *Engine) fetchCommit(ctx context.Context, project git.Project, branch, ref, commit string) error {
	for {
		_, err, _ := e.mirror.flights.Do(project.String()+" "+ref+" "+commit, func() (any, error) {
			return nil, e.Git.FetchCommit(ctx, e.Remote(project), ref, commit, "refs/heads/"+branch)
		})
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.Canceled) {
			return err
		} // whoever was fetching it was stopped
	}
}

// moved has what the gate has merged fetched at once: the comparison with what was
// tested (G16), which asks where the branch is, then finds it here. It is only a
// hint; where there are too many, the comparison fetches by itself.
func (e *Engine) moved(h hint) {
	if !e.byGate(h) || !e.movesBranch(h) || h.says.NewRev == "" {
		return
	}
	select {
	case e.mirror.moved() <- move{gate.Branch{Project: h.Gerrit + ":" + h.says.Project, Branch: h.says.Branch}, h.says.NewRev}:
	default:
	}
}

// fetchMoves fetches what moved tells of until ctx is over.
func (e *Engine) fetchMoves(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-e.mirror.moved():
			project, err := git.ParseProject(m.branch.Project)
			if err == nil {
				if _, err := e.tree(ctx, project, m.to); err == nil {
					continue // and the branch may be further on
				}
				err = e.haveTip(ctx, project, m.branch.Branch, m.to)
			}
			if err != nil && ctx.Err() == nil {
				e.Log.Debug("what was merged is not fetched yet", "project", m.branch.Project, "branch", m.branch.Branch, "error", err)
			}
		}
	}
}

// tree gives the tree of a commit that the mirror has. Both never change, so
// git is asked once.
func (e *Engine) tree(ctx context.Context, project git.Project, commit string) (string, error) {
	key := project.String() + " " + commit
	if t, ok := e.mirror.commits.Load(key); ok {
		return t.(string), nil
	}
	tree, err := e.Git.Tree(ctx, project, commit)
	if err == nil {
		e.mirror.commits.Store(key, tree)
	}
	return tree, err
}

// patchSetRef is refs/changes/34/1234/N for another N.
func patchSetRef(ref string, patchSet int) string {
	return fmt.Sprintf("%s/%d", ref[:strings.LastIndexByte(ref, '/')], patchSet)
}

// configAge is how long a project's settings are taken as they were read.
const configAge = 10 * time.Second

// projectConfig is what was read of a project's settings.
type projectConfig struct {
	*gerrit.ProjectConfig
	at time.Time
}

// projectConfig gives the settings by which Gerrit merges in a project.
func (e *Engine) projectConfig(ctx context.Context, project git.Project) (*gerrit.ProjectConfig, error) {
	at := e.Now()
	if c, ok := e.mirror.configs.Load(project); ok && at.Sub(c.(projectConfig).at) < configAge {
		return c.(projectConfig).ProjectConfig, nil
	}
	c, err := e.Gerrits[project.Gerrit].ProjectConfig(ctx, project.Name)
	if err == nil {
		e.mirror.configs.Store(project, projectConfig{c, at})
	}
	return c, err
}

// configured forgets all projects' settings when an event tells that one's have
// changed: they are inherited.
func (e *Engine) configured(h hint) {
	if h.Type == "ref-updated" && h.says.Ref == "refs/meta/config" {
		e.mirror.configs.Clear()
	}
}
