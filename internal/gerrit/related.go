package gerrit

import (
	"context"
	"fmt"
)

// Related is one member of a relation chain: changes that stand on each other by
// their commits.
type Related struct {
	Number          int
	Project         string
	ChangeID        string
	Subject         string
	Status          string
	PatchSet        int    // the patch set in this chain
	CurrentPatchSet int    // the change's newest: if it is another, the chain stands on an old one
	Revision        string // commit id of PatchSet
	Parents         []string
}

// Related gives the relation chain of a patch set, children first, itself
// included; it is empty for a change that stands alone. A member without a Number
// is a commit that is no change.
func (c *Client) Related(ctx context.Context, number int, revision string) ([]Related, error) {
	var answer struct {
		Changes []struct {
			Number   int        `json:"_change_number"`
			Project  string     `json:"project"`
			ChangeID string     `json:"change_id"`
			Status   string     `json:"status"`
			PatchSet int        `json:"_revision_number"`
			Current  int        `json:"_current_revision_number"`
			Commit   commitJSON `json:"commit"`
		} `json:"changes"`
	}
	path := fmt.Sprintf("changes/%d/revisions/%s/related", number, pathPart(revision))
	if err := c.get(ctx, path, &answer); err != nil {
		return nil, err
	}
	var chain []Related
	for _, m := range answer.Changes {
		chain = append(chain, Related{
			m.Number, m.Project, m.ChangeID, m.Commit.Subject, m.Status,
			m.PatchSet, m.Current, m.Commit.Commit, m.Commit.parents(),
		})
	}
	return chain, nil
}

// Ancestors are the members of a chain that stand under the revision, nearest
// first, merged ones too (a chain of [Client.Related]).
func Ancestors(chain []Related, revision string) []Related {
	at := map[string]Related{}
	for _, r := range chain {
		at[r.Revision] = r
	}
	var under []Related
	seen := map[string]bool{revision: true}
	for here := []string{revision}; len(here) > 0; here = here[1:] {
		for _, p := range at[here[0]].Parents {
			if r, found := at[p]; found && !seen[p] {
				seen[p] = true
				under = append(under, r)
				here = append(here, p)
			}
		}
	}
	return under
}

// Together is what a submit would merge.
type Together struct {
	// Changes has the change itself too; of each the labels, requirements and messages are not read.
	Changes []Change
	// NonVisible counts those that the account may not see: with any, a submit
	// would merge what nobody tested (G15).
	NonVisible int
}

// SubmittedTogether asks Gerrit what a submit of the change would merge: its
// unmerged ancestors, and its topic where the site submits whole topics.
func (c *Client) SubmittedTogether(ctx context.Context, number int) (*Together, error) {
	const more = "o=CURRENT_REVISION&o=CURRENT_COMMIT&o=DETAILED_ACCOUNTS"
	var answer struct {
		Changes    []changeJSON `json:"changes"`
		NonVisible int          `json:"non_visible_changes"`
	}
	path := fmt.Sprintf("changes/%d/submitted_together?o=NON_VISIBLE_CHANGES&%s", number, more)
	if err := c.get(ctx, path, &answer); err != nil {
		return nil, err
	}
	if len(answer.Changes) == 0 { // Gerrit's way to say "alone"
		var alone changeJSON
		if err := c.get(ctx, fmt.Sprintf("changes/%d?%s", number, more), &alone); err != nil {
			return nil, err
		}
		answer.Changes = append(answer.Changes, alone)
	}
	t := &Together{NonVisible: answer.NonVisible}
	for i := range answer.Changes {
		t.Changes = append(t.Changes, answer.Changes[i].change(0))
	}
	return t, nil
}
