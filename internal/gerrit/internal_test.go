package gerrit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// judged is one requirement on a change where Rae gave CR-2, Mai CR+2 and Workflow+1.
func judged(r Requirement) []string {
	rae, mai := Account{Name: "Rae"}, Account{Name: "Mai"}
	c := &Change{Status: StatusNew, Requirements: []Requirement{r}, Labels: []Label{
		{Name: "Verified", Min: -2, Max: 2, Votes: []Vote{{By: Account{Name: "Gate"}, Value: -2, Own: true}}},
		{Name: "Review", Min: -1, Max: 2, Votes: []Vote{{By: rae, Value: -1}, {By: mai, Value: 2}}},
		{Name: "Workflow", Min: -1, Max: 1, Votes: []Vote{{By: mai, Value: 1}}},
	}}
	_, reasons := NeedsOwnLabelOnly(c, "Verified")
	return reasons
}

func TestRequirements(t *testing.T) {
	failing := []string{"label:Verified=MAX", "is:x", "label:Workflow=-1", `label:"Review=MAX,user=non_uploader"`, "label:Review=MAX"}
	passing := []string{"label:Verified=MIN", "label:Review=MIN", "label:Workflow=MAX", "has:unresolved"}
	for text, want := range map[string][]string{
		"label:Verified=MAX":                                         nil,
		"label:Verified=MAX AND -label:Verified=MIN":                 nil,
		"label:Verified=MAX -label:Verified=MIN":                     nil,
		"label:Verified>=1 NOT label:Verified<0":                     nil,
		"label:Verified+2":                                           nil,
		`label:"Verified=MAX,user=non_uploader"`:                     nil,
		"label:Verified=MIN":                                         {"needs Verified-2"},
		"label:Verified=MAX AND is:x":                                {"needs is:x"},
		"label:Verified=MAX OR is:x":                                 nil,
		"label:Workflow=MAX AND label:Verified=MAX":                  nil,
		"-label:Review=MIN AND label:Verified=MAX":                   {"Review-1 by Rae"},
		`label:"Review=MAX,user=non_uploader"`:                       {"needs Review+2 by somebody other than the uploader"},
		"is:x OR label:Review=MAX":                                   {"needs is:x or needs Review+2"},
		"-(has:unresolved OR is:x)":                                  {"has unresolved comments"},
		"-has:unresolved":                                            {"has unresolved comments"},
		"label:Verified=MAX AND unseen:y":                            {"needs unseen:y"},
		"label:Verified=MAX AND -unseen:y":                           {"must not have unseen:y"},
		"((label:Verified=MAX":                                       {"submit requirement R is not met: is:x"},
		strings.Repeat("(", 200) + "is:x" + strings.Repeat(")", 200): {"submit requirement R is not met: is:x"},
	} {
		r := Requirement{Name: "R", Status: Unsatisfied, Submit: Expression{Text: text, Status: "FAIL", Passing: passing, Failing: failing}}
		if text[0] == '(' {
			r.Submit.Failing = []string{"label:Verified=MAX", "is:x"}
		}
		if got := judged(r); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestRequirementStatus(t *testing.T) {
	for status, want := range map[string][]string{
		Satisfied: nil, Overridden: nil, NotApplicable: nil, Forced: nil,
		Errored: {"submit requirement R cannot be evaluated: bad regex"}, "NEWFANGLED": {"submit requirement R is NEWFANGLED"},
	} {
		r := Requirement{Name: "R", Status: status}
		if status == Errored {
			r.Submit.Error = "bad regex"
		}
		if got := judged(r); !slices.Equal(got, want) {
			t.Errorf("%s: %q", status, got)
		}
	}
	hidden := Requirement{Name: "R", Status: Unsatisfied, Submit: Expression{Failing: []string{"label:Verified=MAX"}}}
	if got := judged(hidden); got != nil {
		t.Errorf("only the gate's own atom fails: %q", got)
	}
	override := Requirement{Name: "R", Status: Unsatisfied, Submit: Expression{Text: "is:x", Failing: []string{"is:x"}},
		Override: Expression{Text: "label:Verified=MAX", Failing: []string{"label:Verified=MAX"}}}
	if got := judged(override); got != nil {
		t.Errorf("the gate's vote overrides it: %q", got)
	}
}

func FuzzExpression(f *testing.F) {
	f.Add("label:Verified=MAX AND -label:Verified=MIN OR (NOT is:x)", "label:Verified=MAX")
	f.Add(`label:"Review=MAX,user=non_uploader" -file:"^.*\.(c|h)$"`, "is:x")
	f.Fuzz(func(t *testing.T, text, atom string) {
		judged(Requirement{Name: "R", Status: Unsatisfied, Submit: Expression{Text: text, Failing: []string{atom}}})
		judged(Requirement{Name: "R", Status: Unsatisfied, Legacy: true, Submit: Expression{Text: text, Passing: []string{atom}}})
	})
}

func FuzzStripPrefix(f *testing.F) {
	f.Add([]byte(`{"a":1}`))
	f.Add([]byte(`[")]}'"]`))
	f.Add([]byte("\xef\xbb\xbf)]}'\r\n\"x\""))
	f.Fuzz(func(t *testing.T, body []byte) {
		if plain := stripPrefix(append([]byte(")]}'\n"), body...)); !bytes.HasSuffix(body, plain) {
			t.Fatalf("%q became %q", body, plain)
		}
		if json.Valid(body) && !json.Valid(stripPrefix(append([]byte(")]}'\n"), body...))) {
			t.Fatalf("%q is no JSON any more", body)
		}
	})
}

func TestShorten(t *testing.T) {
	for _, n := range []int{0, 10, 800, 801, 5000} {
		text := strings.Repeat("ä", n)
		got := shorten(text, 1000, "")
		if len(got) > 1000 || !utf8.ValidString(got) || (len(text) <= 800) != (got == text) {
			t.Errorf("%d bytes became %d: %.20q", len(text), len(got), got)
		}
	}
}

func TestReadLines(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	lines := make(chan []byte)
	var err error
	go func() {
		defer close(lines)
		err = readLines(context.Background(), strings.NewReader("one\n"+long+"\n\n"+strings.Repeat("y", 100_000)+"\nlast"), 100_000, lines)
	}()
	var got []string
	for l := range lines {
		got = append(got, fmt.Sprintf("%d%.4s", len(l), l))
	}
	if want := []string{"3one", "100001xxxx", "0", "100000yyyy", "4last"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := readLines(ctx, strings.NewReader("one\n"), 100, make(chan []byte)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]bool{"3.13.5": true, "3.10": true, "3.10.2-3-gabc": true, "4.0": true, "(dev)": true, "3.9.1": false, "2.16": false} {
		if atLeast(version, 3, 10) != want {
			t.Error(version)
		}
	}
}
