package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Secret is something that nobody may read over a shoulder: it is written in
// the site file as {file: path}, {env: NAME} or {value: text}, and however it
// is printed, it prints as "***". Only Reveal gives its text.
type Secret struct {
	file, env string
	// value is a pointer, for fmt does not ask the methods of a field that is
	// not exported: it prints an address then, and not the text.
	value *string
}

// FileSecret is a secret that is kept in a file.
func FileSecret(path string) Secret { return Secret{file: path} }

// EnvSecret is a secret that an environment variable holds.
func EnvSecret(name string) Secret { return Secret{env: name} }

// ValueSecret is a secret by its text.
func ValueSecret(text string) Secret { return Secret{value: &text} }

// IsZero reports whether none was given.
func (s Secret) IsZero() bool { return s.file == "" && s.env == "" && s.value == nil }

// Equal reports whether two secrets are kept in the same place, or are the same text.
func (s Secret) Equal(other Secret) bool {
	same := s.value == other.value || s.value != nil && other.value != nil && *s.value == *other.value
	return s.file == other.file && s.env == other.env && same
}

// Path returns the file that the secret is kept in; "" if it is kept elsewhere.
func (s Secret) Path() string { return s.file }

// Env returns the environment variable that holds the secret; "" if none does.
func (s Secret) Env() string { return s.env }

// ErrNoSecret says that a secret was not given, or that its environment variable is empty.
var ErrNoSecret = errors.New("no secret is given")

// maxSecret bounds a secret's file, in bytes.
const maxSecret = 1 << 20

// Reveal returns the secret's text, without the line ends that close its file.
// It fails with ErrNoSecret, or with the file system's own error.
func (s Secret) Reveal() (string, error) {
	switch {
	case s.file != "":
		return readSecret(s.file)
	case s.env != "":
		text := os.Getenv(s.env)
		if text == "" {
			return "", fmt.Errorf("environment variable %s is empty: %w", s.env, ErrNoSecret)
		}
		return text, nil
	case s.value != nil:
		return *s.value, nil
	}
	return "", ErrNoSecret
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if len(text) > maxSecret {
		return "", fmt.Errorf("read secret: %s is larger than %s", path, Size(maxSecret))
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

const stars = "***"

// String is "***".
func (s Secret) String() string { return stars }

// GoString is "***".
func (s Secret) GoString() string { return stars }

// Format prints "***" whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, stars) }

// MarshalText gives "***", for JSON, logs and every encoder that asks.
func (s Secret) MarshalText() ([]byte, error) { return []byte(stars), nil }
