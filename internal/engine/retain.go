package engine

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/blob"
	"sluice/internal/repo"
)

// grace is how old a blob has to be before it is removed for being unnamed: a
// worker uploads before it finishes, and rows name a blob only then.
const grace = 24 * time.Hour

// Swept says what Sweep removed.
type Swept struct {
	Blobs int
	Bytes int64
}

// Sweep removes the blobs that no row names, nor a manifest that is served.
// named calls back with every digest that a row names.
func Sweep(ctx context.Context, s blob.Store, now time.Time, named func(f func(digest string, manifest bool)) error) (out Swept, err error) {
	keep := map[blob.Digest]bool{}
	var manifests []blob.Digest
	err = named(func(d string, manifest bool) {
		keep[blob.Digest(d)] = true
		if manifest {
			manifests = append(manifests, blob.Digest(d))
		}
	})
	if err != nil {
		return out, err
	}
	for _, d := range manifests {
		m, err := repo.LoadManifest(ctx, s, d)
		if err != nil {
			return out, fmt.Errorf("nothing is removed while a manifest cannot be read (see sluice fsck): %w", err)
		}
		for _, e := range m.All() {
			keep[e.SHA256] = true
		}
		for _, p := range m.Publication.Packages {
			keep[blob.Digest(p.Tested)] = true
		}
	}
	var gone []blob.Info
	err = s.Walk(ctx, func(i blob.Info) error {
		if !keep[i.Digest] && now.Sub(i.Modified) > grace {
			gone = append(gone, i)
		}
		return nil
	})
	for _, i := range gone {
		if err != nil {
			break
		}
		if err = s.Delete(ctx, i.Digest); err == nil {
			out.Blobs++
			out.Bytes += i.Size
		}
	}
	return out, err
}
