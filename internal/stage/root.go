package stage

import (
	"context"
	"errors"
	"io"

	"sluice/internal/job"
)

// makeRoot makes a root from the job's recipe and uploads it while it is
// made. Whatever goes wrong is no change's fault.
func (a *attempt) makeRoot(ctx context.Context) error {
	if a.spec.Recipe == nil {
		return outside("a root job without a recipe")
	}
	a.log.Step("make the root " + a.spec.Recipe.Name)
	r, w := io.Pipe()
	var digest job.Digest
	made := make(chan error, 1)
	go func() {
		var err error
		digest, err = a.env.Sandbox.MakeRoot(ctx, *a.spec.Recipe, a.spec.Repositories, a.trace, a.log, w)
		w.CloseWithError(err)
		made <- err
	}()
	storeErr := a.store(ctx, "root.tar.zst", job.RootArchive, r)
	r.CloseWithError(errors.New("storing the root ended"))
	err := <-made
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		a.artifacts = nil
		if seen := a.log.found(); len(seen.Findings) > 0 {
			return &verdict{Outcome: job.Error, Cause: cutText(err.Error()+": "+seen.Findings[0].String(), 500), Findings: seen.Findings}
		}
		return outside("%v", err)
	case storeErr != nil:
		return outside("%v", storeErr)
	}
	a.rootName = digest
	return nil
}
