package gate

import "time"

// ChangeID names a change of one Gerrit: "main~1234".
type ChangeID string

// ItemID and BuildsetID are serials within one queue, from 1, never reused.
type (
	ItemID     int64
	BuildsetID int64
)

// Branch is a project's branch: what a submit moves.
type Branch struct {
	Project string `json:"project"` // with the Gerrit's name in front: "main:packages/hello"
	Branch  string `json:"branch"`
}

// Status is Gerrit's own word for a change.
type Status string

// The statuses. Gone is a change that Gerrit does not have any more, or that
// moved out of this queue's branches.
const (
	Open      Status = "open"
	Merged    Status = "merged"
	Abandoned Status = "abandoned"
	Gone      Status = "gone"
)

// Change is what was read of one change: a fact.
type Change struct {
	ID       ChangeID `json:"id"`
	Number   int      `json:"number"`
	Branch   Branch   `json:"branch"`
	PatchSet int      `json:"patch_set"`
	Revision string   `json:"revision"` // commit id of the patch set
	Subject  string   `json:"subject"`
	Status   Status   `json:"status"`
	// Ready: every submit requirement holds save those that the gate answers
	// itself, and nothing forbids it (G1). NotReady says what is missing, a
	// clause each: "needs Code-Review +2", "is work in progress".
	Ready    bool     `json:"ready"`
	NotReady []string `json:"not_ready,omitempty"`
	// ReadyAt orders those that became ready; the engine keeps the first time.
	ReadyAt time.Time `json:"ready_at"`
	// Needs are its direct dependencies, Gerrit parents first.
	Needs []Need `json:"needs,omitempty"`
	// Topic that Gerrit submits at once, with the Gerrit's name in front; "" where
	// it submits each change by itself.
	Topic      string `json:"topic,omitempty"`
	Restricted bool   `json:"restricted,omitempty"`
	// Retest asks for a new check: the serial of the last time that something
	// merged which a check of it reads (R66).
	Retest int64 `json:"retest,omitempty"`
	// Queue that the site maps its project and branch to; "" where no gate is.
	Queue string `json:"queue"`
	// Read is the serial of the read: an older one never overwrites a newer (G21).
	Read int64 `json:"read"`
	// MergedTree is the tree of the branch right after the merge, when Status is Merged and it is known.
	MergedTree string `json:"merged_tree,omitempty"`
}

// NeedKind says where a dependency comes from.
type NeedKind string

// The kinds of need.
const (
	Parent    NeedKind = "parent"     // Gerrit's relation chain
	DependsOn NeedKind = "depends-on" // a footer
	TopicMate NeedKind = "topic"      // found by the gate, where whole topics are submitted
)

// Need is one dependency of a change.
type Need struct {
	Kind NeedKind `json:"kind"`
	// ID is the change meant; "" when it could not be found, then Text is what was written.
	ID   ChangeID `json:"id,omitempty"`
	Text string   `json:"text,omitempty"`
	// PatchSet of a parent that the child was pushed on. A child on an older
	// patch set than the parent's newest cannot be submitted.
	PatchSet int `json:"patch_set,omitempty"`
}

// Ref is a change at one patch set, with all that testing and submitting need.
type Ref struct {
	ID       ChangeID `json:"id"`
	Number   int      `json:"number"`
	Branch   Branch   `json:"branch"`
	PatchSet int      `json:"patch_set"`
	Revision string   `json:"revision"`
}

// Kind of a queue.
type Kind string

// The kinds: Dependent is the gate; Independent is the check of one change.
const (
	Dependent   Kind = "dependent"
	Independent Kind = "independent"
)

