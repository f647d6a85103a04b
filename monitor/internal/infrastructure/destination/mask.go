package destination

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// maxShown is how many characters of a text are shown.
const maxShown = 200

// Mask hides secrets in texts that are stored and shown. Its zero value hides
// none.
type Mask struct {
	secrets  []string
	replacer *strings.Replacer
}

// NewMask hides these texts wherever they occur. Empty ones are left out.
func NewMask(secrets ...string) Mask {
	secrets = slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return s == "" })
	for i, s := range secrets {
		secrets[i] = valid(s)
	}
	// The replacer takes the first that matches: let it be the longest.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	secrets = slices.Compact(secrets)
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, "<secret>")
	}
	if len(pairs) == 0 {
		return Mask{}
	}
	return Mask{secrets: secrets, replacer: strings.NewReplacer(pairs...)}
}

// URLSecrets returns what of a URL may be a secret: the password, the user, who
// may be a token, and the query. Short values are not, and would only be hidden
// in all kinds of words.
func URLSecrets(u *url.URL) []string {
	var secrets []string
	if u.User != nil {
		password, _ := u.User.Password()
		both := u.User.Username() + ":" + password
		secrets = append(secrets, password, url.PathEscape(password), u.User.String(), both,
			base64.StdEncoding.EncodeToString([]byte(both)))
		secrets = append(secrets, long(u.User.Username())...)
	}
	secrets = append(secrets, long(u.RawQuery)...)
	for name, values := range u.Query() {
		secrets = append(secrets, long(name)...)
		for _, value := range values {
			secrets = append(secrets, long(value, url.QueryEscape(value), url.PathEscape(value))...)
		}
	}
	return secrets
}

// PathSecrets returns the parts of a URL's path that are long enough to be
// tokens, as many receivers have them there.
func PathSecrets(u *url.URL) []string {
	const tokenLength = 8
	var secrets []string
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		if len(part) < tokenLength {
			continue
		}
		secrets = append(secrets, part)
		if plain, err := url.PathUnescape(part); err == nil {
			secrets = append(secrets, plain)
		}
	}
	return secrets
}

func long(texts ...string) []string {
	const secretLength = 4
	return slices.DeleteFunc(texts, func(s string) bool { return len(s) < secretLength })
}

// Clean returns the beginning of a text without secrets and without characters
// that do not print: each run of those becomes a space.
func (m Mask) Clean(text string) string {
	text = m.hide(valid(text))
	text = m.hide(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " "))
	count := 0
	for i := range text {
		if count == maxShown {
			return text[:i] + "…"
		}
		count++
	}
	return text
}

// CleanExcerpt is Clean for a text that may have been cut off: the first part of a
// secret at its end is left out too.
func (m Mask) CleanExcerpt(text string) string {
	text = m.hide(valid(text))
	for _, secret := range m.secrets {
		for n := min(len(secret)-1, len(text)); n > 0; n-- {
			if strings.HasSuffix(text, secret[:n]) {
				text = text[:len(text)-n]
				break
			}
		}
	}
	return m.Clean(text)
}

// valid makes texts and secrets alike where they are no UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func (m Mask) hide(text string) string {
	if m.replacer == nil {
		return text
	}
	return m.replacer.Replace(text)
}
