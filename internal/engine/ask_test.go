package engine

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/gerrit"
)

// serials gives serials; a lock is none, so that the engine's own has to do.
type serials struct {
	Store
	last atomic.Int64
}

func (s *serials) NextRead(context.Context) (int64, time.Time, error) {
	defer runtime.Gosched()
	return s.last.Add(1), time.Time{}, nil
}

func (s *serials) Locked(ctx context.Context, _ string, f func(context.Context) error) error {
	return f(ctx)
}

// moving is a Gerrit whose change has another patch set at each look.
type moving struct {
	Gerrit
	state atomic.Int64
}

func (g *moving) Change(context.Context, int, ...gerrit.Option) (*gerrit.Change, error) {
	runtime.Gosched()
	return &gerrit.Change{PatchSet: int(g.state.Add(1))}, nil
}

// G21: of two reads of a change the one with the greater serial saw the newer state.
func TestReadsOfOneChangeAreSerial(t *testing.T) {
	e, g := &Engine{Store: &serials{}}, &moving{}
	type read struct{ serial, state int }
	reads := make([]read, 200)
	var readers sync.WaitGroup
	for i := range reads {
		readers.Go(func() {
			c, serial, _, err := e.ask(context.Background(), "main", g, 7)
			if err != nil {
				t.Error(err)
				return
			}
			reads[i] = read{int(serial), c.PatchSet}
		})
	}
	readers.Wait()
	slices.SortFunc(reads, func(a, b read) int { return cmp.Compare(a.serial, b.serial) })
	if !slices.IsSortedFunc(reads, func(a, b read) int { return cmp.Compare(a.state, b.state) }) {
		t.Errorf("a later read saw an older state: %v", reads)
	}
}
