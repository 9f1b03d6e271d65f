package gerrit_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"sluice/internal/gerrit"
)

func review(t *testing.T, s *server) {
	ctx, c := context.Background(), s.client(t, "gate")
	n := s.propose(t, s.project(t), "main", "Mend", 0, nil)
	posted := func(effect string) bool {
		t.Helper()
		found, err := c.Posted(ctx, n, effect)
		check(t, err)
		return found
	}
	equal(t, "before", posted("e-1"), false)
	result, err := c.Review(ctx, n, read(t, s, n).Revision, gerrit.ReviewInput{
		EffectID: "e-1", Message: "build: ok\ninstall: ok", Labels: map[string]int{"Verified": 1},
	})
	check(t, err)
	equal(t, "votes", result.Labels, map[string]int{"Verified": 1})
	equal(t, "after", [2]bool{posted("e-1"), posted("e-11")}, [2]bool{true, false})
	after := read(t, s, n)
	last := after.Messages[len(after.Messages)-1]
	equal(t, "tag", last.Tag, gerrit.Tag)
	equal(t, "text", last.Text, "Patch Set 1: Verified+1\n\nbuild: ok\ninstall: ok\n\n(sluice e-1)")
	equal(t, "own vote", after.Label("Verified").Votes[0].Own, true)
	// Another's words that look like ours are not ours.
	s.do(t, "reviewer", "POST", fmt.Sprintf("/changes/%d/revisions/current/review", n), map[string]any{"message": "(sluice e-2)"}, nil)
	equal(t, "somebody else's", posted("e-2"), false)
	// A vote of no value takes the vote back.
	_, err = c.Review(ctx, n, after.Revision, gerrit.ReviewInput{Labels: map[string]int{"Verified": 0}})
	check(t, err)
	equal(t, "taken back", len(read(t, s, n).Label("Verified").Votes), 0)
	s.act(t, "maintainer", n, "abandon")
	_, err = c.Review(ctx, n, after.Revision, gerrit.ReviewInput{Labels: map[string]int{"Verified": 1}})
	if !gerrit.IsConflict(err) || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a vote on an abandoned change: %v", err)
	}
	_, err = c.Review(ctx, n, after.Revision, gerrit.ReviewInput{EffectID: "e-3", Message: "left the queue"})
	check(t, err)
	equal(t, "words on an abandoned change", posted("e-3"), true)
}

func refusedReview(t *testing.T, s *server) {
	ctx, c := context.Background(), s.client(t, "gate")
	n := s.propose(t, s.project(t), "main", "Mend", 0, nil)
	revision := read(t, s, n).Revision
	said := func() string {
		all := read(t, s, n).Messages
		return all[len(all)-1].Text
	}
	_, err := c.Review(ctx, n, revision, gerrit.ReviewInput{EffectID: "long", Message: strings.Repeat("äöü 12345\n", 20000)})
	check(t, err)
	if text := said(); !strings.Contains(text, "cut: the whole message was 260000 bytes") || !strings.HasSuffix(text, "(sluice long)") {
		t.Errorf("a long message ends in %q", text[len(text)-200:])
	}
	result, err := c.Review(ctx, n, revision, gerrit.ReviewInput{
		EffectID: "file", Message: "failed", Labels: map[string]int{"Nonesuch": 1},
		Comments: []gerrit.Comment{{File: "nofile.c", Line: 3, Message: "error: expected ;"}},
	})
	check(t, err)
	equal(t, "dropped", result.Dropped, []string{"Nonesuch"})
	equal(t, "folded", len(result.Folded), 1)
	equal(t, "in the message", strings.Contains(said(), "failed\n\nnofile.c:3: error: expected ;\n\n(sluice file)"), true)
	_, err = c.Review(ctx, n, revision, gerrit.ReviewInput{
		Message: "see", Comments: []gerrit.Comment{{File: "/COMMIT_MSG", Line: 1, Message: "typing error"}},
	})
	check(t, err)
	_, err = c.Review(ctx, n, revision, gerrit.ReviewInput{Labels: map[string]int{"Code-Review": 2}})
	equal(t, "not its to give", [2]bool{gerrit.IsDenied(err), gerrit.IsTransient(err)}, [2]bool{true, false})
	_, err = c.Review(ctx, n, strings.Repeat("0", 40), gerrit.ReviewInput{Message: "x"})
	equal(t, "no such revision", gerrit.IsNotFound(err), true)
}

