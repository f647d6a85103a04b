package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// outOfOrder is the note of an account that was changed by a message after one that follows it.
const outOfOrder = "out of order"

// apply is what a message does: the account counts it, and knows the last.
func (p parcel) apply(a *Account) {
	a.Balance++
	if last, err := strconv.Atoi(a.Tags[0]); err == nil && last > p.Number {
		a.Note = outOfOrder
	}
	a.Tags[0] = strconv.Itoa(p.Number)
}

// applyTo is apply in the account's encoding.
func applyTo(body, payload []byte) ([]byte, error) {
	var p parcel
	if err := json.Unmarshal(payload, &p); err != nil {
		return nil, err
	}
	return edit(body, p.apply)
}

// accountOf is the account that a message changes.
func accountOf(payload []byte) (string, error) {
	var p parcel
	err := json.Unmarshal(payload, &p)
	return p.Key, err
}

// verify asks the database: each of n messages is remembered and was handled once, none
// else was, and those of an account were handled in order where that is promised.
func (h *handling) verify(ctx context.Context, n int, ordered bool) error {
	ids, err := h.ids(ctx)
	if err != nil {
		return err
	}
	want, changes := make([]string, n), map[string]int64{}
	for i := range n {
		key, _ := newParcelOf(i, Rows)
		want[i] = parcelID(i)
		changes[key]++
	}
	if slices.Sort(ids); !slices.Equal(ids, want) {
		return fmt.Errorf("bench: %d messages are remembered, want %d, or others are", len(ids), n)
	}
	accounts, err := h.accounts(ctx)
	if err != nil {
		return err
	}
	if len(accounts) != Rows {
		return fmt.Errorf("bench: there are %d accounts, want %d", len(accounts), Rows)
	}
	for _, a := range accounts {
		if a.Balance != changes[a.ID] {
			return fmt.Errorf("bench: %s was changed by %d messages, want %d", a.ID, a.Balance, changes[a.ID])
		}
		if ordered && a.Note == outOfOrder {
			return fmt.Errorf("bench: %s was changed out of order", a.ID)
		}
	}
	return nil
}

// accountsIn reads all accounts, which are in the same columns for all variants.
func accountsIn(ctx context.Context, db *sql.DB) (all []Account, err error) {
	rows, err := db.QueryContext(ctx, `SELECT body FROM accounts`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var body []byte
		var a Account
		if err := rows.Scan(&body); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &a); err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, rows.Err()
}

// seenIn reads what variants by hand remember.
func seenIn(ctx context.Context, db *sql.DB) (ids []string, err error) {
	rows, err := db.QueryContext(ctx, `SELECT id FROM seen`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
