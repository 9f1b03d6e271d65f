package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice/internal/config"
)

// What needs no service: files that are checked, and what is used wrongly.
func TestAlone(t *testing.T) {
	t.Setenv("SLUICE_URL", "http://127.0.0.1:1") // nobody's
	for _, name := range []string{"SLUICE_TOKEN", "SLUICE_LISTEN", "DATABASE_URL"} {
		t.Setenv(name, "")
	}
	testscript.Run(t, testscript.Params{
		Dir:  "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"sluice": sluice},
	})
}

// A database that refuses is named when the time is over, without its password.
func TestDatabaseThatRefuses(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	c := atDatabase{Database: "postgres://sluice:hush-hush@127.0.0.1:1/sluice?sslmode=disable"}
	_, err := c.open(ctx, &config.Site{}, nil)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
	if err != nil && strings.Contains(err.Error(), "hush-hush") {
		t.Error("the password is told")
	}
}
