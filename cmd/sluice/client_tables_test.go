package main

import (
	"testing"

	"sluice/api"
)

func TestLanesInWords(t *testing.T) {
	lanes := []api.Lane{{Name: "zlib", Items: 1}, {Name: "curl, jq", Items: 2}, {Name: "hello", Items: 3}}
	if got, want := lanesInWords(lanes), " in each of 3 lanes: 3 of hello, 2 of curl, jq"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := lanesInWords(lanes[1:2]); got != "" {
		t.Errorf("one lane: %q", got)
	}
}
