package sandbox

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"sluice/internal/job"
)

// MakeRoot makes a root from a recipe, writes it to out as a tar.zst, and
// gives the digest of its list of packages. Progress goes to log.
func (m *Manager) MakeRoot(ctx context.Context, recipe job.Recipe, repos []job.Repository, repositories http.Handler, log io.Writer, out io.Writer) (job.Digest, error) {
	return "", setup("making root "+recipe.Name, fmt.Errorf("unknown method %q: use mmdebstrap, dnf or script", recipe.Method))
}
