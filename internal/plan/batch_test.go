package plan

import (
	"testing"

	"sluice/internal/job"
	"sluice/internal/record"
)

func TestBatchRunsTheScenariosOfAllOnTheLast(t *testing.T) {
	one, two := subject("one", "juno/deb", amd64), subject("two", "juno/deb", amd64)
	one.Scenarios = []job.Scenario{{Name: "greet", Script: "old"}, {Name: "leave"}}
	two.Scenarios = []job.Scenario{{Name: "greet", Script: "new"}}
	other := subject("other", "juno/rpm", amd64)
	other.Scenarios = []job.Scenario{{Name: "greet"}}
	var members [][]record.NewJob
	var own []string
	for _, s := range []Subject{other, one, two} {
		r := request(s)
		r.Deferred = []job.Stage{job.StageSystest}
		var later []record.NewJob
		own = nil
		for _, j := range Jobs(r) {
			if j.Deferred {
				later = append(later, j)
			} else {
				own = append(own, j.Name)
			}
		}
		members = append(members, later)
	}
	jobs := byName(Batch(own, members))
	greet := jobs["systest greet juno/deb amd64"]
	if len(jobs) != 3 || greet.Spec.Scenario.Script != "new" || len(greet.Needs) != 1 || greet.Deferred {
		t.Errorf("%+v", jobs)
	}
	if n := jobs["systest greet juno/rpm amd64"].Needs; len(n) != 0 {
		t.Errorf("needs %v, which the buildset does not have", n)
	}
}
