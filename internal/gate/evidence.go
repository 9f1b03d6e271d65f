package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Evidence is what is known of a failed voting job on the item's base without
// the item: nobody is blamed for what fails there too.
type Evidence string

// The kinds of evidence; "" is said of a job that nobody has asked about.
const (
	EvidenceRunning Evidence = "running" // it is being found out
	EvidenceGood    Evidence = "good"    // it passes there: what fails is the item's own
	EvidenceRed     Evidence = "red"     // it fails there too
	EvidenceAbsent  Evidence = "absent"  // there is no such job there, which says nothing for the item
	EvidenceUnknown Evidence = "unknown" // it could not be run there
)

// Red is a job that fails on the branch itself, as people were told.
type Red struct {
	Since  time.Time `json:"since,omitzero"`  // the first run there that failed
	Passed time.Time `json:"passed,omitzero"` // the last one that passed
}

// proof is what the evidence about an item's failure comes to.
type proof int

const (
	guilty   proof = iota // a failed job passes on the base, or is new with the item
	unproven              // not known yet
	redBase               // what fails, fails on the base too
	unknown               // nothing could be found out
)

// failures are the voting jobs of a buildset that failed.
func (b BuildsetFacts) failures() []Job {
	var failed []Job
	for _, j := range b.Jobs {
		if j.Voting && (j.State == JobFailed || j.Early) {
			failed = append(failed, j)
		}
	}
	return failed
}

// proof weighs the evidence about an item whose present attempt has ended as
// verdict v. A conflict, and a change of which no job could be planned, need none.
func (d *decider) proof(it *Item, v verdict) proof {
	b := d.f.Buildsets[it.attempt()]
	if !d.f.Policy.Evidence || v.outcome != failing || b.Broken != "" {
		return guilty
	}
	sum := unknown
	for _, j := range b.failures() {
		switch j.Evidence {
		case EvidenceGood, EvidenceAbsent:
			return guilty
		case EvidenceRed:
			if sum == unknown {
				sum = redBase
			}
		case EvidenceUnknown:
		default:
			sum = unproven
		}
	}
	return sum
}

// proven says that an item's present attempt fails as its base does.
func (d *decider) proven(it *Item) bool {
	v := d.verdict(it)
	return d.decided(it) && v.ended && d.proof(it, v) == redBase
}

// prove asks for the evidence about an item's failed jobs, once an attempt.
func (d *decider) prove(it *Item) {
	if it.Buildset.Proving {
		return
	}
	it = d.edit(it)
	it.Buildset.Proving = true
	d.emit(Effect{Kind: Prove, Item: it.ID, Buildset: it.Buildset.ID, Changes: it.Changes})
}

// wait lets items whose base is red keep their places, and tells of each job
// that fails there once, not of each item. What passes on the branch by newer
// evidence is no reason to wait: it is tested again.
func (d *decider) wait(items []ItemID, passing []string) {
	for _, id := range items {
		it := d.item(id)
		var names []string
		var news []Job
		for _, j := range d.reds(it) {
			names = append(names, j.Name)
			if _, told := d.s.Red[j.Name]; !told {
				news = append(news, j)
			}
		}
		if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(passing, name) }) {
			d.drop(it)
			continue
		}
		if !slices.Equal(it.Red, names) {
			it = d.edit(it)
			it.Red = names
		}
		if len(news) > 0 {
			d.noteRed(news)
			d.tell(it, Report{Kind: ReportRed, Reason: redSentence(news)})
		}
	}
}

func (d *decider) noteRed(jobs []Job) {
	d.ownRed()
	for _, j := range jobs {
		d.s.Red[j.Name] = Red{Since: j.Since, Passed: j.Passed}
	}
}

// reds are the failed jobs of an item's attempt that fail on its base too.
func (d *decider) reds(it *Item) []Job {
	return slices.DeleteFunc(d.f.Buildsets[it.attempt()].failures(), func(j Job) bool { return j.Evidence != EvidenceRed })
}

// redSentence says what fails on the branch itself, and since when.
func redSentence(jobs []Job) string {
	var clauses []string
	for _, j := range jobs {
		clauses = append(clauses, j.Name+" "+Red{Since: j.Since, Passed: j.Passed}.clause())
	}
	return strings.Join(clauses, "; ")
}

