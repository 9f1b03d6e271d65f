package plan

import (
	"slices"
	"testing"

	"sluice/internal/job"
	"sluice/internal/record"
)

// Two packages may each have a scenario of their own by one name: both run, in
// an item of both as in a batch.
func TestScenariosOfOneName(t *testing.T) {
	one, two := subject("one", "juno/deb", amd64), subject("two", "juno/deb", amd64)
	one.Scenarios, one.Own = []job.Scenario{{Name: "smoke", Script: "first"}, {Name: "greet"}}, []string{"smoke"}
	two.Scenarios, two.Own = []job.Scenario{{Name: "smoke", Script: "second"}, {Name: "greet"}}, []string{"smoke"}
	wants := func(jobs map[string]record.NewJob) {
		t.Helper()
		first, second := jobs["systest one/smoke juno/deb amd64"], jobs["systest two/smoke juno/deb amd64"]
		if first.Spec.Scenario == nil || first.Spec.Scenario.Script != "first" || second.Spec.Scenario == nil || second.Spec.Scenario.Script != "second" {
			t.Errorf("%+v", jobs)
		}
		if _, ok := jobs["systest greet juno/deb amd64"]; !ok {
			t.Error("the site's own is not run")
		}
	}
	wants(byName(Jobs(request(one, two))))
	var members [][]record.NewJob
	for _, s := range []Subject{one, two} {
		r := request(s)
		r.Deferred = []job.Stage{job.StageSystest}
		members = append(members, slices.DeleteFunc(Jobs(r), func(j record.NewJob) bool { return !j.Deferred }))
	}
	jobs := Batch(nil, members)
	if len(jobs) != 3 {
		t.Errorf("%d jobs", len(jobs))
	}
	wants(byName(jobs))
}

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
