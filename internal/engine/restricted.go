package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/internal/gate"
	"sluice/internal/gerrit"
)

// Reader looks at a Gerrit with the eyes of everybody who is shown what is made here.
type Reader interface {
	CanRead(ctx context.Context, number int) (bool, error)
}

// readableFor is how long it is believed that everybody may read a branch, or not.
const readableFor = time.Minute

// readable is whether everybody could read a branch, and when.
type readable struct {
	all bool
	at  time.Time
}

// mayNotAllRead reports whether not everybody may read a change (G25): it is
// private, or of a branch that the Gerrit's reader does not see. Gerrit gives
// the right to read by branch, so that one change answers for all of its branch.
func (e *Engine) mayNotAllRead(ctx context.Context, gerritName string, c *gerrit.Change) (bool, error) {
	reader := e.Readers[gerritName]
	if c.Private || reader == nil {
		return c.Private, nil
	}
	branch := gate.Branch{Project: gerritName + ":" + c.Project, Branch: c.Branch}
	before, asked := e.branches.Load(branch)
	if asked && e.Now().Sub(before.(readable).at) < readableFor {
		return !before.(readable).all, nil
	}
	all, err := reader.CanRead(ctx, c.Number)
	if err != nil {
		return true, fmt.Errorf("whether everybody may read change %d of %s: %w", c.Number, gerritName, err)
	}
	if !all && (!asked || before.(readable).all) {
		e.Log.Warn("not everybody may read this branch in Gerrit: what is made from its changes is not shown", "project", branch.Project, "branch", branch.Branch)
	}
	e.branches.Store(branch, readable{all, e.Now()})
	return !all, nil
}

// confidential reports whether one who reads a change may not be told what was
// made with others: one of them is restricted, and it is not the change itself.
func (e *Engine) confidential(ctx context.Context, to gate.Ref, with []gate.Ref) (bool, error) {
	var others []gate.ChangeID
	for _, r := range with {
		if r.ID != to.ID && !slices.Contains(others, r.ID) {
			others = append(others, r.ID)
		}
	}
	if len(others) == 0 {
		return false, nil
	}
	public, err := e.Store.Unrestricted(ctx, others)
	return public < len(others), err
}
