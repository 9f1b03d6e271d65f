package git

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// reader is one `git cat-file` process. Starting one takes longer than most
// readings, so that it stays for a while for the next.
type reader struct {
	store    *Store
	dir      string
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	errOut   *boundedBuffer
	drops    int  // of its repository, when it began
	inAnswer bool // there is more to be read of an answer, or something failed
	idle     *time.Timer
}

func (s *Store) newReader(dir string) (*reader, error) {
	cmd := s.command(context.Background(), call{dir: dir}, "cat-file", "--batch-command")
	r := &reader{store: s, dir: dir, cmd: cmd, errOut: &boundedBuffer{max: 4096, drop: true}}
	cmd.Stderr = r.errOut
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("git cat-file: %w", err)
	}
	r.in, r.out = in, bufio.NewReaderSize(out, 64<<10)
	return r, nil
}

// kill ends the process; whoever reads from it is told so.
func (r *reader) kill() { _ = r.cmd.Cancel() }

// end ends the process and waits for it.
func (r *reader) end() {
	r.in.Close()
	r.kill()
	_ = r.cmd.Wait()
}

const (
	readerStays = 10 * time.Second // how long a process waits for the next reading
	maxIdle     = 16               // how many wait at most
)

// readers are the processes that wait, by repository. They find what was
// stored, fetched, packed or moved since they began: git looks again for what
// it does not find, and reads refs anew. What was removed they may still see,
// so that whoever removes drops them.
type readers struct {
	mu    sync.Mutex
	idle  map[string][]*reader
	count int
	drops map[string]int // by repository: how often its processes were dropped
}

// take gives a process that reads a repository.
func (p *readers) take(s *Store, dir string) (*reader, error) {
	p.mu.Lock()
	waiting := p.idle[dir]
	for len(waiting) > 0 {
		r := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		p.keep(dir, waiting)
		if r.idle.Stop() {
			p.mu.Unlock()
			return r, nil
		} // else its time is over, and it ends itself
	}
	drops := p.drops[dir]
	p.mu.Unlock()
	r, err := s.newReader(dir)
	if err != nil {
		return nil, err
	}
	r.drops = drops
	return r, nil
}

// keep sets who waits; the caller holds mu.
func (p *readers) keep(dir string, waiting []*reader) {
	p.count += len(waiting) - len(p.idle[dir])
	if len(waiting) == 0 {
		delete(p.idle, dir)
		return
	}
	p.idle[dir] = waiting
}

// give has a process wait for the next reading, for a while.
func (p *readers) give(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count >= maxIdle || r.drops != p.drops[r.dir] {
		go r.end()
		return
	}
	r.idle = time.AfterFunc(readerStays, func() {
		p.remove(r)
		r.end()
	})
	if p.idle == nil {
		p.idle = map[string][]*reader{}
	}
	p.keep(r.dir, append(p.idle[r.dir], r))
}

// remove takes a process away from those that wait, if it is among them.
func (p *readers) remove(gone *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rest []*reader
	for _, r := range p.idle[gone.dir] {
		if r != gone {
			rest = append(rest, r)
		}
	}
	p.keep(gone.dir, rest)
}

// drop ends those that read a repository, each after its reading.
func (p *readers) drop(dir string) {
	p.mu.Lock()
	if p.drops == nil {
		p.drops = map[string]int{}
	}
	p.drops[dir]++
	waiting := p.idle[dir]
	p.keep(dir, nil)
	p.mu.Unlock()
	for _, r := range waiting {
		if r.idle.Stop() {
			r.end()
		}
	}
}
