package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const keyPrefix = "whsec_"

// errKey names no part of the key.
var errKey = errors.New("a key must be whsec_ and base64 of 24 to 64 bytes")

// keys reads the secret. texts are what must not be shown.
func (s *Sender) keys() (keys [][]byte, texts []string, err error) {
	if s.cfg.Secret == nil {
		return nil, nil, nil
	}
	secret, err := s.cfg.Secret()
	if err != nil {
		return nil, nil, fmt.Errorf("secret: %w", err)
	}
	keys, err = parseKeys(secret)
	if err != nil {
		err = fmt.Errorf("secret: %w", err)
	}
	for _, text := range strings.Fields(secret) {
		texts = append(texts, text, strings.TrimPrefix(text, keyPrefix))
	}
	return keys, texts, err
}

func parseKeys(secret string) (keys [][]byte, err error) {
	for _, text := range strings.Fields(secret) {
		encoded, ok := strings.CutPrefix(text, keyPrefix)
		if !ok {
			return nil, errKey
		}
		key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
		if err != nil || len(key) < 24 || len(key) > 64 {
			return nil, errKey
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// sign sets the headers of Standard Webhooks 1.0.
func sign(header http.Header, keys [][]byte, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	signatures := make([]string, 0, len(keys))
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + timestamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", timestamp)
	header.Set("Webhook-Signature", strings.Join(signatures, " "))
}
