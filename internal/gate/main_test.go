package gate_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain sets how many random histories are played, and how long they are:
// some thousand steps in all, or a thousand histories of each kind with
// SLUICE_TEST_FULL=1. The flags -rapid.checks and -rapid.steps say otherwise.
func TestMain(m *testing.M) {
	checks, steps := "400", "80"
	if os.Getenv("SLUICE_TEST_FULL") == "1" {
		checks, steps = "3000", "120"
	}
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.steps": steps, "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run()) // which parses the command line's flags over these
}
