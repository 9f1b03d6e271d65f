package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/gate"
	"sluice/internal/record"
)

// EnsureQueue makes a queue's row where there is none.
func (s *Store) EnsureQueue(ctx context.Context, name string, kind gate.Kind, change gate.ChangeID, start int) error {
	state := gate.State{Queue: name, Kind: kind, Change: change, Window: start, Items: []*gate.Item{}, NextItem: 1, NextBuildset: 1}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO queues (name, kind, change, state)
		VALUES ($1, $2, NULLIF($3, ''), $4)
		ON CONFLICT (name) DO NOTHING`, name, kind, string(change), state)
	return err
}

// Queue gives a queue's state and version. The state may be shared with other
// callers: nobody may modify it.
func (s *Store) Queue(ctx context.Context, name string) (record.Queue, error) {
	type row struct {
		Name    string      `db:"name"`
		Kind    gate.Kind   `db:"kind"`
		Change  *string     `db:"change"`
		Version int64       `db:"version"`
		State   *gate.State `db:"state"`
		Closed  bool        `db:"closed"`
	}
	known := s.states.get(name)
	r, err := one[row](ctx, s.pool, `
		SELECT name, kind, change, version, CASE WHEN version <> $2 THEN state END AS state, closed
		FROM queues WHERE name = $1`, name, known.version)
	if err != nil {
		return record.Queue{}, err
	}
	q := record.Queue{Name: r.Name, Kind: r.Kind, Change: r.Change, Version: r.Version, Closed: r.Closed, State: known.state}
	if r.State != nil {
		q.State = *r.State
		s.states.put(name, q)
	}
	return q, nil
}

// states are those of the gates' queues as they were last read, which are large
// and mostly the same when they are read again.
type states struct {
	mu    sync.Mutex // guards known
	known map[string]versioned
}

type versioned struct {
	version int64
	state   gate.State
}

// get gives version -1 for what is not known, which no queue has.
func (s *states) get(queue string) versioned {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, known := s.known[queue]; known {
		return v
	}
	return versioned{version: -1}
}

func (s *states) put(queue string, q record.Queue) {
	if q.Kind != gate.Dependent {
		return // there are many, and each is small
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]versioned{}
	}
	s.known[queue] = versioned{q.Version, q.State}
}

// Queues names the queues that are not closed, gates first; checks in which
// nothing stands only where idle asks for them too.
func (s *Store) Queues(ctx context.Context, idle bool) ([]string, error) {
	return scalars[string](ctx, s.pool, `
		SELECT name FROM queues
		WHERE NOT closed AND ($1 OR kind = $2 OR state -> 'items' NOT IN ('[]', 'null'))
		ORDER BY kind, name`, idle, gate.Dependent)
}

// Facts gives all that a decision on the queue needs to know, read in one
// snapshot; the policy and the time are the caller's.
func (s *Store) Facts(ctx context.Context, q record.Queue) (gate.Facts, error) {
	var f gate.Facts
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var err error
		if f.Commands, err = openCommands(ctx, tx, q.Name); err != nil {
			return fmt.Errorf("commands: %w", err)
		}
		if f.Changes, err = queueChanges(ctx, tx, q, f.Commands); err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		if f.Buildsets, err = buildsetFacts(ctx, tx, q.State); err != nil {
			return fmt.Errorf("buildsets: %w", err)
		}
		if f.Submits, err = submitFacts(ctx, tx, q.State); err != nil {
			return fmt.Errorf("submissions: %w", err)
		}
		return nil
	})
	if err != nil {
		return f, fmt.Errorf("facts of queue %s: %w", q.Name, err)
	}
	return f, nil
}

func queueChanges(ctx context.Context, tx pgx.Tx, q record.Queue, commands []gate.Command) (map[gate.ChangeID]gate.Change, error) {
	changes := map[gate.ChangeID]gate.Change{}
	var wanted []string
	for _, item := range q.State.Items {
		for _, r := range append(append([]gate.Ref(nil), item.Changes...), item.Ahead...) {
			wanted = append(wanted, string(r.ID))
		}
	}
	if q.Change != nil {
		wanted = append(wanted, *q.Change)
	}
	for _, c := range commands { // closed ones too: the answer says so
		wanted = append(wanted, string(c.Change))
	}
	for id := range q.State.Held {
		wanted = append(wanted, string(id))
	}
	for id := range q.State.Forced {
		wanted = append(wanted, string(id))
	}
	for id := range q.State.Done {
		wanted = append(wanted, string(id))
	}
	name := q.Name
	if q.Kind == gate.Independent {
		name = "-" // a check looks at its own change and what that needs, no more
	}
	topics, told := []string{}, map[string]bool{}
	for round := 0; len(wanted) > 0 || len(topics) > 0 || round == 0; round++ {
		found, err := scalars[gate.Change](ctx, tx, `
			SELECT facts FROM changes
			WHERE id = ANY($1) OR ($2 AND queue = $3 AND status = 'open') OR (status = 'open' AND facts ->> 'topic' = ANY($4))`,
			wanted, round == 0, name, topics)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			changes[c.ID] = c
		}
		wanted, topics = nil, []string{}
		seen := map[gate.ChangeID]bool{}
		for _, c := range found {
			if c.Topic != "" && c.Status == gate.Open && !told[c.Topic] {
				told[c.Topic] = true
				topics = append(topics, c.Topic)
			}
			for _, n := range c.Needs {
				if _, known := changes[n.ID]; !known && n.ID != "" && !seen[n.ID] {
					seen[n.ID] = true
					wanted = append(wanted, string(n.ID))
				}
			}
		}
	}
	return changes, nil
}

func buildsetFacts(ctx context.Context, tx pgx.Tx, st gate.State) (map[gate.BuildsetID]gate.BuildsetFacts, error) {
	var serials []int64
	for _, item := range st.Items {
		if item.Buildset != nil {
			serials = append(serials, int64(item.Buildset.ID))
		}
	}
	facts := map[gate.BuildsetID]gate.BuildsetFacts{}
	if len(serials) == 0 {
		return facts, nil
	}
	type row struct {
		Serial   gate.BuildsetID `db:"serial"`
		State    string          `db:"state"`
		Conflict *gate.Conflict  `db:"conflict"`
		Broken   string          `db:"broken"`
		Noop     bool            `db:"noop"`
		Name     *string         `db:"name"`
		Voting   *bool           `db:"voting"`
		JobState *string         `db:"job_state"`
		Evidence *gate.Evidence  `db:"evidence"`
		Since    *time.Time      `db:"red_since"`
		Passed   *time.Time      `db:"last_passed"`
		Moved    bool            `db:"moved"`
		Deferred bool            `db:"deferred"`
		Cause    *string         `db:"cause"`
	}
	rows, err := collect[row](ctx, tx, `
		SELECT b.serial, b.state, b.conflict, b.broken, b.base @> '{"noop": true}' AS noop, j.name, j.voting, j.state AS job_state,
			j.evidence, j.red_since, j.last_passed, b.moved, b.deferred, j.cause
		FROM buildsets b
		LEFT JOIN jobs j ON j.buildset = b.id
		WHERE b.queue = $1 AND b.serial = ANY($2)
		ORDER BY b.serial, j.id`, st.Queue, serials)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		b := facts[r.Serial]
		b.Prepared = r.State != "preparing"
		b.Conflict, b.Broken, b.Moved, b.Deferred = r.Conflict, r.Broken, r.Moved, r.Deferred
		if r.Noop {
			b.Jobs = []gate.Job{{Name: "noop", Voting: true, State: gate.JobPassed}}
		}
		if r.Name != nil {
			b.Jobs = append(b.Jobs, gate.Job{
				Name: *r.Name, Voting: *r.Voting, State: gateState(*r.JobState),
				Evidence: *r.Evidence, Since: at(r.Since), Passed: at(r.Passed), Lacks: lacks(*r.JobState, *r.Cause),
			})
		}
		facts[r.Serial] = b
	}
	return facts, nil
}

// lacks says what a job lacked that was not run because of a change that its own
// one needs, "" for any other.
func lacks(state, cause string) string {
	if state != "error" || !strings.HasPrefix(cause, record.Lacks) {
		return ""
	}
	return strings.TrimPrefix(cause, record.NotRun)
}

func gateState(s string) gate.JobState {
	if s == "queued" {
		return gate.JobWaiting
	}
	return gate.JobState(s)
}

func submitFacts(ctx context.Context, tx pgx.Tx, st gate.State) (map[gate.ItemID]gate.SubmitOutcome, error) {
	outcomes := map[gate.ItemID]gate.SubmitOutcome{}
	for _, item := range st.Items {
		if item.Submit == nil {
			continue
		}
		out, err := scalars[gate.SubmitOutcome](ctx, tx, `
			SELECT outcome FROM submissions
			WHERE queue = $1 AND item = $2 AND serial = $3 AND result IS NOT NULL`, st.Queue, item.ID, item.Submit.Serial)
		if err != nil {
			return nil, err
		}
		if len(out) == 1 {
			outcomes[item.ID] = out[0]
		}
	}
	return outcomes, nil
}

func openCommands(ctx context.Context, tx pgx.Tx, queue string) ([]gate.Command, error) {
	type row struct {
		ID     int64         `db:"id"`
		Verb   string        `db:"verb"`
		Change gate.ChangeID `db:"change"`
		Who    string        `db:"who"`
		Why    string        `db:"why"`
		At     time.Time     `db:"at"`
	}
	rows, err := collect[row](ctx, tx, `
		SELECT id, verb, change, who, why, at FROM commands
		WHERE queue = $1 AND answered_at IS NULL ORDER BY id`, queue)
	var out []gate.Command
	for _, r := range rows {
		out = append(out, gate.Command{ID: r.ID, Verb: r.Verb, Change: r.Change, Note: gate.Note{Who: r.Who, Why: r.Why, At: r.At}})
	}
	return out, err
}

// Commit stores a decision: the queue's new state, everything that follows from
// it and its record, or nothing and ErrStale when the queue has moved since it
// was read.
func (s *Store) Commit(ctx context.Context, q record.Queue, st gate.State, effects []gate.Effect, d record.Decided) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE queues SET state = $3, version = version + 1, updated_at = now()
			WHERE name = $1 AND version = $2`, q.Name, q.Version, st)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrStale
		}
		if err := addHistory(ctx, tx, q.Name, d); err != nil {
			return fmt.Errorf("history: %w", err)
		}
		c := commit{s: s, tx: tx, queue: q.Name}
		for _, e := range effects {
			if err := c.apply(ctx, e); err != nil {
				return fmt.Errorf("%s of item %d: %w", e.Kind, e.Item, err)
			}
		}
		if c.cancelled {
			if err := s.cancelUnwanted(ctx, tx); err != nil {
				return fmt.Errorf("what runs and is not needed any more: %w", err)
			}
		}
		return feed(ctx, tx, "queue", q.Name)
	})
	if err != nil && !errors.Is(err, ErrStale) {
		return fmt.Errorf("store the decision on queue %s: %w", q.Name, err)
	}
	return err
}

