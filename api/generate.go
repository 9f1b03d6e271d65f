// Package api holds the contracts of the service over HTTP, and what is made
// from them.
//
//   - openapi.yaml is what people, the page and the command line use: reading for
//     everybody, commands for operators. openapi.gen.go has its types, the strict
//     server interface (internal/api implements it) and a client
//     (internal/client wraps it).
//   - worker.yaml is what workers use; internal/api and internal/worker speak it.
//
// Change the contract first, then `go generate ./api`, then the code.
package api

import _ "embed"

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 -config oapi-codegen.yaml openapi.yaml

// Spec is openapi.yaml, as the service serves it.
//
//go:embed openapi.yaml
var Spec []byte
