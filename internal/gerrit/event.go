package gerrit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// TypeMalformed is the type of an event that could not be read; Problem says why.
// TypeDropped is Gerrit's own word that this listener was too slow and events were
// lost: ask what is true.
const (
	TypeMalformed = "malformed"
	TypeDropped   = "dropped-output"
)

// Event is a hint that something happened, from stream-events or a webhook.
// Fields that a type does not have are empty; of an unknown type, those that it shares are set.
type Event struct {
	Type string // "patchset-created", …, or TypeMalformed
	// Key is the same for the same event, whichever way and however often it
	// comes: a hash of its contents, 64 hex digits.
	Key string
	// Raw is the event in a form that a database can hold: valid JSON, keys
	// sorted, no NUL, no broken Unicode. Of a malformed one, a JSON string with its first 64 KiB.
	Raw       json.RawMessage
	CreatedOn time.Time // whole seconds: tells no order; zero if not given
	Problem   string    // of a malformed one

	Project  string
	Branch   string // without refs/heads/
	Change   int    // also of a ref-updated below refs/changes/, from the ref's name
	ChangeID string
	PatchSet int
	Revision string // of the patch set; after a merge the branch's tip is NewRev
	Subject  string
	Status   string
	Topic    string
	Private  bool
	WIP      bool

	Who       string // username, or name, of whoever did it
	Username  string // of whoever did it, where Gerrit tells it
	Comment   string
	Approvals []Approval

	Ref            string      // of ref-updated: the whole name
	OldRev, NewRev string      // of ref-updated; change-merged has NewRev
	Refs           []RefUpdate // of batch-ref-updated
}

// Approval is a vote in a comment-added or vote-deleted.
type Approval struct {
	Label   string
	Value   int
	Old     int
	Changed bool // this event changed it; else it only repeats what stands
}

// RefUpdate is one ref of a batch.
type RefUpdate struct{ Ref, OldRev, NewRev string }

// text is a string that some versions write as a number or as an object with a name.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	var named struct {
		Name string `json:"name"`
	}
	if len(b) > 0 && b[0] == '{' && json.Unmarshal(b, &named) == nil {
		*t = text(named.Name)
		return nil
	}
	*t = text(b)
	return nil
}

