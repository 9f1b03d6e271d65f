package api

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"time"

	"github.com/go-chi/chi/v5"

	"sluice/internal/blob"
	"sluice/internal/record"
)

func (s *server) blobRoutes(r chi.Router) {
	r = r.With(recognized)
	r.Get("/blobs/{sha256}/{name}", s.serveBlob)
	r.Head("/blobs/{sha256}/{name}", s.serveBlob)
}

// serveBlob gives an artifact that who asks may have, under any name. Its
// bytes are a stranger's: no browser is to make anything of them.
func (s *server) serveBlob(w http.ResponseWriter, r *http.Request) {
	d, err := blob.ParseDigest(chi.URLParam(r, "sha256"))
	if err != nil {
		http.Error(w, "404: "+err.Error(), http.StatusNotFound)
		return
	}
	shown, err := s.Store.ArtifactShown(r.Context(), string(d), false)
	if err == nil && !shown {
		err = record.ErrNotFound
	}
	if err != nil {
		s.missing(w, r, err, "no artifact has this digest, or it is not shown")
		return
	}
	f, _, err := s.Blobs.Open(r.Context(), d)
	if errors.Is(err, blob.ErrNotFound) {
		err = record.ErrNotFound
	}
	if err != nil {
		s.missing(w, r, err, "the artifact has been removed: its time was over")
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": path.Base(chi.URLParam(r, "name"))}))
	h.Set("ETag", fmt.Sprintf("%q", d))
	h.Set("Cache-Control", cached(r.Context(), immutable))
	http.ServeContent(w, r, "", time.Time{}, f)
}
