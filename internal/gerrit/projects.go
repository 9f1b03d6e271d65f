package gerrit

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// BranchHeads gives the commit id of each branch (names without refs/heads/) that
// the account may read. IsNotFound: no such project.
func (c *Client) BranchHeads(ctx context.Context, project string) (map[string]string, error) {
	const page = 500
	heads := map[string]string{}
	for start := 0; ; start += page {
		var branches []struct {
			Ref      string `json:"ref"`
			Revision string `json:"revision"`
		}
		path := fmt.Sprintf("projects/%s/branches/?n=%d&S=%d", pathPart(project), page, start)
		if err := c.get(ctx, path, &branches); err != nil {
			return nil, err
		}
		for _, b := range branches {
			if name, isBranch := strings.CutPrefix(b.Ref, "refs/heads/"); isBranch {
				heads[name] = b.Revision
			}
		}
		if len(branches) < page {
			return heads, nil
		}
	}
}

// Branch gives the commit id of one branch's tip. IsNotFound: no such project or branch.
func (c *Client) Branch(ctx context.Context, project, branch string) (string, error) {
	var b struct {
		Revision string `json:"revision"`
	}
	path := fmt.Sprintf("projects/%s/branches/%s", pathPart(project), pathPart(branch))
	err := c.get(ctx, path, &b)
	return b.Revision, err
}

// ProjectConfig is what decides how Gerrit merges in a project (G8).
type ProjectConfig struct {
	SubmitType   string // MERGE_IF_NECESSARY, FAST_FORWARD_ONLY, REBASE_IF_NECESSARY, REBASE_ALWAYS, MERGE_ALWAYS, CHERRY_PICK
	ContentMerge bool   // merge within a file, or call two edits of one file a conflict
	State        string // ACTIVE, READ_ONLY, HIDDEN
	RejectEmpty  bool   // refuse a change that changes nothing
}

// ProjectConfig reads a project's own and inherited settings.
func (c *Client) ProjectConfig(ctx context.Context, project string) (*ProjectConfig, error) {
	var j struct {
		SubmitType   string    `json:"submit_type"`
		State        string    `json:"state"`
		ContentMerge inherited `json:"use_content_merge"`
		RejectEmpty  inherited `json:"reject_empty_commit"`
	}
	if err := c.get(ctx, "projects/"+pathPart(project)+"/config", &j); err != nil {
		return nil, err
	}
	return &ProjectConfig{j.SubmitType, j.ContentMerge.value(), orDefault(j.State, "ACTIVE"), j.RejectEmpty.value()}, nil
}

// inherited is a setting that a project has from its parents unless it says so itself.
type inherited struct {
	Value      *bool  `json:"value"`
	Configured string `json:"configured_value"`
	Inherited  bool   `json:"inherited_value"`
}

func (i inherited) value() bool {
	switch {
	case i.Configured == "TRUE":
		return true
	case i.Configured == "FALSE":
		return false
	case i.Value != nil:
		return *i.Value
	}
	return i.Inherited
}

// WholeTopics reports whether the server submits all open changes of a topic at
// once (change.submitWholeTopic).
func (c *Client) WholeTopics(ctx context.Context) (bool, error) {
	var info struct {
		Change struct {
			SubmitWholeTopic bool `json:"submit_whole_topic"`
		} `json:"change"`
	}
	err := c.get(ctx, "config/server/info", &info)
	return info.Change.SubmitWholeTopic, err
}

// Projects gives the names of all projects that the account may read, sorted.
func (c *Client) Projects(ctx context.Context) ([]string, error) {
	const page = 500
	names := map[string]bool{}
	for start := 0; ; start += page {
		var found map[string]struct {
			More bool `json:"_more_projects"`
		}
		path := "projects/?n=" + strconv.Itoa(page) + "&S=" + strconv.Itoa(start)
		if err := c.get(ctx, path, &found); err != nil {
			return nil, err
		}
		more := false
		for name, p := range found {
			names[name] = true
			more = more || p.More
		}
		if !more || len(found) == 0 {
			return slices.Sorted(maps.Keys(names)), nil
		}
	}
}

// pathPart escapes a name for an address. Gerrit reads "+" in a path as a space.
func pathPart(name string) string { return strings.ReplaceAll(url.PathEscape(name), "+", "%2B") }
