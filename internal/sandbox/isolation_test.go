package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/job"
	"sluice/internal/sandbox"
	"sluice/internal/sandbox/roottest"
)

// box gives a box on Debian's install root.
func box(t *testing.T, l job.Limits) *sandbox.Box {
	t.Helper()
	return boxIn(t, shared.m, l)
}

func boxIn(t *testing.T, m *sandbox.Manager, l job.Limits) *sandbox.Box {
	t.Helper()
	s, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	layer := s.layer
	if m != shared.m {
		layer = must[sandbox.Layer](t)(m.Root(t.Context(), s.made.Archive, s.made.Open))
	}
	b := must[*sandbox.Box](t)(m.New(t.Context(), sandbox.BoxOptions{Name: t.Name(), Layers: []sandbox.Layer{layer}, Limits: l, Repositories: s.handler}))
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// sh runs a script and gives what it printed.
func sh(t *testing.T, b *sandbox.Box, user, script string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := b.Run(t.Context(), sandbox.Command{Args: []string{"sh", "-c", script}, User: user, Stdout: &out, Stderr: &out})
	return strings.TrimSpace(out.String()), err
}

// processes counts what runs in boxes of m.
func processes(m *sandbox.Manager) int {
	var n int
	fmt.Sscan(roottest.Left(m), &n)
	return n
}

func TestAttacks(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the release key"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SLUICE_TOKEN", "the worker token")
	host, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	port := strconv.Itoa(host.Addr().(*net.TCPAddr).Port)
	me := strconv.Itoa(os.Getpid())
	perl := func(call string) string { return "perl -e '" + call + "'" }

	// Each script prints "broken" if it gets what it must not.
	for name, script := range map[string]string{
		"host file":         "cat " + secret + " && echo broken",
		"host file by dots": "cat /../../../../../.." + secret + " && echo broken",
		"root of init":      "cat /proc/1/root" + secret + " && echo broken; ls /proc/1/cwd/ 2>/dev/null | grep . && echo broken",
		"files of init":     "readlink /proc/1/fd/* && echo broken; for f in /proc/1/fd/*; do timeout 1 head -c1 $f && echo broken; done; cat /proc/1/environ && echo broken; head -c4 /proc/1/exe && echo broken",
		"environment":       "env | grep -i sluice_token && echo broken; env | grep -i proxy && echo broken",
		"open files":        "ls /proc/self/fd | sort -n | awk '$1>3' | grep . && echo broken",
		"host processes":    "[ $(ls -d /proc/[0-9]* | wc -l) -lt 12 ] || echo broken",
		"kill the worker":   "kill -9 " + me + " && echo broken",
		"kill init":         "kill -9 1; kill -STOP 1; sleep 0.1; grep -q '^State:.[ST]' /proc/1/status || echo broken",
		"mount":             "mkdir -p /tmp/m; mount -t tmpfs none /tmp/m && echo broken; mount --bind / /tmp/m && echo broken",
		"mount proc":        "mkdir -p /tmp/m; mount -t proc none /tmp/m && echo broken",
		"unmount":           "umount /proc && echo broken; umount -l / && echo broken",
		"make a device":     "mknod /tmp/sda b 254 0 && echo broken; mknod /tmp/mem c 1 1 && echo broken",
		"user namespace":    "unshare -U true && echo broken; unshare -Ur true && echo broken; unshare -m true && echo broken",
		"network out":       perl(`use Socket; socket(S,PF_INET,SOCK_STREAM,0); alarm 2; connect(S,sockaddr_in(53,inet_aton("192.0.2.1"))) and print "broken"`),
		"host's loopback":   perl(`use Socket; socket(S,PF_INET,SOCK_STREAM,0); connect(S,sockaddr_in(` + port + `,inet_aton("127.0.0.1"))) and print "broken"`),
		"no listener now":   perl(`use Socket; socket(S,PF_INET,SOCK_STREAM,0); connect(S,sockaddr_in(3142,inet_aton("127.0.0.1"))) and print "broken"`),
		"raw socket":        perl(`use Socket; socket(S,PF_INET,SOCK_RAW,1) and print "broken"; socket(S,17,SOCK_RAW,0) and print "broken"`),
		"abstract socket":   "[ $(wc -l < /proc/net/unix) -le 1 ] || echo broken",
		"interfaces":        "[ $(awk 'NR>2' /proc/net/dev | wc -l) = 1 ] || echo broken",
		"keys":              perl(`syscall(250,0,-3,1)>=0 and print "broken"`),
		"bpf":               perl(`syscall(321,0,0,0)>=0 and print "broken"`),
		"kernel log":        "dmesg && echo broken",
		"sysctl":            "echo x > /proc/sys/kernel/hostname && echo broken; echo 1 > /proc/sys/kernel/panic && echo broken; echo b > /proc/sysrq-trigger && echo broken",
		"chroot escape":     perl(`mkdir "/tmp/x"; open(D,"<","/"); chroot("/tmp/x"); for(1..64){chdir("..")} chroot("."); open(F,"<","` + secret + `") and print "broken"`),
		"host id":           perl(`$( = 0; $> = 0; $< = 100000; $< == 100000 and print "broken"`),
		"sysfs":             "ls /sys | grep . && echo broken",
		"disks":             "ls /dev | grep -E 'sd|vd|nvme|loop|kvm|mem|fuse' && echo broken",
	} {
		t.Run(name, func(t *testing.T) {
			for _, user := range []string{sandbox.Root, sandbox.Builder} {
				out, _ := sh(t, box(t, job.Limits{}), user, script)
				if strings.Contains(out, "broken") {
					t.Errorf("as %s:\n%s", user, out)
				}
			}
		})
	}
}

