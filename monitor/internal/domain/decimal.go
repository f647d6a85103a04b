package domain

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Decimal is a float64 whose JSON is a string, as in Prometheus' API, so that
// NaN and the infinities survive.
type Decimal float64

// String returns the shortest decimal that reads back as the same value.
func (d Decimal) String() string { return strconv.FormatFloat(float64(d), 'f', -1, 64) }

// MarshalJSON returns the value as a JSON string.
func (d Decimal) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("domain: decimal: %w", err)
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return fmt.Errorf("domain: decimal: %w", err)
	}
	*d = Decimal(f)
	return nil
}