// commit writes the projections of one decision and enqueues its tasks.
type commit struct {
	s         *Store
	tx        pgx.Tx
	queue     string
	preparing bool
	cancelled bool // an attempt was: what it runs may be unwanted now
}

func (c *commit) apply(ctx context.Context, e gate.Effect) error {
	switch e.Kind {
	case gate.Enter:
		_, err := c.tx.Exec(ctx, `
			INSERT INTO items (queue, serial, changes, entered_at)
			VALUES ($1, $2, $3, now()) ON CONFLICT (queue, serial) DO NOTHING`, c.queue, e.Item, e.Changes)
		return err
	case gate.Leave:
		return c.leave(ctx, e.Item)
	case gate.Prepare:
		return c.prepare(ctx, e)
	case gate.Cancel, gate.CancelRest:
		return c.cancel(ctx, e)
	case gate.SubmitChanges:
		return c.submit(ctx, e)
	case gate.Publish:
		return c.publish(ctx, e)
	case gate.Tell:
		return c.tell(ctx, e)
	case gate.Prove:
		return c.prove(ctx, e)
	case gate.RunDeferred:
		return c.runDeferred(ctx, e)
	case gate.Answer:
		_, err := c.tx.Exec(ctx, `UPDATE commands SET answered_at = now(), answer = $2, refused = $3 WHERE id = $1`, e.Command, e.Text, e.Refused)
		return err
	}
	return fmt.Errorf("no such effect %q", e.Kind)
}

