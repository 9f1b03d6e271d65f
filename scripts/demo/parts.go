package main

import (
	"errors"
	"slices"
	"time"
)

// sayEvery is how long the person who watches is left without a word.
const sayEvery = 10 * time.Second

// parts are things that are done at the same time.
type parts struct {
	began time.Time
	left  []string // names of those under way, sorted
	ended chan part
}

// part is one that has ended.
type part struct {
	name string
	err  error
}

// startParts starts each.
func startParts(all map[string]func() error) *parts {
	p := &parts{began: time.Now(), ended: make(chan part, len(all))}
	for name, f := range all {
		p.left = append(p.left, name)
		go func() { p.ended <- part{name, f()} }()
	}
	slices.Sort(p.left)
	return p
}

// wait returns when all have ended, with what failed, and tells every so often
// which have not, and for how long all of it has gone on.
func (p *parts) wait(every time.Duration, tell func(left []string, since time.Duration)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var failed []error
	for len(p.left) > 0 {
		select {
		case e := <-p.ended:
			p.left = slices.DeleteFunc(p.left, func(name string) bool { return name == e.name })
			failed = append(failed, e.err)
		case <-tick.C:
			tell(slices.Clone(p.left), time.Since(p.began))
		}
	}
	return errors.Join(failed...)
}
