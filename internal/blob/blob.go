// Package blob stores files under their own SHA-256.
//
// A blob never changes: its name is the digest of its bytes, so whoever holds
// a digest can check what he was given, storing the same bytes twice costs
// nothing, and a reference can be handed across machines without a version.
// Packages, logs, roots, indices and manifests are all blobs.
//
// Store is what the rest of sluice sees. FS keeps blobs in a folder:
//
//	DIR/ab/cd/abcd…      one file per blob, read only
//	DIR/tmp/…            blobs that are being written; emptied by OpenFS
//
// A blob appears under its name only when its bytes are complete, checked and
// on the disk (written, synced, renamed, folder synced). A writer that dies or
// a disk that fills up leaves nothing under a blob's name.
package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotFound: there is no blob of this digest.
	ErrNotFound = errors.New("no such blob")
	// ErrMismatch: the bytes given to Put are not those of the digest expected.
	ErrMismatch = errors.New("bytes do not match the digest expected")
	// ErrCorrupt: the bytes stored are no longer those of the digest.
	ErrCorrupt = errors.New("blob is corrupt")
	// ErrFull: the disk (or a quota) is full; nothing was stored.
	ErrFull = errors.New("the disk of the blob store is full")
)

// Digest is the SHA-256 of a blob: 64 lowercase hexadecimal digits.
type Digest string

// ParseDigest checks that s is a digest in its one spelling.
func ParseDigest(s string) (Digest, error) {
	d := Digest(s)
	if !d.Valid() {
		return "", fmt.Errorf("%.80q is not a digest: 64 lowercase hexadecimal digits are wanted", s)
	}
	return d, nil
}

// Valid reports whether d is 64 lowercase hexadecimal digits.
func (d Digest) Valid() bool {
	if len(d) != 2*sha256.Size {
		return false
	}
	for i := range len(d) {
		c := d[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// DigestOf returns the digest of data.
func DigestOf(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest(hex.EncodeToString(sum[:]))
}

// File is an open blob: it can be read from any place, as http.ServeContent
// and the readers of packages want it.
type File interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	io.Closer
}

// Info describes a stored blob.
type Info struct {
	Digest   Digest
	Size     int64 // bytes
	Modified time.Time
}

// Store keeps blobs. All methods may be called from many goroutines.
type Store interface {
	// Put stores the bytes of r and returns their digest and size. If want is
	// not empty and the bytes are others, nothing is stored: ErrMismatch. A
	// full disk is ErrFull. Bytes that are there already are kept as they are.
	Put(ctx context.Context, r io.Reader, want Digest) (Digest, int64, error)
	// Open opens a blob and tells its size in bytes; ErrNotFound.
	Open(ctx context.Context, d Digest) (File, int64, error)
	// Stat tells a blob's size and age; ErrNotFound.
	Stat(ctx context.Context, d Digest) (Info, error)
	// Delete removes a blob; one that is not there is no error.
	Delete(ctx context.Context, d Digest) error
	// Walk calls f for every blob, in the order of their digests; an error of
	// f ends the walk and is returned.
	Walk(ctx context.Context, f func(Info) error) error
	// Verify reads a blob wholly: ErrCorrupt if its bytes are not those of its
	// name, ErrNotFound.
	Verify(ctx context.Context, d Digest) error
}

// Local is a Store whose blobs are files of this machine, which can be hard-linked.
type Local interface {
	Store
	// Path returns where the blob's file is, whether or not it is there.
	Path(d Digest) string
}

// PutBytes stores data.
func PutBytes(ctx context.Context, s Store, data []byte) (Digest, error) {
	d := DigestOf(data)
	if info, err := s.Stat(ctx, d); err == nil && info.Size == int64(len(data)) {
		return d, nil
	}
	_, _, err := s.Put(ctx, bytes.NewReader(data), d)
	return d, err
}

// ReadAll returns a blob's bytes, checked against its digest: ErrCorrupt if
// they are others. A blob of more than limit bytes is refused.
func ReadAll(ctx context.Context, s Store, d Digest, limit int64) ([]byte, error) {
	f, size, err := s.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, fmt.Errorf("blob %s has %d bytes; %d are the most that is read here", d, size, limit)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("reading blob %s: %w", d, err)
	}
	if got := DigestOf(data); got != d {
		return nil, fmt.Errorf("%w: %s has the bytes of %s", ErrCorrupt, d, got)
	}
	return data, nil
}