func (c *commit) prepare(ctx context.Context, e gate.Effect) error {
	stackItems := make([]int64, len(e.StackItems))
	for i, id := range e.StackItems {
		stackItems[i] = int64(id)
	}
	_, err := c.tx.Exec(ctx, `
		INSERT INTO buildsets (queue, serial, item, changes, stack, stack_items, recheck)
		SELECT $1, $2, i.id, $4, $5, $6, $7 FROM items i WHERE i.queue = $1 AND i.serial = $3
		ON CONFLICT (queue, serial) DO NOTHING`,
		c.queue, e.Buildset, e.Item, emptyRefs(e.Changes), emptyRefs(e.Stack), stackItems, e.Recheck)
	if err != nil || c.preparing {
		return err
	}
	c.preparing = true // one task prepares all of this decision's buildsets, in order
	return c.s.enqueue(ctx, c.tx, record.Task{Kind: record.TaskPrepare, Queue: c.queue, Last: e.Recheck})
}

func emptyRefs(r []gate.Ref) []gate.Ref {
	if r == nil {
		return []gate.Ref{}
	}
	return r
}

func (c *commit) cancel(ctx context.Context, e gate.Effect) error {
	var id int64
	err := c.tx.QueryRow(ctx, `SELECT id FROM buildsets WHERE queue = $1 AND serial = $2`, c.queue, e.Buildset).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.Kind == gate.CancelRest {
		return c.s.cancelJobs(ctx, c.tx, id, nil)
	}
	c.cancelled = true
	if err := c.noVote(ctx, id); err != nil {
		return err
	}
	if _, err := c.tx.Exec(ctx, `
		UPDATE buildsets SET state = CASE WHEN state IN ('preparing', 'testing') THEN 'cancelled' ELSE state END,
			ended_at = coalesce(ended_at, now()), deferred = false
		WHERE id = $1 AND (deferred OR state IN ('preparing', 'testing'))`, id); err != nil {
		return err
	}
	if err := c.s.cancelBaseRuns(ctx, c.tx, id); err != nil {
		return err
	}
	return c.s.cancelJobs(ctx, c.tx, id, nil, "waiting", "queued")
}

