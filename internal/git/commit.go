package git

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// rawCommit is a commit object with its people as they are written.
type rawCommit struct {
	id, tree          string
	parents           []string
	author, committer string
	encoding          string
	message           []byte
}

func (c rawCommit) subject() string { return Commit{Message: string(c.message)}.Subject() }

func (o *objects) commit(id string) (rawCommit, error) {
	data, err := o.read("commit", id, maxTree)
	if err != nil {
		return rawCommit{}, err
	}
	c, err := parseCommit(data)
	if err != nil {
		return rawCommit{}, fmt.Errorf("commit %s: %w", id, err)
	}
	c.id = id
	return c, nil
}

// parseCommit reads a commit object. Headers that it does not know (signatures)
// are passed over.
func parseCommit(data []byte) (rawCommit, error) {
	head, message, ok := bytes.Cut(data, []byte("\n\n"))
	if !ok {
		head = bytes.TrimSuffix(data, []byte("\n"))
	}
	c := rawCommit{message: message}
	for _, line := range strings.Split(string(head), "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			c.tree = value
		case "parent":
			c.parents = append(c.parents, value)
		case "author":
			c.author = value
		case "committer":
			c.committer = value
		case "encoding":
			c.encoding = value
		}
	}
	if err := checkID(append([]string{c.tree}, c.parents...)...); err != nil {
		return rawCommit{}, err
	}
	if c.author == "" || c.committer == "" {
		return rawCommit{}, errors.New("malformed commit: no author or committer")
	}
	return c, nil
}

// parseIdent reads "NAME <EMAIL> SECONDS ZONE". What cannot be read is zero: the
// people of old histories are not always well formed.
func parseIdent(s string) (name, email string, when time.Time) {
	open := strings.IndexByte(s, '<')
	end := strings.LastIndexByte(s, '>')
	if open < 0 || end < open {
		return s, "", time.Unix(0, 0).UTC()
	}
	name, email = strings.TrimSpace(s[:open]), s[open+1:end]
	f := strings.Fields(s[end+1:])
	if len(f) == 0 {
		return name, email, time.Unix(0, 0).UTC()
	}
	sec, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || sec < 0 || sec > 1<<40 {
		sec = 0
	}
	zone := time.UTC
	if len(f) > 1 && len(f[1]) == 5 {
		if n, err := strconv.Atoi(f[1]); err == nil && n%100 < 60 && n%100 > -60 && n != 0 {
			zone = time.FixedZone("", (n/100*60+n%100)*60)
		}
	}
	return name, email, time.Unix(sec, 0).In(zone)
}

// format is the inverse of parseCommit.
func (c rawCommit) format() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "tree %s\n", c.tree)
	for _, p := range c.parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	fmt.Fprintf(&b, "author %s\ncommitter %s\n", c.author, c.committer)
	if c.encoding != "" {
		fmt.Fprintf(&b, "encoding %s\n", c.encoding)
	}
	b.WriteByte('\n')
	b.Write(c.message)
	return b.Bytes()
}

func (c rawCommit) public() Commit {
	p := Commit{ID: c.id, Tree: c.tree, Parents: c.parents, Message: string(c.message)}
	p.Author.Name, p.Author.Email, p.AuthorTime = parseIdent(c.author)
	p.Committer.Name, p.Committer.Email, p.CommitTime = parseIdent(c.committer)
	return p
}
