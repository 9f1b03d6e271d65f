package gerrit

import (
	"fmt"
	"slices"
	"strings"
)

// NeedsOwnLabelOnly is rule G1: the change may enter the gate when it is open and
// not work in progress, nobody vetoes it, and each submit requirement holds or would hold if
// the gate had voted its best on ownLabel. Otherwise the reasons say what is missing, a clause each:
// "needs Code-Review+2", "Code-Review-2 by Rae Reviewer", "is work in progress".
//
// A veto is the lowest vote of a label where that is -2 or less, by anybody but the gate: it
// counts even where the site's requirements overlook it.
func NeedsOwnLabelOnly(c *Change, ownLabel string) (ready bool, reasons []string) {
	switch {
	case c.Status == StatusMerged:
		reasons = append(reasons, "is merged")
	case c.Status == StatusAbandoned:
		reasons = append(reasons, "is abandoned")
	case !c.Open():
		reasons = append(reasons, fmt.Sprintf("is %s, which is not open", c.Status))
	}
	if c.WIP {
		reasons = append(reasons, "is work in progress")
	}
	reasons = append(reasons, vetoes(c)...)
	for _, r := range c.Requirements {
		if r.Blocking() {
			reasons = append(reasons, judge{c, ownLabel, r.Legacy}.requirement(r)...)
		}
	}
	if len(c.Requirements) == 0 && c.Open() && !c.Submittable {
		reasons = append(reasons, "Gerrit does not say what it needs to be submitted: this needs Gerrit 3.5 or newer")
	}
	reasons = distinct(reasons)
	return len(reasons) == 0, reasons
}

func vetoes(c *Change) []string {
	var reasons []string
	for _, l := range c.Labels {
		for _, v := range l.Votes {
			if v.Value <= -2 && v.Value == l.Min && !v.Own {
				reasons = append(reasons, cast(l.Name, v))
			}
		}
	}
	return reasons
}

// cast is a vote as people read it: "Code-Review-2 by Rae Reviewer".
func cast(label string, v Vote) string {
	return fmt.Sprintf("%s%+d by %s", label, v.Value, v.By)
}

func distinct(all []string) []string {
	var once []string
	for _, s := range all {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

// judge evaluates requirements of one change as if the gate had voted its best.
type judge struct {
	change *Change
	own    string
	// legacy: the requirement stands for a label's function (Gerrit 3.10's Code-Review); of such, Gerrit
	// reports all atoms as failing if one does, so that only the votes tell.
	legacy bool
}

// requirement gives what is missing for a blocking requirement; nothing if only
// the gate's own vote is.
func (j judge) requirement(r Requirement) []string {
	for _, e := range []Expression{r.Submit, r.Override, r.Applicability} {
		if e.Status == "ERROR" || e.Error != "" {
			return []string{fmt.Sprintf("submit requirement %s cannot be evaluated: %s", r.Name, orDefault(e.Error, "no reason given"))}
		}
	}
	if r.Status != Unsatisfied {
		return []string{fmt.Sprintf("submit requirement %s is %s", r.Name, orDefault(r.Status, "without a status"))}
	}
	if r.Override.Text != "" {
		if n, err := parseExpression(r.Override.Text); err == nil && j.eval(n, r.Override) == yes {
			return nil
		}
	}
	n, err := parseExpression(r.Submit.Text)
	if err != nil {
		return j.byAtoms(r)
	}
	if j.eval(n, r.Submit) == yes {
		return nil
	}
	clauses := j.blame(n, r.Submit, true)
	if len(clauses) == 0 {
		return []string{fmt.Sprintf("submit requirement %s is not met: %s", r.Name, r.Submit.Text)}
	}
	return clauses
}

// byAtoms judges an expression whose text is hidden or not understood: it needs
// no more than the gate's own vote if all that fails is on the gate's own label.
func (j judge) byAtoms(r Requirement) []string {
	var missing []string
	for _, text := range r.Submit.Failing {
		if a, ok := parseLabelAtom(text); !ok || !strings.EqualFold(a.label, j.own) {
			missing = append(missing, text)
		}
	}
	if len(r.Submit.Failing) > 0 && len(missing) == 0 {
		return nil
	}
	if len(missing) == 0 {
		return []string{fmt.Sprintf("submit requirement %s is not met", r.Name)}
	}
	return []string{fmt.Sprintf("submit requirement %s is not met: %s", r.Name, strings.Join(missing, ", "))}
}

// eval is three-valued: an atom that Gerrit did not report is unknown.
func (j judge) eval(n *node, e Expression) truth {
	switch n.op {
	case opNot:
		return -j.eval(n.kids[0], e)
	case opAnd, opOr:
		worst, best := yes, no
		for _, k := range n.kids {
			t := j.eval(k, e)
			worst, best = min(worst, t), max(best, t)
		}
		if n.op == opAnd {
			return worst
		}
		return best
	}
	if a, ok := parseLabelAtom(n.atom); ok && (j.legacy || strings.EqualFold(a.label, j.own)) {
		if t := j.voted(a); t != unknown {
			return t
		}
	}
	switch {
	case hasAtom(e.Passing, n.atom):
		return yes
	case hasAtom(e.Failing, n.atom):
		return no
	}
	return unknown
}

func hasAtom(atoms []string, atom string) bool {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer(`"`, "", "{", "", "}", "").Replace(s))
	}
	return slices.ContainsFunc(atoms, func(s string) bool { return plain(s) == plain(atom) })
}

