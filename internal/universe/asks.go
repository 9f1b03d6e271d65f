package universe

import (
	"context"

	"sluice/internal/job"
)

// Asks gives, by each name that a repository's packages are called by or
// provide, the names that their relations mention.
func (r *Reader) Asks(ctx context.Context, repository job.Repository, architecture string) (map[string][]string, error) {
	x, err := r.read(ctx, repository, architecture, "")
	if err != nil {
		return nil, err
	}
	asks := make(map[string][]string, len(x.Packages))
	for _, p := range x.Packages {
		for _, name := range append(provided(p), p.Name) {
			asks[name] = append(asks[name], p.Mentions()...)
		}
	}
	return asks, nil
}
