// Package gerrit is the only room that talks to Gerrit Code Review.
//
// It has three doors:
//
//   - [Client] asks and tells over REST: what a change is ([Client.Change],
//     [Client.Query]), what stands under it ([Client.Related],
//     [DependsOnOf], [Client.Resolve]), what Gerrit would merge with it
//     ([Client.SubmittedTogether]), and the two writes that a gate needs,
//     [Client.Review] and [Client.Submit].
//   - [Stream] listens to stream-events over SSH, for ever.
//   - [Webhook] takes the same events from Gerrit's webhooks plugin.
//
// # Facts and hints
//
// REST is the truth; an [Event] is only a hint to look sooner. Gerrit keeps no
// events for a listener that is away, their times are whole seconds and so no
// order, and a change that moves to another branch shows itself by nothing but
// an update of its meta ref. So whoever listens connects first, then queries
// with an overlap ([Since]), and repeats that from time to time (G21).
//
// # What is sure after a failure
//
// Reads are repeated by themselves. Writes are never: after a time-out or a 5xx
// nobody knows whether Gerrit did it ([IsTransient]). [Client.Posted] tells
// whether a review with a given effect id is there, [Client.Change] tells
// whether a change is merged; ask, then send again (G17, G22). A refusal is an
// [*Error] with Gerrit's own words ([IsConflict]).
//
// # A gate's own label
//
// [NeedsOwnLabelOnly] is rule G1: it evaluates each submit requirement as if the
// gate had voted its best on its own label, so that a site can write any
// expression that Gerrit understands.
//
// The package gerritfake beside this one is a small Gerrit in memory for the
// tests of others; conformance_test.go holds it and real Gerrits to one suite.
package gerrit
