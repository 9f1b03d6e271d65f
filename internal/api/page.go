package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// places are the page's own addresses: for each the page itself is served,
// which then shows what the address names.
var places = []string{"/", "/queue/*", "/change/*", "/buildset/*", "/job/*", "/repositories", "/repositories/*", "/repository/*", "/changes", "/workers"}

// pageFile is a file of the page, in memory.
type pageFile struct {
	data []byte
	kind string
	etag string
}

// pageRoutes serves the page's files, and index.html at its addresses.
func (s *server) pageRoutes(r chi.Router) error {
	if s.Page == nil {
		return nil
	}
	files, err := readPage(s.Page)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	index, ok := files["index.html"]
	if !ok {
		return errors.New("the page has no index.html")
	}
	r.Group(func(r chi.Router) {
		r.Use(middleware.Compress(5, "text/html", "text/css", "text/javascript", "application/javascript", "image/svg+xml", "application/json"))
		serve := func(pattern string, f pageFile) {
			r.Get(pattern, f.ServeHTTP)
			r.Head(pattern, f.ServeHTTP)
		}
		for name, f := range files {
			serve("/"+name, f)
		}
		for _, p := range places {
			serve(p, index)
		}
	})
	return nil
}

func readPage(page fs.FS) (map[string]pageFile, error) {
	files := map[string]pageFile{}
	err := fs.WalkDir(page, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(page, name)
		if err != nil {
			return err
		}
		kind := mime.TypeByExtension(path.Ext(name))
		if kind == "" {
			kind = "application/octet-stream"
		}
		sum := sha256.Sum256(data)
		files[name] = pageFile{data, kind, hex.EncodeToString(sum[:16])}
		return nil
	})
	return files, err
}

// ServeHTTP gives the file; browsers ask each time whether it is still the same.
func (f pageFile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", `W/"`+f.etag+`"`)
	if strings.Contains(f.kind, "html") {
		h.Set("Vary", "Accept-Encoding")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
}
