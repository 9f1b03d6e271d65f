package gerritfake

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// change finds the change that the path's first part names, if the user may see it.
func (c call) change() (*change, error) {
	for _, found := range c.s.changes {
		if !c.s.sees(c.by, found) {
			continue
		}
		if c.path[0] == strconv.Itoa(found.number) || c.path[0] == found.id || c.path[0] == found.project+"~"+strconv.Itoa(found.number) {
			return found, nil
		}
	}
	return nil, refuse(http.StatusNotFound, "Not found: %s", c.path[0])
}

// revision finds the patch set that the path's second part names.
func (c call) revision() (*change, *patchSet, error) {
	found, err := c.change()
	if err != nil {
		return nil, nil, err
	}
	if c.path[1] == "current" {
		return found, found.current(), nil
	}
	for _, ps := range found.patchSets {
		if c.path[1] == ps.revision || c.path[1] == strconv.Itoa(ps.number) {
			return found, ps, nil
		}
	}
	return nil, nil, refuse(http.StatusNotFound, "Not found: %s", c.path[1])
}

// login says that a write needs somebody.
func (c call) login() error {
	if c.by == nil {
		return refuse(http.StatusForbidden, "Authentication required")
	}
	return nil
}

func getChanges(c call) (any, error) {
	all, err := c.s.search(c.by, c.query.Get("q"))
	if err != nil {
		return nil, err
	}
	some, more := page(c, all)
	found := []map[string]any{}
	for _, one := range some {
		found = append(found, c.s.changeJSON(c.by, one, c.query["o"]))
	}
	if more {
		found[len(found)-1]["_more_changes"] = true
	}
	return found, nil
}

func postChange(c call) (any, error) {
	if err := c.login(); err != nil {
		return nil, err
	}
	var in struct {
		Project, Branch, Subject, Topic string
		Base                            string `json:"base_change"`
		WIP                             bool   `json:"work_in_progress"`
		Private                         bool   `json:"is_private"`
	}
	if err := c.into(&in); err != nil {
		return nil, err
	}
	push := Push{Project: in.Project, Branch: in.Branch, Message: in.Subject, Topic: in.Topic, By: c.by.Name, WIP: in.WIP, Private: in.Private}
	if in.Base != "" {
		base, err := call{c.s, c.by, nil, []string{in.Base}, nil}.change()
		if err != nil {
			return nil, refuse(http.StatusUnprocessableEntity, "Base change not found: %s", in.Base)
		}
		push.On = base.number
	}
	made, err := c.s.push(push)
	if err != nil {
		return nil, err
	}
	return c.s.changeJSON(c.by, c.s.changes[made.Number], nil), nil
}

func getChange(c call) (any, error) {
	found, err := c.change()
	if err != nil {
		return nil, err
	}
	return c.s.changeJSON(c.by, found, c.query["o"]), nil
}

func getDetail(c call) (any, error) {
	c.query["o"] = append(c.query["o"], "DETAILED_LABELS", "MESSAGES")
	return getChange(c)
}

func getMessages(c call) (any, error) {
	found, err := c.change()
	if err != nil {
		return nil, err
	}
	return found.messagesJSON(), nil
}

func getComments(c call) (any, error) {
	found, err := c.change()
	if err != nil {
		return nil, err
	}
	var all []map[string]any
	for _, r := range found.remarks {
		all = append(all, map[string]any{
			"change_message_id": r.id, "author": r.by.json(), "updated": stamp(r.at), "message": r.text, "patch_set": r.patchSet, "tag": r.tag,
		})
	}
	if len(all) == 0 {
		return map[string]any{}, nil
	}
	return map[string]any{"/PATCHSET_LEVEL": all}, nil
}

func getTogether(c call) (any, error) {
	found, err := c.change()
	if err != nil {
		return nil, err
	}
	set, hidden := c.s.together(found), 0
	seen := []map[string]any{}
	for _, m := range set {
		if !c.s.sees(c.by, m) {
			hidden++
		} else if len(set) > 1 {
			seen = append(seen, c.s.changeJSON(c.by, m, c.query["o"]))
		}
	}
	return map[string]any{"changes": seen, "non_visible_changes": hidden}, nil
}

func putMessage(c call) (any, error) {
	found, err := c.change()
	if err != nil {
		return nil, err
	}
	var in struct{ Message string }
	if err := c.into(&in); err != nil {
		return nil, err
	}
	if _, err := c.s.open(found.number); err != nil {
		return nil, err
	}
	if _, err := c.s.amend(found, c.by, in.Message, false); err != nil {
		return nil, err
	}
	return "ok", nil
}

