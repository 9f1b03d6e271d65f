package repo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"hash/fnv"
	"strings"
)

const (
	shardMean = 32  // packages of a shard, on average
	shardMost = 128 // packages of a shard
)

// shards cuts an ordered list of packages where their names say so: a package
// that comes or goes changes the shard that it is in, and no other.
func shards(records []*record) [][]*record {
	var out [][]*record
	begin := 0
	for i := range records {
		if i == begin {
			continue
		}
		name := records[i].Package.Name
		if name == records[i-1].Package.Name && i-begin < shardMost {
			continue
		}
		h := fnv.New32a()
		h.Write([]byte(name))
		if (h.Sum32()>>7)%shardMean == 0 || i-begin >= shardMost {
			out = append(out, records[begin:i])
			begin = i
		}
	}
	if begin < len(records) {
		out = append(out, records[begin:])
	}
	return out
}

// index is an index file in each of its forms. An absent form is nil.
type index struct{ plain, gz, xz []byte }

// piece is one shard of an index file.
type piece struct {
	index
	block xzBlock
}

// part says which of a record's texts an index file is made of.
type part struct {
	name       string // unique; "packages"
	text       func(*record) string
	head, tail string
	xz         bool
}

// assemble makes an index file of the records, in their order.
func (b *Builder) assemble(ctx context.Context, p part, records []*record) (index, error) {
	var pieces []*piece
	fresh := map[string]*piece{}
	var missing []*piece // want xz
	if p.head != "" {
		pieces = append(pieces, newPiece(p.head))
	}
	for _, shard := range shards(records) {
		hash := sha256.New()
		for _, r := range shard {
			hash.Write([]byte(r.Key))
			hash.Write([]byte{0})
		}
		key := "shard " + p.name + " " + string(hash.Sum(nil))
		if p.xz {
			key += " xz"
		}
		if v, ok := b.memory.get(key); ok {
			pieces = append(pieces, v.(*piece))
			continue
		}
		var text strings.Builder
		for _, r := range shard {
			text.WriteString(p.text(r))
		}
		made := newPiece(text.String())
		if p.xz && len(made.plain) > 0 {
			missing = append(missing, made)
		}
		pieces = append(pieces, made)
		fresh[key] = made
	}
	if p.tail != "" {
		pieces = append(pieces, newPiece(p.tail))
	}
	if err := compressXZ(ctx, missing); err != nil {
		return index{}, err
	}
	for key, made := range fresh { // only now: others must not see one half made
		b.memory.put(key, made, int64(len(made.plain)+len(made.plain)/3))
	}
	return join(p, pieces), nil
}

func newPiece(text string) *piece {
	p := &piece{index: index{plain: []byte(text)}}
	if text != "" {
		p.gz = compressGzip(p.plain)
	}
	return p
}

func compressGzip(data []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, 6)
	if err != nil {
		panic(err) // 6 is a level
	}
	z.Write(data) // a buffer takes everything
	z.Close()
	return out.Bytes()
}

func join(p part, pieces []*piece) index {
	var plain, gz int
	for _, q := range pieces {
		plain += len(q.plain)
		gz += len(q.gz)
	}
	out := index{plain: make([]byte, 0, plain), gz: make([]byte, 0, gz)}
	var blocks []xzBlock
	for _, q := range pieces {
		out.plain = append(out.plain, q.plain...)
		out.gz = append(out.gz, q.gz...)
		if q.block.data != nil {
			blocks = append(blocks, q.block)
		}
	}
	if len(out.gz) == 0 {
		out.gz = compressGzip(nil)
	}
	if p.xz {
		out.xz = xzStream(blocks)
	}
	return out
}
