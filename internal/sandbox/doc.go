// Package sandbox runs what nobody has reviewed yet - the build scripts and
// maintainer scripts of unmerged packages - in throw-away roots.
//
// A Manager owns a directory on the worker. Manager.Root unpacks a root from
// its archive once; Manager.Layer caches what one box wrote on top of others
// (installed build dependencies); Manager.New stacks layers into a Box;
// Box.Run runs a command in it; Box.Close leaves nothing behind.
package sandbox
