package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sluice/internal/config"
)

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0s": 0, "90s": 90 * time.Second, "2m": 2 * time.Minute, "1h30m": 90 * time.Minute, "20d": 20 * day, "2w": 14 * day, "1w1d": 8 * day, "250ms": 250 * time.Millisecond,
	} {
		if got, err := config.ParseDuration(text); err != nil || got.D() != want {
			t.Errorf("%s is %v, %v; want %v", text, got.D(), err, want)
		}
	}
	for _, text := range []string{"", "5", "h", "-1h", "1.5h", "1h ", "1hh", "1 h", "99999999999999999999s", "9223372036854775807w", "٣s"} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
	for want, d := range map[string]time.Duration{"90d": 90 * day, "2w": 14 * day, "1m30s": 90 * time.Second, "0s": 0} {
		if got := config.Duration(d).String(); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]config.Size{"0": 0, "512B": 512, "20MB": 20e6, "16MiB": 16 << 20, "4gb": 4e9, "1 TB": 1e12, "3kB": 3000, "2KiB": 2048} {
		if got, err := config.ParseSize(text); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-1B", "1.5GB", "MB", "9999999999TB", "9223372036854775808B", "1XB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
}

// A glob is judged by the regular expression that it stands for.
func TestGlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab/*]{0,8}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[ab/]{0,8}`).Draw(t, "name")
		re := regexp.QuoteMeta(pattern)
		re = strings.ReplaceAll(re, `\*\*`, `.-`)
		re = strings.ReplaceAll(re, `\*`, `[^/]*`)
		re = strings.ReplaceAll(re, `.-`, `.*`)
		if got, want := config.Glob(pattern, name), regexp.MustCompile("^"+re+"$").MatchString(name); got != want {
			t.Fatalf("Glob(%q, %q) is %v, want %v", pattern, name, got, want)
		}
	})
	long := strings.Repeat("a", 256)
	if config.Glob(strings.Repeat("*a", 100)+"b", long) || config.Glob(strings.Repeat("**a", 80)+"b", long) {
		t.Error("a pattern that does not match, matches")
	}
}

func TestSecretIsNeverShown(t *testing.T) {
	const text = "hunter2"
	s := config.ValueSecret(text)
	type inside struct {
		Open   config.Secret
		hidden config.Secret
		Many   []config.Secret
		By     map[string]config.Secret
		At     *config.Secret
	}
	all := inside{s, s, []config.Secret{s}, map[string]config.Secret{"k": s}, &s}
	_ = all.hidden
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", s, &s, all)
	}
	asJSON, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", s, "all", all)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "all", all)
	out.WriteString(log.String() + s.String() + errors.Join(fmt.Errorf("%w %v", config.ErrNoSecret, s)).Error())
	if shown := out.String(); strings.Contains(shown, text) || strings.Contains(shown, fmt.Sprintf("%x", text)) {
		t.Errorf("the secret is shown:\n%s", shown)
	}
	if got, err := s.Reveal(); got != text || err != nil {
		t.Errorf("Reveal gives %q, %v", got, err)
	}
}

func TestReveal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	write(t, file, "from file\n", 0o600)
	t.Setenv("SLUICE_TEST_SECRET", "from env")
	for want, s := range map[string]config.Secret{"from file": config.FileSecret(file), "from env": config.EnvSecret("SLUICE_TEST_SECRET")} {
		if got, err := s.Reveal(); got != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	for _, s := range []config.Secret{{}, config.EnvSecret("SLUICE_TEST_NOTHING")} {
		if _, err := s.Reveal(); !errors.Is(err, config.ErrNoSecret) {
			t.Errorf("got %v, want ErrNoSecret", err)
		}
	}
	if _, err := config.FileSecret(file + "x").Reveal(); err == nil {
		t.Error("a file that is not there is read")
	}
}
