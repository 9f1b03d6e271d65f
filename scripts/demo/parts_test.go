package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What takes long is named every so often, until it has ended.
func TestPartsAreNamedWhileTheyLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		last := func(d time.Duration, err error) func() error {
			return func() error {
				time.Sleep(d)
				return err
			}
		}
		var told []string
		err := startParts(map[string]func() error{
			"quick": last(time.Second, nil), "long": last(25*time.Second, broken), "longer": last(35*time.Second, nil),
		}).wait(10*time.Second, func(left []string, since time.Duration) {
			told = append(told, since.String()+" "+strings.Join(left, ","))
		})
		if got := strings.Join(told, "; "); got != "10s long,longer; 20s long,longer; 30s longer" {
			t.Errorf("told: %s", got)
		}
		if !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}
