package git

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Landing is a submit that is under way: what is known of the merge commit that
// Gerrit makes of it.
type Landing struct {
	Ref    string    // the branch, where it was looked at last: the merge's first parent
	Change string    // the commit that is merged onto it
	Tree   string    // what was tested, and is to be what the branch has then
	Since  time.Time // when the submit began
}

// skew is how far Gerrit's clock may be from this one, for Foresee to be of use.
const skew = 2 * time.Second

// tooLate is how long after its submit began a merge is not looked for any more.
const tooLate = time.Minute

// Foresee makes the commit of that id from what is known of it, rather than have
// it fetched, and reports whether it could. Gerrit's merges of one account differ
// in their parents, tree, subject and time only, and the branch's last merge shows
// the rest; of the time some seconds are tried. An id is the hash of all that a
// commit holds, so a guess is right or it is none: then the landed tree is Tree,
// and nothing has to be believed. Whatever Foresee does not know, a first merge,
// another submit type, somebody else's push, is to be fetched.
func (s *Store) Foresee(ctx context.Context, p Project, commit string, l Landing) (made bool, err error) {
	if err := errors.Join(checkID(commit, l.Change, l.Tree), checkRefPattern(l.Ref)); err != nil {
		return false, fmt.Errorf("foresee %s in %s: %w", commit, p, err)
	}
	until := time.Now()
	if until.Sub(l.Since) > tooLate {
		return false, nil
	}
	dir, err := s.repo(p)
	if err != nil {
		return false, err
	}
	o, err := s.objects(ctx, dir)
	if err != nil {
		return false, err
	}
	defer o.close()
	under, change, err := o.foundation(l)
	if err != nil || under.id == "" {
		return false, err
	}
	last, err := o.lastMerge(under)
	if err != nil || last == "" {
		return false, err
	}
	merge := rawCommit{
		tree: l.Tree, parents: []string{under.id, change.id},
		message: []byte(mergeSubject(change) + strings.TrimPrefix(string(under.message), last)),
	}
	for at := l.Since.Add(-skew).Unix(); at <= until.Add(skew).Unix(); at++ {
		merge.author, merge.committer = identAt(under.author, at), identAt(under.committer, at)
		if data := merge.format(); objectID("commit", data) == commit {
			o.add("commit", data)
			return true, o.flush()
		}
	}
	return false, nil
}

// foundation gives the commits that are to be merged, if all that a merge of them
// to the tree stands on is here.
func (o *objects) foundation(l Landing) (under, change rawCommit, err error) {
	_, err = o.resolve(l.Tree, "tree")
	at := ""
	if err == nil {
		at, err = o.resolve(l.Ref, "commit")
	}
	if err == nil {
		under, err = o.commit(at)
	}
	if err == nil {
		change, err = o.commit(l.Change)
	}
	if errors.Is(err, ErrNotFound) {
		return rawCommit{}, rawCommit{}, nil
	}
	return under, change, err
}

// lastMerge gives the beginning of a merge's message that tells what was merged,
// "" for what is no merge of Gerrit's.
func (o *objects) lastMerge(c rawCommit) (string, error) {
	if len(c.parents) != 2 || c.encoding != "" {
		return "", nil
	}
	merged, err := o.commit(c.parents[1])
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	subject := mergeSubject(merged)
	if err != nil || !strings.HasPrefix(string(c.message), subject) {
		return "", err
	}
	return subject, nil
}

// mergeSubject is how the message of a merge of one change begins (Gerrit's MergeUtil).
func mergeSubject(c rawCommit) string { return fmt.Sprintf("Merge \"%s\"", c.subject()) }

// identAt is somebody at another time, in the same zone; "" where it cannot be read.
func identAt(ident string, unix int64) string {
	who, rest, ok := strings.Cut(ident, "> ")
	_, zone, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		return ""
	}
	return fmt.Sprintf("%s> %d %s", who, unix, zone)
}
