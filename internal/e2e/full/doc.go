// Package full proves the whole way, with nothing in it made easy: the real
// program, a real Gerrit and Postgres, roots that the service's own root jobs
// make, real builds, installations and system tests in both formats. The
// workers live in namespaces of their own, from which nothing but the service's
// one HTTP address can be reached: no other route, no names, no file of the
// service, of the tests or of the machine's users.
//
// Start with story_test.go: one story, told in order, since its parts share the
// service, the roots and the workers that were dear to make. hostile_test.go
// has the packages of somebody who means harm, evidence_test.go those that fail
// on the branch itself, worker_test.go a worker's
// namespaces and what it may leave behind, client_test.go the outside clients,
// site_test.go the service.
package full
