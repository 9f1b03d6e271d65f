// Package gerritfake is a small Gerrit in memory, for the tests of packages that
// talk to one: REST and stream-events over SSH, on loopback.
//
// It holds accounts, projects, branches, changes with patch sets, votes, submit requirements, messages
// and topics, but no git: revisions are names without contents, so nothing can be fetched and nothing conflicts
// unless [Server.SetMergeable] says so. It knows Verified, Code-Review and
// Workflow, each needed at its highest vote and stopped by its lowest.
//
// What it does, real Gerrits do too: internal/gerrit's conformance suite runs
// against this and them. What it does not know it refuses with 404 or 400 rather than guess.
//
// [Server.Fail] makes a request go wrong: an answer of choice, no answer, or an answer
// lost after the work was done.
package gerritfake
