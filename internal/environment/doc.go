// Package environment starts the machines of a system test: nodes, made from
// one prepared root (job.Recipe kind "node": a system that boots, with
// systemd), joined by a private network.
//
//	d := environment.NewNspawn(manager)
//	env, err := d.Start(ctx, environment.Request{…})
//	env.Exec(ctx, environment.Command{Node: "server", Args: …})
//	env.Reboot(ctx, "server")
//	env.Close()
//
// # The nspawn driver
//
// Each node is a systemd-nspawn container on a throw-away overlay, in a user
// namespace of its own (the same shifted ids as the boxes of package
// sandbox). systemd runs as its process 1. A holder process, process of our own
// program without privileges to give away, owns the environment's network
// namespace; in it is one bridge, and to the bridge each node has a cable
// (host0). No route leads out. Nodes have the addresses 10.83.0.11, .12, … in
// the order of the request, and each knows every node's name from /etc/hosts.
// In each node the environment's repositories listen at 127.0.0.1:3142, as in a
// box: the same sources work in both.
//
// No systemd is needed on the worker: nspawn is told to neither register nor
// make a unit. A node that powers itself off stays off until Reboot.
//
// # Limits of this driver, plainly
//
// Nodes share the worker's kernel. They are a boundary against accidents and
// against what the ids of a user namespace can do, not against an exploit of
// the kernel: a node keeps more capabilities (over its own namespaces) than a
// box does, and has no system call filter but nspawn's own. Kernel modules,
// kernel settings, disks, other kernels and clocks cannot be tested: use the
// qemu driver where a site has one. Memory and processes are limited only
// where control groups can be made.
package environment