// clause says since when a job fails.
func (r Red) clause() string {
	s := "fails on the branch itself"
	if !r.Since.IsZero() {
		s += " since " + minute(r.Since)
	}
	if !r.Passed.IsZero() {
		s += " (it last passed " + minute(r.Passed) + ")"
	}
	return s
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// ownRed has the notes of red jobs for writing.
func (d *decider) ownRed() {
	if !d.mineRed {
		d.s.Red, d.mineRed = maps.Clone(d.s.Red), true
	}
	if d.s.Red == nil {
		d.s.Red = map[string]Red{}
	}
}

// cure ends the waiting for jobs that pass on what is on the branch now: those
// that waited for them are tested again, as if for the first time.
func (d *decider) cure(jobs []string) {
	jobs = slices.DeleteFunc(jobs, func(name string) bool { _, red := d.s.Red[name]; return !red })
	if len(jobs) == 0 {
		return
	}
	d.ownRed()
	for _, name := range jobs {
		delete(d.s.Red, name)
	}
	for _, it := range d.s.Items {
		if !slices.ContainsFunc(it.Red, func(name string) bool { return slices.Contains(jobs, name) }) {
			continue
		}
		if d.proven(it) && it.Submit == nil {
			it = d.drop(it)
		}
		it = d.edit(it)
		it.Red = without(it.Red, jobs)
	}
}

// without gives what is left of a list, nil for nothing.
func without(list, gone []string) []string {
	var left []string
	for _, s := range list {
		if !slices.Contains(gone, s) {
			left = append(left, s)
		}
	}
	return left
}

// passes names the jobs that passed in an item's present attempt.
func (d *decider) passes(it *Item) []string {
	var names []string
	for _, j := range d.f.Buildsets[it.attempt()].Jobs {
		if j.State == JobPassed {
			names = append(names, j.Name)
		}
	}
	return names
}

// acquitted names the failed jobs of an attempt that pass on its base.
func (d *decider) acquitted(it *Item) []string {
	var names []string
	for _, j := range d.f.Buildsets[it.attempt()].failures() {
		if j.Evidence == EvidenceGood {
			names = append(names, j.Name)
		}
	}
	return names
}

// claim takes the jobs that an item waits for, and says whether no waiting item
// ahead has taken one of them: it tries for all.
func (it *Item) claim(claimed map[string]bool) (first bool) {
	first = !slices.ContainsFunc(it.Red, func(name string) bool { return claimed[name] })
	for _, name := range it.Red {
		claimed[name] = true
	}
	return first
}

// bides says that an item waits with its red base and is not tested now:
// nothing has moved since it was, or it is not the first to try.
func (d *decider) bides(it *Item, first, active bool) bool {
	switch {
	case len(it.Red) == 0:
		return false
	case it.Buildset == nil:
		return !first
	case !d.proven(it):
		return false
	case first && active && d.s.Paused == nil && (it.Buildset.Overtaken || d.f.Buildsets[it.Buildset.ID].Moved):
		d.drop(it)
		return false
	}
	return true
}

// trusted says that others may stand behind an item of which nothing bad is
// known: one that waits with its red base has to have passed first, so that
// those behind do not begin anew each time that it tries.
func (it *Item) trusted(v verdict) bool {
	return v.good() && (len(it.Red) == 0 || v.outcome == passed)
}

// room says, item by item from the head of a queue, which of them take room in
// the window (G7). Those that wait with a red base, and those that are held with
// them, do not: what mends it may stand behind them.
type room struct {
	d     *decider
	apart map[ItemID]bool
}

func (r *room) takes(it *Item) bool {
	held := len(r.apart) > 0 && r.d.heldBy(it, r.apart) != 0
	if len(it.Red) == 0 && !held {
		return true
	}
	if held || !it.trusted(r.d.verdict(it)) {
		if r.apart == nil {
			r.apart = map[ItemID]bool{}
		}
		r.apart[it.ID] = true
	}
	return false
}

// forgetRed drops the notes of jobs that nobody waits for any more.
func (d *decider) forgetRed() {
	if len(d.s.Red) == 0 {
		return
	}
	waited := map[string]bool{}
	for _, it := range d.s.Items {
		for _, name := range it.Red {
			waited[name] = true
		}
	}
	for name := range d.s.Red {
		if !waited[name] {
			d.ownRed()
			delete(d.s.Red, name)
		}
	}
}

// waitsRed says that an item waits with its red base, rather than being tested.
func (v *view) waitsRed(it *Item) bool { return it.Buildset == nil || v.proven(it) }

// asking says that the evidence about an item's failure is not there yet.
func (v *view) asking(it *Item, told verdict) bool {
	return told.ended && it.Submit == nil && !it.Verify && v.settled(it) && v.proof(it, told) == unproven
}

// redWord says what an item waits for: the jobs that fail on the branch itself.
func (v *view) redWord(it *Item) string {
	var clauses []string
	for _, name := range it.Red {
		clauses = append(clauses, name+" "+v.s.Red[name].clause())
	}
	return strings.Join(clauses, "; ")
}

// red explains an item that waits with its red base.
func (e explainer) red(it *Item, r Reason) Reason {
	r.Who = byAuthor
	r.Next = "it is blamed for nothing and keeps its place; once something else has merged, or a repository or a root has changed, it is tested again by itself; a change that mends the branch may come from anyone and passes it by"
	for _, name := range it.Red {
		r.Children = append(r.Children, Reason{Who: byAuthor, Job: name, Text: fmt.Sprintf("the job %s %s", name, e.s.Red[name].clause())})
	}
	for _, on := range e.s.Items[:e.at(it.ID)] {
		if slices.ContainsFunc(on.Red, func(name string) bool { return slices.Contains(it.Red, name) }) {
			b := e.brief(on)
			b.Text = "tried first, " + b.Text
			r.Children = append(r.Children, b)
			break
		}
	}
	return r
}

// prove answers for the base: in a simulation the branch itself is never red,
// but for what is red at its start.
func (p *play) prove(e Effect) {
	p.after(0, func() bool {
		a := p.builds[e.Buildset]
		if a == nil {
			return false
		}
		for i, j := range a.jobs {
			if j.Evidence == "" || j.Evidence == EvidenceRunning {
				a.jobs[i].Evidence = EvidenceGood
			}
		}
		p.show(a)
		return true
	})
}
