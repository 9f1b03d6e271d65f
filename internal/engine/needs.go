package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sluice/internal/gate"
	"sluice/internal/gerrit"
	"sluice/internal/record"
)

// needs gives a change's direct dependencies, and has those read that are not known yet.
func (e reading) needs(ctx context.Context, gerritName string, server Gerrit, c *gerrit.Change) ([]gate.Need, error) {
	var needs []gate.Need
	chain, err := server.Related(ctx, c.Number, c.Revision)
	if err != nil && !gerrit.IsNotFound(err) {
		return nil, fmt.Errorf("relation chain of change %d: %w", c.Number, err)
	}
	for _, r := range chain {
		if r.Number == 0 || r.Number == c.Number || !slices.Contains(c.Parents, r.Revision) {
			continue
		}
		needs = append(needs, gate.Need{Kind: gate.Parent, ID: id(gerritName, r.Number), PatchSet: r.PatchSet})
	}
	for _, d := range gerrit.DependsOnOf(c.Message) {
		found, err := e.resolve(ctx, gerritName, d)
		if err != nil {
			return nil, fmt.Errorf("Depends-On of change %d: %w", c.Number, err)
		}
		if len(found) == 0 {
			needs = append(needs, gate.Need{Kind: gate.DependsOn, Text: d.Text})
		}
		for _, f := range found {
			if f != id(gerritName, c.Number) {
				needs = append(needs, gate.Need{Kind: gate.DependsOn, ID: f, Text: d.Text})
			}
		}
	}
	for _, n := range needs {
		if err := e.readMissing(ctx, n.ID); err != nil {
			return nil, err
		}
	}
	return needs, nil
}

// resolve finds the changes that a footer means, on the Gerrit that it names. A
// footer that means none is no error: the change waits, and says for what (G2).
func (e *Engine) resolve(ctx context.Context, gerritName string, d gerrit.DependsOn) ([]gate.ChangeID, error) {
	names := []string{gerritName}
	for n := range e.Gerrits {
		if n != gerritName && (d.URL != "" || d.ChangeID != "") { // a number is this Gerrit's
			names = append(names, n)
		}
	}
	for _, n := range names {
		if o, ok := e.Gerrits[n].(interface{ Owns(gerrit.DependsOn) bool }); ok && !o.Owns(d) {
			continue
		}
		found, err := e.Gerrits[n].Resolve(ctx, d)
		if gerrit.IsTransient(err) || gerrit.IsDenied(err) || ctx.Err() != nil {
			return nil, err
		}
		var ids []gate.ChangeID
		for _, c := range found {
			ids = append(ids, id(n, c.Number))
		}
		if len(ids) > 0 {
			return ids, nil
		}
	}
	return nil, nil
}

// readMissing has a change read that a decision will have to know, unless it is
// known, or being read already. It is stored even if no pipeline is for its project.
func (e reading) readMissing(ctx context.Context, change gate.ChangeID) error {
	if change == "" || slices.Contains(e.within, change) {
		return nil
	}
	if _, err := e.Store.Change(ctx, change); !errors.Is(err, record.ErrNotFound) {
		return err
	}
	name, number := split(change)
	return e.read(ctx, name, e.Gerrits[name], number)
}

// read reads one change for the sake of another.
func (e reading) read(ctx context.Context, name string, server Gerrit, number int) error {
	c, serial, _, err := e.ask(ctx, name, server, number)
	if gerrit.IsNotFound(err) {
		return nil // it went meanwhile, or this account may not see it
	}
	if err != nil {
		return err
	}
	return e.save(ctx, name, server, c, serial, true)
}

// tellDependants has those changes read again whose footers may mean something
// else now: this one came to be known, was abandoned or restored, or moved.
func (e *Engine) tellDependants(ctx context.Context, was, is record.Change) error {
	if was.ID != "" && (was.Status == is.Status && was.Branch == is.Branch && was.Project == is.Project || is.Status == gate.Merged) {
		return nil
	}
	ids, err := e.Store.Dependants(ctx, is.ChangeKey, is.Number)
	if err != nil {
		return err
	}
	for _, d := range ids {
		if d == is.ID {
			continue
		}
		name, number := split(d)
		if err := e.Store.Enqueue(ctx, record.Task{Kind: record.TaskReadChange, Gerrit: name, Number: number}); err != nil {
			return err
		}
	}
	return nil
}