func submit(t *testing.T, s *server) {
	ctx, c := context.Background(), s.client(t, "gate")
	p := s.project(t)
	n := s.propose(t, p, "main", "Mend", 0, nil)
	first := read(t, s, n)
	refused := func(revision, words string) {
		t.Helper()
		_, err := c.Submit(ctx, n, revision)
		if !gerrit.IsConflict(err) || !strings.Contains(err.Error(), words) {
			t.Errorf("not refused with %q: %v", words, err)
		}
	}
	refused(first.Revision, "submit requirement 'Verified' is unsatisfied")
	s.do(t, "maintainer", "PUT", fmt.Sprintf("/changes/%d/message", n), map[string]string{"message": "Better\n\nChange-Id: " + first.ChangeID + "\n"}, nil)
	s.approve(t, n)
	s.vote(t, "gate", n, map[string]int{"Verified": 2})
	second := read(t, s, n)
	equal(t, "submittable", second.Submittable, true)
	refused(first.Revision, "is not current revision")
	result, err := c.Submit(ctx, n, second.Revision)
	check(t, err)
	equal(t, "result", [2]any{result.Status, result.SubmissionID != ""}, [2]any{gerrit.StatusMerged, true})
	merged := read(t, s, n)
	equal(t, "merged", [3]any{merged.Status, merged.Open(), merged.Submitted.IsZero()}, [3]any{gerrit.StatusMerged, false, false})
	tip, err := c.Branch(ctx, p, "main")
	check(t, err)
	equal(t, "fast-forward", tip, second.Revision)
	heads, err := c.BranchHeads(ctx, p)
	check(t, err)
	equal(t, "head", heads["main"], tip)
	refused(second.Revision, "merged")
	if why := reasons(t, s, n); !slices.Equal(why, []string{"is merged"}) {
		t.Errorf("merged: %q", why)
	}
}

func submitChain(t *testing.T, s *server) {
	ctx, c := context.Background(), s.client(t, "gate")
	p := s.project(t)
	one := s.propose(t, p, "main", "One", 0, nil)
	two := s.propose(t, p, "main", "Two", one, nil)
	s.approve(t, one, two)
	s.vote(t, "gate", two, map[string]int{"Verified": 2})
	_, err := c.Submit(ctx, two, read(t, s, two).Revision)
	if !gerrit.IsConflict(err) || !strings.Contains(err.Error(), fmt.Sprintf("Change %d: ", one)) {
		t.Errorf("the one beneath is not named: %v", err)
	}
	s.vote(t, "gate", one, map[string]int{"Verified": 2})
	_, err = c.Submit(ctx, two, read(t, s, two).Revision)
	check(t, err)
	equal(t, "both", [2]string{read(t, s, one).Status, read(t, s, two).Status}, [2]string{"MERGED", "MERGED"})
}

func private(t *testing.T, s *server) {
	ctx := context.Background()
	n := s.propose(t, s.project(t), "main", "Secret", 0, map[string]any{"is_private": true})
	equal(t, "private", read(t, s, n).Private, true)
	for user, want := range map[string]bool{"gate": true, "maintainer": true, "limited": false, "": false} {
		may, err := s.client(t, user).CanRead(ctx, n)
		check(t, err)
		equal(t, "read by "+user, may, want)
	}
}

func projects(t *testing.T, s *server) {
	ctx, c := context.Background(), s.client(t, "gate")
	p := s.project(t, "main", "stable/1.x")
	all, err := c.Projects(ctx)
	check(t, err)
	equal(t, "listed", slices.Contains(all, p), true)
	config, err := c.ProjectConfig(ctx, p)
	check(t, err)
	equal(t, "config", [3]any{config.SubmitType, config.ContentMerge, config.State}, [3]any{"MERGE_IF_NECESSARY", true, "ACTIVE"})
	heads, err := c.BranchHeads(ctx, p)
	check(t, err)
	stable, err := c.Branch(ctx, p, "stable/1.x")
	check(t, err)
	equal(t, "heads", [2]any{len(heads["main"]), heads["stable/1.x"]}, [2]any{40, stable})
	_, err = c.Branch(ctx, p, "nonesuch")
	equal(t, "no branch", gerrit.IsNotFound(err), true)
	_, err = c.BranchHeads(ctx, "nonesuch")
	equal(t, "no project", gerrit.IsNotFound(err), true)
	version, err := c.ServerVersion(ctx)
	check(t, err)
	equal(t, "version", version, s.version)
	who, err := c.Self(ctx)
	check(t, err)
	equal(t, "self", who.Username, "gate")
}

