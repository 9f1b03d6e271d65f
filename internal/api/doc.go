// Package api is everything under the service's one HTTP address.
//
//	/api/v1/…                   api/openapi.yaml: reads.go and what it names, commands.go, events.go, logs.go
//	/worker/v1/…                api/worker.yaml: worker.go
//	/repo/… /test/… /publication/…  package repositories from manifests and blobs: repositories.go
//	/blobs/{sha256}/{name}      artifacts that everybody may have: blobs.go
//	/healthz /readyz /metrics   health.go, metrics.go
//	/hooks/gerrit/{name} /upstream/…  handlers of other packages, given in Options
//	everything else             the page: page.go
//
// Handler makes one http.Handler of all of these from Options. The package
// knows no SQL: what it needs of the database is the interfaces of store.go. It
// decides nothing either: a command is a row that its queue decides on.
//
// A request is held to the contract itself before a handler sees it (strict.go).
// Errors are problems (RFC 9457), made in problems.go from the errors of the
// record and of this package. What is made from a restricted change is not
// found here (visible.go).
package api
