// Package record holds the rows that the database keeps, as plain values: what
// the engine writes, what internal/postgres stores, and what the API and the
// reports read. It has no behaviour beyond small words about itself, so that
// engine and database need not know each other.
package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sluice/internal/gate"
	"sluice/internal/job"
)

// Change is a change as it was last read from Gerrit.
type Change struct {
	ID         gate.ChangeID `db:"id"`
	Gerrit     string        `db:"gerrit"`
	Number     int           `db:"number"`
	Project    string        `db:"project"`
	Branch     string        `db:"branch"`
	ChangeKey  string        `db:"change_key"` // I0123…
	PatchSet   int           `db:"patch_set"`
	Revision   string        `db:"revision"`
	Subject    string        `db:"subject"`
	Message    string        `db:"message"`
	Owner      string        `db:"owner"`
	Author     string        `db:"author"` // "Name <mail>"
	AuthorDate time.Time     `db:"author_date"`
	FetchRef   string        `db:"fetch_ref"`
	Status     gate.Status   `db:"status"`
	Queue      string        `db:"queue"`
	Checked    bool          `db:"checked"`
	Topic      string        `db:"topic"` // Gerrit's word; Facts name it only where topics are submitted whole
	Heard      string        `db:"heard"` // Gerrit's id of the last comment that was looked at for a command
	Facts      gate.Change   `db:"facts"`
	ReadSerial int64         `db:"read_serial"`
	URL        string        `db:"url"`
	UpdatedAt  time.Time     `db:"updated_at"`
	ReadAt     time.Time     `db:"read_at"`
}

// Queue is a queue's row.
type Queue struct {
	Name    string     `db:"name"`
	Kind    gate.Kind  `db:"kind"`
	Change  *string    `db:"change"`
	Version int64      `db:"version"`
	State   gate.State `db:"state"`
	Closed  bool       `db:"closed"`
}

// Item is the history of one item.
type Item struct {
	ID        int64       `db:"id"`
	Queue     string      `db:"queue"`
	Serial    gate.ItemID `db:"serial"`
	Changes   []gate.Ref  `db:"changes"`
	EnteredAt time.Time   `db:"entered_at"`
	LeftAt    *time.Time  `db:"left_at"`
	Result    string      `db:"result"`
	Reason    string      `db:"reason"`
}

// BranchBase is what a buildset pins of one branch.
type BranchBase struct {
	Branch    gate.Branch `json:"branch"`
	Tip       string      `json:"tip"`        // commit of the branch
	Under     string      `json:"under"`      // commit right below the item's own changes
	UnderTree string      `json:"under_tree"` // its tree: what the branch must be right before the submit (G15)
	Commit    string      `json:"commit"`     // speculative commit with the item's changes
	Tree      string      `json:"tree"`       // its tree: what the branch must be after the submit (G16)
}

// Base is all that a buildset is tested on.
type Base struct {
	Branches []BranchBase `json:"branches"`
	// Publications pins each repository that is read: name → publication id.
	Publications map[string]int64 `json:"publications"`
	// Ahead are the buildsets whose test repositories are added, in order: those
	// of items ahead, and of what has merged and is not yet published.
	Ahead []int64 `json:"ahead"`
	// Noop: the site asks for nothing to be run, which counts as a job that passed (G14).
	Noop bool `json:"noop,omitempty"`
}

// Branch gives the base of one branch, or nil.
func (b Base) Branch(branch gate.Branch) *BranchBase {
	for i := range b.Branches {
		if b.Branches[i].Branch == branch {
			return &b.Branches[i]
		}
	}
	return nil
}

// Buildset is one attempt at testing an item on one base.
type Buildset struct {
	ID          int64           `db:"id"`
	Queue       string          `db:"queue"`
	Serial      gate.BuildsetID `db:"serial"`
	Item        int64           `db:"item"` // items.id
	Changes     []gate.Ref      `db:"changes"`
	Stack       []gate.Ref      `db:"stack"`
	StackItems  []int64         `db:"stack_items"`
	State       string          `db:"state"`
	Conflict    *gate.Conflict  `db:"conflict"`
	Broken      string          `db:"broken"`
	Findings    []job.Finding   `db:"findings"`
	Base        Base            `db:"base"`
	Packages    []Subject       `db:"packages"`
	CreatedAt   time.Time       `db:"created_at"`
	PreparedAt  *time.Time      `db:"prepared_at"`
	EndedAt     *time.Time      `db:"ended_at"`
	LandedAt    *time.Time      `db:"landed_at"`
	PublishedAt *time.Time      `db:"published_at"`
	Recheck     bool            `db:"recheck"` // nobody waits for it
	// Moved: what it was tested on is not what is there now. It is looked for only
	// where an item waits with a red base.
	Moved bool `db:"moved"`
	// Deferred: it has stages that run per batch, and that were not asked for on it.
	Deferred bool `db:"deferred"`
}