// voted evaluates an atom by the votes, on the gate's own label as if the gate
// had voted its best. Unknown: the atom asks for more than a value.
func (j judge) voted(a labelAtom) truth {
	l, own := j.change.Label(a.label), strings.EqualFold(a.label, j.own)
	if l == nil || !a.plain() || (!own && a.args != "") {
		return unknown
	}
	if own && a.matches(l, l.Max) {
		return yes
	}
	for _, v := range l.Votes {
		if !(own && v.Own) && a.matches(l, v.Value) {
			return yes
		}
	}
	return no
}

// blame says in words why n does not have the wanted value.
func (j judge) blame(n *node, e Expression, wanted bool) []string {
	if t := j.eval(n, e); t == yes && wanted || t == no && !wanted {
		return nil
	}
	switch {
	case n.op == opNot:
		return j.blame(n.kids[0], e, !wanted)
	case n.op == opAtom && wanted:
		return []string{j.lacks(n.atom)}
	case n.op == opAtom:
		return j.forbids(n.atom)
	}
	var all []string
	for _, k := range n.kids {
		all = append(all, j.blame(k, e, wanted)...)
	}
	if all = distinct(all); (n.op == opOr) == wanted && len(all) > 1 { // one of them would do
		return []string{strings.Join(all, " or ")}
	}
	return all
}

// lacks words an atom that ought to hold.
func (j judge) lacks(text string) string {
	a, ok := parseLabelAtom(text)
	if !ok {
		return "needs " + text
	}
	want := a.label + a.op + a.value
	if l := j.change.Label(a.label); l != nil {
		if v, ok := a.number(l); ok && (a.op == "=" || a.op == ">=") {
			want = fmt.Sprintf("%s%+d", l.Name, v)
		}
	}
	if strings.Contains(a.args, "non_uploader") {
		return "needs " + want + " by somebody other than the uploader"
	}
	if a.args != "" {
		return "needs " + want + " (" + a.args + ")"
	}
	return "needs " + want
}

// forbids words an atom that ought not to hold.
func (j judge) forbids(text string) []string {
	if text == "has:unresolved" {
		return []string{"has unresolved comments"}
	}
	a, ok := parseLabelAtom(text)
	if l := j.change.Label(a.label); ok && l != nil {
		var who []string
		for _, v := range l.Votes {
			if a.matches(l, v.Value) {
				who = append(who, cast(l.Name, v))
			}
		}
		if len(who) > 0 {
			return who
		}
	}
	return []string{"must not have " + text}
}
