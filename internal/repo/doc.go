// Package repo makes the repositories that apt, dnf and zypper read: test
// repositories, and publications of released ones.
//
// # What a repository is here
//
// A publication is a manifest: a JSON document, stored as a blob, that says
// which blob is served at which path, and which packages that makes. It never
// changes. A repository is a pointer to one manifest; whoever holds the pointer
// (a row of the database) moves it, after every blob of the new publication is
// stored, and so a reader sees the old state or the new one and nothing between.
//
//	packages (blobs) ─┐
//	                  ├─ Builder ─► index blobs, signed ─► manifest blob ─► Export, HTTP
//	previous manifest ┘
//
// Three things make moving the pointer safe for clients that are in the middle
// of an update. Index files that a publication replaced, and packages that it
// dropped, stay in the next ones for three publications and three days. APT's
// clients fetch indices by their hash. RPM's fetch repomd.xml and its signature
// one after the other: they are told of one publication by a list of mirrors, at
// the begin of each run, and read all of it there.
//
// # What it costs
//
// Adding one package to many costs one package: what the indices say of a
// package is kept as a record (in the Builder's memory and in the Cache), and
// the indices are compressed in shards whose bounds depend on the packages'
// names, so that only the shard of the new package is compressed anew.
// Concatenated gzip members are a gzip file; of xz the blocks are put into one
// stream, since apt reads the first stream only.
//
// Fsck is the oracle: it reads a publication back as a client would, and names
// everything that is not as it should be.
package repo