// Subject is one package of a buildset on one target.
type Subject struct {
	Package  string     `json:"package"`
	Project  string     `json:"project"`
	Target   string     `json:"target"`
	Format   job.Format `json:"format"`
	Version  string     `json:"version"`  // full, as built
	Upstream string     `json:"upstream"` // epoch and upstream version
	Binaries []string   `json:"binaries"` // names that its packaging declares
	Asks     []string   `json:"asks"`     // names of its build dependencies
}

// Job is a job's row.
type Job struct {
	ID           int64       `db:"id"`
	Buildset     *int64      `db:"buildset"`
	Name         string      `db:"name"`
	Stage        job.Stage   `db:"stage"`
	Package      string      `db:"package"`
	Target       string      `db:"target"`
	Architecture string      `db:"architecture"`
	Voting       bool        `db:"voting"`
	State        string      `db:"state"`
	WaitsFor     string      `db:"waits_for"`
	Labels       []string    `db:"labels"`
	Priority     int         `db:"priority"`
	Spec         job.Spec    `db:"spec"`
	StaticKey    string      `db:"static_key"`
	Result       *job.Result `db:"result"`
	Cause        string      `db:"cause"`
	ReusedFrom   *int64      `db:"reused_from"`
	Attempts     int         `db:"attempts"`
	MaxAttempts  int         `db:"max_attempts"`
	Again        bool        `db:"again"` // somebody wants it to run once more: no earlier result stands for it
	NotBefore    *time.Time  `db:"not_before"`
	CreatedAt    time.Time   `db:"created_at"`
	StartedAt    *time.Time  `db:"started_at"`
	EndedAt      *time.Time  `db:"ended_at"`
	// BaseOf: it is of no buildset, and runs on the base of this one to tell
	// whether that is red.
	BaseOf *int64 `db:"base_of"`
	// Evidence, of a failed voting job, says how it does on its base without the
	// item; EvidenceJob is whose result says so.
	Evidence    gate.Evidence `db:"evidence"`
	EvidenceJob *int64        `db:"evidence_job"`
	RedSince    *time.Time    `db:"red_since"`
	LastPassed  *time.Time    `db:"last_passed"`
}

// Of is the buildset that a job is for: its own, or that whose base it runs on;
// nil for a root.
func (j Job) Of() *int64 {
	if j.Buildset == nil {
		return j.BaseOf
	}
	return j.Buildset
}

// LostNeed is a job of a check that waits for one of a check below, which has
// ended and did not pass.
type LostNeed struct {
	Job  int64 `db:"job"`
	Need int64 `db:"need"`
}

// NotRun begins the cause of a job that was not run because of another one;
// Lacks that of a check's job that was not run because of a change that it needs,
// whose number follows.
const (
	NotRun = "not run: "
	Lacks  = NotRun + "change "
)

// NewJob is a job as planned, before it has an id.
type NewJob struct {
	Name, Package, Target, Architecture string
	Stage                               job.Stage
	Voting                              bool
	Labels                              []string
	Priority                            int
	MaxAttempts                         int
	Spec                                job.Spec
	Needs                               []string // names in the same buildset
	NeedsAhead                          []int64  // ids of jobs of buildsets ahead
	NeedsRoots                          []int64  // ids of root jobs
	// Deferred: it is planned, and run once for a batch of items.
	Deferred bool
}

// Attempt is one try at a job.
type Attempt struct {
	ID        int64       `db:"id"`
	Job       int64       `db:"job"`
	Number    int         `db:"number"`
	Lease     string      `db:"lease"`
	Worker    string      `db:"worker"`
	State     string      `db:"state"`
	Cancel    bool        `db:"cancel"`
	ClaimedAt time.Time   `db:"claimed_at"`
	ExpiresAt time.Time   `db:"expires_at"`
	EndedAt   *time.Time  `db:"ended_at"`
	Result    *job.Result `db:"result"`
	LogSize   int64       `db:"log_size"`
	LogDigest string      `db:"log_digest"`
}

