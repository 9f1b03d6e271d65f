// Package gate decides what is tested on what, and what merges when. It is pure:
// no clock, no I/O, no goroutine, nothing but the standard library.
//
//	state, effects := gate.Decide(state, facts)
//
// One [State] is one queue: the gate of some branches ([Dependent]), or the check
// of one change ([Independent]). [Facts] are what was read of the world: changes
// as Gerrit has them, what has become of buildsets, how submits ended, what
// administrators asked for. [Effect]s are what is to be done next. The rules, G1
// to G25, are in docs/gate.md; comments name the rule that they keep.
//
// Start reading at [Decide], then go through a queue in its order: who comes
// (enter.go, need.go), who goes (leave.go), what is tested on what (stack.go,
// lanes.go, verdict.go), who is to blame (evidence.go), what runs once for several
// (batch.go), what lands (land.go), what administrators ask (command.go). check.go
// is the check of one change;
// explain.go and order.go answer people;
// simulate.go, play.go and chance.go say what is to be expected.
//
// # The life of an item
//
//	          enter               prepare               all voting jobs passed
//	outside ────────► waiting ─────────────► testing ───────────────► passed
//	   ▲                 ▲                   │     ▲                     │ nothing unmerged
//	   │                 │ base changed:     │     │ base changed:       │ under it
//	   │ leave           │ cancel            │     │ cancel, prepare     ▼
//	   │                 └───────────────────┤     └──────────────── submitting
//	   │                                     │ a voting job            │  │  │
//	   │ nothing unmerged under it, all      ▼ failed, or conflict     │  │  │ moved: cancel,
//	   ├──────────────────────────────── failing ──► testing           │  │  ▼ prepare again
//	   │                                     second chance (G11)       │  │ testing
//	   ├───────────────────────────────────────────────── refused ─────┘  │
//	   ├───────────────────────────────────────────────── landed ─────────┤
//	   └──────── verifying ◄──── landed as another tree than the tested ──┘
//
// From each state but submitting and verifying an item also leaves when its
// changes may not stand in the queue any more (G18).
//
// # The protocol with the engine
//
//   - Decisions are made one after the other. State and effects of one are stored
//     in one transaction, or neither is (G23). The commands of the facts count as
//     answered with it.
//   - Effects are performed at least once, in any order but a buildset's Cancel
//     after its Prepare; the second time changes nothing. Killed at any instant,
//     an engine begins again from the stored state: nothing is in memory (G22).
//   - A fact may be late, and come twice. It is never older than one that was
//     given before (G21). Facts.Changes holds every open change of the queue,
//     every one that stands in it, those in Held, Done and Forced, those that
//     commands name, and all that
//     they need, directly or not. From one that is missing nothing is concluded.
//   - A buildset that the state names is wanted; it is never named again once it
//     is not. One that is not named is not wanted: Cancel was emitted, unless it
//     has nothing left to run or its item landed.
//   - A buildset's Stack is what it stood behind when it was decided. Whoever is
//     named there and is not in the queue has landed, in that order, as it was
//     tested; whenever an item leaves otherwise, those that stood on it begin
//     anew in the same decision. Overtaken says that something else has landed
//     since. So an item that has passed, is not Overtaken, and has nothing of its
//     Stack in the queue is proven on what is on the branches, as far as the
//     queue knows; what else moved there the engine finds out before it submits,
//     and answers SubmitMoved. With lanes, "in that order" and "something else"
//     are said of items that touch; State.Landed holds those that landed beside
//     an attempt, in case that they turn out to.
//   - From SubmitChanges to the outcome with the same Serial an item is in flight.
//     Its changes may look strange meanwhile (merged, a new patch set): nothing is
//     concluded. An outcome with another serial is an old one.
//   - Every item has one Enter, one Tell with a final report, then one Leave. A
//     change that merged past what was tested is told so first, not final, and
//     once more when its merged tree has been through all jobs.
//   - Of a buildset with stages that run per batch the facts say Deferred until
//     RunDeferred has been carried out on it, or for ever where another one's run
//     stands for it. Owed is what has landed on a run with items that have not.
//   - Done remembers final reports until something newer is known, so that the
//     same patch set is not tried for ever, and that a change which merged is not
//     missed before Gerrit was read again.
package gate
