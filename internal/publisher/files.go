package publisher

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"sluice/internal/blob"
	"sluice/internal/record"
	"sluice/internal/repo"
)

// Rows are the rows of publications and test repositories.
type Rows interface {
	Publication(ctx context.Context, id int64) (record.Publication, error)
	TestRepository(ctx context.Context, buildset int64, target string) (record.TestRepository, error)
}

// Opener opens files of the base distributions.
type Opener interface {
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// Files opens what the service serves to jobs, without HTTP: /publication/ID/,
// /test/BUILDSET/TARGET/, and all else from the base distributions.
type Files struct {
	Store    blob.Local
	Rows     Rows
	Upstream Opener

	mu        sync.Mutex // guards manifests
	manifests map[string]*repo.Manifest
}

// manifestsKept is how many manifests are kept in memory.
const manifestsKept = 32

// Open opens a file by its path below the service's address.
func (f *Files) Open(ctx context.Context, p string) (io.ReadCloser, error) {
	parts := strings.SplitN(strings.TrimPrefix(p, "/"), "/", 5)
	var digest, rest string
	switch {
	case parts[0] == "publication" && len(parts) >= 3:
		id, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, os.ErrNotExist)
		}
		row, err := f.Rows.Publication(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		digest, rest = row.Manifest, strings.Join(parts[2:], "/")
	case parts[0] == "test" && len(parts) == 5:
		id, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, os.ErrNotExist)
		}
		row, err := f.Rows.TestRepository(ctx, id, parts[2]+"/"+parts[3])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		digest, rest = row.Manifest, parts[4]
	default:
		return f.Upstream.Open(ctx, p)
	}
	m, err := f.manifest(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	file, _, err := repo.Open(ctx, f.Store, m, rest)
	return file, err
}

func (f *Files) manifest(ctx context.Context, digest string) (*repo.Manifest, error) {
	f.mu.Lock()
	m := f.manifests[digest]
	f.mu.Unlock()
	if m != nil {
		return m, nil
	}
	m, err := repo.LoadManifest(ctx, f.Store, blob.Digest(digest))
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.manifests == nil || len(f.manifests) >= manifestsKept {
		f.manifests = map[string]*repo.Manifest{}
	}
	f.manifests[digest] = m
	return m, nil
}
