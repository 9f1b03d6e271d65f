package gerrit

import (
	"context"
	"fmt"
)

// SubmitResult is what Gerrit says after a submit.
type SubmitResult struct {
	Status       string // StatusMerged
	SubmissionID string // the same for all that were merged with it
}

// Submit merges the change, and all that Gerrit merges with it
// ([Client.SubmittedTogether]), if revision is still its current patch set (G15).
// IsConflict: Gerrit refuses, and says why in its own words; the reason may be a vote that was lost, a
// newer patch set, a conflict, or that it is merged already: read the change
// again (G17). IsTransient: nobody knows; read the change, too.
func (c *Client) Submit(ctx context.Context, number int, revision string) (*SubmitResult, error) {
	var answer struct {
		Status       string `json:"status"`
		SubmissionID string `json:"submission_id"`
	}
	path := fmt.Sprintf("changes/%d/revisions/%s/submit", number, pathPart(revision))
	if err := c.post(ctx, c.cfg.SubmitTimeout, path, struct{}{}, &answer); err != nil {
		return nil, err
	}
	return &SubmitResult{answer.Status, answer.SubmissionID}, nil
}
