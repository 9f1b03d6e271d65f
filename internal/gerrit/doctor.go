package gerrit

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Problem is something that keeps a gate from working, or that could not be checked.
type Problem struct {
	What string
	Mend string // what to do about it
	// Doubt: it could not be checked; the rest may be well.
	Doubt bool
}

// String is both in one line.
func (p Problem) String() string { return p.What + ": " + p.Mend }

// DoctorInput is what Doctor is to check.
type DoctorInput struct {
	Label    string         // the gate's own
	Votes    []int          // the values that the gate gives on it, besides 0
	Passed   int            // the value that lets Gerrit submit
	Approve  map[string]int // labels that the site asks for besides, and their least values
	Projects []string       // that it is to gate
	// Gated says of a project's branch that the site gates it; nil: all are.
	Gated    func(project, branch string) bool
	ReadOnly bool    // the gate only observes: it need not vote or submit
	Stream   *Stream // nil: events are not checked
}

// Doctor checks that the account can do what a gate must: log in, read the
// projects, stream events, give its votes on its label, satisfy what Gerrit asks
// of that label, and submit. It changes nothing. No problems is good news.
func (c *Client) Doctor(ctx context.Context, in DoctorInput) []Problem {
	who, err := c.Self(ctx)
	switch {
	case IsDenied(err):
		return []Problem{{What: "Gerrit refuses the account " + c.cfg.User + ": " + err.Error(),
			Mend: "make an HTTP token for it (Settings, HTTP Credentials) and put it into the site file"}}
	case err != nil:
		return []Problem{{What: err.Error(), Mend: "check the Gerrit's URL, the proxy and the CA bundle in the site file"}}
	}
	problems := c.checkServer(ctx)
	if in.Stream != nil {
		problems = append(problems, c.checkStream(ctx, who, in.Stream)...)
	}
	for _, project := range in.Projects {
		problems = append(problems, examination{c, who, project, in}.run(ctx)...)
	}
	return problems
}

func (c *Client) checkServer(ctx context.Context) []Problem {
	version, err := c.ServerVersion(ctx)
	if err != nil {
		return []Problem{{What: err.Error(), Mend: "check that this is a Gerrit"}}
	}
	if !atLeast(version, 3, 10) {
		return []Problem{{What: "Gerrit " + version + " is older than 3.10", Mend: "upgrade Gerrit: sluice is tested with 3.10 and 3.13"}}
	}
	return nil
}

// atLeast compares "3.13.5", "3.13.5-12-gabc" or "(dev)", which is new enough.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return true
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(strings.SplitN(parts[1], "-", 2)[0])
	return errA != nil || errB != nil || a > major || (a == major && b >= minor)
}

func (c *Client) checkStream(ctx context.Context, who Account, s *Stream) []Problem {
	var can map[string]any
	if err := c.get(ctx, "accounts/self/capabilities?q=streamEvents", &can); err == nil && can["streamEvents"] != true {
		return []Problem{{What: who.String() + " may not stream events",
			Mend: "add it to the group Service Users, or give its group Stream Events in All-Projects' global capabilities"}}
	}
	if err := s.Probe(ctx); err != nil {
		return []Problem{{What: err.Error(),
			Mend: "check the SSH address, the host key in the known_hosts file, and that the public key is among the account's SSH keys"}}
	}
	return nil
}

// examination is Doctor's look at one project.
type examination struct {
	*Client
	who     Account
	project string
	in      DoctorInput
}

func (x examination) run(ctx context.Context) []Problem {
	var info struct {
		State  string               `json:"state"`
		Labels map[string]labelJSON `json:"labels"`
	}
	err := x.get(ctx, "projects/"+pathPart(x.project), &info)
	switch {
	case IsNotFound(err), IsDenied(err):
		return []Problem{{What: x.who.String() + " does not see the project " + x.project,
			Mend: "check its name, or give the account Read on refs/* there"}}
	case err != nil:
		return []Problem{{What: err.Error(), Mend: "try again"}}
	case info.State != "" && info.State != "ACTIVE":
		return []Problem{{What: "the project " + x.project + " is " + info.State, Mend: "make it active, or take it out of the site file"}}
	}
	if heads, err := x.BranchHeads(ctx, x.project); IsNotFound(err) || err == nil && len(heads) == 0 {
		return []Problem{{What: x.who.String() + " sees no branch of the project " + x.project,
			Mend: "give the account Read on refs/heads/* there, or push the first branch"}}
	} else if err != nil {
		return []Problem{{What: err.Error(), Mend: "try again"}}
	}
	var problems []Problem
	for _, name := range slices.Sorted(maps.Keys(x.in.Approve)) {
		l, found := info.Labels[name]
		if best := l.label(name, 0).Max; !found || best < x.in.Approve[name] {
			problems = append(problems, Problem{What: fmt.Sprintf("nobody can vote %s%+d in %s, and the site asks for it", name, x.in.Approve[name], x.project),
				Mend: "create the label there or in All-Projects, or take it out of pipelines.gate.approve"})
		}
	}
	if x.in.ReadOnly {
		return problems
	}
	best, found := info.Labels[x.in.Label]
	if !found {
		return append(problems, Problem{What: "the project " + x.project + " has no label " + x.in.Label,
			Mend: "create the label there or in All-Projects, with a submit requirement label:" + x.in.Label + "=MAX"})
	}
	label := best.label(x.in.Label, 0)
	for _, v := range x.in.Votes {
		if v < label.Min || v > label.Max {
			return append(problems, Problem{What: fmt.Sprintf("the site votes %s%+d, and in %s that label goes from %+d to %+d", x.in.Label, v, x.project, label.Min, label.Max),
				Mend: "set pipelines.check.votes and pipelines.gate.votes in the site file to values that it has"})
		}
	}
	return append(append(problems, x.rights(ctx, label)...), x.submit(ctx)...)
}

