// Package sandbox runs what nobody has reviewed yet - the build scripts and
// maintainer scripts of unmerged packages - in throw-away roots.
//
// A Manager owns a directory on the worker. Manager.Root unpacks a root from
// its archive once; Manager.Layer caches what one box wrote on top of others
// (installed build dependencies); Manager.New stacks layers into a Box;
// Box.Run runs a command in it; Box.Close leaves nothing behind.
// Manager.MakeRoot makes roots from recipes.
//
//	m, err := sandbox.Open(ctx, dir, sandbox.Options{})
//	root, err := m.Root(ctx, archive, open)
//	box, err := m.New(ctx, sandbox.BoxOptions{Layers: []sandbox.Layer{root}, Repositories: forwarder})
//	args, err := box.ConfigureRepositories(ctx, spec.Repositories)
//	err = box.Run(ctx, sandbox.Command{Args: …, Repositories: true})
//
// # What a command sees
//
// Each command is started by this program itself, executed anew as process 1
// (init.go) of new user, mount, process, network, IPC, host name and control
// group namespaces, with no environment, no open file and no host's file
// system. That is why importing this package gives a program an init function:
// nothing needs to be called from main or TestMain. The program's file must be
// executable for everyone.
//
//   - Root of the box is the host's user UIDBase, which owns nothing on the
//     host. Files on disk have the shifted ids, too: a setuid file that stays in
//     an upper directory is setuid to nobody, in a folder of mode 0700. Unpacked
//     roots are shifted while unpacking, rather than by an idmapped mount, so
//     that every kernel with overlayfs and user namespaces will do (5.12 on).
//   - Root has the twelve capabilities that dpkg and rpm use, over these
//     namespaces alone: no mounts, no devices, no raw sockets, no ptrace of
//     others. The builder (uid 1000, with an account in every root) has none,
//     and cannot gain any. A system call filter (seccomp.go) refuses new user
//     namespaces, keys, BPF, io_uring and such to both.
//   - /proc is the box's own; /dev has null, zero, full, random, urandom, tty,
//     ptmx, pts and shm; there is no /sys. /tmp is the root's own: it lasts from
//     one command of a box to the next, and counts against the limit of disk.
//   - The network is lo. During a command with Repositories, and only then,
//     Address answers with the box's http.Handler: the worker's own process
//     serves it, through a socket that it opened inside.
//   - Process 1 is not dumpable and watches a pipe: if the worker dies, however,
//     the box's processes die.
//
// # Limits, and how exactly they hold
//
// Processes and memory: control groups, version 2 if delegated, else version 1,
// for all processes of a box together. Where neither can be used, rlimits
// (per process) and a look every half second at the sum; then a command that
// minds being refused ends with its own exit code rather than with a
// LimitError. Time: exact. Disk: RLIMIT_FSIZE for each file, and a look every
// half second or more (a tenth of the time at most is spent looking) at the
// whole upper directory; a command can pass the limit between two looks by what
// the disk can write meanwhile.
//
// # What this is not
//
// A box shares the host's kernel. It is a boundary against what Linux forbids to
// unprivileged users, not against an exploit of the kernel: use worker machines
// that hold nothing of value (they have no keys and no database). The boxes of
// MakeRoot run the site's recipes and the base distribution's packages, and keep
// all capabilities over their own namespaces, no filter, and see the worker's
// /usr read only; they have the same shifted ids and the same network. Nothing
// is synced to disk: layers of a machine that was restarted are made anew.
//
// # Cost
//
// A box is one mount; a command costs about 20 ms (our own program starts).
// Unpacking a Debian minbase root takes about 5 s of CPU, once per worker.
package sandbox
