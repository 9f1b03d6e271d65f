package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestCheckConfig(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Files: []string{"testdata/check-config.txtar"},
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"sluice": sluice},
	})
}

// A database that refuses is named when the time is over, without its password.
func TestDatabaseThatRefuses(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	c := fsckCommand{Database: "postgres://sluice:hush-hush@127.0.0.1:1/sluice?sslmode=disable"}
	_, err := c.database(ctx, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
	if err != nil && strings.Contains(err.Error(), "hush-hush") {
		t.Error("the password is told")
	}
}
