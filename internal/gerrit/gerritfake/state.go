package gerritfake

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

type project struct {
	name, submitType string
	branches         map[string]string
	merged           map[string]bool // commits that some branch has
}

type patchSet struct {
	number           int
	revision, parent string
	message, kind    string
	by               *User
	at               time.Time
}

type change struct {
	number                    int
	project, branch, id       string
	status, topic, submission string
	hashtags                  []string
	owner                     *User
	wip, private, unmergeable bool
	created, updated, merged  time.Time
	patchSets                 []*patchSet
	votes                     map[string]map[string]vote // label → user
	messages                  []message
	remarks                   []message // comments on a patch set as a whole; id is that of their message
}

type vote struct {
	value int
	at    time.Time
}

type message struct {
	id, tag, text string
	by            *User
	at            time.Time
	patchSet      int
}

// labels that the fake knows: lowest and highest vote.
var labels = map[string][2]int{"Verified": {-2, 2}, "Code-Review": {-2, 2}, "Workflow": {-1, 1}}

// labelNames in Gerrit's order of requirements.
var labelNames = []string{"Verified", "Workflow", "Code-Review"}

func (c *change) current() *patchSet { return c.patchSets[len(c.patchSets)-1] }

func (c *change) ref(ps *patchSet) string {
	return fmt.Sprintf("refs/changes/%02d/%d/%d", c.number%100, c.number, ps.number)
}

// name makes something that looks like a commit id.
func (s *Server) name(of string) string {
	s.serial++
	sum := sha1.Sum(fmt.Appendf(nil, "%s %d", of, s.serial))
	return hex.EncodeToString(sum[:])
}

// Project makes a project with branches (main if none).
func (s *Server) Project(name, submitType string, branches ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.project(name, submitType, branches...)
}

func (s *Server) project(name, submitType string, branches ...string) string {
	if len(branches) == 0 {
		branches = []string{"main"}
	}
	p := &project{name, cmp.Or(submitType, "MERGE_IF_NECESSARY"), map[string]string{}, map[string]bool{}}
	first := s.name(name)
	for _, b := range branches {
		p.branches[b] = first
	}
	p.merged[first] = true
	s.projects[name] = p
	return name
}

// Advance moves a branch past the gate, as a direct push would; it returns the new tip.
func (s *Server) Advance(name, branch string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.projects[name]
	old := p.branches[branch]
	p.branches[branch] = s.name("advance")
	p.merged[p.branches[branch]] = true
	s.refUpdated(s.users["admin"], p.name, "refs/heads/"+branch, old, p.branches[branch])
	return p.branches[branch]
}

// Push is a new change.
type Push struct {
	Project, Branch, Message, Topic string
	By                              string // maintainer if empty
	On                              int    // the change that it stands on; 0: the branch
	WIP, Private                    bool
}

// Pushed is a patch set that the fake has taken.
type Pushed struct {
	Number, PatchSet        int
	ChangeID, Revision, Ref string
}

// Push makes a change.
func (s *Server) Push(in Push) (Pushed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.push(in)
}

func (s *Server) push(in Push) (Pushed, error) {
	by := s.users[cmp.Or(in.By, "maintainer")]
	p := s.projects[in.Project]
	if p == nil {
		return Pushed{}, refuse(http.StatusUnprocessableEntity, "Project Not Found: %s", in.Project)
	}
	branch := strings.TrimPrefix(cmp.Or(in.Branch, "main"), "refs/heads/")
	parent, found := p.branches[branch]
	if !found {
		return Pushed{}, refuse(http.StatusConflict, "Destination branch does not exist")
	}
	if in.On != 0 {
		base := s.changes[in.On]
		if base == nil {
			return Pushed{}, refuse(http.StatusUnprocessableEntity, "Base change not found: %d", in.On)
		}
		parent = base.current().revision
	}
	now := s.now()
	c := &change{
		number: s.next, project: p.name, branch: branch, status: "NEW", topic: in.Topic, owner: by,
		wip: in.WIP, private: in.Private, created: now, votes: map[string]map[string]vote{},
	}
	s.next++
	c.id = "I" + s.name("change-id")
	if m := changeIDLine.FindStringSubmatch(in.Message); m != nil {
		c.id = m[1]
	}
	s.changes[c.number] = c
	s.addPatchSet(c, by, in.Message, parent, "REWORK", "Uploaded patch set 1.")
	return c.pushed(), nil
}

