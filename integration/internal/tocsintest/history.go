package tocsintest

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", to read what tocsin wrote
)

// Transition is a committed change of an alert, as the database has it.
type Transition struct {
	ID          string            `json:"id"`
	Alert       string            `json:"alert"`
	Group       string            `json:"group"`
	Name        string            `json:"name"`
	Episode     int64             `json:"episode"`
	Number      int64             `json:"number"`
	Kind        string            `json:"kind"`
	From        string            `json:"from"`
	To          string            `json:"to"`
	Hold        string            `json:"hold"`
	Slot        time.Time         `json:"slot"`
	Value       string            `json:"value"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	ActiveAt    time.Time         `json:"activeAt"`
	FiredAt     time.Time         `json:"firedAt"`
	ResolvedAt  time.Time         `json:"resolvedAt"`
	Reason      string            `json:"reason"`
}

// Notifies reports whether destinations are to be told: they are of what happens
// to an alert that has fired.
func (t Transition) Notifies() bool {
	return !t.FiredAt.IsZero() && t.Kind != "pending" && t.Kind != "inactive"
}

// Delivery is the record of one notification.
type Delivery struct {
	ID          string    `json:"id"`
	Transition  string    `json:"transition"`
	Alert       string    `json:"alert"`
	Destination string    `json:"destination"`
	Kind        string    `json:"kind"`
	Number      int64     `json:"number"`
	State       string    `json:"state"`
	Attempts    int       `json:"attempts"`
	LastAnswer  string    `json:"lastAnswer"`
	CreatedAt   time.Time `json:"createdAt"`
}

// Attempt is a line of the ledger.
type Attempt struct {
	ID           string    `json:"id"`
	Notification string    `json:"notification"`
	Alert        string    `json:"alert"`
	Destination  string    `json:"destination"`
	Number       int       `json:"number"`
	StartedAt    time.Time `json:"startedAt"`
	FinishedAt   time.Time `json:"finishedAt"`
	Outcome      string    `json:"outcome"`
	Status       int       `json:"status"`
	Detail       string    `json:"detail"`
	Alerts       int       `json:"alerts"`
}

// Gap is time in which a group was not evaluated.
type Gap struct {
	Group  string    `json:"group"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Missed int64     `json:"missed"`
}

// Alert is an alert as it is stored.
type Alert struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Labels   map[string]string `json:"labels"`
	State    string            `json:"state"`
	Hold     string            `json:"hold"`
	Changes  int64             `json:"changes"`
	ActiveAt time.Time         `json:"activeAt"`
	FiredAt  time.Time         `json:"firedAt"`
}

// Evaluations is how far a group has come.
type Evaluations struct {
	ID     string    `json:"id"`
	Slot   time.Time `json:"slot"`
	Missed int64     `json:"missed"`
	Rules  map[string]struct {
		LastError string `json:"lastError"`
	} `json:"rules"`
}

// History is one snapshot of what tocsin has committed.
type History struct {
	Transitions []Transition // of each alert in the order in which they happened
	Deliveries  []Delivery   // in the same order
	Attempts    []Attempt    // by the time at which they began
	Gaps        []Gap
	Alerts      []Alert
	Evaluations []Evaluations
	// Held are the notifications that wait beside the outbox's cursors, by
	// cursor.
	Held map[string]int
}

// History reads the database of an installation, whether tocsin runs or not.
func (h *Home) History(t testing.TB) History {
	t.Helper()
	history, err := ReadHistory(h.Database())
	if err != nil {
		t.Fatalf("tocsintest: read the history: %v", err)
	}
	return history
}

// ReadHistory reads a database.
func ReadHistory(path string) (h History, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return h, err
	}
	defer func() { _ = db.Close() }() // it was only read
	tx, err := db.BeginTx(ctx, nil)   // one snapshot
	if err != nil {
		return h, err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	h.Held = map[string]int{}
	for _, read := range []func() error{
		func() error { return readAll(ctx, tx, "transitions", &h.Transitions) },
		func() error { return readAll(ctx, tx, "deliveries", &h.Deliveries) },
		func() error { return readAll(ctx, tx, "attempts", &h.Attempts) },
		func() error { return readAll(ctx, tx, "gaps", &h.Gaps) },
		func() error { return readAll(ctx, tx, "alerts", &h.Alerts) },
		func() error { return readAll(ctx, tx, "evaluations", &h.Evaluations) },
		func() error { return readHeld(ctx, tx, h.Held) },
	} {
		if err := read(); err != nil {
			return h, err
		}
	}
	slices.SortStableFunc(h.Transitions, func(a, b Transition) int {
		return cmp.Or(a.Slot.Compare(b.Slot), cmp.Compare(a.Alert, b.Alert), cmp.Compare(a.Number, b.Number))
	})
	slices.SortStableFunc(h.Deliveries, func(a, b Delivery) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Alert, b.Alert), cmp.Compare(a.Number, b.Number))
	})
	slices.SortStableFunc(h.Attempts, func(a, b Attempt) int { return a.StartedAt.Compare(b.StartedAt) })
	return h, nil
}