func putTopic(c call) (any, error) {
	found, err := c.change()
	if err != nil {
		return nil, err
	}
	var in struct{ Topic string }
	if err := c.into(&in); err != nil {
		return nil, err
	}
	c.s.setTopic(found, c.by, in.Topic)
	return in.Topic, nil
}

func postAct(c call) (any, error) {
	found, err := c.change()
	if err != nil {
		return nil, err
	}
	if err := c.login(); err != nil {
		return nil, err
	}
	return "", c.s.act(found, c.by, c.path[1])
}

func postReview(c call) (any, error) {
	found, ps, err := c.revision()
	if err != nil {
		return nil, err
	}
	if err := c.login(); err != nil {
		return nil, err
	}
	var in review
	if err := c.into(&in); err != nil {
		return nil, err
	}
	taken, err := c.s.review(found, ps, c.by, in)
	if err != nil {
		return nil, err
	}
	return map[string]any{"labels": taken}, nil
}

func postSubmit(c call) (any, error) {
	found, ps, err := c.revision()
	if err != nil {
		return nil, err
	}
	if err := c.login(); err != nil {
		return nil, err
	}
	if !c.by.submits { // before anything is said of the change
		return nil, refuse(http.StatusForbidden, "submit not permitted")
	}
	if _, err := c.s.open(found.number); err != nil {
		return nil, err
	}
	if ps != found.current() {
		return nil, refuse(http.StatusConflict, "revision %s is not current revision", ps.revision)
	}
	if err := c.s.submit(found, c.by); err != nil {
		return nil, err
	}
	return c.s.changeJSON(c.by, found, nil), nil
}

func getRelated(c call) (any, error) {
	found, ps, err := c.revision()
	if err != nil {
		return nil, err
	}
	type member struct {
		c  *change
		ps *patchSet
	}
	chain := []member{{found, ps}}
	for i := 0; i < len(chain); i++ { // downwards
		if below, at := c.s.byRevision(chain[i].ps.parent); below != nil {
			chain = append(chain, member{below, at})
		}
	}
	for up := []member{{found, ps}}; len(up) > 0; up = up[1:] {
		for _, n := range slices.Sorted(mapKeys(c.s.changes)) {
			for _, at := range c.s.changes[n].patchSets {
				if at.parent == up[0].ps.revision {
					m := member{c.s.changes[n], at}
					up, chain = append(up, m), append([]member{m}, chain...)
				}
			}
		}
	}
	list := []map[string]any{}
	for _, m := range chain {
		list = append(list, map[string]any{
			"project": m.c.project, "change_id": m.c.id, "_change_number": m.c.number, "status": m.c.status,
			"_revision_number": m.ps.number, "_current_revision_number": m.c.current().number, "commit": m.ps.commitJSON(),
		})
	}
	if len(list) == 1 {
		list = list[:0]
	}
	return map[string]any{"changes": list}, nil
}

func getMergeable(c call) (any, error) {
	found, _, err := c.revision()
	if err != nil {
		return nil, err
	}
	if _, err := c.s.open(found.number); err != nil {
		return nil, err
	}
	return map[string]any{"mergeable": !found.unmergeable, "submit_type": c.s.projects[found.project].submitType}, nil
}

