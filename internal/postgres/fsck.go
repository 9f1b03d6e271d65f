package postgres

import (
	"context"
	"fmt"
)

// invariants are what holds between rows at every moment. Each query gives a
// line per row that breaks it.
var invariants = []struct{ name, query string }{
	{"moved pointer", `
		SELECT format('repository %s points at publication %s, and its last recorded move was to %s',
			r.name, coalesce(r.publication::text, 'none'), coalesce(m.publication::text, 'none'))
		FROM repositories r
		LEFT JOIN LATERAL (SELECT publication FROM pointer_moves WHERE repository = r.name ORDER BY id DESC LIMIT 1) m ON true
		WHERE r.publication IS DISTINCT FROM m.publication`},
	{"foreign pointer", `
		SELECT format('repository %s points at publication %s, which is of %s', r.name, p.id, p.repository)
		FROM repositories r JOIN publications p ON p.id = r.publication WHERE p.repository <> r.name`},
	{"lost row", `
		SELECT format('publication %s of %s: the one before it, serial %s, is not there', p.id, p.repository, p.serial - 1)
		FROM publications p
		WHERE p.serial > 1 AND NOT EXISTS (SELECT FROM publications q WHERE q.repository = p.repository AND q.serial = p.serial - 1)`},
	{"lost row", `
		SELECT format('publication %s of %s has %s packages, and %s rows say what they are', p.id, p.repository, p.packages, count(k.name))
		FROM publications p
		LEFT JOIN repository_packages k ON k.repository = p.repository AND k.added <= p.serial AND (k.removed IS NULL OR k.removed > p.serial)
		GROUP BY p.id HAVING count(k.name) <> p.packages`},
	{"lost row", `
		SELECT format('queue %s: its state names item %s, which has no row', q.name, i ->> 'id')
		FROM queues q CROSS JOIN jsonb_array_elements(q.state -> 'items') i
		WHERE NOT EXISTS (SELECT FROM items x WHERE x.queue = q.name AND x.serial = (i ->> 'id')::bigint)`},
	{"lost row", `
		SELECT format('queue %s: its state names buildset %s, which has no row', q.name, i -> 'buildset' ->> 'id')
		FROM queues q CROSS JOIN jsonb_array_elements(q.state -> 'items') i
		WHERE i ? 'buildset' AND i ->> 'buildset' IS NOT NULL
		  AND NOT EXISTS (SELECT FROM buildsets x WHERE x.queue = q.name AND x.serial = (i -> 'buildset' ->> 'id')::bigint)`},
	{"lost row", `
		SELECT format('job %s (%s) runs under no attempt', j.id, j.name) FROM jobs j
		WHERE j.state = 'running' AND j.stage <> 'publish'
		  AND NOT EXISTS (SELECT FROM attempts a WHERE a.job = j.id AND a.state = 'running')`},
	{"stray attempt", `
		SELECT format('attempt %s of job %s (%s) runs, and the job is %s', a.id, j.id, j.name, j.state)
		FROM attempts a JOIN jobs j ON j.id = a.job
		WHERE a.state = 'running' AND NOT a.cancel AND j.state <> 'running'`},
	{"lost row", `
		SELECT format('buildset %s was tested and has no job', b.id) FROM buildsets b
		WHERE b.state IN ('testing', 'ended') AND NOT b.base @> '{"noop": true}' AND NOT EXISTS (SELECT FROM jobs j WHERE j.buildset = b.id)`},
	{"lost row", `
		SELECT format('job %s (%s) passed and its artifact %s has no row', j.id, j.name, a ->> 'name')
		FROM jobs j CROSS JOIN jsonb_array_elements(coalesce(j.result -> 'artifacts', '[]')) a
		WHERE j.state = 'passed' AND NOT EXISTS (SELECT FROM artifacts x WHERE x.job = j.id AND x.name = a ->> 'name')`},
	{"untested package", `
		SELECT format('%s %s in %s was built by buildset %s, which has not landed', k.name, k.version, k.repository, k.buildset)
		FROM repository_packages k JOIN buildsets b ON b.id = k.buildset WHERE b.landed_at IS NULL`},
	{"lost log", `
		SELECT format('attempt %s has a log of %s bytes, and %s of them are there', a.id, a.log_size, coalesce(sum(length(c.data)), 0))
		FROM attempts a LEFT JOIN log_chunks c ON c.attempt = a.id
		WHERE a.log_digest = '' GROUP BY a.id HAVING coalesce(sum(length(c.data)), 0) <> a.log_size`},
}

// Broken gives what does not hold between the rows, each as a name and a line.
func (s *Store) Broken(ctx context.Context) ([][2]string, error) {
	var out [][2]string
	for _, i := range invariants {
		lines, err := scalars[string](ctx, s.pool, i.query)
		if err != nil {
			return nil, fmt.Errorf("check for a %s: %w", i.name, err)
		}
		for _, l := range lines {
			out = append(out, [2]string{i.name, l})
		}
	}
	return out, nil
}

// Blobs gives every digest that a row names, with what names it.
func (s *Store) Blobs(ctx context.Context) (map[string]string, error) {
	type row struct {
		Digest string `db:"digest"`
		Named  string `db:"named"`
	}
	rows, err := collect[row](ctx, s.pool, `
		SELECT DISTINCT ON (digest) digest, named FROM (
			SELECT a.digest, format('artifact %s of job %s', a.name, a.job) AS named FROM artifacts a
			UNION ALL SELECT t.manifest, format('test repository of buildset %s for %s', t.buildset, t.target)
				FROM test_repositories t WHERE t.removed_at IS NULL
			UNION ALL SELECT p.manifest, format('publication %s of %s', p.serial, p.repository) FROM publications p
			UNION ALL SELECT j.spec -> 'source' ->> 'archive', format('source of job %s', j.id) FROM jobs j
				WHERE j.stage = 'build' AND j.state IN ('waiting', 'queued', 'running')
		) all_blobs WHERE digest IS NOT NULL AND digest <> '' ORDER BY digest`)
	out := map[string]string{}
	for _, r := range rows {
		out[r.Digest] = r.Named
	}
	return out, err
}