// newest gives the newest change of a status on a gated branch, if there is one.
func (x examination) newest(ctx context.Context, status string) (*changeJSON, error) {
	var found []changeJSON
	query := url.Values{
		"q": {"status:" + status + " project:" + Quote(x.project)}, "n": {"50"},
		"o": {"DETAILED_LABELS", "DETAILED_ACCOUNTS", "SUBMIT_REQUIREMENTS", "SUBMITTABLE", "CURRENT_REVISION"},
	}
	if err := x.get(ctx, "changes/?"+query.Encode(), &found); err != nil {
		return nil, err
	}
	for i := range found {
		if x.in.Gated == nil || x.in.Gated(x.project, strings.TrimPrefix(found[i].Branch, "refs/heads/")) {
			return &found[i], nil
		}
	}
	return nil, nil
}

// rights looks at an open change, for Gerrit tells a plain account its rights to
// vote nowhere else.
func (x examination) rights(ctx context.Context, label Label) []Problem {
	j, err := x.newest(ctx, "open")
	if err != nil {
		return []Problem{{What: err.Error(), Mend: "try again"}}
	}
	if j == nil {
		return []Problem{{Doubt: true, What: "the right to vote in " + x.project + " could not be checked, for it has no open change on a gated branch",
			Mend: fmt.Sprintf("see that %s has Label %s %+d..%+d on refs/heads/*", x.who, label.Name, slices.Min(append(x.in.Votes, 0)), slices.Max(append(x.in.Votes, 0)))}}
	}
	for _, v := range x.in.Votes {
		if !slices.ContainsFunc(j.Permitted[label.Name], func(s string) bool { n, err := strconv.Atoi(strings.TrimSpace(s)); return err == nil && n == v }) {
			return []Problem{{What: fmt.Sprintf("%s may not vote %s%+d on %s of %s", x.who, label.Name, v, strings.TrimPrefix(j.Branch, "refs/heads/"), x.project),
				Mend: fmt.Sprintf("give its group Label %s %+d..%+d on refs/heads/*", label.Name, slices.Min(append(x.in.Votes, 0)), slices.Max(append(x.in.Votes, 0)))}}
		}
	}
	return x.exemption(j, label)
}

// exemption looks at the submit requirements that ask for the gate's own label:
// there is one, and the gate's vote answers what of them is the gate's to
// answer, so that only their lack of it is left out of account (G1).
func (x examination) exemption(j *changeJSON, label Label) []Problem {
	asks := false
	for _, r := range j.change(x.who.ID).Requirements {
		n, err := parseExpression(r.Submit.Text)
		if err != nil || r.Status == NotApplicable || !n.names(label.Name) {
			continue
		}
		asks = asks || n.given(label, 0) != yes
		if n.given(label, x.in.Passed) == no {
			return []Problem{{What: fmt.Sprintf("the submit requirement %s of %s (%s) is not met by %s%+d, which the gate votes when all has passed", r.Name, x.project, r.Submit.Text, label.Name, x.in.Passed),
				Mend: "set pipelines.gate.votes.passed in the site file to what it asks for"}}
		}
	}
	if !asks {
		return []Problem{{Doubt: true, What: fmt.Sprintf("no submit requirement of change %d in %s asks for %s", j.Number, x.project, label.Name),
			Mend: "add the submit requirement label:" + label.Name + "=MAX, else people can submit past the gate"}}
	}
	return nil
}

// names says whether an expression asks for a label.
func (n *node) names(label string) bool {
	if a, ok := parseLabelAtom(n.atom); ok && n.op == opAtom {
		return strings.EqualFold(a.label, label)
	}
	return slices.ContainsFunc(n.kids, func(k *node) bool { return k.names(label) })
}

// given evaluates an expression by one vote on a label and nothing else.
func (n *node) given(label Label, vote int) truth {
	if n.op == opNot {
		return -n.kids[0].given(label, vote)
	}
	if n.op == opAtom {
		a, ok := parseLabelAtom(n.atom)
		switch {
		case !ok || !strings.EqualFold(a.label, label.Name) || !a.plain():
			return unknown
		case a.matches(&label, vote):
			return yes
		}
		return no
	}
	worst, best := yes, no
	for _, k := range n.kids {
		t := k.given(label, vote)
		worst, best = min(worst, t), max(best, t)
	}
	if n.op == opAnd {
		return worst
	}
	return best
}

// submit proves the right to submit without submitting: Gerrit looks at the
// right first, and then finds that the change has merged already.
func (x examination) submit(ctx context.Context) []Problem {
	j, err := x.newest(ctx, "merged")
	if err != nil {
		return []Problem{{What: err.Error(), Mend: "try again"}}
	}
	if j == nil {
		return []Problem{{Doubt: true, What: fmt.Sprintf("whether %s may submit in %s shows only once a change has merged there", x.who, x.project),
			Mend: "see that it has Submit on refs/heads/*"}}
	}
	switch err := x.post(ctx, x.cfg.Timeout, fmt.Sprintf("changes/%d/revisions/current/submit", j.Number), struct{}{}, nil); {
	case IsConflict(err):
		return nil // "change is merged"
	case IsDenied(err):
		return []Problem{{What: fmt.Sprintf("%s may not submit on %s of %s", x.who, strings.TrimPrefix(j.Branch, "refs/heads/"), x.project), Mend: "give its group Submit on refs/heads/*"}}
	case err != nil:
		return []Problem{{What: err.Error(), Mend: "try again"}}
	}
	return nil
}