// Policy is what a site sets for a queue; it may change between decisions.
type Policy struct {
	Start   int `json:"start"`   // window at the beginning (20)
	Floor   int `json:"floor"`   // 3
	Ceiling int `json:"ceiling"` // 100
	// FailFast cancels an item's other jobs when its first voting job fails.
	FailFast bool `json:"fail_fast"`
	// Observe: everything is computed and shown, nothing is voted or submitted.
	Observe bool `json:"observe"`
	// WholeTopics: Gerrit submits a topic at once, so that its open changes are
	// one item (G3). Facts.Changes then holds all topic-mates, of any queue.
	WholeTopics bool `json:"whole_topics,omitempty"`
	// Evidence: nobody is blamed for a job that fails on the branch itself too.
	Evidence bool `json:"evidence,omitempty"`
	// Lanes: items that cannot affect each other need not stand behind one another.
	Lanes bool `json:"lanes,omitempty"`
	// Batch is how many items at most share one run of the dear stages; 0 and 1
	// mean that each has its own.
	Batch int `json:"batch,omitempty"`
}

// State is one queue. It is stored whole; its row carries a version.
type State struct {
	Queue string `json:"queue"`
	Kind  Kind   `json:"kind"`
	// Change is the one that an Independent queue checks; "" in a Dependent one.
	Change ChangeID `json:"change,omitempty"`
	Window int      `json:"window"`
	Paused *Note    `json:"paused,omitempty"`
	Items  []*Item  `json:"items"`
	// Owed is what has landed of batches that are not complete, one for each.
	Owed []Owed `json:"owed,omitempty"`
	// Held are changes that an administrator took out: they do not come back
	// by themselves until a new patch set or an enqueue (G20).
	Held map[ChangeID]Note `json:"held,omitempty"`
	// Done remembers which patch set was reported finally and must not enter
	// again by itself (failed, refused), until something about the change's
	// approval is newer: ReadyAt after the note's time, or a new patch set.
	Done map[ChangeID]Done `json:"done,omitempty"`
	// Forced are changes that an administrator enqueued: they enter without being ready.
	Forced map[ChangeID]Note `json:"forced,omitempty"`
	// Red are the jobs that fail on the branch itself, as far as an item waits for them.
	Red map[string]Red `json:"red,omitempty"`
	// Landed are those that attempts which still stand do not have in their stack, oldest first.
	Landed       []Landing  `json:"landed,omitempty"`
	NextItem     ItemID     `json:"next_item"`
	NextBuildset BuildsetID `json:"next_buildset"`
}

// Note is who did something, when and why.
type Note struct {
	Who string    `json:"who"`
	Why string    `json:"why"`
	At  time.Time `json:"at"`
	// PatchSet that a hold or a forced entry is about: a newer one ends it.
	PatchSet int `json:"patch_set,omitempty"`
}

// Done is a patch set that had its final report.
type Done struct {
	PatchSet int        `json:"patch_set"`
	At       time.Time  `json:"at"`
	Result   ReportKind `json:"result"`
	// Reason is the report's own, for Explain.
	Reason string `json:"reason,omitempty"`
	// Again: an administrator let it enter again; it is tested as a retry.
	Again bool `json:"again,omitempty"`
	// Ahead is, of a check, what stood under the patch set when it was checked;
	// Retest is the last request for a new check that it answers.
	Ahead  []Ref `json:"ahead,omitempty"`
	Retest int64 `json:"retest,omitempty"`
	// Lacks: a check had no verdict because of a change that this one needs.
	Lacks bool `json:"lacks,omitempty"`
}

