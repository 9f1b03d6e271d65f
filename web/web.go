// Package web is the live page: its TypeScript sources (src), its libraries as
// they were published (vendor), its bundler (build), and what that made of them
// (dist), which is committed and embedded here. Building it needs no Node.
//
// The page is a reader of api/openapi.yaml and nothing more: it fetches what an
// address shows, listens to /api/v1/events, and fetches again what a notice
// names (src/store.ts). Its addresses are real ones: whoever serves it answers
// each of them with index.html (src/router.tsx lists them).
//
//   - src/main.tsx: the frame, and which page an address is
//   - src/pages: one file for each page
//   - src/parts: what pages share: chips, findings, times
//   - src/words.ts: states, spans and times in words
//   - src/log.ts: a log of any size as lines
//   - webtest: a service of canned answers, for the tests and for devserver
//   - devserver: serves the page with those answers while it is worked on
package web

import (
	"embed"
	"io/fs"
)

//go:generate go run ./build -web .

//go:embed dist
var dist embed.FS

// Files are the page's files: index.html and what it needs.
var Files fs.FS = sub()

func sub() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the directory is embedded: it is there
	}
	return files
}