func (c *change) pushed() Pushed {
	ps := c.current()
	return Pushed{c.number, ps.number, c.id, ps.revision, c.ref(ps)}
}

var changeIDLine = regexp.MustCompile(`(?m)^Change-Id: (I[0-9a-f]{40})$`)

func (s *Server) addPatchSet(c *change, by *User, text, parent, kind, note string) {
	if text = strings.TrimRight(text, "\n"); !changeIDLine.MatchString(text) {
		if !strings.Contains(text, "\n\n") {
			text += "\n"
		}
		text += "\nChange-Id: " + c.id
	}
	ps := &patchSet{
		number: len(c.patchSets) + 1, revision: s.name("revision"), parent: parent,
		message: text + "\n", kind: kind, by: by, at: s.now(),
	}
	c.patchSets = append(c.patchSets, ps)
	for label, by := range c.votes {
		for user, v := range by {
			if !copied(label, v.value, kind) {
				delete(by, user)
			}
		}
	}
	s.say(c, by, "autogenerated:gerrit:newPatchSet", note)
	s.changeEvent("patchset-created", c, map[string]any{"uploader": by.event()})
}

// copied are the copy conditions that scripts/gerrit.sh gives the labels.
func copied(label string, value int, kind string) bool {
	switch label {
	case "Verified":
		return kind == "NO_CODE_CHANGE"
	case "Workflow":
		return kind == "NO_CODE_CHANGE" || kind == "TRIVIAL_REBASE"
	}
	return kind == "TRIVIAL_REBASE" || value == labels[label][0]
}

// Amend makes a new patch set: of new content, or of a new message only. An
// empty message stays as it was. It is put on the newest patch set that it stands on.
func (s *Server) Amend(number int, message string, rework bool) (Pushed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.open(number)
	if err != nil {
		return Pushed{}, err
	}
	return s.amend(c, c.owner, message, rework)
}

func (s *Server) amend(c *change, by *User, message string, rework bool) (Pushed, error) {
	if message == "" {
		message = c.current().message
	}
	if m := changeIDLine.FindStringSubmatch(message); m != nil && m[1] != c.id {
		return Pushed{}, refuse(http.StatusConflict, "wrong Change-Id footer")
	}
	kind := "NO_CODE_CHANGE"
	if rework {
		kind = "REWORK"
	}
	n := len(c.patchSets) + 1
	s.addPatchSet(c, by, message, c.current().parent, kind, fmt.Sprintf("Uploaded patch set %d.", n))
	return c.pushed(), nil
}

// open finds a change that is open.
func (s *Server) open(number int) (*change, error) {
	c := s.changes[number]
	switch {
	case c == nil:
		return nil, refuse(http.StatusNotFound, "Not found: %d", number)
	case c.status != "NEW":
		return nil, refuse(http.StatusConflict, "change is %s", strings.ToLower(c.status))
	}
	return c, nil
}

func (s *Server) say(c *change, by *User, tag, text string) {
	c.updated = s.now()
	c.messages = append(c.messages, message{s.name("message"), tag, text, by, c.updated, c.current().number})
}

// Vote has a user vote on the current patch set.
func (s *Server) Vote(number int, user, label string, value int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.changes[number]
	if c == nil {
		return refuse(http.StatusNotFound, "Not found: %d", number)
	}
	_, err := s.review(c, c.current(), s.users[user], review{Labels: map[string]int{label: value}})
	return err
}

// Approve gives the reviewer's Code-Review +2 and Workflow +1.
func (s *Server) Approve(number int) error {
	return cmp.Or(s.Vote(number, "reviewer", "Code-Review", 2), s.Vote(number, "reviewer", "Workflow", 1))
}

