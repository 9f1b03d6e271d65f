package gerrit

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	gg "github.com/andygrunwald/go-gerrit"
)

type requirementJSON = gg.SubmitRequirementResultInfo

// changeJSON is Gerrit's ChangeInfo. go-gerrit's own cannot tell "not mergeable"
// from "not computed".
type changeJSON struct {
	Number       int                     `json:"_number"`
	Project      string                  `json:"project"`
	Branch       string                  `json:"branch"`
	ChangeID     string                  `json:"change_id"`
	Subject      string                  `json:"subject"`
	Status       string                  `json:"status"`
	Topic        string                  `json:"topic"`
	Hashtags     []string                `json:"hashtags"`
	Owner        Account                 `json:"owner"`
	WIP          bool                    `json:"work_in_progress"`
	Private      bool                    `json:"is_private"`
	Created      gg.Timestamp            `json:"created"`
	Updated      gg.Timestamp            `json:"updated"`
	Submitted    gg.Timestamp            `json:"submitted"`
	SubmissionID string                  `json:"submission_id"`
	SubmitType   string                  `json:"submit_type"`
	Mergeable    *bool                   `json:"mergeable"`
	Submittable  bool                    `json:"submittable"`
	Current      string                  `json:"current_revision"`
	Revisions    map[string]revisionJSON `json:"revisions"`
	Labels       map[string]labelJSON    `json:"labels"`
	Permitted    map[string][]string     `json:"permitted_labels"`
	Requirements []requirementJSON       `json:"submit_requirements"`
	Reviewers    map[string][]Account    `json:"reviewers"`
	Messages     []messageJSON           `json:"messages"`
	More         bool                    `json:"_more_changes"`
}

type revisionJSON struct {
	Kind     string              `json:"kind"`
	Number   int                 `json:"_number"`
	Created  gg.Timestamp        `json:"created"`
	Uploader Account             `json:"uploader"`
	Ref      string              `json:"ref"`
	Commit   commitJSON          `json:"commit"`
	Files    map[string]struct{} `json:"files"`
}

type commitJSON struct {
	Commit    string       `json:"commit"`
	Parents   []parentJSON `json:"parents"`
	Author    personJSON   `json:"author"`
	Committer personJSON   `json:"committer"`
	Subject   string       `json:"subject"`
	Message   string       `json:"message"`
}

type parentJSON struct {
	Commit string `json:"commit"`
}

type personJSON struct {
	Name  string       `json:"name"`
	Email string       `json:"email"`
	Date  gg.Timestamp `json:"date"`
	Zone  int          `json:"tz"` // minutes east of UTC
}

type labelJSON struct {
	All    []voteJSON        `json:"all"`
	Values map[string]string `json:"values"`
}

type voteJSON struct {
	Account
	Value int          `json:"value"`
	Date  gg.Timestamp `json:"date"`
}

type messageJSON struct {
	ID       string       `json:"id"`
	Tag      string       `json:"tag"`
	Author   Account      `json:"author"`
	Date     gg.Timestamp `json:"date"`
	Text     string       `json:"message"`
	PatchSet int          `json:"_revision_number"`
}

// change is what the wire said, in our words. self is the client's own account, 0 if none.
func (j *changeJSON) change(self int) Change {
	c := Change{
		Number: j.Number, Project: j.Project, Branch: strings.TrimPrefix(j.Branch, "refs/heads/"),
		ChangeID: j.ChangeID, Subject: j.Subject, Status: j.Status, Topic: j.Topic, Hashtags: j.Hashtags,
		Owner: j.Owner, WIP: j.WIP, Private: j.Private,
		Created: j.Created.Time, Updated: j.Updated.Time, Submitted: j.Submitted.Time,
		SubmissionID: j.SubmissionID, SubmitType: j.SubmitType, Mergeable: j.Mergeable, Submittable: j.Submittable,
		Revision: j.Current, Reviewers: j.Reviewers["REVIEWER"],
	}
	if r, found := j.Revisions[j.Current]; found {
		c.PatchSet, c.Ref, c.Kind, c.Uploader, c.Uploaded = r.Number, r.Ref, r.Kind, r.Uploader, r.Created.Time
		c.Parents, c.Message = r.Commit.parents(), r.Commit.Message
		c.Author, c.Committer = r.Commit.Author.person(), r.Commit.Committer.person()
		c.Files = slices.Sorted(maps.Keys(r.Files))
	}
	for name, l := range j.Labels {
		c.Labels = append(c.Labels, l.label(name, self))
	}
	slices.SortFunc(c.Labels, func(a, b Label) int { return cmp.Compare(a.Name, b.Name) })
	for _, r := range j.Requirements {
		c.Requirements = append(c.Requirements, requirement(r))
	}
	for _, m := range j.Messages {
		c.Messages = append(c.Messages, m.message())
	}
	return c
}

func (c commitJSON) parents() []string {
	var ids []string
	for _, p := range c.Parents {
		ids = append(ids, p.Commit)
	}
	return ids
}

func (p personJSON) person() Person {
	return Person{p.Name, p.Email, p.Date.In(time.FixedZone("", p.Zone*60))}
}

func (l labelJSON) label(name string, self int) Label {
	label := Label{Name: name}
	for text := range l.Values {
		v, err := strconv.Atoi(strings.TrimSpace(text))
		if err == nil {
			label.Min, label.Max = min(label.Min, v), max(label.Max, v)
		}
	}
	for _, v := range l.All {
		if v.Value != 0 {
			label.Votes = append(label.Votes, Vote{v.Account, v.Value, v.Date.Time, self != 0 && v.ID == self})
		}
	}
	return label
}

func requirement(r requirementJSON) Requirement {
	return Requirement{
		Name: r.Name, Description: r.Description, Status: r.Status, Legacy: r.IsLegacy,
		Applicability: expression(r.ApplicabilityExpressionResult),
		Submit:        expression(r.SubmittabilityExpressionResult),
		Override:      expression(r.OverrideExpressionResult),
	}
}

func expression(e gg.SubmitRequirementExpressionInfo) Expression {
	return Expression{e.Expression, e.Status, e.PassingAtoms, e.FailingAtoms, e.ErrorMessage}
}

func (m messageJSON) message() Message {
	return Message{m.ID, m.Tag, m.Author, m.Date.Time, m.Text, m.PatchSet}
}