// PackageInfo is what the service itself read of a package file.
type PackageInfo struct {
	Name          string `json:"name"`
	Version       string `json:"version"` // full
	Architecture  string `json:"architecture"`
	Source        string `json:"source"`
	SourceVersion string `json:"source_version"`
	// Payload is the digest of what signing does not change (RPM: payload digest; DEB: the file's own).
	Payload string `json:"payload"`
	Debug   bool   `json:"debug,omitempty"` // debug symbols: published, not install-tested
	// Provides are the names that it is called by beside its own, Asks those
	// that its relations mention, whatever for.
	Provides []string `json:"provides,omitempty"`
	Asks     []string `json:"asks,omitempty"`
}

// Artifact is a file that a job made.
type Artifact struct {
	ID      int64            `db:"id"`
	Job     int64            `db:"job"`
	Name    string           `db:"name"`
	Kind    job.ArtifactKind `db:"kind"`
	Digest  job.Digest       `db:"digest"`
	Size    int64            `db:"size"`
	Package *PackageInfo     `db:"package"`
}

// TestRepository is a buildset's packages for one target.
type TestRepository struct {
	Buildset  int64      `db:"buildset"`
	Target    string     `db:"target"`
	Manifest  string     `db:"manifest"`
	CreatedAt time.Time  `db:"created_at"`
	RemovedAt *time.Time `db:"removed_at"`
	// Key is what nobody can guess of its address; Restricted, whether it is
	// needed: not everybody may read a change that it was made with (G25).
	Key        string `db:"key"`
	Restricted bool   `db:"restricted"`
}

// Path is where jobs read it below the service's address, by the lease of their
// attempt: its own name, which is in logs and findings.
func (t TestRepository) Path() string {
	return fmt.Sprintf("/test/%d/%s/", t.Buildset, t.Target)
}

// Address is the same for people who may read the change; with the key while
// it is restricted, for no package manager can say who it works for.
func (t TestRepository) Address() string {
	if !t.Restricted {
		return t.Path()
	}
	return fmt.Sprintf("/test/%d-%s/%s/", t.Buildset, t.Key, t.Target)
}

// Repository is a released repository.
type Repository struct {
	Name        string     `db:"name"`
	Target      string     `db:"target"`
	Channel     string     `db:"channel"`
	Format      job.Format `db:"format"`
	Publication *int64     `db:"publication"`
}

// Publication is one immutable state of a repository.
type Publication struct {
	ID         int64     `db:"id"`
	Repository string    `db:"repository"`
	Serial     int       `db:"serial"`
	Manifest   string    `db:"manifest"`
	State      string    `db:"state"`
	Packages   int       `db:"packages"`
	Who        string    `db:"who"`
	Why        string    `db:"why"`
	CreatedAt  time.Time `db:"created_at"`
}

// Package is a package in a released repository.
type Package struct {
	Repository    string           `db:"repository"`
	Added         int              `db:"added"`
	Removed       *int             `db:"removed"`
	Name          string           `db:"name"`
	Version       string           `db:"version"`
	Architecture  string           `db:"architecture"`
	Source        string           `db:"source"`
	SourceVersion string           `db:"source_version"`
	Digest        string           `db:"digest"`
	Tested        string           `db:"tested"`
	Payload       string           `db:"payload"`
	Size          int64            `db:"size"`
	File          string           `db:"file"`
	Kind          job.ArtifactKind `db:"kind"`
	Buildset      int64            `db:"buildset"`
}

// Closure is what a patch set's packages make, and what its jobs may read.
type Closure struct {
	Change   gate.ChangeID `db:"change"`
	PatchSet int           `db:"patch_set"`
	Revision int64         `db:"revision"` // grows with each widening
	Provides []string      `db:"provides"`
	Needs    []string      `db:"needs"`
}

// Root is a prepared root.
type Root struct {
	ID           int64      `db:"id"`
	Dist         string     `db:"dist"`
	Kind         string     `db:"kind"`
	Architecture string     `db:"architecture"`
	Recipe       string     `db:"recipe"`
	Job          int64      `db:"job"`
	Archive      string     `db:"archive"`
	Digest       string     `db:"digest"`
	MadeAt       *time.Time `db:"made_at"`
}

// Submission is a submit in flight, or its outcome.
type Submission struct {
	Queue     string              `db:"queue"`
	Item      gate.ItemID         `db:"item"`
	Serial    int                 `db:"serial"`
	Buildset  int64               `db:"buildset"`
	Changes   []gate.Ref          `db:"changes"`
	Result    *string             `db:"result"`
	Outcome   *gate.SubmitOutcome `db:"outcome"`
	CreatedAt time.Time           `db:"created_at"`
	EndedAt   *time.Time          `db:"ended_at"`
}