func (c *commit) submit(ctx context.Context, e gate.Effect) error {
	_, err := c.tx.Exec(ctx, `
		INSERT INTO submissions (queue, item, serial, buildset, changes)
		SELECT $1, $2, $3, b.id, $5 FROM buildsets b WHERE b.queue = $1 AND b.serial = $4
		ON CONFLICT (queue, item, serial) DO NOTHING`, c.queue, e.Item, e.Serial, e.Buildset, e.Changes)
	if err != nil {
		return err
	}
	return c.s.enqueue(ctx, c.tx, record.Task{Kind: record.TaskSubmit, Queue: c.queue, Item: e.Item, Serial: e.Serial})
}

func (c *commit) publish(ctx context.Context, e gate.Effect) error {
	var id int64
	var published bool
	err := c.tx.QueryRow(ctx, `
		UPDATE buildsets SET landed_at = coalesce(landed_at, now()),
			published_at = CASE WHEN packages = '[]' THEN coalesce(published_at, now()) ELSE published_at END
		WHERE queue = $1 AND serial = $2 RETURNING id, published_at IS NOT NULL`, c.queue, e.Buildset).Scan(&id, &published)
	if err != nil {
		return err
	}
	if published { // or there is nothing to publish
		return feed(ctx, c.tx, "buildset", fmt.Sprint(id))
	}
	// What it still runs decides nothing any more, and holds up nobody behind it.
	if _, err := c.tx.Exec(ctx, `
		UPDATE jobs SET priority = greatest(priority, 150) WHERE buildset = $1 AND state IN ('waiting', 'queued')`, id); err != nil {
		return err
	}
	return c.s.enqueue(ctx, c.tx, record.Task{Kind: record.TaskPublish, ID: id})
}

func (c *commit) tell(ctx context.Context, e gate.Effect) error {
	if e.Report.Final {
		if _, err := c.tx.Exec(ctx, `
			UPDATE items SET result = $3, reason = $4 WHERE queue = $1 AND serial = $2`,
			c.queue, e.Item, e.Report.Kind, e.Report.Reason); err != nil {
			return err
		}
	}
	if e.Report.Kind == gate.ReportDequeued { // what merged while a change stood in a gate, its check has not seen
		if err := leftGate(ctx, c.tx, c.queue, e.Changes); err != nil {
			return err
		}
	}
	var id int64
	var done bool
	if err := c.tx.QueryRow(ctx, `
		INSERT INTO effects (queue, effect, done_at)
		SELECT $1, $2, CASE WHEN $3 OR $4 AND EXISTS (
			SELECT FROM buildsets WHERE queue = $1 AND serial = $5 AND base @> '{"noop": true}') THEN now() END
		RETURNING id, done_at IS NOT NULL`, c.queue, e, record.NoNews(c.queue, e.Report), saidByGerrit(e.Report), e.Buildset).Scan(&id, &done); err != nil {
		return err
	}
	if done {
		return nil
	}
	return c.s.enqueue(ctx, c.tx, record.Task{Kind: record.TaskTell, ID: id, Last: e.Report.Same, After: patience(e.Report)})
}

