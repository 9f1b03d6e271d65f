package postgres

import (
	"context"

	"sluice/internal/record"
)

// JobTimes measures how long jobs took, by stage and package and by stage alone,
// over the last 20,000 jobs. What was reused took no time, and does not count.
func (s *Store) JobTimes(ctx context.Context) ([]record.JobTimes, error) {
	return collect[record.JobTimes](ctx, s.pool, `
		SELECT stage, coalesce(package, '') AS package,
			percentile_cont(ARRAY[0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
				WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - started_at)::float8) AS quantiles
		FROM jobs
		WHERE id > (SELECT coalesce(max(id), 0) - 20000 FROM jobs)
			AND state IN ('passed', 'failed') AND started_at IS NOT NULL AND ended_at IS NOT NULL
			AND reused_from IS NULL AND buildset IS NOT NULL
		GROUP BY GROUPING SETS ((stage, package), (stage))
		ORDER BY 1, 2`)
}

// QueueTimes measures a queue over its last 200 items, buildsets and submits.
func (s *Store) QueueTimes(ctx context.Context, queue string) (record.QueueTimes, error) {
	return one[record.QueueTimes](ctx, s.pool, `
		WITH ended AS (
			SELECT result FROM items
			WHERE queue = $1 AND left_at IS NOT NULL ORDER BY serial DESC LIMIT 200),
		prepared AS (
			SELECT b.id, extract(epoch FROM b.prepared_at - b.created_at)::float8 AS seconds,
				EXISTS (SELECT FROM buildsets o WHERE o.item = b.item AND o.serial < b.serial) AS later
			FROM buildsets b
			WHERE b.queue = $1 AND b.prepared_at IS NOT NULL ORDER BY b.serial DESC LIMIT 200),
		submitted AS (
			SELECT extract(epoch FROM ended_at - created_at)::float8 AS seconds FROM submissions
			WHERE queue = $1 AND result = 'landed' ORDER BY item DESC LIMIT 200),
		work AS (
			SELECT p.later, j.reused_from IS NOT NULL AS reused FROM prepared p
			JOIN jobs j ON j.buildset = p.id AND j.state IN ('passed', 'failed'))
		SELECT
			coalesce((SELECT percentile_cont(ARRAY[0, 0.25, 0.5, 0.75, 1]) WITHIN GROUP (ORDER BY seconds) FROM prepared), '{}') AS prepare,
			coalesce((SELECT percentile_cont(ARRAY[0, 0.25, 0.5, 0.75, 1]) WITHIN GROUP (ORDER BY seconds) FROM submitted), '{}') AS submit,
			(SELECT count(*) FROM ended WHERE result = 'merged') AS merged,
			(SELECT count(*) FROM ended WHERE result = 'failed') AS failed,
			(SELECT count(*) FROM work WHERE NOT later) AS first,
			(SELECT count(*) FROM work WHERE NOT later AND reused) AS first_reused,
			(SELECT count(*) FROM work WHERE later) AS later,
			(SELECT count(*) FROM work WHERE later AND reused) AS later_reused`, queue)
}

// PlannedJobs gives the jobs of the newest planned buildset of each of these
// items, and those of the queue's last twenty as examples.
func (s *Store) PlannedJobs(ctx context.Context, queue string, items []int64) ([]record.PlannedJob, error) {
	return collect[record.PlannedJob](ctx, s.pool, `
		WITH wanted AS (
			(SELECT DISTINCT ON (i.serial) i.serial AS item, b.id
			FROM items i JOIN buildsets b ON b.item = i.id
			WHERE i.queue = $1 AND i.serial = ANY($2) AND b.prepared_at IS NOT NULL AND b.conflict IS NULL AND b.broken = ''
			ORDER BY i.serial, b.serial DESC)
			UNION ALL
			(SELECT 0, b.id FROM buildsets b
			WHERE b.queue = $1 AND b.prepared_at IS NOT NULL AND b.conflict IS NULL AND b.broken = ''
			ORDER BY b.serial DESC LIMIT 20))
		SELECT w.item, w.id AS buildset, coalesce(j.name, '') AS name, coalesce(j.stage, '') AS stage, coalesce(j.package, '') AS package,
			coalesce(j.voting, false) AS voting,
			CASE WHEN j.state = 'running' THEN greatest(extract(epoch FROM now() - j.started_at), 0) ELSE 0 END::float8 AS ran,
			coalesce(b.batch IS NOT NULL AND b.later @> jsonb_build_array(jsonb_build_object('Stage', j.stage))
				AND NOT b.later @> jsonb_build_array(jsonb_build_object('Name', j.name)), false) AS others,
			coalesce(j.id, 0) AS place
		FROM wanted w JOIN buildsets b ON b.id = w.id LEFT JOIN jobs j ON j.buildset = w.id
		UNION ALL
		SELECT w.item, w.id, l.job ->> 'Name', l.job ->> 'Stage', l.job ->> 'Package', (l.job ->> 'Voting')::boolean, 0, false, l.place
		FROM wanted w JOIN buildsets b ON b.id = w.id
		CROSS JOIN LATERAL jsonb_array_elements(b.later) WITH ORDINALITY AS l (job, place)
		WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.buildset = w.id AND j.name = l.job ->> 'Name')
		ORDER BY item, buildset, place`, queue, items)
}

// RestrictedChanges gives the changes of a queue that not everybody may read; "": of all.
func (s *Store) RestrictedChanges(ctx context.Context, queue string) ([]string, error) {
	return scalars[string](ctx, s.pool, `
		SELECT id FROM changes WHERE facts @> '{"restricted": true}' AND ($1 = '' OR queue = $1)`, queue)
}