// EarlyVote is what is known of a vote that is given while the submit ahead is
// under way.
type EarlyVote struct {
	Begun    bool `db:"begun"`
	Given    bool `db:"given"`    // Gerrit has taken it
	Replaced bool `db:"replaced"` // a later buildset of the item has a vote, or is submitted
}

// Effect is one that leaves the service.
type Effect struct {
	ID        int64       `db:"id"`
	Queue     string      `db:"queue"`
	Effect    gate.Effect `db:"effect"`
	CreatedAt time.Time   `db:"created_at"`
	DoneAt    *time.Time  `db:"done_at"`
	Error     string      `db:"error"`
	Message   string      `db:"message"`
}

// Settle is how long the word that tests have started waits, at least: who is done
// by then is told that instead.
const Settle = 2 * time.Second

// NoNews reports whether nobody is told of a report: that a patch set is checked,
// was replaced, or is as it was.
func NoNews(queue string, r gate.Report) bool {
	return strings.HasPrefix(queue, "check/") && (r.Kind == gate.ReportStarted || r.Kind == gate.ReportDequeued || r.Same)
}

// Event is one of Gerrit's, stored once.
type Event struct {
	ID         int64           `db:"id"`
	Gerrit     string          `db:"gerrit"`
	Key        string          `db:"key"`
	Type       string          `db:"type"`
	Change     *string         `db:"change"`
	Raw        json.RawMessage `db:"raw"`
	ReceivedAt time.Time       `db:"received_at"`
}

// Comment is a review comment that holds a command.
type Comment struct {
	ID         int64         `db:"id"`
	Change     gate.ChangeID `db:"change"`
	Message    string        `db:"message"` // Gerrit's id of it
	Verb       string        `db:"verb"`    // recheck, why
	Reason     string        `db:"reason"`  // what was written behind it
	Who        string        `db:"who"`
	Allowed    bool          `db:"allowed"` // the site lets them ask
	WrittenAt  time.Time     `db:"written_at"`
	Command    *int64        `db:"command"` // commands.id of a recheck
	AnsweredAt *time.Time    `db:"answered_at"`
	Answer     string        `db:"answer"`
}

// Worker is a machine that runs jobs.
type Worker struct {
	Name          string    `db:"name"`
	Labels        []string  `db:"labels"`
	Architectures []string  `db:"architectures"`
	Version       string    `db:"version"`
	SeenAt        time.Time `db:"seen_at"`
}

// TaskKind names work that is done outside a decision's transaction.
type TaskKind string

// The tasks.
const (
	TaskEvent       TaskKind = "event"        // an event was stored: read what it hints at (ID)
	TaskReadChange  TaskKind = "read_change"  // Gerrit, Number
	TaskReconcile   TaskKind = "reconcile"    // Gerrit
	TaskPrepare     TaskKind = "prepare"      // Queue: merge and plan its new buildsets
	TaskSubmit      TaskKind = "submit"       // Queue, Item, Serial
	TaskTell        TaskKind = "tell"         // ID of the effect
	TaskWithdraw    TaskKind = "withdraw"     // ID of the buildset: take back the vote that was given early
	TaskPublishTest TaskKind = "publish_test" // ID of the job
	TaskPublish     TaskKind = "publish"      // ID of the buildset
	TaskProve       TaskKind = "prove"        // ID of the buildset: find or make the evidence for its failures
	TaskReds        TaskKind = "reds"         // look whether something has moved under those that wait with a red base
	TaskBatch       TaskKind = "batch"        // ID of the buildset: plan the deferred stages of a batch on it
	TaskRelease     TaskKind = "release"      // ID of the buildset: look again at its waiting jobs
	TaskComment     TaskKind = "comment"      // ID of the comment: answer it
)

// Task is work that River carries out at least once.
type Task struct {
	Kind   TaskKind    `json:"kind"`
	ID     int64       `json:"id,omitempty"`
	Gerrit string      `json:"gerrit,omitempty"`
	Number int         `json:"number,omitempty"`
	Queue  string      `json:"queue,omitempty"`
	Item   gate.ItemID `json:"item,omitempty"`
	Serial int         `json:"serial,omitempty"`
	Last   bool        `json:"last,omitempty"` // whatever else there is to do goes first
	// After is how long it waits, at least; who looks for what is due does so every few seconds.
	After time.Duration `json:"-"`
	Once  bool          `json:"-"` // not if the same task waits already, or runs
}

// Decided is the record of one decision of a queue, as internal/history makes it.
type Decided struct {
	Version int64     `db:"version"` // of the queue's row after it
	At      time.Time `db:"at"`
	Whole   bool      `db:"whole"` // a replay can begin here
	Data    []byte    `db:"data"`  // JSON, compressed where that is worth it
}