func doctor(t *testing.T, s *server) {
	ctx := context.Background()
	p := s.project(t)
	n := s.propose(t, p, "main", "Mend", 0, nil)
	s.approve(t, n)
	s.vote(t, "gate", n, map[string]int{"Verified": 2})
	merged := s.propose(t, p, "main", "Has merged", 0, nil)
	s.approve(t, merged)
	s.vote(t, "gate", merged, map[string]int{"Verified": 2})
	s.do(t, "gate", "POST", fmt.Sprintf("/changes/%d/revisions/current/submit", merged), nil, nil)
	in := gerrit.DoctorInput{Label: "Verified", Votes: []int{-2, -1, 1, 2}, Passed: 2, Approve: map[string]int{"Workflow": 1}, Projects: []string{p}, Stream: s.stream("gate")}
	if found := s.client(t, "gate").Doctor(ctx, in); len(found) != 0 {
		t.Errorf("a healthy gate: %v", found)
	}
	in.Stream = s.stream("reviewer")
	in.Projects = append(in.Projects, "nonesuch")
	var all []string
	for _, problem := range s.client(t, "reviewer").Doctor(ctx, in) {
		all = append(all, problem.String())
	}
	for i, words := range []string{
		"Rae Reviewer may not stream events", "may not vote Verified-2 on main of ", "Rae Reviewer may not submit", "does not see the project nonesuch",
	} {
		if i >= len(all) || !strings.Contains(all[i], words) {
			t.Errorf("problem %d is not %q: %q", i, words, all)
		}
	}
	wrong, err := gerrit.New(gerrit.Config{URL: s.url, User: "gate", Token: "wrong"})
	check(t, err)
	if found := wrong.Doctor(ctx, in); len(found) != 1 || !strings.Contains(found[0].String(), "make an HTTP token") {
		t.Errorf("a wrong token: %v", found)
	}
}

func (s *server) stream(user string) *gerrit.Stream {
	return &gerrit.Stream{
		Addr: s.sshAddr, User: user, Key: s.key[user], HostKeys: s.hostKeys,
		Wait: 20 * time.Millisecond, MaxWait: 200 * time.Millisecond,
	}
}

// listener is a running Stream.
type listener struct {
	t      *testing.T
	events chan gerrit.Event
	states chan gerrit.State
}

// listen runs a stream until the test ends.
func listen(t *testing.T, stream *gerrit.Stream) *listener {
	t.Helper()
	l := &listener{t, make(chan gerrit.Event, 10000), make(chan gerrit.State, 10000)}
	stream.OnEvent = func(_ context.Context, e gerrit.Event) error { l.events <- e; return nil }
	stream.OnState = func(s gerrit.State) { l.states <- s }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- stream.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err == nil {
			t.Error("Run ended without an error")
		}
	})
	return l
}

// state waits for one that is connected or not.
func (l *listener) state(connected bool) gerrit.State {
	l.t.Helper()
	for {
		select {
		case s := <-l.states:
			if s.Connected == connected {
				return s
			}
		case <-time.After(time.Minute):
			l.t.Fatalf("never connected=%v", connected)
		}
	}
}

// event waits for one of a type and a change (0: any).
func (l *listener) event(kind string, change int) gerrit.Event {
	l.t.Helper()
	for {
		select {
		case e := <-l.events:
			if e.Type == kind && (change == 0 || e.Change == change) {
				return e
			}
		case <-time.After(time.Minute):
			l.t.Fatalf("no %s of change %d came", kind, change)
		}
	}
}

