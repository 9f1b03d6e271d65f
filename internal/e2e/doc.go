// Package e2e proves the whole service: the real program, a real Gerrit, a real
// Postgres, real packages. Only the compilers are missing: a test worker speaks
// the real worker API (api/worker.yaml) and answers each job at once, with real
// .deb and .rpm files, by what the tree under test says in its file `outcome`.
//
// Start with story_test.go, which tells what a person sees. house_test.go starts
// the parts, worker_test.go is the worker. scenarios_test.go plays many short
// stories on one installation; proxy_test.go brings the faults of networks and
// busy servers; kill_test.go kills the parts. After every story the service's
// own oracle, `sluice fsck`, has to find nothing.
package e2e