func readAll[T any](ctx context.Context, tx *sql.Tx, table string, out *[]T) error {
	rows, err := tx.QueryContext(ctx, "SELECT body FROM "+table)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var item T
		if err := json.Unmarshal(body, &item); err != nil {
			return fmt.Errorf("table %s: %w in %s", table, err, body)
		}
		*out = append(*out, item)
	}
	return rows.Err()
}

func readHeld(ctx context.Context, tx *sql.Tx, held map[string]int) error {
	rows, err := tx.QueryContext(ctx, "SELECT cursor, count(*) FROM uow_outbox_held GROUP BY cursor")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var cursor string
		var n int
		if err := rows.Scan(&cursor, &n); err != nil {
			return err
		}
		held[cursor] = n
	}
	return rows.Err()
}

// Of returns the transitions of the alerts with this name.
func (h History) Of(name string) []Transition {
	return slices.DeleteFunc(slices.Clone(h.Transitions), func(t Transition) bool { return t.Name != name })
}

// Kinds returns the kinds of the transitions of the alerts with this name, such
// as "pending firing resolved", or "firing resolved; firing" where there are two.
func (h History) Kinds(name string) string { return Kinds(h.Of(name)) }

// Kinds returns the kinds of transitions, alert by alert, in the order in which
// the alerts came.
func Kinds(transitions []Transition) string {
	var order []string
	kinds := map[string][]string{}
	for _, t := range transitions {
		if kinds[t.Alert] == nil {
			order = append(order, t.Alert)
		}
		kinds[t.Alert] = append(kinds[t.Alert], t.Kind)
	}
	all := make([]string, len(order))
	for i, alert := range order {
		all[i] = strings.Join(kinds[alert], " ")
	}
	return strings.Join(all, "; ")
}

// Undelivered returns the notifications that have not been delivered.
func (h History) Undelivered() []Delivery {
	return slices.DeleteFunc(slices.Clone(h.Deliveries), func(d Delivery) bool { return d.State == "delivered" })
}

// WaitKinds waits until the alerts with this name have had exactly these
// transitions, and returns them.
func (h *Home) WaitKinds(t testing.TB, name, kinds string) []Transition {
	t.Helper()
	var history History
	Eventually(t, name+": "+kinds, func() (err error) {
		if history, err = ReadHistory(h.Database()); err != nil {
			return err
		}
		if got := history.Kinds(name); got != kinds {
			return fmt.Errorf("the transitions are %q, want %q", got, kinds)
		}
		return nil
	})
	return history.Of(name)
}

// WaitSlots waits until n more slots of the group have been committed than when
// it was called: what has not happened then did not happen.
func (h *Home) WaitSlots(t testing.TB, n int) {
	t.Helper()
	var first time.Time
	seen := 0
	Eventually(t, fmt.Sprintf("%d more slots", n), func() error {
		history, err := ReadHistory(h.Database())
		if err != nil {
			return err
		}
		for _, e := range history.Evaluations {
			if e.Slot.After(first) {
				if !first.IsZero() {
					seen++
				}
				first = e.Slot
			}
		}
		if seen < n {
			return fmt.Errorf("%d slots, want %d", seen, n)
		}
		return nil
	})
}

// WaitDelivered waits until every notification has been delivered.
func (h *Home) WaitDelivered(t testing.TB) {
	t.Helper()
	h.WaitDeliveredWithin(t, Wait)
}

// WaitDeliveredWithin is WaitDelivered with a limit of its own.
func (h *Home) WaitDeliveredWithin(t testing.TB, limit time.Duration) {
	t.Helper()
	EventuallyWithin(t, limit, "everything delivered", func() error {
		history, err := ReadHistory(h.Database())
		if err != nil {
			return err
		}
		if open := history.Undelivered(); len(open) > 0 {
			return fmt.Errorf("%d of %d notifications are not delivered, such as %+v (held: %v)",
				len(open), len(history.Deliveries), open[0], history.Held)
		}
		return nil
	})
}
