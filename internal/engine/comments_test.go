package engine

import (
	"slices"
	"testing"

	"sluice/internal/config"
	"sluice/internal/gerrit"
)

func TestCommandsInComments(t *testing.T) {
	words := config.Comments{Recheck: []string{"recheck", "try-again"}, Why: []string{"why"}}
	for text, want := range map[string][]spoken{
		"Patch Set 3:\n\nrecheck":                                   {{verbRecheck, ""}},
		"Patch Set 3: Code-Review+1\n\nRecheck the mirror was down": {{verbRecheck, "the mirror was down"}},
		"recheck": {{verbRecheck, ""}},
		"Patch Set 1:\n\nNice.\n\ntry-again\nrecheck\n": {{verbRecheck, ""}},
		"why":                          {{verbWhy, ""}},
		"why?":                         {{verbWhy, ""}},
		"Patch Set 1:\n\nwhy\nrecheck": {{verbWhy, ""}, {verbRecheck, ""}},
		"why not use a map here?":      nil,
		"rechecked it":                 nil,
		"please recheck":               nil,
		"> recheck":                    nil,
		"Patch Set 2: recheck":         nil,
		"":                             nil,
	} {
		if got := commandsIn(words, text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := commandsIn(config.Comments{}, "recheck\nwhy"); len(got) > 0 {
		t.Errorf("turned off: %v", got)
	}
}

func TestWhoMayRecheck(t *testing.T) {
	account := func(id int) gerrit.Account { return gerrit.Account{ID: id} }
	c := &gerrit.Change{Owner: account(1), Uploader: account(2), Reviewers: []gerrit.Account{account(3)}}
	for id := 1; id <= 4; id++ {
		if got := mayRecheck(config.Comments{By: "reviewers"}, c, account(id)); got != (id < 4) {
			t.Errorf("reviewers: %d may %v", id, got)
		}
		if !mayRecheck(config.Comments{By: "anyone"}, c, account(id)) {
			t.Errorf("anyone: %d may not", id)
		}
	}
}
