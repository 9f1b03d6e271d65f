package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/record"
)

// What has moved is left to come to rest for calm, but for no longer than restless.
const (
	calm     = 3 * time.Second
	restless = 2 * time.Minute
)

// Retest has those open changes checked again that read what has moved since
// (R55, R66). It is called now and then, by each replica.
func (e *Engine) Retest(ctx context.Context) error {
	which := e.Site.Pipelines.Check.Retest
	n, err := e.Store.Retest(ctx, calm, restless, which == "approved", which == "none")
	if n > 0 {
		e.Log.Info("something has moved: open changes that read it are checked again", "changes", n)
	}
	return err
}

// movesBranch reports whether an event is of a move of a branch of this site's: a
// merge, or a push past review.
func (e *Engine) movesBranch(h hint) bool {
	_, ours := e.Site.Project(h.Gerrit, h.says.Project, h.says.Branch)
	return h.Type == "ref-updated" && ours && strings.HasPrefix(h.says.Ref, "refs/heads/")
}

// compareHeads finds the branches that have moved while nobody listened, of those
// that open changes are for (G21).
func (e *Engine) compareHeads(ctx context.Context, gerritName string, server Gerrit, open []record.Change) error {
	wanted := map[string]map[string]bool{}
	for _, c := range open {
		if c.Checked && c.Status == gate.Open {
			if wanted[c.Project] == nil {
				wanted[c.Project] = map[string]bool{}
			}
			wanted[c.Project][c.Branch] = true
		}
	}
	for project, branches := range wanted {
		heads, err := server.BranchHeads(ctx, project)
		if gerrit.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("branches of %s: %w", project, err)
		}
		for b := range heads {
			if !branches[b] {
				delete(heads, b)
			}
		}
		if err := e.Store.SaveHeads(ctx, gerritName, project, heads); err != nil {
			return err
		}
	}
	return nil
}
