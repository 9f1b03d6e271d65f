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
	"time"

	"sluice/internal/blob"
	"sluice/internal/record"
	"sluice/internal/repo"
)

// Rows is the database.
type Rows interface {
	Broken(ctx context.Context) ([][2]string, error)
	Blobs(ctx context.Context) (map[string]string, error)
	Repositories(ctx context.Context) ([]record.Repository, error)
	Repository(ctx context.Context, name string) (record.Repository, error)
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
	// ExportDue is how long publications are waited for, all in all, that are without
	// their exported tree yet, as a service at work writes that after the row.
	ExportDue time.Duration
	due       time.Time
	Keys      []byte // public keys of the released repositories
	// Progress is told what is being looked at, if it is set.
	Progress func(format string, args ...any)
}

// Run checks everything and gives what it found. The error is what kept it from looking.
func Run(ctx context.Context, o Options) ([]Problem, error) {
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	o.due = time.Now().Add(o.ExportDue)
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
		found, err := checkRepository(ctx, o, r.Name)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", r.Name, err)
		}
		out = append(out, found...)
	}
	return out, nil
}

// checkRepository checks the present publication of a repository. A service at
// work publishes meanwhile: then the new one is looked at instead.
func checkRepository(ctx context.Context, o Options, name string) ([]Problem, error) {
	for {
		manifest, err := o.settled(ctx, name)
		if err != nil {
			return nil, err
		}
		check := repo.Check{Manifest: manifest, Keys: o.Keys, Export: o.exported(name)}
		found, err := repo.Fsck(ctx, o.Blobs, check)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			now, err := o.present(ctx, name)
			if err != nil {
				return nil, err
			}
			if now != manifest {
				continue
			}
		}
		var out []Problem
		for _, f := range found {
			out = append(out, Problem{string(f.Kind), name, f.String()})
		}
		return out, nil
	}
}

// settled gives the present publication's manifest, once its exported tree is
// the one that is served, or ExportDue is over.
func (o Options) settled(ctx context.Context, name string) (blob.Digest, error) {
	for {
		manifest, err := o.present(ctx, name)
		if err != nil || o.Export == "" {
			return manifest, err
		}
		served, err := repo.Exported(o.exported(name))
		if err != nil || served == manifest || time.Now().After(o.due) { // what is wrong with it, repo.Fsck says
			return manifest, nil
		}
		o.Progress("repository %s: its newest publication is not exported yet; looking again", name)
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// lookAgain is the time between two looks at an export under way.
const lookAgain = time.Second

// present gives the manifest that a repository's row points at.
func (o Options) present(ctx context.Context, name string) (blob.Digest, error) {
	r, err := o.Rows.Repository(ctx, name)
	if err != nil || r.Publication == nil {
		return "", err
	}
	p, err := o.Rows.Publication(ctx, *r.Publication)
	return blob.Digest(p.Manifest), err
}

func (o Options) exported(name string) string {
	if o.Export == "" {
		return ""
	}
	return filepath.Join(o.Export, name)
}
