package record

import (
	"time"

	"sluice/internal/gate"
	"sluice/internal/job"
)

// The rows below are what people are shown: joined, and without what is large.

// JobView is a job without its spec and its evidence.
type JobView struct {
	ID           int64        `db:"id"`
	Buildset     *int64       `db:"buildset"`
	Name         string       `db:"name"`
	Stage        job.Stage    `db:"stage"`
	Package      string       `db:"package"`
	Target       string       `db:"target"`
	Architecture string       `db:"architecture"`
	Voting       bool         `db:"voting"`
	State        string       `db:"state"`
	WaitsFor     string       `db:"waits_for"`
	Cause        string       `db:"cause"`
	Reused       bool         `db:"reused"`
	Attempts     int          `db:"attempts"`
	Finding      *job.Finding `db:"finding"` // the first
	StartedAt    *time.Time   `db:"started_at"`
	EndedAt      *time.Time   `db:"ended_at"`
	// Of a failed voting job: how it does on its base, and whose result says so.
	Evidence    gate.Evidence `db:"evidence"`
	EvidenceJob *int64        `db:"evidence_job"`
}

// ItemView is the history of one item, with the kind of its queue.
type ItemView struct {
	Item
	Kind gate.Kind `db:"kind"`
}

// LastItem is the newest item of a change in one kind of queue.
type LastItem struct {
	Change    gate.ChangeID `db:"change"`
	Kind      gate.Kind     `db:"kind"`
	Serial    gate.ItemID   `db:"serial"`
	EnteredAt time.Time     `db:"entered_at"`
	LeftAt    *time.Time    `db:"left_at"`
	Result    string        `db:"result"`
	Reason    string        `db:"reason"`
	Buildset  *int64        `db:"buildset"`
	// Restricted: it holds, or stands on, a change that not everybody may read.
	Restricted bool `db:"restricted"`
}

// ChangeFilter narrows a list of changes.
type ChangeFilter struct {
	Project string // "": all
	Open    *bool  // nil: both
	Limit   int
	// Restricted: those too that not everybody may read.
	Restricted bool
}

// Named is a list of things that the feed tells of.
type Named struct {
	Changes         []string // changes.id
	Buildsets, Jobs []int64
}

// Command is an administrator's command with its answer.
type Command struct {
	ID         int64         `db:"id"`
	Queue      string        `db:"queue"`
	Verb       string        `db:"verb"`
	Change     gate.ChangeID `db:"change"`
	Who        string        `db:"who"`
	Why        string        `db:"why"`
	At         time.Time     `db:"at"`
	AnsweredAt *time.Time    `db:"answered_at"`
	Answer     string        `db:"answer"`
}

// JobCounts is how much there is to do now.
type JobCounts struct {
	Waiting int `db:"waiting"` // for other jobs
	Queued  int `db:"queued"`  // for a worker
	Running int `db:"running"`
	Checks  int `db:"checks"` // items in independent queues
}

// WorkerView is a worker and what it does.
type WorkerView struct {
	Worker
	Running int `db:"running"`
}

// StageCount is how many jobs of a stage are in a state.
type StageCount struct {
	Stage job.Stage `db:"stage"`
	State string    `db:"state"`
	Count int       `db:"count"`
}

// Span is a measured time, over those that ended within the last hour.
type Span struct {
	Name   string  `db:"name"` // a stage, or what was measured
	Count  int     `db:"count"`
	Median float64 `db:"median"` // seconds
	P95    float64 `db:"p95"`    // seconds
}

// Reconciled is when a Gerrit was last compared with what is known.
type Reconciled struct {
	Gerrit string    `db:"gerrit"`
	At     time.Time `db:"at"`
}

// JobTimes is how long the jobs of a stage took, of one package or, where that
// is "", of all.
type JobTimes struct {
	Stage     job.Stage `db:"stage"`
	Package   string    `db:"package"`
	Quantiles []float64 `db:"quantiles"` // seconds, evenly spaced from the least to the greatest
}

// QueueTimes is what was measured of a queue lately.
type QueueTimes struct {
	Prepare []float64 `db:"prepare"` // seconds, as quantiles: from a decided buildset to its planned jobs
	Submit  []float64 `db:"submit"`  // seconds, as quantiles: from a decided submit to its outcome
	Merged  int       `db:"merged"`  // items
	Failed  int       `db:"failed"`  // items
	// Jobs of first attempts and of later ones, and how many of them were reused.
	First       int `db:"first"`
	FirstReused int `db:"first_reused"`
	Later       int `db:"later"`
	LaterReused int `db:"later_reused"`
}

// PlannedJob is a job of a buildset that is planned; a buildset without jobs has one without a name.
type PlannedJob struct {
	Item     gate.ItemID `db:"item"` // 0: the buildset is told as an example
	Buildset int64       `db:"buildset"`
	Name     string      `db:"name"`
	Stage    job.Stage   `db:"stage"`
	Package  string      `db:"package"`
	Voting   bool        `db:"voting"`
	Ran      float64     `db:"ran"`    // seconds since it began, while it runs
	Others   bool        `db:"others"` // planned there for another member of its batch
	Place    int64       `db:"place"`  // orders those of a buildset
}
