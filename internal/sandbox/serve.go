package sandbox

import "net/http"

// Serve sets the handler of the box's repositories: for boxes that Layer
// makes, which have none. It waits for a running command to end.
func (b *Box) Serve(h http.Handler) {
	b.run.Lock()
	defer b.run.Unlock()
	b.opt.Repositories = h
}