// review is Gerrit's ReviewInput, as far as the fake knows it.
type review struct {
	Message  string                     `json:"message"`
	Tag      string                     `json:"tag"`
	Labels   map[string]int             `json:"labels"`
	Comments map[string][]reviewComment `json:"comments"`
}

type reviewComment struct {
	Line    int    `json:"line"`
	Message string `json:"message"`
}

const commentLimit = 16384

// review gives the labels that were taken: those that exist.
func (s *Server) review(c *change, ps *patchSet, by *User, in review) (map[string]int, error) {
	taken := map[string]int{}
	for label, value := range in.Labels {
		if _, known := labels[label]; !known {
			continue
		}
		if may := by.labels[label]; value < may[0] || value > may[1] {
			return nil, refuse(http.StatusForbidden, "Applying label \"%s\": %d is restricted", label, value)
		}
		taken[label] = value
	}
	if len(taken) > 0 && c.status != "NEW" {
		return nil, refuse(http.StatusConflict, "change is closed")
	}
	for file := range in.Comments {
		if file != "/COMMIT_MSG" && file != "/PATCHSET_LEVEL" {
			return nil, refuse(http.StatusBadRequest, "file %s not found in revision %d,%d", file, c.number, ps.number)
		}
	}
	if n := len([]rune(in.Message)); n > commentLimit {
		return nil, refuse(http.StatusBadRequest,
			"One or more comments were rejected in validation: Comment size exceeds limit (%d > %d)", n, commentLimit)
	}
	words := fmt.Sprintf("Patch Set %d:", ps.number)
	var approvals []map[string]any
	for _, label := range slices.Sorted(mapKeys(taken)) {
		old := c.votes[label][by.Name].value
		if c.votes[label] == nil {
			c.votes[label] = map[string]vote{}
		}
		c.votes[label][by.Name] = vote{taken[label], s.now()}
		if words += fmt.Sprintf(" %s%+d", label, taken[label]); taken[label] == 0 {
			words = strings.TrimSuffix(words, label+"+0") + "-" + label
		}
		approvals = append(approvals, map[string]any{"type": label, "value": fmt.Sprint(taken[label]), "oldValue": fmt.Sprint(old)})
	}
	if in.Message != "" {
		words += "\n\n" + in.Message
	}
	if n := len(in.Comments["/PATCHSET_LEVEL"]); n == 1 {
		words += "\n\n(1 comment)"
	} else if n > 1 {
		words += fmt.Sprintf("\n\n(%d comments)", n)
	}
	s.say(c, by, in.Tag, words)
	said := c.messages[len(c.messages)-1]
	for _, r := range in.Comments["/PATCHSET_LEVEL"] {
		c.remarks = append(c.remarks, message{said.id, in.Tag, r.Message, by, said.at, ps.number})
	}
	s.changeEvent("comment-added", c, map[string]any{"author": by.event(), "approvals": approvals, "comment": words})
	return taken, nil
}

// requirement is a label's status: SATISFIED, or UNSATISFIED with the atoms as Gerrit tells them.
func (c *change) requirement(label string) (satisfied bool, passing, failing []string) {
	var isMax, isMin bool
	for _, v := range c.votes[label] {
		isMax = isMax || v.value == labels[label][1]
		isMin = isMin || v.value == labels[label][0]
	}
	for atom, holds := range map[string]bool{"MAX": isMax, "MIN": isMin} {
		if atom = "label:" + label + "=" + atom; holds {
			passing = append(passing, atom)
		} else {
			failing = append(failing, atom)
		}
	}
	slices.Sort(failing)
	slices.Sort(passing)
	return isMax && !isMin, passing, failing
}

func (c *change) submittable() bool {
	for _, label := range labelNames {
		if ok, _, _ := c.requirement(label); !ok {
			return false
		}
	}
	return c.status == "NEW"
}

// SetMergeable says whether a change conflicts with its branch.
func (s *Server) SetMergeable(number int, mergeable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes[number].unmergeable = !mergeable
}

// Delete removes a change for good.
func (s *Server) Delete(number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.changes[number]; c != nil {
		delete(s.changes, number)
		s.changeEvent("change-deleted", c, map[string]any{"deleter": s.users["admin"].event()})
	}
}
