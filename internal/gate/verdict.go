package gate

// outcome is what the jobs of a buildset say so far.
type outcome int

const (
	testing  outcome = iota // not known yet
	built                   // passed, but for stages that run per batch and are not asked for yet
	passed                  // each voting job passed or does not apply, one passed at least (G14)
	failing                 // a voting job failed, or fails already; or no job could be planned (G9)
	conflict                // it does not merge onto its base (G8)
	errored                 // a voting job has no verdict for a reason outside the change (G12)
	suspect                 // its batch failed up to it, and it is not known yet by whose fault
)

// verdict is the outcome of a buildset with its reason.
type verdict struct {
	outcome
	// ended: nothing of the buildset runs any more, so that a report is complete.
	ended bool
	// over: a voting job has ended as failed, so that fail-fast may cancel the rest.
	over bool
	why  string
	// lacks: what has no verdict has none because of a change that is needed.
	lacks bool
}

// good is said of what others may stand behind: it does not fail so far.
func (v verdict) good() bool {
	switch v.outcome {
	case testing, built, passed, suspect:
		return true
	}
	return false
}

// final says that a job has ended.
func (s JobState) final() bool {
	switch s {
	case JobPassed, JobFailed, JobError, JobCancelled, JobNotApplicable:
		return true
	}
	return false
}

// read sums up what is known of a buildset.
func (b BuildsetFacts) read() verdict {
	switch {
	case b.Conflict != nil:
		return verdict{outcome: conflict, ended: true, why: b.Conflict.sentence()}
	case b.Broken != "":
		return verdict{outcome: failing, ended: true, over: true, why: b.Broken}
	}
	var failed, errs, missing, lacks string
	won, open, over := 0, 0, false
	ended := b.Prepared
	for _, j := range b.Jobs {
		ended = ended && j.State.final()
		switch {
		case !j.Voting: // decides nothing (G13)
		case j.State == JobFailed, j.Early:
			failed = clause(failed, j.Name)
			over = over || j.State == JobFailed
		case j.State == JobError:
			errs = clause(errs, j.Name)
			if lacks == "" {
				lacks = j.Lacks
			}
		case j.State == JobCancelled:
			missing = clause(missing, j.Name)
		case j.State == JobPassed:
			won++
		case j.State != JobNotApplicable:
			open++
		}
	}
	v := verdict{ended: ended, over: over}
	switch {
	case failed != "":
		v.outcome, v.why = failing, failed+" failed"
	case lacks != "":
		v.outcome, v.why, v.lacks = errored, lacks, true
	case errs != "":
		v.outcome, v.why = errored, errs+" could not be run"
	case !b.Prepared || open > 0:
	case b.Deferred && missing == "":
		v.outcome, v.ended = built, false
	case missing != "":
		if ended {
			v.outcome, v.why = errored, missing+" was not run"
		}
	case won > 0:
		v.outcome = passed
	case ended:
		v.outcome, v.why = errored, "no voting job applies to it, so nothing was tested (a job `noop` says that this is meant)"
	}
	return v
}

func clause(list, word string) string {
	if list == "" {
		return word
	}
	return list + ", " + word
}

// sentence says what does not merge.
func (c *Conflict) sentence() string {
	s := "does not merge"
	switch {
	case c.Text != "":
		s = c.Text
	case c.With != "":
		s += " together with a change ahead" // which, whoever reads it may not know (G25)
	}
	for i, f := range c.Files {
		if i == 0 {
			s += ": "
		} else {
			s += ", "
		}
		s += f
	}
	return s
}

// verdict of an item's present attempt; one without a buildset has none yet.
func (d *decider) verdict(it *Item) verdict {
	if it.Buildset == nil {
		return verdict{}
	}
	v := d.f.Buildsets[it.Buildset.ID].read()
	if !v.good() && it.Buildset.Batch != nil && !d.convicted(it) {
		v.outcome = suspect
	}
	return v
}

// settled says that nothing unmerged is under the item's present attempt: all
// of its stack has landed, so that what it shows is its own (G11, G14).
func (d *decider) settled(it *Item) bool {
	if it.Buildset == nil {
		return false
	}
	for _, id := range it.Buildset.Stack {
		if d.at(id) >= 0 {
			return false
		}
	}
	return true
}
