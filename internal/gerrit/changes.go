package gerrit

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	gg "github.com/andygrunwald/go-gerrit"
)

// options that every read of a change asks for.
var options = []string{
	"CURRENT_REVISION", "CURRENT_COMMIT", "DETAILED_LABELS", "DETAILED_ACCOUNTS",
	"SUBMIT_REQUIREMENTS", "SUBMITTABLE", "MESSAGES",
}

// Option asks for more of a change than is read always.
type Option string

// WithFiles reads Change.Files too; it costs Gerrit a diff.
const WithFiles Option = "CURRENT_FILES"

func optionsQuery(more []Option) url.Values {
	v := url.Values{"o": append([]string(nil), options...)}
	for _, o := range more {
		v.Add("o", string(o))
	}
	return v
}

// selfID is the account's number, 0 for an anonymous client.
func (c *Client) selfID(ctx context.Context) (int, error) {
	if c.cfg.User == "" {
		return 0, nil
	}
	who, err := c.Self(ctx)
	return who.ID, err
}

// Change reads one change from Gerrit's own storage, not from its search index, so it is
// never stale. A change that is gone, or that the account may not see, is IsNotFound.
func (c *Client) Change(ctx context.Context, number int, more ...Option) (*Change, error) {
	self, err := c.selfID(ctx)
	if err != nil {
		return nil, err
	}
	var j changeJSON
	path := fmt.Sprintf("changes/%d/detail?%s", number, optionsQuery(more).Encode())
	if err := c.get(ctx, path, &j); err != nil {
		return nil, err
	}
	found := j.change(self)
	return &found, nil
}

// CanRead says whether the client's account may see the change. With the client
// of an account that stands for everybody, it tells a restricted change (G25).
func (c *Client) CanRead(ctx context.Context, number int) (bool, error) {
	var seen struct {
		Number int `json:"_number"`
	}
	err := c.get(ctx, fmt.Sprintf("changes/%d", number), &seen)
	if IsNotFound(err) || IsDenied(err) || status(err) == http.StatusOK { // the last is a login page
		return false, nil
	}
	return err == nil && seen.Number == number, err
}

// Mergeable asks Gerrit to merge the current patch set of an open change with its
// branch, in its mind. IsConflict: the change is closed.
func (c *Client) Mergeable(ctx context.Context, number int) (bool, error) {
	var answer struct {
		Mergeable bool `json:"mergeable"`
	}
	err := c.get(ctx, fmt.Sprintf("changes/%d/revisions/current/mergeable", number), &answer)
	return answer.Mergeable, err
}

// patchSetLevel is Gerrit's name for a comment on no file: what people write in
// its page comes as one, and the change's message says no more than "(1 comment)".
const patchSetLevel = "/PATCHSET_LEVEL"

// Remarks gives what people wrote on patch sets of a change as a whole, beside
// its messages; each has the id of the message that it came with.
func (c *Client) Remarks(ctx context.Context, number int) ([]Message, error) {
	var answer map[string][]struct {
		Message  string       `json:"change_message_id"`
		Tag      string       `json:"tag"`
		Author   Account      `json:"author"`
		Updated  gg.Timestamp `json:"updated"`
		Text     string       `json:"message"`
		PatchSet int          `json:"patch_set"`
	}
	if err := c.get(ctx, fmt.Sprintf("changes/%d/comments", number), &answer); err != nil {
		return nil, err
	}
	var all []Message
	for _, r := range answer[patchSetLevel] {
		all = append(all, Message{ID: r.Message, Tag: r.Tag, Author: r.Author, Date: r.Updated.Time, Text: r.Text, PatchSet: r.PatchSet})
	}
	return all, nil
}

// pageSize is how many changes one request asks for; Gerrit may give fewer.
const pageSize = 100

// Query reads all changes that Gerrit's search finds, newest first, at most limit
// of them (0: all). A change that moves to the top between two pages may come
// twice from Gerrit; here it comes once. An error in the query is a 400 in Gerrit's words.
func (c *Client) Query(ctx context.Context, query string, limit int, more ...Option) ([]Change, error) {
	self, err := c.selfID(ctx)
	if err != nil {
		return nil, err
	}
	values := optionsQuery(more)
	values.Set("q", query)
	var found []Change
	seen := map[int]bool{}
	for start := 0; ; {
		ask := pageSize
		if limit > 0 {
			ask = min(ask, limit-len(found))
		}
		values.Set("n", strconv.Itoa(ask))
		values.Set("S", strconv.Itoa(start))
		var page []changeJSON
		if err := c.get(ctx, "changes/?"+values.Encode(), &page); err != nil {
			return nil, err
		}
		for _, j := range page {
			if !seen[j.Number] {
				seen[j.Number] = true
				found = append(found, j.change(self))
			}
		}
		start += len(page)
		if len(page) == 0 || !page[len(page)-1].More || (limit > 0 && len(found) >= limit) {
			return found, nil
		}
	}
}

// Since is the part of a query that finds what was touched at t or later:
// since:"2026-11-21 09:56:14". Gerrit's clock decides, in whole seconds: take an overlap.
func Since(t time.Time) string {
	return `since:"` + t.UTC().Format("2006-01-02 15:04:05") + `"`
}

// Quote makes a value safe inside a query: project:"packages/hello". Gerrit's query
// language has no escape for a quotation mark, so one inside is left out.
func Quote(value string) string {
	return `"` + strings.ReplaceAll(value, `"`, "") + `"`
}
