package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"sluice/internal/job"
	"sluice/internal/record"
)

// EnsureRepository makes a repository's row where there is none.
func (s *Store) EnsureRepository(ctx context.Context, r record.Repository) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO repositories (name, target, channel, format) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO NOTHING`, r.Name, r.Target, r.Channel, r.Format)
	return err
}

// Repositories gives all released repositories.
func (s *Store) Repositories(ctx context.Context) ([]record.Repository, error) {
	return collect[record.Repository](ctx, s.pool, `
		SELECT name, target, channel, format, publication FROM repositories ORDER BY name`)
}

// Repository gives one by name.
func (s *Store) Repository(ctx context.Context, name string) (record.Repository, error) {
	return one[record.Repository](ctx, s.pool, `
		SELECT name, target, channel, format, publication FROM repositories WHERE name = $1`, name)
}

const publicationColumns = `id, repository, serial, manifest, state, packages, who, why, created_at`

// Publication gives one by id.
func (s *Store) Publication(ctx context.Context, id int64) (record.Publication, error) {
	return one[record.Publication](ctx, s.pool, `SELECT `+publicationColumns+` FROM publications WHERE id = $1`, id)
}

// Publications gives a repository's publications, newest first.
func (s *Store) Publications(ctx context.Context, repository string, limit int) ([]record.Publication, error) {
	return collect[record.Publication](ctx, s.pool, `
		SELECT `+publicationColumns+` FROM publications WHERE repository = $1 ORDER BY serial DESC LIMIT $2`, repository, limit)
}

// Publish makes p the state of its repository, if from is still what it points
// at (0: nothing yet): the publication, its packages, the pointer and its move,
// all or nothing. removed are the packages of the present state that p does not
// hold any more. ErrStale: another publication came first; make p anew on that.
func (s *Store) Publish(ctx context.Context, p record.Publication, from int64, added, removed []record.Package) (id int64, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var now int64
		err := tx.QueryRow(ctx, `
			SELECT coalesce(publication, 0) FROM repositories WHERE name = $1 FOR UPDATE`, p.Repository).Scan(&now)
		if err != nil {
			return err
		}
		if now != from {
			return ErrStale
		}
		err = tx.QueryRow(ctx, `
			INSERT INTO publications (repository, serial, manifest, state, packages, who, why)
			VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`,
			p.Repository, p.Serial, p.Manifest, p.State, p.Packages, p.Who, p.Why).Scan(&id)
		if err != nil {
			return err
		}
		for _, k := range removed {
			if _, err := tx.Exec(ctx, `
				UPDATE repository_packages SET removed = $6
				WHERE repository = $1 AND name = $2 AND version = $3 AND architecture = $4 AND kind = $5 AND removed IS NULL`,
				p.Repository, k.Name, k.Version, k.Architecture, k.Kind, p.Serial); err != nil {
				return err
			}
		}
		for _, k := range added {
			if err := insertPackage(ctx, tx, p, k); err != nil {
				return fmt.Errorf("package %s %s: %w", k.Name, k.Version, err)
			}
		}
		if _, err := tx.Exec(ctx, `UPDATE repositories SET publication = $2 WHERE name = $1`, p.Repository, id); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO pointer_moves (repository, publication, who, why) VALUES ($1, $2, $3, $4)`, p.Repository, id, p.Who, p.Why); err != nil {
			return err
		}
		return feed(ctx, tx, "repository", p.Repository)
	})
	if err != nil && !errors.Is(err, ErrStale) {
		return 0, fmt.Errorf("publish %s: %w", p.Repository, err)
	}
	return id, err
}

func insertPackage(ctx context.Context, tx pgx.Tx, p record.Publication, k record.Package) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO repository_packages (repository, added, name, version, architecture, source, source_version,
			digest, tested, payload, size, file, kind, buildset)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		p.Repository, p.Serial, k.Name, k.Version, k.Architecture, k.Source, k.SourceVersion,
		k.Digest, k.Tested, k.Payload, k.Size, k.File, k.Kind, k.Buildset)
	return err
}

const packageColumns = `repository, added, removed, name, version, architecture, source, source_version, digest, tested,
	payload, size, file, kind, buildset`

