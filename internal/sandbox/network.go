package sandbox

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// network is the listener of one box while a command runs.
type network struct {
	server *http.Server
	cancel context.CancelFunc
}

// listen serves h at Address in the network namespace of pid. Only the
// socket is there: requests are handled by this process, in its own network.
func listen(pid int, h http.Handler) (*network, error) {
	l, err := ListenIn(pid, Address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &network{cancel: cancel, server: &http.Server{
		Handler: h, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}}
	go n.server.Serve(l)
	return n, nil
}

// close ends the listener, its connections and the requests being served.
func (n *network) close() {
	n.cancel()
	n.server.Close()
}

// ListenIn opens a TCP listener in the network namespace of process pid,
// whose loopback it raises first.
func ListenIn(pid int, address string) (net.Listener, error) {
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		// The thread is in the wrong network afterwards: as it is not
		// unlocked, it dies with this goroutine.
		runtime.LockOSThread()
		var r result
		r.err = enterNetwork(pid)
		if r.err == nil {
			r.l, r.err = net.Listen("tcp4", address)
		}
		done <- r
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("listening at %s in the network of process %d: %w", address, pid, r.err)
	}
	return r.l, nil
}

func enterNetwork(pid int) error {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("setns: %w", err)
	}
	return loopbackUp()
}
