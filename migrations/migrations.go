// Package migrations holds the database's schema as numbered SQL files, up and
// down, embedded. They are applied by internal/postgres with a session lock,
// so that any number of replicas may start at once.
package migrations

import "embed"

// Files are the migrations in goose's format.
//
//go:embed *.sql
var Files embed.FS
