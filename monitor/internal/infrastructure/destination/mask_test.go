package destination_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/uow-go/uow/monitor/internal/infrastructure/destination"
)

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestMaskHidesWhatAURLHolds(t *testing.T) {
	u := parse(t, "https://tokenuser:p%40ss@host.example/hooks/T0KEN%2FT0KEN?key=qu3ry%21secret&v=1")
	mask := destination.NewMask(append(destination.URLSecrets(u), destination.PathSecrets(u)...)...)
	for _, echoed := range []string{
		u.String(), u.RequestURI(), u.Path, u.RawQuery, u.Query().Get("key"), u.User.String(),
		"user tokenuser, password p@ss", "Authorization: Basic dG9rZW51c2VyOnBAc3M=",
	} {
		got := mask.Clean("cannot POST " + echoed)
		for _, secret := range []string{"tokenuser", "p@ss", "p%40ss", "T0KEN", "qu3ry", "dG9rZW51c2VyOnBAc3M"} {
			if strings.Contains(got, secret) {
				t.Errorf("%q shows %s", got, secret)
			}
		}
		if !strings.HasPrefix(got, "cannot POST ") {
			t.Errorf("%q hides too much", got)
		}
	}
	if got := mask.Clean("version 1 of host.example"); got != "version 1 of host.example" {
		t.Errorf("%q hides too much", got)
	}
}

func TestMaskHidesTheLongestFirst(t *testing.T) {
	if got := destination.NewMask("", "abcd", "abcdef", "abcd").Clean("abcdef abcd"); got != "<secret> <secret>" {
		t.Errorf("got %q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x00b\x1b[31m\r\n\u202E\xff", "s3cret")
	f.Add(strings.Repeat("ü s3cret ", 400), "s3cret")
	f.Add("s3c\x00ret", "s3c ret")
	f.Add("\xe2", "\xbd") // a part of the character that stands for bytes that are none
	f.Fuzz(func(t *testing.T, text, secret string) {
		got := destination.NewMask(secret).CleanExcerpt(text)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 201 {
			t.Fatalf("no short UTF-8: %q", got)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("a character that does not print: %q", got)
		}
		if len(secret) > 8 && strings.Contains(got, secret) {
			t.Fatalf("%q shows %q", got, secret)
		}
	})
}
