package api

import (
	"context"
	"slices"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// known are changes by their id, as they were last read.
type known map[gate.ChangeID]record.Change

// knowing reads the changes that some refs name.
func (s *server) knowing(ctx context.Context, refs ...[]gate.Ref) (known, error) {
	var ids []string
	for _, some := range refs {
		for _, r := range some {
			if !slices.Contains(ids, string(r.ID)) {
				ids = append(ids, string(r.ID))
			}
		}
	}
	return s.knowingIDs(ctx, ids)
}

func (s *server) knowingIDs(ctx context.Context, ids []string) (known, error) {
	k := known{}
	if len(ids) == 0 {
		return k, nil
	}
	changes, err := s.Store.Changes(ctx, ids)
	for _, c := range changes {
		k[c.ID] = c
	}
	return k, err
}

// restricted reports whether one of the changes may not be shown to everybody.
func (k known) restricted(refs ...[]gate.Ref) bool {
	for _, some := range refs {
		for _, r := range some {
			if k[r.ID].Facts.Restricted {
				return true
			}
		}
	}
	return false
}

// visibleBuildset gives a buildset that everybody may see, with its changes.
func (s *server) visibleBuildset(ctx context.Context, id int64) (record.Buildset, known, error) {
	b, k, err := s.openBuildset(ctx, id)
	return b, k, none(err, "no such buildset", "no buildset has this number, or it is not shown")
}

// openBuildset is visibleBuildset with the record's own error.
func (s *server) openBuildset(ctx context.Context, id int64) (record.Buildset, known, error) {
	b, err := s.Store.Buildset(ctx, id)
	if err != nil {
		return b, nil, err
	}
	k, err := s.knowing(ctx, b.Changes, b.Stack)
	if err == nil && k.restricted(b.Changes, b.Stack) {
		err = record.ErrNotFound
	}
	return b, k, err
}

// visibleJob gives a job that everybody may see, with its buildset (nil: it
// makes a root) and that one's changes.
func (s *server) visibleJob(ctx context.Context, id int64) (record.Job, *record.Buildset, known, error) {
	j, err := s.Store.Job(ctx, id)
	if err == nil && j.Restricted {
		err = record.ErrNotFound
	}
	if err == nil && j.Buildset == nil {
		return j, nil, known{}, nil
	}
	var b record.Buildset
	var k known
	if err == nil {
		b, k, err = s.openBuildset(ctx, *j.Buildset)
	}
	return j, &b, k, none(err, "no such job", "no job has this number, or it is not shown")
}

// visibleChange gives a change that everybody may see.
func (s *server) visibleChange(ctx context.Context, gerrit string, number int) (record.Change, error) {
	c, err := s.Store.Change(ctx, changeID(gerrit, number))
	if err == nil && c.Facts.Restricted {
		err = record.ErrNotFound
	}
	return c, none(err, "no such change", "this change is not known here, or it is not shown")
}
