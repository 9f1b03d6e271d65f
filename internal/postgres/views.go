package postgres

import (
	"context"
	"io/fs"
	"strconv"
	"strings"

	"sluice/internal/gate"
	"sluice/internal/record"
	"sluice/migrations"
)

// What the API, the page and the metrics show: reading only, save for the note
// of a command that was carried out at once.

// SchemaCurrent reports whether all migrations of this program are applied.
func (s *Store) SchemaCurrent(ctx context.Context) (bool, error) {
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		return false, err
	}
	newest := int64(0)
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			newest = max(newest, n)
		}
	}
	var applied int64
	err = s.pool.QueryRow(ctx, `
		SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&applied)
	return applied >= newest, err
}

// GateQueues gives the dependent queues, by name.
func (s *Store) GateQueues(ctx context.Context) ([]record.Queue, error) {
	return collect[record.Queue](ctx, s.pool, `
		SELECT name, kind, change, version, state, closed FROM queues
		WHERE kind = 'dependent' AND NOT closed
		ORDER BY name`)
}

// JobCounts counts what there is to do now.
func (s *Store) JobCounts(ctx context.Context) (record.JobCounts, error) {
	return one[record.JobCounts](ctx, s.pool, `
		SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,
			count(*) FILTER (WHERE state = 'queued') AS queued,
			count(*) FILTER (WHERE state = 'running') AS running,
			(SELECT count(*) FROM items i JOIN queues q ON q.name = i.queue
			 WHERE i.left_at IS NULL AND q.kind = 'independent') AS checks
		FROM jobs WHERE state IN ('waiting', 'queued', 'running')`)
}

// Workers gives every worker that was ever seen, by name.
func (s *Store) Workers(ctx context.Context) ([]record.WorkerView, error) {
	return collect[record.WorkerView](ctx, s.pool, `
		SELECT w.name, w.labels, w.architectures, w.version, w.seen_at,
			(SELECT count(*) FROM attempts a WHERE a.worker = w.name AND a.state = 'running') AS running
		FROM workers w
		ORDER BY w.name`)
}

// Changes gives those of the changes that are known.
func (s *Store) Changes(ctx context.Context, ids []string) ([]record.Change, error) {
	return collect[record.Change](ctx, s.pool, `
		SELECT `+changeColumns+` FROM changes WHERE id = ANY($1) ORDER BY gerrit, number`, ids)
}

// RecentChanges gives the changes that moved last.
func (s *Store) RecentChanges(ctx context.Context, f record.ChangeFilter) ([]record.Change, error) {
	return collect[record.Change](ctx, s.pool, `
		SELECT `+changeColumns+` FROM changes
		WHERE ($1 = '' OR project = $1)
		  AND ($2::boolean IS NULL OR (status = 'open') = $2)
		  AND ($4 OR NOT facts @> '{"restricted": true}')
		ORDER BY updated_at DESC, number DESC
		LIMIT $3`, f.Project, f.Open, f.Limit, f.Restricted)
}

// LastItems gives, for each of the changes, its newest item in a check and in a gate.
func (s *Store) LastItems(ctx context.Context, changes []string) ([]record.LastItem, error) {
	return collect[record.LastItem](ctx, s.pool, `
		SELECT c.id AS change, k.kind, i.serial, i.entered_at, i.left_at, i.result, i.reason, b.id AS buildset,
			restricted(i.changes || coalesce(b.changes || b.stack, '[]')) AS restricted
		FROM unnest($1::text[]) AS c (id)
		CROSS JOIN (VALUES ('dependent'), ('independent')) AS k (kind)
		JOIN LATERAL (
			SELECT i.* FROM items i JOIN queues q ON q.name = i.queue
			WHERE i.changes @> jsonb_build_array(jsonb_build_object('id', c.id)) AND q.kind = k.kind
			ORDER BY i.id DESC LIMIT 1) i ON true
		LEFT JOIN LATERAL (
			SELECT x.id, x.changes, x.stack FROM buildsets x WHERE x.item = i.id ORDER BY x.id DESC LIMIT 1) b ON true
		ORDER BY c.id, k.kind`, changes)
}

const itemColumns = `i.id, i.queue, i.serial, i.changes, i.entered_at, i.left_at, i.result, i.reason, q.kind`

// ItemsOf gives the items that a change was ever part of, newest first.
func (s *Store) ItemsOf(ctx context.Context, change gate.ChangeID, limit int) ([]record.ItemView, error) {
	return collect[record.ItemView](ctx, s.pool, `
		SELECT `+itemColumns+` FROM items i JOIN queues q ON q.name = i.queue
		WHERE i.changes @> $1
		ORDER BY i.id DESC
		LIMIT $2`, []map[string]any{{"id": change}}, limit)
}

// Item gives an item by the number of its row.
func (s *Store) Item(ctx context.Context, id int64) (record.ItemView, error) {
	return one[record.ItemView](ctx, s.pool, `
		SELECT `+itemColumns+` FROM items i JOIN queues q ON q.name = i.queue WHERE i.id = $1`, id)
}

// BuildsetsOf gives all buildsets of some items (rows' numbers), newest first.
func (s *Store) BuildsetsOf(ctx context.Context, items []int64) ([]record.Buildset, error) {
	return collect[record.Buildset](ctx, s.pool, `
		SELECT `+buildsetColumns+` FROM buildsets b WHERE b.item = ANY($1) ORDER BY b.id DESC`, items)
}

// JobViews gives the jobs of some buildsets in the order of their planning.
func (s *Store) JobViews(ctx context.Context, buildsets []int64) ([]record.JobView, error) {
	return collect[record.JobView](ctx, s.pool, `
		SELECT id, buildset, name, stage, package, target, architecture, voting, state, waits_for, cause,
			reused_from IS NOT NULL AS reused, attempts,
			coalesce(jsonb_path_query_first(result, '$.findings[*] ? (@.severity == "error")'), result #> '{findings,0}') AS finding,
			started_at, ended_at, evidence, evidence_job
		FROM jobs WHERE buildset = ANY($1)
		ORDER BY id`, buildsets)
}

// CommandsOf gives what administrators told about a change, newest first.
func (s *Store) CommandsOf(ctx context.Context, change gate.ChangeID, limit int) ([]record.Command, error) {
	return collect[record.Command](ctx, s.pool, `
		SELECT id, queue, verb, change, who, why, at, answered_at, answer FROM commands
		WHERE change = $1
		ORDER BY id DESC
		LIMIT $2`, change, limit)
}

// NoteCommand records a command that was carried out already, so that it is
// known who did it and why (G20).
func (s *Store) NoteCommand(ctx context.Context, c record.Command) (id int64, err error) {
	err = s.pool.QueryRow(ctx, `
		INSERT INTO commands (queue, verb, change, who, why, answered_at, answer)
		VALUES ($1, $2, $3, $4, $5, now(), $6) RETURNING id`,
		c.Queue, c.Verb, c.Change, c.Who, c.Why, c.Answer).Scan(&id)
	return id, err
}

// ArtifactShown reports whether the blob is an artifact of a job, or a package
// of a released repository, that may be shown; restricted ones only where asked for.
func (s *Store) ArtifactShown(ctx context.Context, digest string, all bool) (shown bool, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (
			SELECT FROM artifacts a JOIN jobs j ON j.id = a.job LEFT JOIN buildsets b ON b.id = coalesce(j.buildset, j.base_of)
			WHERE a.digest = $1 AND ($2 OR b.id IS NULL OR NOT restricted(b.changes || b.stack)))
		OR EXISTS (SELECT FROM repository_packages WHERE digest = $1)`, digest, all).Scan(&shown)
	return shown, err
}

