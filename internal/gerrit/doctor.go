package gerrit

import (
	"context"
	"fmt"
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
	Label    string   // the gate's own
	Projects []string // that it is to gate
	Stream   *Stream  // nil: events are not checked
}

// Doctor checks that the account can do what a gate must: log in, read the
// projects, stream events, vote its best on its label, and submit. It changes
// nothing. No problems is good news.
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
		problems = append(problems, c.checkProject(ctx, who, project, in.Label)...)
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

func (c *Client) checkProject(ctx context.Context, who Account, project, label string) []Problem {
	var info struct {
		State  string               `json:"state"`
		Labels map[string]labelJSON `json:"labels"`
	}
	err := c.get(ctx, "projects/"+pathPart(project), &info)
	switch {
	case IsNotFound(err):
		return []Problem{{What: who.String() + " does not see the project " + project,
			Mend: "check its name, or give the account Read on refs/* there"}}
	case err != nil:
		return []Problem{{What: err.Error(), Mend: "try again"}}
	case info.State != "" && info.State != "ACTIVE":
		return []Problem{{What: "the project " + project + " is " + info.State, Mend: "make it active, or take it out of the site file"}}
	}
	best, found := info.Labels[label]
	if !found {
		return []Problem{{What: "the project " + project + " has no label " + label,
			Mend: "create the label there or in All-Projects, with a submit requirement label:" + label + "=MAX"}}
	}
	return c.checkRights(ctx, who, project, best.label(label, 0))
}

// checkRights looks at an open change, for Gerrit tells a plain account its
// rights nowhere else.
func (c *Client) checkRights(ctx context.Context, who Account, project string, label Label) []Problem {
	var open []changeJSON
	query := url.Values{"q": {"status:open project:" + Quote(project)}, "n": {"1"}, "o": {"DETAILED_LABELS", "SUBMIT_REQUIREMENTS"}}
	if err := c.get(ctx, "changes/?"+query.Encode(), &open); err != nil {
		return []Problem{{What: err.Error(), Mend: "try again"}}
	}
	if len(open) == 0 {
		return []Problem{{Doubt: true, What: "the rights in " + project + " could not be checked, for it has no open change",
			Mend: fmt.Sprintf("see that %s has Label %s %+d..%+d and Submit on refs/heads/*", who, label.Name, label.Min, label.Max)}}
	}
	j := open[0]
	var problems []Problem
	may := func(v int) bool {
		return slices.ContainsFunc(j.Permitted[label.Name], func(s string) bool { return strings.TrimSpace(s) == fmt.Sprintf("%+d", v) })
	}
	if !may(label.Max) || (label.Min < 0 && !may(label.Min)) {
		problems = append(problems, Problem{What: fmt.Sprintf("%s may not vote %s %+d..%+d in %s", who, label.Name, label.Min, label.Max, project),
			Mend: fmt.Sprintf("give its group Label %s %+d..%+d on refs/heads/*", label.Name, label.Min, label.Max)})
	}
	if !slices.ContainsFunc(j.Requirements, func(r requirementJSON) bool {
		return strings.Contains(strings.ToLower(r.SubmittabilityExpressionResult.Expression), "label:"+strings.ToLower(label.Name))
	}) {
		problems = append(problems, Problem{Doubt: true, What: "no submit requirement of change " + strconv.Itoa(j.Number) + " asks for " + label.Name,
			Mend: "add the submit requirement label:" + label.Name + "=MAX, else people can submit past the gate"})
	}
	return append(problems, c.checkSubmit(ctx, who, j)...)
}

// checkSubmit looks for the submit action: Gerrit has no question for the right,
// and shows the action only on a change that is ready.
func (c *Client) checkSubmit(ctx context.Context, who Account, j changeJSON) []Problem {
	var actions map[string]struct {
		Enabled bool   `json:"enabled"`
		Title   string `json:"title"`
	}
	if err := c.get(ctx, fmt.Sprintf("changes/%d/revisions/current/actions", j.Number), &actions); err != nil {
		return []Problem{{What: err.Error(), Mend: "try again"}}
	}
	submit, shown := actions["submit"]
	switch {
	case shown && submit.Enabled:
		return nil
	case shown && strings.Contains(submit.Title, "permission"):
		return []Problem{{What: who.String() + " may not submit in " + j.Project, Mend: "give its group Submit on refs/heads/*"}}
	}
	return []Problem{{Doubt: true, What: fmt.Sprintf("whether %s may submit in %s shows only on a change that is ready", who, j.Project),
		Mend: "see that it has Submit on refs/heads/*"}}
}