func TestHostname(t *testing.T) {
	out, err := sh(t, box(t, job.Limits{}), sandbox.Builder, "hostname; id -u; id -un; echo $HOME; touch ~/f /tmp/f && echo ok")
	if err != nil || out != "sluice\n1000\nbuilder\n/home/builder\nok" {
		t.Errorf("%q, %v", out, err)
	}
}

// A setuid program is one inside the box only, and never for the builder.
func TestSetuidLeftovers(t *testing.T) {
	b := box(t, job.Limits{})
	if out, err := sh(t, b, sandbox.Root, "cp /usr/bin/id /usr/bin/suid && chmod 4755 /usr/bin/suid && setcap cap_setuid+ep /usr/bin/perl 2>/dev/null; ls -l /usr/bin/suid"); err != nil {
		t.Fatal(out, err)
	}
	if out, _ := sh(t, b, sandbox.Builder, "/usr/bin/suid -u"); out != "1000" {
		t.Errorf("the builder became %s", out)
	}
	var st unix.Stat_t
	if err := unix.Lstat(b.Upper()+"/usr/bin/suid", &st); err != nil {
		t.Fatal(err)
	}
	if base, _ := shared.m.IDs(); int(st.Uid) != base {
		t.Errorf("on the host the setuid file belongs to %d", st.Uid)
	}
	if err := unix.Stat(shared.m.Dir(), &st); err != nil || st.Mode&0o077 != 0 {
		t.Errorf("others can walk into the worker's folder: mode %o, %v", st.Mode, err)
	}
}

// Links that a package leaves in its output lead nowhere on the worker.
func TestLinksInOutput(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := box(t, job.Limits{})
	out, err := sh(t, b, sandbox.Builder, `mkdir -p ~/out; cd ~/out; ln -s `+secret+` abs; ln -s ../../../../../../../../../..`+secret+` rel; ln -s /proc/1/root/etc/passwd magic
ln -s / dir; mkfifo pipe; echo good > good.deb; ln -s good.deb link.deb; ln -s /etc etc; ln -s loop loop`)
	if err != nil {
		t.Fatal(out, err)
	}
	for _, name := range []string{"abs", "rel", "magic", "pipe", "loop", "dir", "dir" + secret} {
		if data, err := b.ReadFile("/home/builder/out/"+name, 100); err == nil {
			t.Errorf("%s: read %q", name, data)
		}
	}
	if data, err := b.ReadFile("/home/builder/out/link.deb", 100); err != nil || string(data) != "good\n" {
		t.Errorf("a link inside the box: %q, %v", data, err)
	}
	if _, err := b.ReadFile("/home/builder/out/good.deb", 2); err == nil {
		t.Error("a file longer than the bound was read")
	}
	if err := b.WriteFile("/home/builder/out/etc/sluice-test", []byte("x"), 0o644, sandbox.Root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/etc/sluice-test"); err == nil {
		t.Error("a write through a link reached the worker")
	}
	if err := b.Remove("/home/builder/out/dir"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Error("removing a link removed what it points to")
	}
	list := must[[]sandbox.FileInfo](t)(b.List("/home/builder/out"))
	if len(list) != 8 {
		t.Errorf("listed %v", list)
	}
}

func limitOf(t *testing.T, err error) sandbox.Limit {
	t.Helper()
	var l *sandbox.LimitError
	if !errors.As(err, &l) {
		t.Fatalf("no limit was named: %v", err)
	}
	t.Log(err)
	return l.Limit
}

