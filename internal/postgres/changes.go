package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
	"sluice/internal/record"
)

const eventColumns = `id, gerrit, key, type, change, raw, received_at`

// SaveEvent stores an event once and, when it is new, has it handled. It reports
// whether it was new.
func (s *Store) SaveEvent(ctx context.Context, e record.Event) (bool, error) {
	isNew := false
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		id, err := insertEvent(ctx, tx, e, false)
		if isNew = id != 0; !isNew || err != nil {
			return err
		}
		return s.enqueue(ctx, tx, record.Task{Kind: record.TaskEvent, ID: id})
	})
	return isNew, err
}

// SaveHandled stores an event once of which nothing follows, and reports whether
// it was new.
func (s *Store) SaveHandled(ctx context.Context, e record.Event) (bool, error) {
	id, err := insertEvent(ctx, s.pool, e, true)
	return id != 0, err
}

// SaveEcho stores an event once that is looked at a little later, with others
// (Echoes), and reports whether it was new.
func (s *Store) SaveEcho(ctx context.Context, e record.Event) (bool, error) {
	id, err := insertEvent(ctx, s.pool, e, false)
	return id != 0, err
}

// Echoes gives events of some types that have waited for some time, but for those
// named, oldest first.
func (s *Store) Echoes(ctx context.Context, types []string, waited time.Duration, but []int64, limit int) ([]record.Event, error) {
	if but == nil {
		but = []int64{} // no id is any of NULL, and none is not
	}
	return collect[record.Event](ctx, s.pool, `
		SELECT `+eventColumns+` FROM gerrit_events
		WHERE handled_at IS NULL AND type = ANY($1) AND received_at < now() - make_interval(secs => $2) AND NOT id = ANY($3)
		ORDER BY id LIMIT $4`, types, waited.Seconds(), but, limit)
}

// Unhandled gives those of some events that still wait.
func (s *Store) Unhandled(ctx context.Context, ids []int64) ([]int64, error) {
	return scalars[int64](ctx, s.pool, `SELECT id FROM gerrit_events WHERE id = ANY($1) AND handled_at IS NULL`, ids)
}

// EventsHandled notes that nothing follows of some events.
func (s *Store) EventsHandled(ctx context.Context, ids []int64) error {
	_, err := s.pool.Exec(ctx, `UPDATE gerrit_events SET handled_at = now() WHERE id = ANY($1)`, ids)
	return err
}

// insertEvent gives the id of a new event, 0 for one that is there already.
func insertEvent(ctx context.Context, on querier, e record.Event, handled bool) (id int64, err error) {
	ids, err := scalars[int64](ctx, on, `
		INSERT INTO gerrit_events (gerrit, key, type, change, raw, handled_at)
		VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN now() END)
		ON CONFLICT (gerrit, key) DO NOTHING
		RETURNING id`, e.Gerrit, e.Key, e.Type, e.Change, json.RawMessage(e.Raw), handled)
	if len(ids) == 1 {
		id = ids[0]
	}
	return id, err
}

// Event gives a stored event.
func (s *Store) Event(ctx context.Context, id int64) (record.Event, error) {
	return one[record.Event](ctx, s.pool, `
		SELECT `+eventColumns+` FROM gerrit_events WHERE id = $1`, id)
}

