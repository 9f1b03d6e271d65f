package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	contract "sluice/api"
	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/record"
)

// operator is one that may give commands (G20).
type operator struct {
	name       string
	token      [sha256.Size]byte
	restricted bool // is shown what is made from restricted changes
}

func readOperators(site *config.Site) ([]operator, error) {
	var out []operator
	for _, o := range site.Operators {
		token, err := o.Token.Reveal()
		if err != nil {
			return nil, fmt.Errorf("token of operator %s: %w", o.Name, err)
		}
		if token != "" {
			out = append(out, operator{o.Name, sha256.Sum256([]byte(token)), o.Restricted})
		}
	}
	return out, nil
}

// operate lets only operators do what the contract keeps for them, and no page
// of another site in an operator's browser.
func (o operations) operate(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(w, http.StatusForbidden, "from another site", "a page of another site asked for this; it is not done")
	}))
	return guard.Handler(recognized(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := viewing(r.Context())
		switch {
		case v.operator != "", o.of(r).Operation.Security == nil:
			next.ServeHTTP(w, r)
		case v.worker:
			problem(w, http.StatusForbidden, "not an operator", "this is a worker's token; the site file's operators may give commands")
		default:
			unknownToken(w, "this needs the token of one of the site file's operators (Authorization: Bearer …)")
		}
	})))
}

func (s *server) isWorker(given [sha256.Size]byte) bool {
	if s.Workers == nil {
		return false
	}
	for _, t := range s.Workers.Tokens {
		want := sha256.Sum256([]byte(t.Token))
		if t.Token != "" && subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
			return true
		}
	}
	return false
}

// who names the operator of a request.
func who(ctx context.Context) string { return viewing(ctx).operator }

// checkWhy has a command say why it is given.
func checkWhy(why string) (string, error) {
	if why = strings.TrimSpace(why); why == "" {
		return "", &problemError{http.StatusBadRequest, "no reason", "say in why why this is done: it is recorded and shown"}
	}
	if unstorable(why) {
		return "", &problemError{http.StatusBadRequest, "not a text", "why holds a NUL"}
	}
	return why, nil
}

// command stores a command and waits a little for its queue to decide on it.
func (s *server) command(ctx context.Context, queue, verb string, change gate.ChangeID, why string) (contract.Answer, error) {
	out := contract.Answer{Queue: queue, Verb: verb}
	why, err := checkWhy(why)
	if err != nil {
		return out, err
	}
	if _, err := s.Store.Queue(ctx, queue); err != nil {
		return out, none(err, "no such queue", "no queue has this name, or it is not shown; /api/v1/queues lists the gate's")
	}
	changes, stop := s.Feed.Feed()
	defer stop()
	id, err := s.Store.Command(ctx, queue, verb, change, who(ctx), why)
	if err != nil {
		return out, err
	}
	s.Log.Info("command", "id", id, "queue", queue, "verb", verb, "change", change, "who", who(ctx), "why", why)
	out.Command = &id
	out.Answer, out.Done, err = s.answer(ctx, id, "queue "+queue, changes)
	var refused record.Refusal
	if errors.As(err, &refused) {
		err = &problemError{http.StatusConflict, "the gate refused", string(refused)}
	}
	return out, err
}

// answer waits for a command's answer, until AnswerWait is over.
func (s *server) answer(ctx context.Context, id int64, decided string, changes <-chan string) (string, bool, error) {
	deadline := time.NewTimer(s.AnswerWait)
	defer deadline.Stop()
	look := time.NewTicker(250 * time.Millisecond) // should the notice be lost
	defer look.Stop()
	for {
		answer, done, err := s.Store.Answer(ctx, id)
		if err != nil || done {
			return answer, done, err
		}
		for waiting := true; waiting; {
			select {
			case c := <-changes:
				waiting = c != decided
			case <-look.C:
				waiting = false
			case <-deadline.C:
				return "", false, nil
			case <-ctx.Done():
				return "", false, ctx.Err()
			}
		}
	}
}

// commanded is the answer to every command.
type commanded contract.Answer

func (c commanded) write(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	if !c.Done {
		w.WriteHeader(http.StatusAccepted)
	}
	answer(w, contract.Answer(c))
	return nil
}

// VisitPauseQueueResponse and its sisters write the answer.
func (c commanded) VisitPauseQueueResponse(w http.ResponseWriter) error    { return c.write(w) }
func (c commanded) VisitResumeQueueResponse(w http.ResponseWriter) error   { return c.write(w) }
func (c commanded) VisitEnqueueChangeResponse(w http.ResponseWriter) error { return c.write(w) }
func (c commanded) VisitDequeueChangeResponse(w http.ResponseWriter) error { return c.write(w) }
func (c commanded) VisitPromoteChangeResponse(w http.ResponseWriter) error { return c.write(w) }
func (c commanded) VisitRetryChangeResponse(w http.ResponseWriter) error   { return c.write(w) }
func (c commanded) VisitRetryJobResponse(w http.ResponseWriter) error      { return c.write(w) }

