package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written "90s", "2m", "1h30m", "20d" or "2w".
// A day is 24 hours.
type Duration time.Duration

// D returns it as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// String writes it as it is read, in the fewest words.
func (d Duration) String() string {
	rest := time.Duration(d)
	if rest <= 0 {
		return "0s"
	}
	var text strings.Builder
	for _, u := range durationUnits {
		if u.name == "w" && rest%u.unit != 0 {
			continue // 8d, not 1w1d
		}
		if n := rest / u.unit; n > 0 {
			fmt.Fprintf(&text, "%d%s", n, u.name)
			rest -= n * u.unit
		}
	}
	return text.String()
}

// ParseDuration reads "90s", "1h30m", "20d". No sign, no fraction, no bare number.
func ParseDuration(text string) (Duration, error) {
	var total time.Duration
	rest := text
	for first := true; first || rest != ""; first = false {
		digits, after := leadingDigits(rest)
		end := strings.IndexAny(after, "0123456789")
		if end < 0 {
			end = len(after)
		}
		name := after[:end]
		unit := time.Duration(0)
		for _, u := range durationUnits {
			if u.name == name {
				unit = u.unit
			}
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || unit == 0 {
			return 0, fmt.Errorf("%q is not a duration; write a number and a unit (ms, s, m, h, d, w): 90s, 1h30m, 20d", text)
		}
		if n > int64(maxDuration/unit) || total > maxDuration-time.Duration(n)*unit {
			return 0, fmt.Errorf("%q is too long; the longest duration is %s", text, Duration(maxDuration))
		}
		total += time.Duration(n) * unit
		rest = after[end:]
	}
	return Duration(total), nil
}

const maxDuration = 100 * 365 * 24 * time.Hour

// Size is a number of bytes, written "20MB" (10⁶) or "16MiB" (2²⁰).
type Size int64

var sizeUnits = []struct {
	name string
	unit int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

// String writes it with the largest unit that divides it.
func (s Size) String() string {
	best, unit := "B", int64(1)
	for _, u := range sizeUnits {
		if s > 0 && int64(s)%u.unit == 0 && u.unit > unit {
			best, unit = u.name, u.unit
		}
	}
	return strconv.FormatInt(int64(s)/unit, 10) + best
}

// ParseSize reads "20MB", "16MiB", "512B". No sign, no fraction, no bare number but 0.
func ParseSize(text string) (Size, error) {
	digits, name := leadingDigits(text)
	n, err := strconv.ParseInt(digits, 10, 64)
	if err == nil && n == 0 && name == "" {
		return 0, nil
	}
	for _, u := range sizeUnits {
		if err == nil && strings.EqualFold(u.name, strings.TrimSpace(name)) {
			if n > (1<<62)/u.unit {
				return 0, fmt.Errorf("%q is too large", text)
			}
			return Size(n * u.unit), nil
		}
	}
	return 0, fmt.Errorf("%q is not a size; write a number and a unit (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB): 20MB", text)
}

func leadingDigits(text string) (digits, rest string) {
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	return text[:i], text[i:]
}

// Date is a day, written "2026-12-24", in UTC.
type Date struct{ time.Time }

// String writes it as it is read.
func (d Date) String() string { return d.Format(time.DateOnly) }

// ParseDate reads "2026-12-24".
func ParseDate(text string) (Date, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return Date{}, fmt.Errorf("%q is not a day; write it as 2026-12-24", text)
	}
	return Date{t}, nil
}