// EventHandled notes that an event was acted on; cause says why it could not be.
func (s *Store) EventHandled(ctx context.Context, id int64, cause string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE gerrit_events SET handled_at = now(), error = NULLIF($2, '')
		WHERE id = $1`, id, cause)
	return err
}

// NextRead is the serial of a read of Gerrit that begins now (G21), and the
// database's time, by which events are received.
func (s *Store) NextRead(ctx context.Context) (serial int64, at time.Time, err error) {
	err = s.pool.QueryRow(ctx, `SELECT nextval('read_serial'), clock_timestamp()`).Scan(&serial, &at)
	return serial, at, err
}

const changeColumns = `id, gerrit, number, project, branch, change_key, patch_set, revision, subject, message, owner,
	author, author_date, fetch_ref, status, queue, checked, topic, heard, facts, read_serial, url, updated_at, read_at`

// SaveChange stores what was read of a change, unless a later read is there
// already (G21). It gives the queues that have to decide again: that of the
// change before and after, its check, and those of changes that need it, or
// what needs it, or that are or were of its topic.
func (s *Store) SaveChange(ctx context.Context, c record.Change) (stale bool, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		old, known, err := lockChange(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		if known && old.ReadSerial > c.ReadSerial {
			stale = true
			return nil
		}
		if c.Facts.ReadyAt, err = readyAt(ctx, tx, old, c); err != nil {
			return err
		}
		if known && c.Facts.MergedTree == "" {
			c.Facts.MergedTree = old.Facts.MergedTree
		}
		c.Facts.Retest = old.Facts.Retest
		if stale, err = upsertChange(ctx, tx, c); stale || err != nil {
			return err
		}
		if known && old.Status != gate.Merged && c.Status == gate.Merged {
			if err := moved(ctx, tx, "branch", c.Gerrit+":"+c.Project, c.Branch); err != nil {
				return err
			}
		}
		queues, err := scalars[string](ctx, tx, `
			WITH RECURSIVE needing AS (
				SELECT id, queue FROM changes WHERE status = 'open' AND facts @> $3
				UNION
				SELECT c.id, c.queue FROM needing n
				JOIN changes c ON c.status = 'open' AND c.facts @> jsonb_build_object('needs', jsonb_build_array(jsonb_build_object('id', n.id))))
			SELECT DISTINCT name FROM queues
			WHERE name = ANY($1) OR change = $2
			   OR name IN (SELECT queue FROM needing) OR change IN (SELECT id FROM needing)
			   OR name IN (SELECT queue FROM changes WHERE status = 'open' AND facts ->> 'topic' = ANY($4))
			   OR change IN (SELECT id FROM changes WHERE status = 'open' AND facts ->> 'topic' = ANY($4))`,
			[]string{old.Queue, c.Queue}, string(c.ID),
			map[string]any{"needs": []map[string]any{{"id": c.ID}}},
			slices.DeleteFunc([]string{old.Facts.Topic, c.Facts.Topic}, func(t string) bool { return t == "" }))
		if err != nil {
			return err
		}
		for _, q := range queues {
			if err := decide(ctx, tx, q); err != nil {
				return err
			}
		}
		return feed(ctx, tx, "change", string(c.ID))
	})
	return stale, err
}

// readyAt gives since when a change is ready: as long as it stays so, the first
// time; when it became so, the time at which the news came that this read
// follows, so that changes enter in the order in which they were approved
// however late they are read.
func readyAt(ctx context.Context, tx pgx.Tx, old, c record.Change) (at time.Time, err error) {
	if old.Facts.Ready && c.Facts.Ready && old.PatchSet == c.PatchSet {
		return old.Facts.ReadyAt, nil
	}
	err = tx.QueryRow(ctx, `
		SELECT coalesce(min(received_at), $3) FROM gerrit_events
		WHERE handled_at IS NULL AND change = $1 AND received_at > $2`, string(c.ID), old.ReadAt, c.Facts.ReadyAt).Scan(&at)
	return at, err
}

// lockChange gives a change, if it is known; nobody else stores a read of it until tx ends.
func lockChange(ctx context.Context, tx pgx.Tx, id gate.ChangeID) (c record.Change, known bool, err error) {
	read := func() (record.Change, error) {
		return one[record.Change](ctx, tx, `SELECT `+changeColumns+` FROM changes WHERE id = $1 FOR UPDATE`, id)
	}
	if c, err = read(); errors.Is(err, ErrNotFound) { // there is no row to lock
		if _, err = tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('change ' || $1, 0))`, string(id)); err != nil {
			return c, false, err
		}
		c, err = read()
	}
	if errors.Is(err, ErrNotFound) {
		return c, false, nil
	}
	return c, err == nil, err
}

