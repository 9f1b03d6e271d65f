package gerrit

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// DependsOn is one Depends-On footer of a commit message.
type DependsOn struct {
	Text     string // what was written after the colon
	Number   int    // 0 where it names a Change-Id, or cannot be understood
	ChangeID string // "I" and 40 hex digits, in lower case but for the I
	Project  string // if the footer names it
	Branch   string // if the footer names it
	URL      string // if it was an address
}

// Understood says whether the footer names a change at all.
func (d DependsOn) Understood() bool { return d.Number != 0 || d.ChangeID != "" }

var (
	// Zuul's: any line that begins so, anywhere in the message, in any case.
	dependsLine = regexp.MustCompile(`(?im)^Depends-On:[ \t]*(.*?)\s*$`)
	changeID    = regexp.MustCompile(`^[Ii][0-9a-fA-F]{40}$`)
	newURL      = regexp.MustCompile(`/c/(.+?)/\+/([0-9]+)(?:/|$)`)
	plainURL    = regexp.MustCompile(`/([0-9]+)(?:/[0-9]+)?/?$`)
)

// DependsOnOf finds the Depends-On footers of a commit message, in their order,
// each once. As with Zuul, any line that begins with "Depends-On:" counts, in any
// case, wherever it stands. What follows is the address of a change
// (https://host/c/project/+/123, https://host/123, https://host/#/c/123/), a number, a
// Change-Id or project~branch~Change-Id. A footer that is none of these is kept, not Understood:
// a dependency that was meant must not vanish.
func DependsOnOf(message string) []DependsOn {
	var found []DependsOn
	seen := map[string]bool{}
	for _, m := range dependsLine.FindAllStringSubmatch(message, -1) {
		if text := strings.TrimSpace(m[1]); text != "" && !seen[text] {
			seen[text] = true
			found = append(found, parseDependsOn(text))
		}
	}
	return found
}

func parseDependsOn(text string) DependsOn {
	d := DependsOn{Text: text}
	if lower := strings.ToLower(text); strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
		d.URL = text
		d.parseURL()
		return d
	}
	if d.parseID(text); d.Understood() {
		return d
	}
	// project~number, project~branch~Change-Id: Gerrit's own ids, escaped or not.
	parts := strings.Split(text, "~")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
		return d
	}
	if d.parseID(parts[len(parts)-1]); !d.Understood() {
		return d
	}
	d.Project = unescape(parts[0])
	if len(parts) == 3 {
		d.Branch = strings.TrimPrefix(unescape(parts[1]), "refs/heads/")
	}
	return d
}

func (d *DependsOn) parseID(text string) {
	if changeID.MatchString(text) {
		d.ChangeID = "I" + strings.ToLower(text[1:])
		return
	}
	d.Number = number(text)
}

func (d *DependsOn) parseURL() {
	u, err := url.Parse(d.URL)
	if err != nil || u.Host == "" {
		return
	}
	path := u.Path
	if strings.HasPrefix(u.Fragment, "/") { // the old UI: https://host/#/c/123/
		path = u.Fragment
	}
	if m := newURL.FindStringSubmatch(path); m != nil {
		d.Project, d.Number = m[1], number(m[2])
		return
	}
	if m := plainURL.FindStringSubmatch(path); m != nil {
		d.Number = number(m[1])
		return
	}
	// https://host/q/Ixxxx
	d.parseID(path[strings.LastIndexByte(path, '/')+1:])
}

// number reads a change number: digits only, above 0, within what Gerrit's int holds; else 0.
func number(text string) int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// Owns says whether the footer can mean a change of this Gerrit: it is no address,
// or an address below URL or one of WebURLs.
func (c *Client) Owns(d DependsOn) bool {
	if d.URL == "" {
		return true
	}
	there, err := url.Parse(d.URL)
	if err != nil {
		return false
	}
	for _, own := range append([]string{c.cfg.URL}, c.cfg.WebURLs...) {
		here, err := url.Parse(own)
		if err == nil && strings.EqualFold(here.Host, there.Host) &&
			strings.HasPrefix(there.Path+"/", strings.TrimRight(here.Path, "/")+"/") {
			return true
		}
	}
	return false
}

// Resolve finds the changes that a footer means. A number is one change; a
// Change-Id is, as with Zuul, every change that has it (one on each branch), but
// abandoned ones only when there is no other. Nothing found is IsNotFound; a
// footer that is not Understood, or that another Gerrit Owns, is an error that says so.
func (c *Client) Resolve(ctx context.Context, d DependsOn) ([]Change, error) {
	switch {
	case !c.Owns(d):
		return nil, fmt.Errorf("gerrit: Depends-On: %s is not a change of %s", d.Text, c.BaseURL())
	case !d.Understood():
		return nil, fmt.Errorf("gerrit: Depends-On: %s names no change: write its address, number or Change-Id", d.Text)
	case d.Number != 0:
		found, err := c.Change(ctx, d.Number)
		if err != nil {
			return nil, err
		}
		if d.Project != "" && d.Project != found.Project {
			return nil, fmt.Errorf("gerrit: Depends-On: %s: change %d is of project %s", d.Text, d.Number, found.Project)
		}
		return []Change{*found}, nil
	}
	query := "change:" + d.ChangeID
	if d.Project != "" {
		query += " project:" + Quote(d.Project)
	}
	if d.Branch != "" {
		query += " branch:" + Quote(d.Branch)
	}
	all, err := c.Query(ctx, query, 0)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, &Error{
			Status: http.StatusNotFound, Method: http.MethodGet, Path: "/changes/",
			Message: "Depends-On: " + d.Text + ": no change with this Change-Id",
		}
	}
	var meant []Change
	for _, change := range all {
		if change.Status != StatusAbandoned {
			meant = append(meant, change)
		}
	}
	if len(meant) == 0 {
		meant = all
	}
	return meant, nil
}
