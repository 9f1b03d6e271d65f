package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"sluice/internal/gate"
)

// viewer is who asks, as far as that decides what is shown. The zero viewer is
// anybody: a visitor, a worker, a token that nobody has.
type viewer struct {
	operator   string // who may give commands; "": nobody
	restricted bool   // is shown what is made from restricted changes
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

// identified finds out who asks. A token that is not an operator's is nobody's.
func (s *server) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token := bearer(r); token != "" {
			given := sha256.Sum256([]byte(token))
			for _, o := range s.operators {
				if subtle.ConstantTimeCompare(given[:], o.token[:]) == 1 {
					r = r.WithContext(context.WithValue(r.Context(), viewerKey{}, viewer{o.name, o.restricted}))
					break
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}
