package files

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// longest is the greatest length of an escaped id in a file's name. Longer ones are
// cut off and told apart by a hash.
const longest = 180

// escape returns an id as a part of a file's name: lower case letters, digits, and
// - _ . are themselves, a capital letter is the small one behind "!", so that file
// systems that do not tell them apart can hold both, and every other byte is its
// number in hexadecimal behind "%".
func escape(id string) string {
	var out strings.Builder
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			out.WriteByte(c)
		case c >= 'A' && c <= 'Z':
			out.WriteByte('!')
			out.WriteByte(c + 'a' - 'A')
		default:
			fmt.Fprintf(&out, "%%%02x", c)
		}
	}
	if out.Len() <= longest {
		return out.String()
	}
	sum := sha256.Sum256([]byte(id))
	return out.String()[:longest-65] + "~" + hex.EncodeToString(sum[:])
}

// The places of the files, in the directory.
const (
	formatFile  = "uow.json"
	readmeFile  = "README.md"
	lockFile    = "lock"
	collections = "collections"
	removed     = "removed"
	journals    = "journal"
	log         = "outbox"
	temporary   = "tmp"
	stateFile   = log + "/state.json"
	unitsFile   = journals + "/units.json"
	suffix      = ".json"
)

// place returns where a live row is, and gone where a removed one is.
func place(k key) string { return collections + "/" + k.collection + "/" + escape(k.id) + suffix }
func gone(k key) string  { return removed + "/" + k.collection + "/" + escape(k.id) + suffix }

func journalName(n int64) string  { return fmt.Sprintf("%s/%016d.log", journals, n) }
func segmentName(at int64) string { return fmt.Sprintf("%s/%016d.log", log, at) }
