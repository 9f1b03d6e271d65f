package rpm

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Limits of what is read.
const (
	leadSize      = 96
	maxHeaderData = 32 << 20 // bytes of one header
	maxTags       = 4096     // of one header
)

// layout is where the parts of a package are, in bytes from its beginning.
type layout struct{ signature, header, payload int64 }

// checkLayout holds the lead and both headers to the file's bounds.
func checkLayout(r io.ReaderAt, size int64) (layout, error) {
	lead := make([]byte, leadSize)
	if _, err := r.ReadAt(lead, 0); err != nil || size < leadSize {
		return layout{}, bad("the file is cut off in its first %d bytes", leadSize)
	}
	if !bytes.Equal(lead[:4], []byte{0xed, 0xab, 0xee, 0xdb}) {
		return layout{}, bad("not an RPM")
	}
	if lead[4] != 3 && lead[4] != 4 {
		return layout{}, bad("format version %d; 3 and 4 are known", lead[4])
	}
	at := layout{signature: leadSize}
	end, err := checkHeader(r, size, at.signature, "signature header")
	if err != nil {
		return layout{}, err
	}
	at.header = (end + 7) &^ 7
	if at.payload, err = checkHeader(r, size, at.header, "header"); err != nil {
		return layout{}, err
	}
	return at, nil
}

// widths are the bytes per value of each type of tag; 0: strings.
var widths = [...]int64{0: 1, 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 0, 7: 1, 8: 0, 9: 0}

// checkHeader checks the header that begins at offset and returns its end.
// What the tags hold cannot be more than the header holds, so that a small
// file stays small when it is read.
func checkHeader(r io.ReaderAt, size, offset int64, what string) (int64, error) {
	intro := make([]byte, 16)
	if size-offset < 16 {
		return 0, bad("the file is cut off before its %s", what)
	}
	if _, err := r.ReadAt(intro, offset); err != nil {
		return 0, bad("the %s cannot be read: %v", what, err)
	}
	if !bytes.Equal(intro[:4], []byte{0x8e, 0xad, 0xe8, 0x01}) {
		return 0, bad("the %s does not begin as one", what)
	}
	tags, length := int64(binary.BigEndian.Uint32(intro[8:])), int64(binary.BigEndian.Uint32(intro[12:]))
	if tags < 1 || tags > maxTags || length > maxHeaderData {
		return 0, bad("the %s has %d tags and %d bytes; %d and %d are the most", what, tags, length, maxTags, maxHeaderData)
	}
	end := offset + 16 + tags*16 + length
	if end > size {
		return 0, bad("the file is cut off in its %s: it would end at %d, and the file has %d bytes", what, end, size)
	}
	body := make([]byte, tags*16+length)
	if _, err := r.ReadAt(body, offset+16); err != nil {
		return 0, bad("the %s cannot be read: %v", what, err)
	}
	index, data := body[:tags*16], body[tags*16:]
	seen := map[uint32]bool{}
	var sum int64
	for ; len(index) > 0; index = index[16:] {
		tag := binary.BigEndian.Uint32(index)
		if seen[tag] {
			return 0, bad("%s: tag %d occurs twice", what, tag)
		}
		seen[tag] = true
		n, err := tagLength(index, data)
		if err != nil {
			return 0, bad("%s: tag %d: %v", what, tag, err)
		}
		if sum += n; sum > length {
			return 0, bad("%s: its tags overlap", what)
		}
	}
	return end, nil
}

// tagLength is how many bytes of data a tag's values take.
func tagLength(entry, data []byte) (int64, error) {
	kind, offset := binary.BigEndian.Uint32(entry[4:]), int64(binary.BigEndian.Uint32(entry[8:]))
	count, room := int64(binary.BigEndian.Uint32(entry[12:])), int64(len(data))-offset
	if kind >= uint32(len(widths)) || count < 1 || room < 1 || count > room {
		return 0, bad("type %d, %d values at %d do not fit", kind, count, offset)
	}
	if w := widths[kind]; w > 0 {
		if count*w > room || offset%w != 0 {
			return 0, bad("%d values of %d bytes at %d do not fit", count, w, offset)
		}
		return count * w, nil
	}
	rest := data[offset:]
	for range count {
		i := bytes.IndexByte(rest, 0)
		if i < 0 {
			return 0, bad("a string does not end")
		}
		rest = rest[i+1:]
	}
	return room - int64(len(rest)), nil
}