// Item is one place in a queue: a change, or several that merge together.
type Item struct {
	ID      ItemID    `json:"id"`
	Changes []Ref     `json:"changes"` // in the order of their submits
	Entered time.Time `json:"entered"`
	// Ahead are, in a check, the change's own unmerged dependencies in order (G6).
	Ahead []Ref `json:"ahead,omitempty"`
	// Buildset is the present attempt, nil while outside the window.
	Buildset *Buildset `json:"buildset,omitempty"`
	// FellOut: the window shrank past it; it keeps the jobs that run (G7).
	FellOut bool `json:"fell_out,omitempty"`
	// Submit is set from the moment a submit is decided until its outcome is recorded.
	Submit *Submit `json:"submit,omitempty"`
	// Verify: the item has merged past what was tested (G16); its merged tree is
	// being put through all voting jobs, and the queue waits behind it.
	Verify bool `json:"verify,omitempty"`
	// Part lists, with Verify, what has landed of a batch without the rest of it:
	// it is published already, and only its tests are missing.
	Part []ItemID `json:"part,omitempty"`
	// Before are the changes of those of Part that landed before this one: who
	// touches them touches it.
	Before []Ref `json:"before,omitempty"`
	// Submits counts the submits decided so far: the last one's serial.
	Submits int `json:"submits,omitempty"`
	// Attempts counts the buildsets made so far.
	Attempts int `json:"attempts,omitempty"`
	// Refresh counts how often its base was found moved (G15).
	Refresh int `json:"refresh,omitempty"`
	// Retry: an administrator asked to run it again; its next buildset says so.
	Retry bool `json:"retry,omitempty"`
	// Recheck: a check that was made before is made again on what has merged
	// since; Retest is the last request that its attempt answers.
	Recheck bool  `json:"recheck,omitempty"`
	Retest  int64 `json:"retest,omitempty"`
	// Rebases counts how often a restricted item was passed by (G25).
	Rebases int `json:"rebases,omitempty"`
	// Red names the jobs that fail on its base without it: it waits, blamed for
	// nothing, until they pass there.
	Red []string `json:"red,omitempty"`
}

// Buildset is one attempt at testing an item on one base.
type Buildset struct {
	ID BuildsetID `json:"id"`
	// Stack are the items it stands behind, in order, as of its creation. What
	// has landed since is still named here: a landing never resets (G14).
	Stack []ItemID `json:"stack,omitempty"`
	// Refresh counts how often the base below the stack was resolved again
	// because a tip moved past the gate (G15).
	Refresh int `json:"refresh,omitempty"`
	// Retry: asked for by an administrator; failures are run again, not reused.
	Retry bool `json:"retry,omitempty"`
	// Overtaken: something landed that is not in Stack, so what passes on it
	// proves nothing any more; a failure that was settled before stands.
	Overtaken bool `json:"overtaken,omitempty"`
	// RestCancelled: CancelRest has been decided.
	RestCancelled bool `json:"rest_cancelled,omitempty"`
	// Proving: Prove has been decided.
	Proving bool `json:"proving,omitempty"`
	// Batch are the items, this one last, whose dear stages were asked for on this
	// buildset; nil before.
	Batch []ItemID `json:"batch,omitempty"`
}

// Submit is a submit in flight.
type Submit struct {
	Serial int       `json:"serial"` // attempts of this item's submit, from 1
	At     time.Time `json:"at"`
	// With is the batch that it lands with, where its dear stages ran for several.
	With []ItemID `json:"with,omitempty"`
}

// Facts are what Decide is given beside the state. Decide never writes to them.
type Facts struct {
	Now    time.Time
	Policy Policy
	// Changes holds every change of this queue that is open, every one that
	// stands in it or that the state has a note of (Held, Done, Forced), and
	// every one that is named as a need of those.
	Changes map[ChangeID]Change
	// Buildsets holds what is known of each buildset that the state names; one
	// that is missing has nothing known yet.
	Buildsets map[BuildsetID]BuildsetFacts
	// Submits holds the recorded outcomes of submits in flight.
	Submits map[ItemID]SubmitOutcome
	// Closures say, with Lanes, what can affect what, of each change that stands
	// in the queue, may enter it, or is in Landed or Owed. One that is missing
	// touches everything.
	Closures map[ChangeID]Closure
	// Commands are administrators' commands not yet obeyed, in order.
	Commands []Command
}

