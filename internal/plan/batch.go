package plan

import (
	"slices"

	"sluice/internal/record"
)

// Batch gives what a batch runs on the buildset of its last member: the deferred
// jobs of all members. Of two of one name, the same scenario on the same target,
// the later member's counts: it is nearer to what will be on the branch. own names
// the jobs that the buildset has; what the others needed in theirs has passed.
func Batch(own []string, members [][]record.NewJob) []record.NewJob {
	var jobs []record.NewJob
	for _, m := range slices.Backward(members) {
		for _, j := range m {
			if slices.ContainsFunc(jobs, func(k record.NewJob) bool { return k.Name == j.Name }) {
				continue
			}
			j.Needs = slices.DeleteFunc(slices.Clone(j.Needs), func(name string) bool { return !slices.Contains(own, name) })
			j.Deferred = false
			jobs = append(jobs, j)
		}
	}
	return jobs
}