// upsertChange stores a read; stale: a later one came first, of a change that was new to both.
func upsertChange(ctx context.Context, tx pgx.Tx, c record.Change) (stale bool, err error) {
	tag, err := tx.Exec(ctx, `
		INSERT INTO changes (id, gerrit, number, project, branch, change_key, patch_set, revision, subject, message,
			owner, author, author_date, fetch_ref, status, queue, checked, topic, heard, facts, read_serial, url, updated_at, read_at)
		VALUES (@id, @gerrit, @number, @project, @branch, @change_key, @patch_set, @revision, @subject, @message,
			@owner, @author, @author_date, @fetch_ref, @status, @queue, @checked, @topic, @heard, @facts, @read_serial, @url,
			@updated_at, now())
		ON CONFLICT (id) DO UPDATE SET
			project = excluded.project, branch = excluded.branch, change_key = excluded.change_key,
			patch_set = excluded.patch_set, revision = excluded.revision, subject = excluded.subject,
			message = excluded.message, owner = excluded.owner, author = excluded.author,
			author_date = excluded.author_date, fetch_ref = excluded.fetch_ref, status = excluded.status,
			queue = excluded.queue, checked = excluded.checked, topic = excluded.topic, heard = excluded.heard, facts = excluded.facts,
			read_serial = excluded.read_serial, url = excluded.url, updated_at = excluded.updated_at, read_at = now()
		WHERE changes.read_serial <= excluded.read_serial`,
		pgx.NamedArgs{
			"id": c.ID, "gerrit": c.Gerrit, "number": c.Number, "project": c.Project, "branch": c.Branch,
			"change_key": c.ChangeKey, "patch_set": c.PatchSet, "revision": c.Revision, "subject": c.Subject,
			"message": c.Message, "owner": c.Owner, "author": c.Author, "author_date": c.AuthorDate,
			"fetch_ref": c.FetchRef, "status": c.Status, "queue": c.Queue, "checked": c.Checked,
			"topic": c.Topic, "heard": c.Heard, "facts": c.Facts,
			"read_serial": c.ReadSerial, "url": c.URL, "updated_at": c.UpdatedAt,
		})
	return err == nil && tag.RowsAffected() == 0, err
}

// Change gives what was last read of a change.
func (s *Store) Change(ctx context.Context, id gate.ChangeID) (record.Change, error) {
	return one[record.Change](ctx, s.pool, `SELECT `+changeColumns+` FROM changes WHERE id = $1`, id)
}

// OpenChanges gives every change of a Gerrit that was open when it was last read.
func (s *Store) OpenChanges(ctx context.Context, gerrit string) ([]record.Change, error) {
	return collect[record.Change](ctx, s.pool, `
		SELECT `+changeColumns+` FROM changes WHERE gerrit = $1 AND status = 'open' ORDER BY number`, gerrit)
}

// Unrestricted counts those of some changes that everybody may know of (G25).
func (s *Store) Unrestricted(ctx context.Context, ids []gate.ChangeID) (n int, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT count(*) FROM changes WHERE id = ANY($1) AND NOT facts @> '{"restricted": true}'`, ids).Scan(&n)
	return n, err
}

// Dependants gives the open changes whose footers may mean a change: by its
// Change-Id or its number, whether they found it or not.
func (s *Store) Dependants(ctx context.Context, changeKey string, number int) ([]gate.ChangeID, error) {
	return scalars[gate.ChangeID](ctx, s.pool, `
		SELECT c.id FROM changes c, jsonb_array_elements(CASE jsonb_typeof(c.facts -> 'needs') WHEN 'array' THEN c.facts -> 'needs' ELSE '[]' END) n
		WHERE c.status = 'open' AND n ->> 'kind' = 'depends-on'
		  AND (n ->> 'text' ILIKE '%' || $1 || '%' OR n ->> 'text' ~ ('(^|[^0-9])' || $2::int || '([^0-9]|$)'))
		ORDER BY c.id`, changeKey, number)
}

// SetMergedTree records the tree of the branch right after a change merged.
func (s *Store) SetMergedTree(ctx context.Context, id gate.ChangeID, tree string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE changes SET facts = jsonb_set(facts, '{merged_tree}', to_jsonb($2::text)) WHERE id = $1`, id, tree)
	return err
}

// Touch asks every queue that the change has a part in to decide again.
func (s *Store) Touch(ctx context.Context, queue string) error {
	_, err := s.pool.Exec(ctx, `SELECT pg_notify('sluice_decide', $1)`, queue)
	return err
}

// Command stores an administrator's command for a queue and has it decided.
func (s *Store) Command(ctx context.Context, queue, verb string, change gate.ChangeID, who, why string) (id int64, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			INSERT INTO commands (queue, verb, change, who, why)
			VALUES ($1, $2, $3, $4, $5) RETURNING id`, queue, verb, change, who, why).Scan(&id)
		if err != nil {
			return err
		}
		return decide(ctx, tx, queue)
	})
	return id, err
}

// Answer gives a command's answer, and whether there is one yet. A command that
// the gate refused is a record.Refusal.
func (s *Store) Answer(ctx context.Context, id int64) (answer string, done bool, err error) {
	refused := false
	err = s.pool.QueryRow(ctx, `
		SELECT answer, answered_at IS NOT NULL, refused FROM commands WHERE id = $1`, id).Scan(&answer, &done, &refused)
	if refused {
		err = record.Refusal(answer)
	}
	return answer, done, err
}
