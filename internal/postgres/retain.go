package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Ages say how long what is wanted no more is kept.
type Ages struct {
	TestRepositories time.Duration
	Logs             time.Duration
	Artifacts        time.Duration
	Events           time.Duration
	History          time.Duration
}

// Forget removes the rows of what has outlived its age, and gives how many
// of each. What a released repository, a queue or a running job still needs
// stays, however old.
func (s *Store) Forget(ctx context.Context, a Ages) (map[string]int64, error) {
	steps := []struct {
		what, query string
		age         time.Duration
	}{
		{"logs", `
			WITH old AS (
				SELECT a.id FROM attempts a WHERE a.ended_at < now() - make_interval(secs => $1) AND a.log_size > 0),
			gone AS (DELETE FROM log_chunks WHERE attempt IN (SELECT id FROM old))
			UPDATE attempts SET log_size = 0, log_digest = 'removed' WHERE id IN (SELECT id FROM old)`, a.Logs},
		{"test repositories", `
			UPDATE test_repositories t SET removed_at = now()
			FROM buildsets b
			WHERE t.buildset = b.id AND t.removed_at IS NULL AND t.created_at < now() - make_interval(secs => $1)
			  AND b.state IN ('ended', 'cancelled') AND (b.landed_at IS NULL OR b.published_at IS NOT NULL)
			  AND NOT EXISTS (SELECT FROM items i WHERE i.id = b.item AND i.left_at IS NULL)`, a.TestRepositories},
		{"artifacts", `
			DELETE FROM artifacts x USING jobs j
			WHERE x.job = j.id AND j.ended_at < now() - make_interval(secs => $1) AND x.kind <> 'root'
			  AND NOT EXISTS (SELECT FROM repository_packages k WHERE k.tested = x.digest OR k.digest = x.digest)
			  AND NOT EXISTS (
				SELECT FROM buildsets b WHERE b.id = j.buildset AND (
					b.landed_at IS NOT NULL AND b.published_at IS NULL
					OR EXISTS (SELECT FROM items i WHERE i.id = b.item AND i.left_at IS NULL)
					OR EXISTS (SELECT FROM test_repositories t WHERE t.buildset = b.id AND t.removed_at IS NULL)))`, a.Artifacts},
		{"events", `
			DELETE FROM gerrit_events WHERE coalesce(handled_at, received_at) < now() - make_interval(secs => $1)`, a.Events},
		{"closures", `
			DELETE FROM closures x USING changes c
			WHERE c.id = x.change AND (c.status <> 'open' OR c.patch_set > x.patch_set) AND c.read_at < now() - make_interval(secs => $1)
			  AND NOT EXISTS (SELECT FROM items i WHERE i.left_at IS NULL AND i.changes @> jsonb_build_array(jsonb_build_object('id', c.id)))
			  AND NOT EXISTS (
				SELECT FROM buildsets b WHERE b.landed_at IS NOT NULL AND b.published_at IS NULL
				  AND b.changes @> jsonb_build_array(jsonb_build_object('id', c.id)))`, a.Events},
		{"decisions", `
			WITH kept AS ( -- a queue's history begins with a whole record; one that is all old goes
				SELECT queue,
					max(version) FILTER (WHERE whole AND at < now() - make_interval(secs => $1)) AS first,
					max(at) < now() - make_interval(secs => $1) AS old
				FROM history GROUP BY queue)
			DELETE FROM history h USING kept k
			WHERE k.queue = h.queue AND (k.old OR h.version < k.first)`, a.History},
	}
	counts := map[string]int64{}
	for _, step := range steps {
		if step.age <= 0 {
			continue // kept for ever
		}
		tag, err := s.pool.Exec(ctx, step.query, step.age.Seconds())
		if err != nil {
			return counts, fmt.Errorf("remove old %s: %w", step.what, err)
		}
		counts[step.what] = tag.RowsAffected()
	}
	return counts, nil
}

// InUse calls f with every digest that a row still names: artifacts, sources
// of jobs that may yet run or be reused, manifests of repositories that are
// served (publications of a channel for so long; 0: for ever), roots.
func (s *Store) InUse(ctx context.Context, publications time.Duration, f func(digest string, manifest bool)) error {
	rows, err := s.pool.Query(ctx, `
		SELECT digest, false FROM artifacts
		UNION SELECT manifest, true FROM test_repositories WHERE removed_at IS NULL
		UNION SELECT digest, false FROM repository_packages WHERE removed IS NULL
		UNION SELECT p.manifest, true FROM publications p JOIN repositories r ON r.name = p.repository
			WHERE r.publication = p.id OR p.created_at > now() - make_interval(secs => $1) OR $1 = 0
		UNION SELECT spec -> 'source' ->> 'archive', false FROM jobs
			WHERE spec -> 'source' ->> 'archive' IS NOT NULL AND (ended_at IS NULL OR ended_at > now() - interval '7 days')
		UNION SELECT archive, false FROM roots r WHERE archive <> '' AND (
			made_at > now() - interval '7 days'
			OR id = (SELECT max(id) FROM roots x WHERE x.dist = r.dist AND x.kind = r.kind AND x.architecture = r.architecture AND x.archive <> ''))`,
		publications.Seconds())
	if err != nil {
		return err
	}
	var digest string
	var manifest bool
	_, err = pgx.ForEachRow(rows, []any{&digest, &manifest}, func() error { f(digest, manifest); return nil })
	return err
}
