package gate

import (
	"slices"
	"time"
)

// chance draws numbers that look random and are the same for the same seed:
// splitmix64, by Steele, Lea and Flood.
type chance struct{ state uint64 }

func (c *chance) next() uint64 {
	c.state += 0x9e3779b97f4a7c15
	z := c.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// share draws from [0, 1).
func (c *chance) share() float64 { return float64(c.next()>>11) / (1 << 53) }

// below draws from 0 to n-1; n is at least 1.
func (c *chance) below(n int) int { return int(c.next() % uint64(n)) }

// Times are measured lengths of time as quantiles: evenly spaced from the least
// to the greatest. None is no time at all.
type Times []time.Duration

// Measured makes n+1 quantiles of samples, in any order.
func Measured(samples []time.Duration, n int) Times {
	if len(samples) == 0 {
		return nil
	}
	s := slices.Sorted(slices.Values(samples))
	all := Times(s)
	out := make(Times, n+1)
	for i := range out {
		out[i] = all.at(float64(i) / float64(n))
	}
	return out
}

// at gives the length of time that a share of what was measured does not exceed.
func (t Times) at(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	place := share * float64(len(t)-1)
	i := min(int(place), len(t)-1)
	if i == len(t)-1 {
		return t[i]
	}
	return t[i] + time.Duration((place-float64(i))*float64(t[i+1]-t[i]))
}

// within gives the share of what was measured that does not exceed a length of time.
func (t Times) within(d time.Duration) float64 {
	if len(t) < 2 || d < t[0] {
		return 0
	}
	for i := range t[1:] {
		if d < t[i+1] {
			return (float64(i) + float64(d-t[i])/float64(t[i+1]-t[i])) / float64(len(t)-1)
		}
	}
	return 1
}

// draw gives a length of time as likely as it was measured.
func (t Times) draw(c *chance) time.Duration { return t.at(c.share()) }

// rest draws how much longer something takes that has taken so long already. What
// takes longer than all that was measured takes a tenth more, and a second.
func (t Times) rest(c *chance, ran time.Duration) time.Duration {
	passed := t.within(ran)
	if passed >= 1 || len(t) < 2 && ran >= t.at(0) {
		return ran/10 + time.Second
	}
	return max(t.at(passed+(1-passed)*c.share())-ran, 0)
}