// saidByGerrit reports whether there is nothing to add to what Gerrit says by
// itself, where nothing was tested and published: that a change has merged.
func saidByGerrit(r gate.Report) bool { return r.Kind == gate.ReportMerged && r.Reason == "" }

// patience is how long a report waits.
func patience(r gate.Report) time.Duration {
	if r.Kind == gate.ReportStarted {
		return record.Settle
	}
	return 0
}

// Effect gives a stored effect.
func (s *Store) Effect(ctx context.Context, id int64) (record.Effect, error) {
	return one[record.Effect](ctx, s.pool, `
		SELECT id, queue, effect, created_at, done_at, error, message FROM effects WHERE id = $1`, id)
}

// Outdated reports whether something newer than this effect was told of a patch
// set, or will be: what comes late must not take its vote away. That tests have
// started counts once it was said, as it often is not.
func (s *Store) Outdated(ctx context.Context, id int64, ref gate.Ref) (bool, error) {
	newer, err := scalars[int64](ctx, s.pool, `
		SELECT id FROM effects WHERE id > $1 AND effect @> $2 AND NOT effect -> 'report' @> '{"same": true}'
		AND CASE effect -> 'report' ->> 'kind'
			WHEN 'started' THEN message <> ''
			WHEN 'dequeued' THEN queue NOT LIKE 'check/%'
			ELSE true END
		LIMIT 1`, id, map[string]any{"kind": gate.Tell, "changes": []map[string]any{{"id": ref.ID, "patch_set": ref.PatchSet}}})
	return len(newer) > 0, err
}

// EffectBegins notes that an effect is carried out now; first says that nobody
// has begun with it before.
func (s *Store) EffectBegins(ctx context.Context, id int64) (first bool, err error) {
	tag, err := s.pool.Exec(ctx, `UPDATE effects SET begun_at = now() WHERE id = $1 AND begun_at IS NULL`, id)
	return tag.RowsAffected() > 0, err
}

// SubmitBegins is the same for a submission.
func (s *Store) SubmitBegins(ctx context.Context, sub record.Submission) (first bool, err error) {
	tag, err := s.pool.Exec(ctx, `
		UPDATE submissions SET begun_at = now()
		WHERE queue = $1 AND item = $2 AND serial = $3 AND begun_at IS NULL`, sub.Queue, sub.Item, sub.Serial)
	return tag.RowsAffected() > 0, err
}

// EffectDone notes that an effect was carried out, or why it was given up.
func (s *Store) EffectDone(ctx context.Context, id int64, message, cause string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE effects SET done_at = now(), message = $2, error = $3 WHERE id = $1`, id, message, cause)
	return err
}

// Submission gives a submission.
func (s *Store) Submission(ctx context.Context, queue string, item gate.ItemID, serial int) (record.Submission, error) {
	return one[record.Submission](ctx, s.pool, `
		SELECT queue, item, serial, buildset, changes, result, outcome, created_at, ended_at
		FROM submissions WHERE queue = $1 AND item = $2 AND serial = $3`, queue, item, serial)
}

// Submitted records a submit's outcome, once: a second outcome is ErrStale.
func (s *Store) Submitted(ctx context.Context, sub record.Submission, out gate.SubmitOutcome) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE submissions SET result = $4, outcome = $5, ended_at = now()
			WHERE queue = $1 AND item = $2 AND serial = $3 AND result IS NULL`,
			sub.Queue, sub.Item, sub.Serial, out.Result, out)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrStale
		}
		return decide(ctx, tx, sub.Queue)
	})
}

// CloseQueue puts a finished check aside.
func (s *Store) CloseQueue(ctx context.Context, name string, closed bool) error {
	_, err := s.pool.Exec(ctx, `UPDATE queues SET closed = $2 WHERE name = $1 AND closed <> $2`, name, closed)
	return err
}