// PauseQueue stops a queue from starting and submitting.
func (s *server) PauseQueue(ctx context.Context, r contract.PauseQueueRequestObject) (contract.PauseQueueResponseObject, error) {
	a, err := s.command(ctx, r.Name, "pause", "", r.Body.Why)
	return commanded(a), err
}

// ResumeQueue undoes a pause.
func (s *server) ResumeQueue(ctx context.Context, r contract.ResumeQueueRequestObject) (contract.ResumeQueueResponseObject, error) {
	a, err := s.command(ctx, r.Name, "resume", "", r.Body.Why)
	return commanded(a), err
}

// EnqueueChange lets a change enter the gate.
func (s *server) EnqueueChange(ctx context.Context, r contract.EnqueueChangeRequestObject) (contract.EnqueueChangeResponseObject, error) {
	a, err := s.gateCommand(ctx, r.Gerrit, r.Number, "enqueue", r.Body.Why)
	return commanded(a), err
}

// DequeueChange takes a change out of the gate.
func (s *server) DequeueChange(ctx context.Context, r contract.DequeueChangeRequestObject) (contract.DequeueChangeResponseObject, error) {
	a, err := s.gateCommand(ctx, r.Gerrit, r.Number, "dequeue", r.Body.Why)
	return commanded(a), err
}

// PromoteChange moves a change to the head of its queue.
func (s *server) PromoteChange(ctx context.Context, r contract.PromoteChangeRequestObject) (contract.PromoteChangeResponseObject, error) {
	a, err := s.gateCommand(ctx, r.Gerrit, r.Number, "promote", r.Body.Why)
	return commanded(a), err
}

// gateCommand is about a change in its gate's queue.
func (s *server) gateCommand(ctx context.Context, gerrit string, number int, verb, why string) (contract.Answer, error) {
	c, err := s.Store.Change(ctx, changeID(gerrit, number))
	if err != nil {
		return contract.Answer{}, none(err, "no such change", "this change is not known here")
	}
	if c.Queue == "" {
		return contract.Answer{}, &problemError{http.StatusConflict, "not gated", fmt.Sprintf("the site file gates nothing on %s of %s", c.Branch, c.Project)}
	}
	return s.command(ctx, c.Queue, verb, c.ID, why)
}

// RetryChange tests a change again.
func (s *server) RetryChange(ctx context.Context, r contract.RetryChangeRequestObject) (contract.RetryChangeResponseObject, error) {
	c, err := s.Store.Change(ctx, changeID(r.Gerrit, r.Number))
	if err != nil {
		return nil, none(err, "no such change", "this change is not known here")
	}
	inGate := false
	switch p := r.Params.Pipeline; {
	case p != nil:
		inGate = *p == "gate"
	default:
		if inGate, err = s.wasGated(ctx, c); err != nil {
			return nil, err
		}
	}
	if inGate {
		a, err := s.gateCommand(ctx, r.Gerrit, r.Number, "retry", r.Body.Why)
		return commanded(a), err
	}
	a, err := s.command(ctx, checkQueue(c.ID), "retry", c.ID, r.Body.Why)
	return commanded(a), err
}

// wasGated reports whether a change stands, or has stood, in its gate with its
// present patch set.
func (s *server) wasGated(ctx context.Context, c record.Change) (bool, error) {
	items, err := s.Store.ItemsOf(ctx, c.ID, historyLimit)
	for _, i := range items {
		for _, ref := range i.Changes {
			if i.Kind == gate.Dependent && ref.ID == c.ID && ref.PatchSet == c.PatchSet {
				return true, err
			}
		}
	}
	return false, err
}

// RetryJob runs a job once more (R73).
func (s *server) RetryJob(ctx context.Context, r contract.RetryJobRequestObject) (contract.RetryJobResponseObject, error) {
	why, err := checkWhy(r.Body.Why)
	if err != nil {
		return nil, err
	}
	j, err := s.Store.Job(ctx, r.ID)
	if err != nil {
		return nil, none(err, "no such job", "no job has this number")
	}
	if j.Buildset == nil {
		return nil, &problemError{http.StatusConflict, "it makes a root", "roots are made anew by themselves"}
	}
	b, err := s.Store.Buildset(ctx, *j.Buildset)
	if err != nil {
		return nil, err
	}
	if err := s.Store.RetryJob(ctx, j.ID); err != nil {
		if ctx.Err() != nil || errors.Is(err, record.ErrNotFound) {
			return nil, err
		}
		return nil, &problemError{http.StatusConflict, "it is not run again", err.Error()}
	}
	out := contract.Answer{Queue: b.Queue, Verb: "retry", Done: true, Answer: j.Name + " is run again, and what was not run because of it"}
	var change gate.ChangeID
	if len(b.Changes) > 0 {
		change = b.Changes[0].ID
	}
	s.Log.Info("command", "queue", b.Queue, "verb", "retry", "job", j.ID, "who", who(ctx), "why", why)
	id, err := s.Store.NoteCommand(ctx, record.Command{
		Queue: b.Queue, Verb: "retry", Change: change, Who: who(ctx), Why: why, Answer: out.Answer,
	})
	out.Command = &id
	return commanded(out), err
}
