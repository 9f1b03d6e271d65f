package gerrit_test

import (
	"strings"
	"testing"

	"sluice/internal/gerrit"
)

func TestDependsOnOf(t *testing.T) {
	id := "I" + strings.Repeat("0123456789", 4)
	for message, want := range map[string][]gerrit.DependsOn{
		"Subject\n\nNothing here, Depends-On: 5 is in the middle": nil,
		"Depends-On: 5": {{Text: "5", Number: 5}},
		"S\n\ndepends-on:  7  \r\nDEPENDS-ON: 7\r\n":  {{Text: "7", Number: 7}},
		"S\n\nDepends-On: 7\n\nmore\n\nDepends-On: 8": {{Text: "7", Number: 7}, {Text: "8", Number: 8}},
		"S\n\nDepends-On: " + strings.ToUpper(id):     {{Text: strings.ToUpper(id), ChangeID: id}},
		"S\n\nDepends-On: p/q~" + id:                  {{Text: "p/q~" + id, ChangeID: id, Project: "p/q"}},
		"S\n\nDepends-On: p%2Fq~stable%2F1~" + id:     {{Text: "p%2Fq~stable%2F1~" + id, ChangeID: id, Project: "p/q", Branch: "stable/1"}},
		"S\n\nDepends-On: https://h/c/p/q/+/12":       {{Text: "https://h/c/p/q/+/12", URL: "https://h/c/p/q/+/12", Project: "p/q", Number: 12}},
		"S\n\nDepends-On: https://h/r/c/p/+/12/3/a.c": {{Text: "https://h/r/c/p/+/12/3/a.c", URL: "https://h/r/c/p/+/12/3/a.c", Project: "p", Number: 12}},
		"S\n\nDepends-On: https://h/12":               {{Text: "https://h/12", URL: "https://h/12", Number: 12}},
		"S\n\nDepends-On: https://h/12/3":             {{Text: "https://h/12/3", URL: "https://h/12/3", Number: 12}},
		"S\n\nDepends-On: https://h/#/c/12/":          {{Text: "https://h/#/c/12/", URL: "https://h/#/c/12/", Number: 12}},
		"S\n\nDepends-On: https://h/q/" + id:          {{Text: "https://h/q/" + id, URL: "https://h/q/" + id, ChangeID: id}},
		"S\n\nDepends-On: https://h/somewhere":        {{Text: "https://h/somewhere", URL: "https://h/somewhere"}},
		"S\n\nDepends-On: the other one":              {{Text: "the other one"}},
		"S\n\nDepends-On: 0":                          {{Text: "0"}},
		"S\n\nDepends-On: 99999999999999999999":       {{Text: "99999999999999999999"}},
		"S\n\nDepends-On:\nI am not one":              nil,
	} {
		equal(t, message, gerrit.DependsOnOf(message), want)
	}
}

func TestOwns(t *testing.T) {
	c, err := gerrit.New(gerrit.Config{URL: "http://10.0.0.1:8080/r", WebURLs: []string{"https://review.example.com/r/"}})
	check(t, err)
	for text, want := range map[string]bool{
		"12": true, "https://review.example.com/r/c/p/+/12": true, "https://REVIEW.example.com/r/12": true, "http://10.0.0.1:8080/r/12": true,
		"https://review.example.com/12": false, "https://review.example.com/rr/12": false, "https://elsewhere.example.com/r/12": false,
	} {
		equal(t, text, c.Owns(gerrit.DependsOnOf("Depends-On: " + text)[0]), want)
	}
}

func FuzzDependsOnOf(f *testing.F) {
	f.Add("S\n\nDepends-On: https://h/c/p/+/12/3\ndepends-on: I0123456789012345678901234567890123456789\n")
	f.Add("Depends-On: p%2Fq~main~I0123456789012345678901234567890123456789")
	f.Add("Depends-On: http://[::1]:x/#/c/1\r\nDepends-On: ~~")
	f.Fuzz(func(t *testing.T, message string) {
		lines := strings.Count(strings.ToLower(message), "depends-on:")
		found := gerrit.DependsOnOf(message)
		if len(found) > lines {
			t.Fatalf("%d of %d lines", len(found), lines)
		}
		for _, d := range found {
			if d.Text == "" || d.Number < 0 || d.Number != 0 && d.ChangeID != "" || d.ChangeID != "" && len(d.ChangeID) != 41 {
				t.Fatalf("%+v", d)
			}
		}
	})
}
