package sandbox

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watch measures, every half second or so, what no kernel limit here bounds:
// the bytes in the box's upper directory, and, without control groups, the
// memory and processes of all its processes together. A command that has
// been at its limit of processes for five looks in a row is a fork bomb.
//
// Between two looks a command may pass the limit of disk; RLIMIT_FSIZE keeps
// any one file below it.
func (p *process) watch(stop <-chan struct{}, over chan<- *LimitError) {
	const pause = 500 * time.Millisecond
	l := p.box.opt.Limits
	full := 0
	wait := pause
	for {
		select {
		case <-stop:
			return
		case <-time.After(wait):
		}
		began := time.Now()
		if used, _ := diskUsage(p.box.Upper()); used > l.Disk {
			over <- p.limit(LimitDisk, l.Disk)
			return
		}
		processes, memory := p.usage()
		if memory > l.Memory {
			over <- p.limit(LimitMemory, l.Memory)
			return
		}
		if processes >= l.Processes {
			if full++; full >= 5 {
				over <- p.limit(LimitProcesses, l.Processes)
				return
			}
		} else {
			full = 0
		}
		wait = max(pause, 10*time.Since(began))
	}
}

// usage gives the processes of the box without init, and the bytes of memory
// that they use (0 if a control group counts them).
func (p *process) usage() (processes, memory int64) {
	if p.group != nil {
		return p.group.count("pids/pids.current", "") - initThreads(p.pid), 0
	}
	all := descendants(p.pid, p.box.opt.Limits.Processes+64)
	for _, pid := range all {
		memory += anonymous(pid)
	}
	return int64(len(all)), memory
}

// initThreads counts the threads of init, which a control group counts too.
func initThreads(pid int) int64 {
	d, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return int64(len(d))
}

// descendants gives the processes below pid, at most about limit.
func descendants(pid int, limit int64) []int {
	var all []int
	next := []int{pid}
	for len(next) > 0 && int64(len(all)) < limit {
		p := next[0]
		next = next[1:]
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			for _, s := range strings.Fields(string(b)) {
				if c, err := strconv.Atoi(s); err == nil {
					all = append(all, c)
					next = append(next, c)
				}
			}
		}
	}
	return all
}

// anonymous gives the bytes of memory that are pid's own.
func anonymous(pid int) (n int64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		name, rest, _ := strings.Cut(s.Text(), ":")
		if name == "RssAnon" || name == "RssShmem" {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			n += kb << 10
		}
	}
	return n
}

// diskUsage gives the bytes that the files below dir occupy. Files that come
// and go meanwhile are no error.
func diskUsage(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512 / max(1, int64(st.Nlink)*b2i(!d.IsDir()))
			}
		}
		return nil
	})
	return n, err
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
