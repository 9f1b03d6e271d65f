// Package fsck is the oracle of the whole: it checks what holds between the
// rows of the database, the bytes of every blob that a row names, and each
// released repository as a client would read it, with its exported tree. It
// changes nothing, and may run beside a working service.
package fsck

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sort"

	"sluice/internal/blob"
	"sluice/internal/record"
	"sluice/internal/repo"
)

// Rows is the database.
type Rows interface {
	Broken(ctx context.Context) ([][2]string, error)
	Blobs(ctx context.Context) (map[string]string, error)
	Repositories(ctx context.Context) ([]record.Repository, error)
	Publication(ctx context.Context, id int64) (record.Publication, error)
}

// Problem is one thing that is not as it should be.
type Problem struct {
	Kind  string // "corrupt blob", "lost row", "moved pointer", "changed file", …
	Where string // what it is about
	Text  string
}

// String is the problem in one line.
func (p Problem) String() string {
	if p.Where == "" {
		return p.Kind + ": " + p.Text
	}
	return p.Kind + ": " + p.Where + ": " + p.Text
}

// Options say what to check.
type Options struct {
	Rows   Rows
	Blobs  blob.Store
	Export string // folder with the exported repositories, or ""
	Keys   []byte // public keys of the released repositories
	// Progress is told what is being looked at, if it is set.
	Progress func(format string, args ...any)
}

// Run checks everything and gives what it found. The error is what kept it from looking.
func Run(ctx context.Context, o Options) ([]Problem, error) {
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	o.Progress("the database's invariants")
	broken, err := o.Rows.Broken(ctx)
	if err != nil {
		return nil, err
	}
	var out []Problem
	for _, b := range broken {
		out = append(out, Problem{Kind: b[0], Text: b[1]})
	}
	blobs, err := checkBlobs(ctx, o)
	if err != nil {
		return nil, err
	}
	repositories, err := checkRepositories(ctx, o)
	return append(append(out, blobs...), repositories...), err
}

func checkBlobs(ctx context.Context, o Options) ([]Problem, error) {
	named, err := o.Rows.Blobs(ctx)
	if err != nil {
		return nil, err
	}
	o.Progress("%d blobs", len(named))
	var digests []string
	for d := range named {
		digests = append(digests, d)
	}
	sort.Strings(digests)
	var out []Problem
	for _, d := range digests {
		err := o.Blobs.Verify(ctx, blob.Digest(d))
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, blob.ErrNotFound):
			out = append(out, Problem{"lost blob", named[d], d})
		case errors.Is(err, blob.ErrCorrupt):
			out = append(out, Problem{"corrupt blob", named[d], err.Error()})
		default:
			return nil, fmt.Errorf("read the blob %s: %w", d, err)
		}
	}
	return out, nil
}

func checkRepositories(ctx context.Context, o Options) ([]Problem, error) {
	repositories, err := o.Rows.Repositories(ctx)
	if err != nil {
		return nil, err
	}
	var out []Problem
	for _, r := range repositories {
		if r.Publication == nil {
			continue
		}
		o.Progress("repository %s", r.Name)
		p, err := o.Rows.Publication(ctx, *r.Publication)
		if err != nil {
			return nil, err
		}
		check := repo.Check{Manifest: blob.Digest(p.Manifest), Keys: o.Keys}
		if o.Export != "" {
			check.Export = filepath.Join(o.Export, r.Name)
		}
		found, err := repo.Fsck(ctx, o.Blobs, check)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", r.Name, err)
		}
		for _, f := range found {
			out = append(out, Problem{string(f.Kind), r.Name, f.String()})
		}
	}
	return out, nil
}