// Packages gives what a repository holds at a serial; 0: now.
func (s *Store) Packages(ctx context.Context, repository string, serial int) ([]record.Package, error) {
	return collect[record.Package](ctx, s.pool, `
		SELECT `+packageColumns+` FROM repository_packages
		WHERE repository = $1 AND CASE WHEN $2 = 0 THEN removed IS NULL
			ELSE added <= $2 AND (removed IS NULL OR removed > $2) END
		ORDER BY name, version, architecture`, repository, serial)
}

// SourceVersions gives the source versions of a package that were ever
// published in a repository.
func (s *Store) SourceVersions(ctx context.Context, repository, source string) ([]string, error) {
	return scalars[string](ctx, s.pool, `
		SELECT DISTINCT source_version FROM repository_packages WHERE repository = $1 AND source = $2`, repository, source)
}

// ReleasedFindings gives what lint found in the version of a source package
// that a repository holds now: only what is new counts against a change.
func (s *Store) ReleasedFindings(ctx context.Context, repository, source, target string) ([]job.Finding, error) {
	type row struct {
		Spec   job.Spec   `db:"spec"`
		Result job.Result `db:"result"`
	}
	rows, err := collect[row](ctx, s.pool, `
		SELECT j.spec, j.result FROM jobs j
		WHERE j.stage = 'lint' AND j.package = $2 AND j.target = $3 AND j.result IS NOT NULL AND j.buildset = (
			SELECT max(buildset) FROM repository_packages WHERE repository = $1 AND source = $2 AND removed IS NULL)`,
		repository, source, target)
	var out []job.Finding
	for _, r := range rows { // a result names only what was new then
		out = append(append(out, r.Spec.Known...), r.Result.Findings...)
	}
	return out, err
}

// Published notes that a buildset's packages are in their repositories.
func (s *Store) Published(ctx context.Context, buildset int64) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE buildsets SET published_at = coalesce(published_at, now()) WHERE id = $1`, buildset)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			INSERT INTO moved (kind, place, name)
			SELECT DISTINCT 'package', r.target, p.name FROM repository_packages p JOIN repositories r ON r.name = p.repository
			WHERE p.buildset = $1 AND p.removed IS NULL AND p.kind = $2
			ON CONFLICT (kind, place, name) DO UPDATE SET last_at = now()`, buildset, job.BinaryPackage); err != nil {
			return err
		}
		return feed(ctx, tx, "buildset", fmt.Sprint(buildset))
	})
}

const testRepositoryColumns = `t.buildset, t.target, t.manifest, t.created_at, t.removed_at, b.key,
	restricted(b.changes || b.stack) AS restricted`

// TestRepository gives a buildset's test repository for a target.
func (s *Store) TestRepository(ctx context.Context, buildset int64, target string) (record.TestRepository, error) {
	return one[record.TestRepository](ctx, s.pool, `
		SELECT `+testRepositoryColumns+` FROM test_repositories t JOIN buildsets b ON b.id = t.buildset
		WHERE t.buildset = $1 AND t.target = $2 AND t.removed_at IS NULL`, buildset, target)
}

// TestRepositories gives all test repositories of some buildsets.
func (s *Store) TestRepositories(ctx context.Context, buildsets ...int64) ([]record.TestRepository, error) {
	return collect[record.TestRepository](ctx, s.pool, `
		SELECT `+testRepositoryColumns+` FROM test_repositories t JOIN buildsets b ON b.id = t.buildset
		WHERE t.buildset = ANY($1) AND t.removed_at IS NULL ORDER BY t.buildset, t.target`, buildsets)
}

// LeaseReads reports whether a job that runs under the lease was told to read
// the repository at this path.
func (s *Store) LeaseReads(ctx context.Context, lease, path string) (reads bool, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT FROM attempts a JOIN jobs j ON j.id = a.job
			WHERE a.lease = $1 AND a.state = 'running' AND j.spec -> 'repositories' @> $2)`,
		lease, []map[string]string{{"path": path}}).Scan(&reads)
	return reads, err
}

// Setting reads a small fact of the service; ErrNotFound when it was never set.
func (s *Store) Setting(ctx context.Context, name string, into any) error {
	err := s.pool.QueryRow(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(into)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// Set writes a small fact of the service.
func (s *Store) Set(ctx context.Context, name string, value any) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO settings (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