// Hidden gives those of the named things that were made from a restricted
// change, as the feed names them: "change main~7", "buildset 12" (G25).
func (s *Store) Hidden(ctx context.Context, of record.Named) ([]string, error) {
	return scalars[string](ctx, s.pool, `
		SELECT 'change ' || id FROM changes WHERE id = ANY($1) AND facts @> '{"restricted": true}'
		UNION ALL
		SELECT 'buildset ' || id FROM buildsets WHERE id = ANY($2) AND restricted(changes || stack)
		UNION ALL
		SELECT 'job ' || j.id FROM jobs j JOIN buildsets b ON b.id = coalesce(j.buildset, j.base_of)
		WHERE j.id = ANY($3) AND restricted(b.changes || b.stack)`, emptyStrings(of.Changes), of.Buildsets, of.Jobs)
}

// HiddenQueues names the gate's queues of a branch on which every change that is
// known is restricted: even the branch's name is nobody's business.
func (s *Store) HiddenQueues(ctx context.Context) ([]string, error) {
	return scalars[string](ctx, s.pool, `
		SELECT name FROM queues q
		WHERE kind = 'dependent' AND name LIKE '%@%'
		  AND NOT EXISTS (SELECT FROM changes WHERE queue = q.name AND NOT facts @> '{"restricted": true}')`)
}

// StageCounts counts all jobs by stage and state.
func (s *Store) StageCounts(ctx context.Context) ([]record.StageCount, error) {
	return collect[record.StageCount](ctx, s.pool, `
		SELECT stage, state, count(*) AS count FROM jobs GROUP BY stage, state ORDER BY stage, state`)
}

// JobSpans measures, by stage, how long jobs took that ended within the last hour.
func (s *Store) JobSpans(ctx context.Context) ([]record.Span, error) {
	return collect[record.Span](ctx, s.pool, `
		SELECT stage AS name, count(*) AS count,
			percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - started_at)) AS median,
			percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM ended_at - started_at)) AS p95
		FROM jobs
		WHERE ended_at > now() - interval '1 hour' AND started_at IS NOT NULL AND reused_from IS NULL
		GROUP BY stage ORDER BY stage`)
}

// GateSpans measures the way of changes through the gate, over the last hour:
// "first_job" from its entering the queue to its first job's start, and
// "published" from its merge to its packages being in their repositories.
func (s *Store) GateSpans(ctx context.Context) ([]record.Span, error) {
	return collect[record.Span](ctx, s.pool, `
		WITH spans (name, seconds) AS (
			SELECT 'first_job', extract(epoch FROM min(j.started_at) - i.entered_at)
			FROM items i
			JOIN queues q ON q.name = i.queue AND q.kind = 'dependent'
			JOIN buildsets b ON b.item = i.id
			JOIN jobs j ON j.buildset = b.id AND j.started_at IS NOT NULL
			WHERE i.entered_at > now() - interval '1 hour'
			GROUP BY i.id, i.entered_at
			UNION ALL
			SELECT 'published', extract(epoch FROM published_at - landed_at)
			FROM buildsets WHERE published_at > now() - interval '1 hour' AND landed_at IS NOT NULL)
		SELECT name, count(*) AS count,
			percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
			percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95
		FROM spans GROUP BY name ORDER BY name`)
}

// Reconciled gives when each Gerrit was last compared with what is known (G21).
func (s *Store) Reconciled(ctx context.Context) ([]record.Reconciled, error) {
	return collect[record.Reconciled](ctx, s.pool, `
		SELECT args->>'gerrit' AS gerrit, max(finalized_at) AS at FROM river_job
		WHERE kind = 'sluice_task' AND state = 'completed' AND args @> '{"kind": "reconcile"}'
		GROUP BY args->>'gerrit' ORDER BY 1`)
}