// BuildsetFacts is what has become of a buildset.
type BuildsetFacts struct {
	// Prepared: the speculative merge is made and the jobs are planned.
	Prepared bool
	// Conflict is set when the merge is refused (a state, not an eviction: G8).
	Conflict *Conflict
	// Broken is set when no jobs could be planned for a reason in the change (no
	// packaging, a file that does not parse): it counts as a failed voting job.
	Broken string
	// Jobs are all its jobs, reused ones too.
	Jobs []Job
	// Moved: what it was tested on is not what is there now, or was looked at long
	// ago. It matters to those that wait with a red base, and to a check that
	// waits for packages which will not come.
	Moved bool
	// Deferred: it has stages that run once per batch, whose jobs are not planned yet.
	// Never so in a check.
	Deferred bool
}

// Conflict says what would not merge.
type Conflict struct {
	Files []string `json:"files"`
	// With is the change that the files conflict with, "" when it is the branch itself.
	With ChangeID `json:"with,omitempty"`
	Text string   `json:"text,omitempty"`
}

// JobState is how far a job is.
type JobState string

// The states of a job, as the gate sees it.
const (
	JobWaiting       JobState = "waiting" // for other jobs, or for a worker
	JobRunning       JobState = "running"
	JobPassed        JobState = "passed"
	JobFailed        JobState = "failed"
	JobError         JobState = "error"     // its retries are used up (G12): never the change's fault
	JobCancelled     JobState = "cancelled" // also: not run, because what it needs failed
	JobNotApplicable JobState = "not_applicable"
)

// Job is one job of a buildset.
type Job struct {
	Name   string
	Voting bool
	State  JobState
	// Early: a failure seen before the job ended; counts as failing already (G9).
	Early bool
	// Evidence, of a failed voting job, says how it does on the base without the item.
	Evidence Evidence
	// Since is, where it fails there too, when it first did; Passed when it last passed there.
	Since, Passed time.Time
	// Lacks says, of a check's job in error, what is wrong with a change that the
	// checked one needs, so that it could not be run.
	Lacks string
}

// SubmitOutcome is what became of a submit.
type SubmitOutcome struct {
	Serial int
	Result SubmitResult
	// Text is Gerrit's own words for a refusal, or what moved.
	Text string
	// TreeDiffers: it landed, but what is on the branch is not what was tested (G16).
	TreeDiffers bool
	// Landed lists what did land when a member was refused midway (G3).
	Landed []ChangeID
}

// SubmitResult is how a submit ended.
type SubmitResult string

// The results. Moved: before submitting, the base was resolved again and is
// not the one that was tested, or Gerrit would submit more than the proven
// set; nothing was submitted (G15). Refused is final: the facts were read
// again and show nothing newer (G17).
const (
	SubmitLanded  SubmitResult = "landed"
	SubmitRefused SubmitResult = "refused"
	SubmitMoved   SubmitResult = "moved"
)

// Command is an administrator's.
type Command struct {
	ID     int64
	Verb   string // "enqueue", "dequeue", "promote", "pause", "resume", "retry"
	Change ChangeID
	Note   Note
}

// Effect is something to be done; each is idempotent and is stored in the same
// transaction as the state that decided it.
type Effect struct {
	Kind     EffectKind `json:"kind"`
	Item     ItemID     `json:"item,omitempty"`
	Buildset BuildsetID `json:"buildset,omitempty"`
	Changes  []Ref      `json:"changes,omitempty"`
	// Stack are, for Prepare, the changes below the item in order (unlanded ones).
	Stack []Ref `json:"stack,omitempty"`
	// StackItems are the items of Stack that are still in the queue, in order; for
	// RunDeferred the members that share the run, Item last.
	StackItems []ItemID `json:"stack_items,omitempty"`
	// Submit serial, for Submit.
	Serial int `json:"serial,omitempty"`
	// Verify, for Prepare: Changes have merged already; their merged tree goes
	// through all voting jobs (G16). Retry: failures are run again, not reused.
	Verify bool `json:"verify,omitempty"`
	Retry  bool `json:"retry,omitempty"`
	// Recheck, for Prepare: nobody waits for it; whatever else there is to do goes first.
	Recheck bool   `json:"recheck,omitempty"`
	Report  Report `json:"report,omitzero"`
	// Command that was obeyed or, with Refused, not; the answer is in Text.
	Command int64  `json:"command,omitempty"`
	Refused bool   `json:"refused,omitempty"`
	Text    string `json:"text,omitempty"`
}

