package engine

import (
	"context"
	"errors"

	"sluice/internal/config"
	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/record"
)

// batchOf gives what the site says of batches in a queue.
func (e *Engine) batchOf(queue string) config.Batch {
	q, _ := e.Site.QueueNamed(queue)
	return q.Batch
}

// deferred are the stages of a buildset that run once per batch.
func (p *preparation) deferred() []job.Stage {
	b := p.engine.batchOf(p.buildset.Queue)
	if isCheck(p.buildset.Queue) || b.Size < 2 {
		return nil
	}
	return b.Stages
}

// runBatch plans, on the buildset of a batch's last member, what all members have
// deferred: its repositories are those of all of them.
func (e *Engine) runBatch(ctx context.Context, buildset int64) error {
	members, err := e.Store.Deferred(ctx, buildset)
	if errors.Is(err, record.ErrStale) {
		return nil
	}
	if err != nil {
		return err
	}
	own, err := e.Store.BuildsetJobs(ctx, buildset)
	if err != nil {
		return err
	}
	var names []string
	for _, j := range own {
		names = append(names, j.Name)
	}
	err = e.Store.PlanDeferred(ctx, buildset, plan.Batch(names, members))
	if errors.Is(err, record.ErrStale) {
		return nil
	}
	return err
}