func (t text) int() int {
	n, err := strconv.ParseInt(strings.TrimPrefix(string(t), "+"), 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

type personEvent struct {
	Name     string `json:"name"`
	Username string `json:"username"`
}

type refEvent struct {
	Project text   `json:"project"`
	RefName string `json:"refName"`
	OldRev  string `json:"oldRev"`
	NewRev  string `json:"newRev"`
}

type eventJSON struct {
	Type        string      `json:"type"`
	CreatedOn   json.Number `json:"eventCreatedOn"`
	Project     text        `json:"project"`
	ProjectName string      `json:"projectName"`
	RefName     string      `json:"refName"`
	NewRev      string      `json:"newRev"`
	Comment     string      `json:"comment"`
	ChangeKey   struct {
		ID string `json:"id"`
	} `json:"changeKey"`
	Change struct {
		Project text   `json:"project"`
		Branch  string `json:"branch"`
		ID      string `json:"id"`
		Number  text   `json:"number"`
		Subject string `json:"subject"`
		Status  string `json:"status"`
		Topic   string `json:"topic"`
		Private bool   `json:"private"`
		WIP     bool   `json:"wip"`
	} `json:"change"`
	PatchSet struct {
		Number   text   `json:"number"`
		Revision string `json:"revision"`
	} `json:"patchSet"`
	Approvals []struct {
		Type     string `json:"type"`
		Value    text   `json:"value"`
		OldValue *text  `json:"oldValue"`
	} `json:"approvals"`
	RefUpdate  refEvent   `json:"refUpdate"`
	RefUpdates []refEvent `json:"refUpdates"`

	Author    *personEvent `json:"author"`
	Uploader  *personEvent `json:"uploader"`
	Submitter *personEvent `json:"submitter"`
	Abandoner *personEvent `json:"abandoner"`
	Restorer  *personEvent `json:"restorer"`
	Changer   *personEvent `json:"changer"`
	Editor    *personEvent `json:"editor"`
	Adder     *personEvent `json:"adder"`
	Remover   *personEvent `json:"remover"`
	Deleter   *personEvent `json:"deleter"`
}

// ParseEvent reads one event. It never fails: what cannot be read is an event of
// TypeMalformed, and an unknown type is kept with all that it holds.
func ParseEvent(line []byte) Event {
	line = bytes.TrimSpace(stripPrefix(line))
	raw, err := canonical(line)
	if err != nil {
		return malformed(line, err.Error())
	}
	var j eventJSON
	if err := json.Unmarshal(raw, &j); err != nil {
		return malformed(line, err.Error())
	}
	if j.Type == "" || j.Type == TypeMalformed {
		return malformed(line, "it has no type")
	}
	sum := sha256.Sum256(raw)
	e := j.event()
	e.Raw, e.Key = raw, hex.EncodeToString(sum[:])
	return e
}

// keptOfMalformed is how much of a line that cannot be read is kept, in bytes.
const keptOfMalformed = 64 << 10

func malformed(line []byte, problem string) Event {
	sum := sha256.Sum256(line)
	kept := strings.ReplaceAll(strings.ToValidUTF8(cut(string(line), keptOfMalformed), "\uFFFD"), "\x00", "\uFFFD")
	raw, err := json.Marshal(kept)
	if err != nil { // a valid string always marshals
		raw = []byte(`""`)
	}
	return Event{Type: TypeMalformed, Key: hex.EncodeToString(sum[:]), Raw: raw, Problem: problem}
}

func (j *eventJSON) event() Event {
	e := Event{
		Type: j.Type, Project: string(j.Change.Project), Branch: j.Change.Branch,
		Change: j.Change.Number.int(), ChangeID: j.Change.ID, PatchSet: j.PatchSet.Number.int(), Revision: j.PatchSet.Revision,
		Subject: j.Change.Subject, Status: j.Change.Status, Topic: j.Change.Topic, Private: j.Change.Private, WIP: j.Change.WIP,
		Comment: j.Comment, Ref: j.RefUpdate.RefName, OldRev: j.RefUpdate.OldRev,
	}
	who := j.who()
	e.Who, e.Username = orDefault(who.Username, who.Name), who.Username
	for _, p := range []string{string(j.Project), string(j.RefUpdate.Project), j.ProjectName} {
		e.Project = orDefault(e.Project, p)
	}
	e.ChangeID = orDefault(e.ChangeID, j.ChangeKey.ID)
	e.NewRev = orDefault(j.RefUpdate.NewRev, j.NewRev)
	if seconds, err := j.CreatedOn.Int64(); err == nil && seconds > 0 && seconds < 1<<40 {
		e.CreatedOn = time.Unix(seconds, 0).UTC()
	}
	for _, r := range j.RefUpdates {
		e.Refs = append(e.Refs, RefUpdate{r.RefName, r.OldRev, r.NewRev})
	}
	for _, a := range j.Approvals {
		approval := Approval{Label: a.Type, Value: a.Value.int(), Changed: a.OldValue != nil}
		if a.OldValue != nil {
			approval.Old = a.OldValue.int()
		}
		e.Approvals = append(e.Approvals, approval)
	}
	for _, ref := range []string{e.Ref, j.RefName, e.Branch} {
		if name, isBranch := strings.CutPrefix(ref, "refs/heads/"); isBranch && (e.Branch == "" || e.Branch == ref) {
			e.Branch = name
		}
	}
	if e.Change == 0 {
		e.Change, e.PatchSet = changeOfRef(e.Ref)
	}
	return e
}

// changeRef is refs/changes/34/1234/5, or …/meta, which moves at every comment
// and vote, and when the change moves to another branch.
var changeRef = regexp.MustCompile(`^refs/changes/[0-9]{2}/([0-9]+)/([0-9]+|meta)$`)

func changeOfRef(ref string) (change, patchSet int) {
	m := changeRef.FindStringSubmatch(ref)
	if m == nil {
		return 0, 0
	}
	return number(m[1]), number(m[2])
}

func (j *eventJSON) who() personEvent {
	for _, p := range []*personEvent{
		j.Submitter, j.Abandoner, j.Restorer, j.Changer, j.Editor, j.Adder, j.Remover, j.Deleter, j.Author, j.Uploader,
	} {
		if p != nil {
			return *p
		}
	}
	return personEvent{}
}

// canonical rewrites an object of JSON so that equal events are equal bytes and
// a database takes it.
func canonical(line []byte) (json.RawMessage, error) {
	if len(line) == 0 || line[0] != '{' {
		return nil, errors.New("it is no JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows after the object")
	}
	clean, err := cleaned(v, 0)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(clean); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// cleaned takes NULs out of strings, and refuses what a database cannot hold.
func cleaned(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "\uFFFD"), nil
	case json.Number:
		if _, err := v.Float64(); err != nil || len(v) > 64 {
			return nil, fmt.Errorf("the number %s is too large", cut(v.String(), 64))
		}
	case []any:
		for i := range v {
			kid, err := cleaned(v[i], depth+1)
			if err != nil {
				return nil, err
			}
			v[i] = kid
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for k, kid := range v {
			kid, err := cleaned(kid, depth+1)
			if err != nil {
				return nil, err
			}
			clean[strings.ReplaceAll(k, "\x00", "\uFFFD")] = kid
		}
		return clean, nil
	}
	return v, nil
}