// EffectKind names an effect.
type EffectKind string

// The effects.
const (
	// Enter: an item took its place (Item, Changes). Leave: it left it.
	Enter EffectKind = "enter"
	Leave EffectKind = "leave"
	// Prepare: merge the item speculatively onto its stack, plan and start the jobs of Buildset.
	Prepare EffectKind = "prepare"
	// Cancel: the jobs of Buildset do not matter any more.
	Cancel EffectKind = "cancel"
	// CancelRest: fail-fast; those of Buildset's jobs that have not ended.
	CancelRest EffectKind = "cancel_rest"
	// Prove: find or make the evidence for the failed voting jobs of Buildset: how
	// each does on its base without the item.
	Prove EffectKind = "prove"
	// RunDeferred: plan and start, on Buildset, the deferred stages of all members
	// of a batch (StackItems). After that its facts are Deferred no more.
	RunDeferred EffectKind = "run_deferred"
	// SubmitChanges: submit Changes in order, after resolving the base again.
	SubmitChanges EffectKind = "submit"
	// Publish: the packages that Buildset tested are released.
	Publish EffectKind = "publish"
	// Tell: a comment and, where the report has one, a vote.
	Tell EffectKind = "tell"
	// Answer: a command was obeyed, or refused with Text.
	Answer EffectKind = "answer"
)

// Report is what people are told of an item.
type Report struct {
	Kind ReportKind `json:"kind"`
	// Reason is a sentence for people where the kind does not say it all.
	Reason   string    `json:"reason,omitempty"`
	Conflict *Conflict `json:"conflict,omitempty"`
	// Final: the item left its queue with this.
	Final bool `json:"final"`
	// Same: a re-check that found nothing new. It is recorded, and nobody is told.
	Same bool `json:"same,omitempty"`
}

// ReportKind is an outcome in a word.
type ReportKind string

// The reports.
const (
	ReportStarted   ReportKind = "started"
	ReportPassed    ReportKind = "passed"   // a check; or the gate, before its submit (the vote that lets Gerrit submit)
	ReportMerged    ReportKind = "merged"   // final
	ReportFailed    ReportKind = "failed"   // its tests
	ReportConflict  ReportKind = "conflict" // its merge
	ReportRefused   ReportKind = "refused"  // its submit, in Gerrit's words
	ReportDequeued  ReportKind = "dequeued" // a new patch set, a lost vote, a lost dependency, an administrator; Reason says
	ReportError     ReportKind = "error"    // nothing in the change: no verdict
	ReportBypassed  ReportKind = "bypassed" // merged, and not what was tested
	ReportPublished ReportKind = "published"
	ReportRed       ReportKind = "red"     // fails as the branch itself does: nobody is blamed; final for a check only
	ReportPartial   ReportKind = "partial" // merged and published without the rest of the batch that it was tested with
)

// Reason is a node of the answer to "why": what stands where, what it waits
// for, on whose account, and what happens next.
type Reason struct {
	Text string `json:"text"`
	// Who can do something about it: "the gate", "the author", "a reviewer", "an administrator", "Gerrit", "a worker".
	Who    string   `json:"who,omitempty"`
	Change ChangeID `json:"change,omitempty"`
	Job    string   `json:"job,omitempty"`
	// Next is what will happen by itself, or once the wait is over.
	Next     string   `json:"next,omitempty"`
	Children []Reason `json:"children,omitempty"`
}