func TestLimits(t *testing.T) {
	plain := must[*sandbox.Manager](t)(sandbox.Open(t.Context(), t.TempDir(), sandbox.Options{NoCgroups: true}))
	t.Cleanup(func() { plain.Close() })
	for kind, m := range map[string]*sandbox.Manager{"cgroups": shared.m, "rlimits": plain} {
		for _, c := range []struct {
			name, script string
			limits       job.Limits
			want         sandbox.Limit
		}{
			{"fork bomb", "f() { f | f & }; while :; do f; done", job.Limits{Processes: 100, Timeout: 20 * time.Second}, sandbox.LimitProcesses},
			{"fork storm", "while :; do sleep 600 & done; wait", job.Limits{Processes: 100}, sandbox.LimitProcesses},
			{"memory", `perl -e '$x = "x" x (400 << 20); print length $x; sleep 60'`, job.Limits{Memory: 200 << 20}, sandbox.LimitMemory},
			{"memory of many", `for i in 1 2 3 4; do perl -e '$x = "x" x (80 << 20); sleep 3' & done; wait; exit 1`, job.Limits{Memory: 200 << 20}, sandbox.LimitMemory},
			{"sleep", "trap '' TERM INT; sleep 600", job.Limits{Timeout: time.Second}, sandbox.LimitTime},
			{"one big file", "head -c 200M /dev/zero > /tmp/big", job.Limits{Disk: 50 << 20}, sandbox.LimitDisk},
			{"many files", "i=0; while :; do head -c 5M /dev/zero > /tmp/f$i; i=$((i+1)); sleep 0.02; done", job.Limits{Disk: 50 << 20}, sandbox.LimitDisk},
		} {
			t.Run(kind+"/"+c.name, func(t *testing.T) {
				b := boxIn(t, m, c.limits)
				_, err := sh(t, b, sandbox.Builder, c.script)
				// Without control groups the kernel only refuses what is over
				// the limit, and a command that minds ends by itself.
				var refused *sandbox.ExitError
				if kind == "rlimits" && errors.As(err, &refused) {
					t.Log(err)
				} else if got := limitOf(t, err); got != c.want {
					t.Errorf("limit %s, want %s", got, c.want)
				}
				if out, err := sh(t, b, sandbox.Builder, "echo fine"); out != "fine" || err != nil {
					t.Errorf("the box is of no use afterwards: %q, %v", out, err)
				}
			})
		}
	}
}

func TestExit(t *testing.T) {
	b := box(t, job.Limits{})
	var e *sandbox.ExitError
	if _, err := sh(t, b, "", "exit 7"); !errors.As(err, &e) || e.Code != 7 {
		t.Error(err)
	}
	if _, err := sh(t, b, "", "kill -SEGV $$"); !errors.As(err, &e) || e.Signal != "segmentation fault" {
		t.Error(err)
	}
	if err := b.Run(t.Context(), sandbox.Command{Args: []string{"no-such-program"}}); !errors.As(err, &e) || e.Code != 127 {
		t.Error(err)
	}
}

// What a command leaves running is dead when Run returns.
func TestDaemonsEnd(t *testing.T) {
	b := box(t, job.Limits{})
	before := roottest.Left(shared.m)
	if out, err := sh(t, b, sandbox.Root, "setsid sleep 600 & setsid sh -c 'trap \"\" TERM HUP; sleep 600' >/dev/null 2>&1 & echo started"); err != nil {
		t.Fatal(out, err)
	}
	if after := roottest.Left(shared.m); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
}

// Cancel, close and the worker's death end everything within a second.
func TestCancelLeavesNothing(t *testing.T) {
	before := roottest.Left(shared.m)
	for _, how := range []string{"cancel", "close"} {
		b := box(t, job.Limits{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		out, done := newSignal(), make(chan error, 1)
		go func() {
			done <- b.Run(ctx, sandbox.Command{
				Args:   []string{"sh", "-c", "trap '' TERM INT; for i in 1 2 3 4 5 6 7 8; do setsid sleep 600 & done; touch /tmp/x; echo up; sleep 600"},
				Stdout: out, Repositories: true,
			})
		}()
		<-out.seen
		if n := processes(shared.m); n < 10 {
			t.Fatalf("only %d processes started", n)
		}
		began := time.Now()
		want := context.Canceled
		if how == "cancel" {
			cancel()
		} else {
			b.Close()
			want = sandbox.ErrClosed
		}
		if err := <-done; !errors.Is(err, want) {
			t.Errorf("%s: %v", how, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s took %s", how, took)
		}
		if n := processes(shared.m); n != 0 {
			t.Errorf("%s: %d processes live on", how, n)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if after := roottest.Left(shared.m); after != before {
			t.Errorf("%s: before: %s\nafter closing: %s", how, before, after)
		}
	}
}

// signal is a writer that says when something was written.
type signal struct{ seen chan struct{} }

func newSignal() *signal { return &signal{make(chan struct{}, 1)} }

func (s *signal) Write(p []byte) (int, error) {
	select {
	case s.seen <- struct{}{}:
	default:
	}
	return len(p), nil
}
