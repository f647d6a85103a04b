package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of the Standard Webhooks scheme, and the one of the IETF draft
// "The Idempotency-Key HTTP Header Field".
const (
	headerID          = "Webhook-Id"
	headerTimestamp   = "Webhook-Timestamp"
	headerSignature   = "Webhook-Signature"
	headerIdempotency = "Idempotency-Key"
)

// CheckSecret reports whether New would take the secret: "whsec_" and base64 of 24
// to 64 bytes. Its errors do not show the secret.
func CheckSecret(secret string) error {
	if _, err := decodeSecret(secret); err != nil {
		return fmt.Errorf("%w: the secret %w", ErrConfig, err)
	}
	return nil
}

// decodeSecret returns the key of a secret. Its errors do not show the secret.
func decodeSecret(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	if !ok {
		return nil, errors.New(`does not begin with "whsec_"`)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("is not in base64")
	}
	if len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("has %d bytes: it must have 24 to 64", len(key))
	}
	return key, nil
}

// sign returns the value of the signature header: one signature for each key,
// separated by spaces.
func sign(keys [][]byte, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
