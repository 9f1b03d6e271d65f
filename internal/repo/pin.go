package repo

import (
	"sync"
	"time"
)

// Pinning of RPM clients.
//
// dnf fetches repomd.xml and then its signature; zypper fetches the signature,
// the key, and then repomd.xml. If the pointer moves between the two requests,
// they do not fit. So one client (address and User-Agent) is served one
// publication for the length of a burst of requests: the one that the
// repository pointed at when the burst began. A burst ends when nothing was
// asked for PinIdle, or after PinMost, whichever is first.
//
// What a pin holds is the time of the burst's begin, nothing else: which
// publication that was is computed from the history (release.AsOf), so that
// replicas that share bursts agree.
const (
	PinIdle = 3 * time.Second
	PinMost = 30 * time.Second
)

// Burst is a run of requests of one client.
type Burst struct{ Begin, Last time.Time }

// Next is the burst that a request at now belongs to: b, or a new one.
func (b Burst) Next(now time.Time) Burst {
	if b.Begin.IsZero() || now.Sub(b.Last) > PinIdle || now.Sub(b.Begin) > PinMost || now.Before(b.Begin) {
		return Burst{Begin: now, Last: now}
	}
	if now.After(b.Last) {
		b.Last = now
	}
	return b
}

// Pins remembers the bursts of this process's clients. The zero value is ready.
type Pins struct {
	mu     sync.Mutex // guards bursts and swept
	bursts map[pinKey]Burst
	swept  time.Time
}

type pinKey struct{ client, agent string }

// As returns the time as of which a client's request at now is answered. The
// client is its address without the port.
func (p *Pins) As(client, agent string, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bursts == nil {
		p.bursts = map[pinKey]Burst{}
	}
	if now.Sub(p.swept) > PinMost {
		for k, b := range p.bursts {
			if now.Sub(b.Last) > PinIdle {
				delete(p.bursts, k)
			}
		}
		p.swept = now
	}
	k := pinKey{client, agent}
	b := p.bursts[k].Next(now)
	p.bursts[k] = b
	return b.Begin
}

// Bursts is how many bursts are remembered.
func (p *Pins) Bursts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.bursts)
}