func stream(t *testing.T, s *server) {
	p := s.project(t)
	l := listen(t, s.stream("gate"))
	l.state(true)
	n := s.propose(t, p, "main", "Mend", 0, map[string]any{"topic": "pumps"})
	e := l.event("patchset-created", n)
	c := read(t, s, n)
	equal(t, "patch set", [5]any{e.Project, e.Branch, e.ChangeID, e.PatchSet, e.Revision}, [5]any{p, "main", c.ChangeID, 1, c.Revision})
	equal(t, "more of it", [4]any{e.Topic, e.Status, e.Who, e.Subject}, [4]any{"pumps", "NEW", "maintainer", "Mend"})
	equal(t, "key and time", [2]any{len(e.Key), e.CreatedOn.IsZero()}, [2]any{64, false})
	s.vote(t, "reviewer", n, map[string]int{"Code-Review": 2, "Workflow": 1})
	e = l.event("comment-added", n)
	equal(t, "who", e.Who, "reviewer")
	changed := map[string]int{}
	for _, a := range e.Approvals {
		if a.Changed {
			changed[a.Label] = a.Value
		}
	}
	equal(t, "approvals", changed, map[string]int{"Code-Review": 2, "Workflow": 1})
	s.do(t, "maintainer", "PUT", fmt.Sprintf("/changes/%d/topic", n), map[string]string{"topic": "other"}, nil)
	equal(t, "topic", l.event("topic-changed", n).Topic, "other")
	s.do(t, "maintainer", "PUT", fmt.Sprintf("/changes/%d/topic", n), map[string]string{"topic": ""}, nil)
	s.act(t, "maintainer", n, "wip")
	equal(t, "wip", l.event("wip-state-changed", n).WIP, true)
	s.act(t, "maintainer", n, "ready")
	s.act(t, "maintainer", n, "abandon")
	equal(t, "abandoned", l.event("change-abandoned", n).Status, "ABANDONED")
	s.act(t, "maintainer", n, "restore")
	l.event("change-restored", n)
	s.approve(t, n)
	s.vote(t, "gate", n, map[string]int{"Verified": 2})
	_, err := s.client(t, "gate").Submit(context.Background(), n, read(t, s, n).Revision)
	check(t, err)
	tip := ""
	for tip == "" { // Gerrit tells of the ref and of the merge
		if e := l.event("ref-updated", 0); e.Ref == "refs/heads/main" && e.Project == p {
			tip = e.NewRev
			equal(t, "branch", e.Branch, "main")
		}
	}
	e = l.event("change-merged", n)
	equal(t, "merged", [3]string{e.Status, e.NewRev, e.Who}, [3]string{"MERGED", tip, "gate"})
}

func streamDenied(t *testing.T, s *server) {
	err := s.stream("reviewer").Probe(context.Background())
	if err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("no right to the stream: %v", err)
	}
	wrong := s.stream("gate")
	wrong.HostKeys = gerrit.HostKey(string(ssh.MarshalAuthorizedKey(s.key["limited"].PublicKey())))
	if err := wrong.Probe(context.Background()); err == nil || !strings.Contains(err.Error(), "host key mismatch") {
		t.Errorf("a wrong host key: %v", err)
	}
	check(t, s.stream("gate").Probe(context.Background()))
}

// What people write in Gerrit's page is a comment on no file; its message tells
// only of their number.
func remarks(t *testing.T, s *server) {
	ctx, c := context.Background(), s.client(t, "gate")
	n := s.propose(t, s.project(t), "main", "Mend", 0, nil)
	none, err := c.Remarks(ctx, n)
	equal(t, "none", [2]any{len(none), err}, [2]any{0, nil})
	s.vote(t, "reviewer", n, map[string]int{"Code-Review": 1})
	s.do(t, "limited", "POST", fmt.Sprintf("/changes/%d/revisions/current/review", n), map[string]any{
		"comments": map[string]any{"/PATCHSET_LEVEL": []map[string]any{{"message": "recheck", "unresolved": false}}},
	}, nil)
	after := read(t, s, n)
	last := after.Messages[len(after.Messages)-1]
	equal(t, "message", last.Text, "Patch Set 1:\n\n(1 comment)")
	all, err := c.Remarks(ctx, n)
	check(t, err)
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	r := all[0]
	equal(t, "remark", [4]any{r.ID, r.Text, r.Author.Username, r.PatchSet}, [4]any{last.ID, "recheck", "limited", 1})
	if r.Date.IsZero() || len(after.Reviewers) == 0 || after.Reviewers[0].Username != "reviewer" {
		t.Errorf("date %v, reviewers %+v", r.Date, after.Reviewers)
	}
}
