package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os/exec"
	"strconv"
	"strings"
)

// xzBlock is one block of an xz stream: it can be put into any stream that has
// the same kind of check.
type xzBlock struct {
	data               []byte // with its padding
	unpadded, unpacked uint64 // bytes, for the stream's index
}

// The stream's flags: the check is CRC64.
var (
	xzMagic  = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	xzFlags  = []byte{0, 4}
	xzEnding = []byte{'Y', 'Z'}
)

// compressXZ gives every piece its block. One run of xz makes all of them: it
// begins a block at the begin of each piece.
func compressXZ(ctx context.Context, pieces []*piece) error {
	if len(pieces) == 0 {
		return nil
	}
	var in bytes.Buffer
	sizes := make([]string, len(pieces))
	for i, p := range pieces {
		in.Write(p.plain)
		sizes[i] = strconv.Itoa(len(p.plain))
	}
	cmd := exec.CommandContext(ctx, "xz", "--compress", "--stdout", "--threads=1", "--check=crc64",
		"--lzma2=preset=6,dict=1MiB", "--block-list="+strings.Join(sizes, ","))
	cmd.Stdin = &in
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compressing an index with xz: %w: %s", err, strings.TrimSpace(said.String()))
	}
	blocks, err := xzBlocks(out.Bytes())
	if err != nil {
		return err
	}
	if len(blocks) != len(pieces) {
		return fmt.Errorf("compressing an index with xz: %d blocks of %d pieces", len(blocks), len(pieces))
	}
	for i, p := range pieces {
		if blocks[i].unpacked != uint64(len(p.plain)) {
			return fmt.Errorf("compressing an index with xz: block %d has %d bytes instead of %d", i, blocks[i].unpacked, len(p.plain))
		}
		p.block = blocks[i]
	}
	return nil
}

var errXZ = errors.New("compressing an index: xz wrote something else than one stream")

// xzBlocks takes a stream apart.
func xzBlocks(stream []byte) ([]xzBlock, error) {
	n := len(stream)
	if n < 32 || !bytes.Equal(stream[:6], xzMagic) || !bytes.Equal(stream[6:8], xzFlags) || !bytes.Equal(stream[n-2:], xzEnding) {
		return nil, errXZ
	}
	indexSize := (int(binary.LittleEndian.Uint32(stream[n-8:])) + 1) * 4
	if indexSize > n-24 {
		return nil, errXZ
	}
	index := stream[n-12-indexSize+1 : n-12] // behind the indicator
	count, used := binary.Uvarint(index)
	if used <= 0 || count > uint64(n) {
		return nil, errXZ
	}
	index = index[used:]
	var out []xzBlock
	for at := 12; count > 0; count-- {
		unpadded, a := binary.Uvarint(index)
		if a <= 0 {
			return nil, errXZ
		}
		unpacked, c := binary.Uvarint(index[a:])
		end := at + int(unpadded+3)&^3
		if c <= 0 || unpadded > uint64(n) || end > n-12-indexSize {
			return nil, errXZ
		}
		index = index[a+c:]
		out = append(out, xzBlock{data: bytes.Clone(stream[at:end]), unpadded: unpadded, unpacked: unpacked})
		at = end
	}
	return out, nil
}

// xzStream makes one stream of blocks.
func xzStream(blocks []xzBlock) []byte {
	size := 64
	for _, b := range blocks {
		size += len(b.data) + 20
	}
	out := make([]byte, 0, size)
	out = append(out, xzMagic...)
	out = append(out, xzFlags...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(xzFlags))
	index := binary.AppendUvarint([]byte{0}, uint64(len(blocks)))
	for _, b := range blocks {
		out = append(out, b.data...)
		index = binary.AppendUvarint(index, b.unpadded)
		index = binary.AppendUvarint(index, b.unpacked)
	}
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	out = append(out, index...)
	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	footer = append(footer, xzFlags...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(footer))
	out = append(out, footer...)
	return append(out, xzEnding...)
}
