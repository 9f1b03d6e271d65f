package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"sluice/internal/gate"
)

// viewer is who asks, as far as that decides what is shown. The zero viewer is a
// visitor; a worker is shown no more.
type viewer struct {
	operator   string // who may give commands; "": nobody
	restricted bool   // is shown what is made from restricted changes
	worker     bool
	stranger   bool // has shown a token that is nobody's
}

// mayRead is the one place that decides who is shown what is made from a change
// (G25). Everything in visible.go asks it.
func (v viewer) mayRead(c *gate.Change) bool { return v.restricted || !c.Restricted }

type viewerKey struct{}

// viewing gives the viewer of a request.
func viewing(ctx context.Context) viewer {
	v, _ := ctx.Value(viewerKey{}).(viewer)
	return v
}

// cached is how long what a viewer is given may be kept: by him alone, if it is
// not for everybody.
func cached(ctx context.Context, everybody string) string {
	if viewing(ctx).restricted {
		return "private, no-store"
	}
	return everybody
}

// identified finds out who asks.
func (s *server) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := bearer(r); token != "" {
			r = r.WithContext(context.WithValue(r.Context(), viewerKey{}, s.viewerOf(sha256.Sum256([]byte(token)))))
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) viewerOf(token [sha256.Size]byte) viewer {
	for _, o := range s.operators {
		if subtle.ConstantTimeCompare(token[:], o.token[:]) == 1 {
			return viewer{operator: o.name, restricted: o.restricted}
		}
	}
	worker := s.isWorker(token)
	return viewer{worker: worker, stranger: !worker}
}

// recognized refuses a token that is nobody's: who sends one is not to take what
// everybody is shown for all that there is.
func recognized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if viewing(r.Context()).stranger {
			unknownToken(w, "the token is not one of the site file's operators'; without a token all that is public may be read")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unknownToken answers who has to show another token, or one at all.
func unknownToken(w http.ResponseWriter, detail string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="sluice"`)
	problem(w, http.StatusUnauthorized, "no operator", detail)
}
