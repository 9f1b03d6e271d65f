package engine

import (
	"flag"
	"testing"

	"sluice/internal/testenv"
)

// TestMain sets how many random histories are played on the database; the flag
// -rapid.checks says otherwise.
func TestMain(m *testing.M) {
	checks := "30"
	if testenv.Full() {
		checks = "500"
	}
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	testenv.Main(m) // which parses the command line's flags over these
}
