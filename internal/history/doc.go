// Package history is the record of what queues decided, and decides it again.
//
// Each committed decision leaves one [Decision]: what had changed in the facts
// since the queue's previous one, the policy and the time among them; what was
// decided; and what that changed in the state. Now and then one holds all facts
// and the whole state before it: a replay can begin there. A [Recorder] makes
// them, a [Replayer] decides them once more and compares.
//
// The record is made by reflection over gate.Facts and gate.State and kept as
// JSON: a new field of theirs is recorded without a change here. What is zero is
// as good as absent in a comparison, so that a record of before the field was
// there is still good.
package history