func getActions(c call) (any, error) {
	found, _, err := c.revision()
	if err != nil {
		return nil, err
	}
	actions := map[string]any{}
	if found.submittable() && c.by != nil {
		actions["submit"] = map[string]any{"method": "POST", "label": "Submit", "enabled": true}
		if !c.by.submits {
			actions["submit"] = map[string]any{"method": "POST", "label": "Submit", "title": fmt.Sprintf("You don't have permission to submit change %d", found.number)}
		}
	}
	return actions, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000000") }

func (u *User) json() map[string]any {
	return map[string]any{"_account_id": u.ID, "name": u.Full, "email": u.Name + "@example.com", "username": u.Name}
}

// changeJSON is Gerrit's ChangeInfo with the options asked for.
func (s *Server) changeJSON(by *User, c *change, options []string) map[string]any {
	ps := c.current()
	j := map[string]any{
		"id": url.PathEscape(c.project) + "~" + strconv.Itoa(c.number), "_number": c.number, "project": c.project,
		"branch": c.branch, "change_id": c.id, "subject": strings.SplitN(ps.message, "\n", 2)[0], "status": c.status,
		"created": stamp(c.created), "updated": stamp(c.updated), "owner": c.owner.json(), "hashtags": append([]string{}, c.hashtags...),
		"submit_type": s.projects[c.project].submitType,
	}
	for key, value := range map[string]string{"topic": c.topic, "submission_id": c.submission} {
		if value != "" {
			j[key] = value
		}
	}
	for key, value := range map[string]bool{"work_in_progress": c.wip, "is_private": c.private} {
		if value {
			j[key] = true
		}
	}
	if c.status == "NEW" {
		j["mergeable"] = !c.unmergeable
	} else if c.status == "MERGED" {
		j["submitted"] = stamp(c.merged)
	}
	for _, o := range options {
		switch o {
		case "CURRENT_REVISION", "CURRENT_COMMIT":
			j["current_revision"] = ps.revision
			j["revisions"] = map[string]any{ps.revision: map[string]any{
				"kind": ps.kind, "_number": ps.number, "created": stamp(ps.at), "uploader": ps.by.json(),
				"ref": c.ref(ps), "commit": ps.commitJSON(), "files": map[string]any{},
			}}
		case "DETAILED_LABELS":
			j["labels"], j["permitted_labels"] = c.labelsJSON(s), by.permitted()
			j["reviewers"] = c.reviewersJSON(s)
		case "SUBMITTABLE":
			j["submittable"] = c.submittable() && !c.wip
		case "SUBMIT_REQUIREMENTS":
			j["submit_requirements"] = c.requirementsJSON()
		case "MESSAGES":
			j["messages"] = c.messagesJSON()
		}
	}
	return j
}

func (ps *patchSet) commitJSON() map[string]any {
	person := map[string]any{"name": ps.by.Full, "email": ps.by.Name + "@example.com", "date": stamp(ps.at), "tz": 0}
	return map[string]any{
		"commit": ps.revision, "parents": []any{map[string]any{"commit": ps.parent}}, "author": person, "committer": person,
		"subject": strings.SplitN(ps.message, "\n", 2)[0], "message": ps.message,
	}
}

func valuesJSON(label string) map[string]string {
	values := map[string]string{}
	for v := labels[label][0]; v <= labels[label][1]; v++ {
		key := fmt.Sprintf("%+d", v)
		if v == 0 {
			key = " 0"
		}
		values[key] = "means " + key
	}
	return values
}

// permitted are the votes that a user may give.
func (u *User) permitted() map[string][]string {
	all := map[string][]string{}
	if u == nil {
		return all
	}
	for label, may := range u.labels {
		for v := may[0]; v <= may[1]; v++ {
			all[label] = append(all[label], strings.Replace(fmt.Sprintf("%+d", v), "+0", " 0", 1))
		}
	}
	return all
}

func (c *change) labelsJSON(s *Server) map[string]any {
	all := map[string]any{}
	for label := range labels {
		var votes []map[string]any
		for _, user := range slices.Sorted(mapKeys(c.votes[label])) {
			v := s.users[user].json()
			v["value"], v["date"] = c.votes[label][user].value, stamp(c.votes[label][user].at)
			votes = append(votes, v)
		}
		all[label] = map[string]any{"all": votes, "values": valuesJSON(label), "default_value": 0}
	}
	return all
}

// reviewersJSON are those who voted; Gerrit lets people be asked, too.
func (c *change) reviewersJSON(s *Server) map[string]any {
	voted := map[string]bool{}
	for _, votes := range c.votes {
		for user := range votes {
			voted[user] = true
		}
	}
	if len(voted) == 0 {
		return map[string]any{}
	}
	var all []map[string]any
	for _, user := range slices.Sorted(mapKeys(voted)) {
		all = append(all, s.users[user].json())
	}
	return map[string]any{"REVIEWER": all}
}

func (c *change) requirementsJSON() []map[string]any {
	var all []map[string]any
	for _, label := range labelNames {
		ok, passing, failing := c.requirement(label)
		status, result := "UNSATISFIED", "FAIL"
		if ok {
			status, result = "SATISFIED", "PASS"
		}
		all = append(all, map[string]any{"name": label, "status": status, "is_legacy": false, "submittability_expression_result": map[string]any{
			"expression": "label:" + label + "=MAX AND -label:" + label + "=MIN", "fulfilled": ok, "status": result,
			"passing_atoms": passing, "failing_atoms": failing,
		}})
	}
	return all
}

func (c *change) messagesJSON() []map[string]any {
	all := []map[string]any{}
	for _, m := range c.messages {
		j := map[string]any{
			"id": m.id, "author": m.by.json(), "date": stamp(m.at), "message": m.text, "_revision_number": m.patchSet,
		}
		if m.tag != "" {
			j["tag"] = m.tag
		}
		all = append(all, j)
	}
	return all
}
