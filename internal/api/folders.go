package api

import (
	"container/list"
	"context"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"

	"sluice/internal/blob"
	"sluice/internal/repo"
)

// manifests keeps the manifests that were read last, since every request for a
// file of a repository needs one.
type manifests struct {
	store   blob.Store
	most    int
	flights singleflight.Group

	mu     sync.Mutex // guards those below
	byName map[blob.Digest]*list.Element
	recent *list.List // of loaded, the last used first
}

type loaded struct {
	digest   blob.Digest
	manifest *repo.Manifest
}

func newManifests(store blob.Store, most int) *manifests {
	return &manifests{store: store, most: most, byName: map[blob.Digest]*list.Element{}, recent: list.New()}
}

// load gives a manifest; callers do not change it.
func (c *manifests) load(ctx context.Context, d blob.Digest) (*repo.Manifest, error) {
	c.mu.Lock()
	if e, ok := c.byName[d]; ok {
		c.recent.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(loaded).manifest, nil
	}
	c.mu.Unlock()
	v, err, _ := c.flights.Do(string(d), func() (any, error) {
		return repo.LoadManifest(context.WithoutCancel(ctx), c.store, d)
	})
	if err != nil {
		return nil, err
	}
	m := v.(*repo.Manifest)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byName[d]; !ok {
		c.byName[d] = c.recent.PushFront(loaded{d, m})
	}
	for c.recent.Len() > c.most {
		last := c.recent.Back()
		delete(c.byName, last.Value.(loaded).digest)
		c.recent.Remove(last)
	}
	return m, nil
}

// row is a line of a folder's listing.
type row struct {
	Name string // a folder's ends with a slash
	Size int64  // bytes; of a folder, of all that is below it
}

// folder lists what is right below a path that is "" or ends with a slash, folders first.
func folder(m *repo.Manifest, prefix string) []row {
	sizes := map[string]int64{}
	for p, e := range m.Files {
		rest, ok := strings.CutPrefix(p, prefix)
		if !ok {
			continue
		}
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			rest = rest[:i+1]
		}
		sizes[rest] += e.Size
	}
	names := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		if x, y := strings.HasSuffix(a, "/"), strings.HasSuffix(b, "/"); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return each(names, func(n string) row { return row{n, sizes[n]} })
}

var listing = template.Must(template.New("folder").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{.Path}}</title></head>
<body><h1>{{.Path}}</h1>
<p>{{.About}}</p>
<table>
{{- if .Up}}
<tr><td><a href="../">../</a></td><td></td></tr>{{end}}
{{- range .Rows}}
<tr><td><a href="./{{.Name}}">{{.Name}}</a></td><td align="right">{{.Size}}</td></tr>{{end}}
{{- if .Sources}}
<tr><td><a href="./{{.Sources}}">{{.Sources}}</a></td><td></td></tr>{{end}}
</table></body></html>
`))

// serveFolder lists a folder for people.
func (s *server) serveFolder(w http.ResponseWriter, r *http.Request, m *repo.Manifest, prefix string, t tree) {
	rows := folder(m, prefix)
	if len(rows) == 0 {
		http.Error(w, "404: this repository has no such folder", http.StatusNotFound)
		return
	}
	page := struct {
		Path, About, Sources string
		Up                   bool
		Rows                 []row
	}{Path: r.URL.Path, Up: prefix != "", Rows: rows}
	page.About = fmt.Sprintf("%s, publication %d of %s", m.Identity.Label, m.Publication.Serial, m.Publication.Date.UTC().Format("2006-01-02 15:04:05 MST"))
	if t.sources != "" && prefix == "" {
		page.Sources = t.sourcesName()
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	if err := listing.Execute(w, page); err != nil {
		s.Log.Debug("a listing was not sent", "path", logPath(r), "error", err)
	}
}
