package files

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
)

// castagnoli is the polynomial of all checksums.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendLine adds a line of a journal or of a segment: the length of the payload,
// its checksum, and the payload, which is JSON without a line break.
func appendLine(dst, payload []byte) []byte {
	dst = fmt.Appendf(dst, "%d %08x ", len(payload), crc32.Checksum(payload, castagnoli()))
	return append(append(dst, payload...), '\n')
}

// line returns the payload of the line at the beginning, and the length of the
// line. ok is false when it is not what appendLine wrote; size is then where it
// would end by what it says itself, or 0.
func line(content []byte) (payload []byte, size int, ok bool) {
	const sum = len(" 01234567 ")
	space := bytes.IndexByte(content[:min(len(content), 12)], ' ')
	if space <= 0 || len(content) < space+sum {
		return nil, 0, false
	}
	length, err := strconv.Atoi(string(content[:space]))
	if err != nil || length < 0 || content[0] == '+' {
		return nil, 0, false
	}
	begin := space + sum
	size = begin + length + 1
	if size > len(content) {
		return nil, size, false
	}
	payload = content[begin : begin+length]
	return payload, size, bytes.Equal(appendLine(nil, payload), content[:size])
}

// lines returns the payloads of all lines. What follows the last of them is what a
// crash left of a line that was being written, and nobody was told of. An error
// says that it can't be that, since more was written behind it.
func lines(name string, content []byte) (payloads [][]byte, valid int, err error) {
	for valid < len(content) {
		payload, size, ok := line(content[valid:])
		if !ok {
			if size > 0 && valid+size < len(content) || followed(content[valid:]) {
				return nil, 0, fmt.Errorf("%w: %s: the line at byte %d is not as it was written, and others follow it", ErrDamaged, name, valid)
			}
			break
		}
		payloads = append(payloads, payload)
		valid += size
	}
	return payloads, valid, nil
}

// followed reports whether a line follows the one at the beginning, which is
// damaged.
func followed(content []byte) bool {
	for {
		end := bytes.IndexByte(content, '\n')
		if end < 0 {
			return false
		}
		content = content[end+1:]
		if _, _, ok := line(content); ok {
			return true
		}
	}
}
