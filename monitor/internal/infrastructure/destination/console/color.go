package console

import (
	"io"
	"os"
)

// Colorful reports whether colours suit the writer: it is a terminal that can show
// them, and the user has not refused them by NO_COLOR (https://no-color.org).
func Colorful(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || f == nil || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	// The null device is a character device too, and nobody looks at it.
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
