package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Store is one open database. Its methods may be called from many goroutines.
//
// A store is free to implement more: outbox.Log for the relay, and whatever
// its own package gives to users who know which store they have.
type Store interface {
	// Register prepares the store for the collections: it creates what is
	// missing (tables, columns, indexes) and refuses what it cannot serve. It is
	// called once, before the first Begin.
	Register(ctx context.Context, collections []Collection) error

	// Begin starts a transaction. All reads of one transaction see one
	// snapshot, taken at the latest by the first of them, plus what the
	// transaction flushed itself. A store should make Begin cheap: a unit that
	// only writes calls it immediately before Commit.
	Begin(ctx context.Context, options TxOptions) (Tx, error)

	// Close releases everything. Transactions that are still open fail.
	Close() error
}

// TxOptions say what a transaction is for.
type TxOptions struct {
	// ReadOnly says that nothing will be written: neither Flush nor Commit will be
	// called, and Rollback ends the transaction.
	ReadOnly bool
	// Serializable says that the unit must have the effect that it would have if
	// no other ran at the same time. Its change sets name what was read: the rows as
	// Checks, and the queries as Ranges. A store that begins a serializable
	// transaction of its database's own may leave the Ranges to that.
	Serializable bool
}

// Tx is one transaction. It is used by one goroutine at a time.
//
// Rows and byte slices that a Tx returns belong to the caller; those that it is
// given belong to the caller too and are not kept after the call returns,
// unless the store copies them.
type Tx interface {
	// Get returns the rows of a collection that have one of the ids, in any
	// order. A missing id is not an error.
	Get(ctx context.Context, collection string, ids []string) ([]Row, error)

	// Find returns the rows that satisfy the query, in its order.
	Find(ctx context.Context, collection string, q Query) ([]Row, error)

	// Count returns how many rows Find would return.
	Count(ctx context.Context, collection string, q Query) (int64, error)

	// Flush writes the change set and keeps the transaction open. After an
	// error the transaction can only be rolled back.
	Flush(ctx context.Context, cs *ChangeSet) error

	// Commit writes the change set, which may be empty, and commits: all of it
	// or nothing. After Commit the transaction has ended, whatever it returned;
	// an error means that nothing of the transaction is in the database, or, when
	// it is ErrInDoubt, that nobody knows.
	//
	// Once Commit has begun to write it no longer heeds ctx.
	Commit(ctx context.Context, cs *ChangeSet) error

	// Rollback ends the transaction without effect. It does not depend on any
	// context, may be called any number of times, and after Commit.
	Rollback() error
}

// ChangeSet is everything that one unit writes at once. A store that reports a
// failure has applied none of it.
type ChangeSet struct {
	// Unit is the id of the unit.
	Unit string
	// At is the unit's time; it is what Message.CreatedAt says.
	At time.Time
	// Releases come before the writes: unique values that rows give up in this
	// change set and that other rows of it take. The row is among the writes.
	Releases []Release
	// Writes are in the order in which they must be applied, which is not always
	// the same for the same rows: references decide. So a store that locks rows as
	// it writes them first locks those that exist, in the one order that all units
	// share: collections as registered, rows by id. A store may apply neighbours that
	// have the same collection and operation in any order, or at once, where the
	// collection does not refer to itself.
	Writes []Write
	// Checks are rows that are not written but must still have the version.
	Checks []Check
	// Ranges are queries that must still have the same result, apart from what
	// the transaction wrote itself: see TxOptions.Serializable.
	Ranges []Range
	// Messages go to the outbox log, in this order, after the writes.
	Messages []Message
}

// Empty reports whether there is nothing to write and nothing to check.
func (c *ChangeSet) Empty() bool {
	return len(c.Writes) == 0 && len(c.Checks) == 0 && len(c.Ranges) == 0 && len(c.Messages) == 0
}

// Op says what a Write does.
type Op uint8

// The operations.
const (
	Insert Op = iota + 1
	Update
	Delete
)

// String returns the operation's name.
func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	}
	return fmt.Sprintf("op(%d)", uint8(o))
}

// Write is one row to write.
//
// The version is part of the write: an Update or a Delete that finds a version
// other than Expected, and an Insert that finds a row, fail the whole change set
// with a *ConflictError that names the row and what was found.
//
// Versions and sequences never go back, also not when a row is deleted and
// inserted again: a store remembers the last of both for deleted rows. An Insert
// that meets such a memory continues from there: the store then sets Version and
// Sequence, and adds the remembered sequence to Message.Sequence of the messages
// whose Write points here.
type Write struct {
	Op         Op
	Collection string
	ID         string
	// Expected is the version that the row must have; 0 for an Insert.
	Expected int64
	// Version is the version that the row has afterwards, Expected+1.
	Version int64
	// Sequence is the number of events that the aggregate has recorded in its
	// whole life, those of this change set included.
	Sequence int64
	// Body is the encoded aggregate; nil for a Delete, and in a collection that has
	// a Table.
	Body []byte
	// Indexes are the values of the collection's indexes, in their order; nil
	// for a Delete.
	Indexes []Value
}

// Release sets the value of a unique index of a row to nil, before the writes, so
// that another row can take the value. Whatever the row has afterwards is in its
// Write, which also checks its version.
type Release struct {
	Collection string
	ID         string
	// Index is the place among the collection's indexes.
	Index int
}

// Check demands that a row has a version, without writing it. Version 0 demands
// that there is no row.
type Check struct {
	Collection string
	ID         string
	Version    int64
}

// Range demands that a query still returns the rows that it returned before, in the
// versions that they had: ErrConflict otherwise, for which a *ConflictError names
// the first row that differs. Rows that the transaction wrote do not count.
type Range struct {
	Collection string
	Query      Query
	// Rows are what the query returned.
	Rows []RowVersion
}

// RowVersion is a row as a query returned it.
type RowVersion struct {
	ID      string
	Version int64
}

// Row is one stored aggregate.
type Row struct {
	ID       string
	Version  int64
	Sequence int64
	Body     []byte
	// Indexes are the row's values, in a collection that has a Table; otherwise
	// nil.
	Indexes []Value
}

// Collection describes where a kind of aggregate is kept.
type Collection struct {
	// Name is the collection's name: a letter, then letters, digits and
	// underscores, at most 48, never beginning with "uow_".
	Name    string
	Indexes []Index
	// Disposable says that the id of a deleted row is never inserted again, so
	// that the store need not remember anything of it.
	Disposable bool
	// Table maps the collection to a table of the user's, whose columns are the
	// Indexes; nil for a table that the store makes itself.
	Table *Table
	// SelfReferring says that rows of the collection refer to each other, so that
	// its Writes must be applied in their order also among themselves.
	SelfReferring bool
}

// Table is a table of the user's that keeps a collection. It has the columns named
// here and in Collection.Indexes; the store never changes its definition and never
// touches other columns. There is no body: Row.Indexes has the values.
//
// Values are what the column's own type takes and gives: a String, Decimal or JSON
// is converted to and from the column's type by its text (uuid, enum, numeric,
// jsonb …), an id likewise (bigint, uuid …).
type Table struct {
	// Name is the table's name, with its schema before a dot where it has one.
	Name string
	// Key is the column of the id, which is the primary key or unique.
	Key string
	// Version is an integer column.
	Version string
	// FirstVersion is what the version column has in a new row: the version of the
	// seam is the column's value - FirstVersion + 1.
	FirstVersion int64
	// Sequence is the column of the sequence, "" when the table has none: then the
	// store keeps the sequence of aggregates that record events elsewhere.
	Sequence string
}

// Index is a value of each row that queries can ask for.
type Index struct {
	// Name follows the rule of Collection.Name and is none of id, version,
	// sequence and body.
	Name string
	Kind Kind
	// Unique refuses two rows with the same value, by ErrDuplicate. In a Table it
	// says that the table does.
	Unique bool
}

// Kind is the type of an index' values.
type Kind uint8

// The kinds, with the Go type of their values. Strings are ordered by bytes, in a
// Table as its column is. Times are kept with microsecond precision, in UTC.
//
// The last three are kinds of columns of a Table only, and queries can not compare
// them. A Decimal's text is that of the database, as 12.30.
const (
	String  Kind = iota + 1 // string
	Int                     // int64
	Float                   // float64, never NaN
	Bool                    // bool, false before true
	Time                    // time.Time
	Bytes                   // []byte
	Decimal                 // string
	JSON                    // []byte
)

// Comparable reports whether queries can compare values of the kind.
func (k Kind) Comparable() bool { return k >= String && k <= Time }

// Value is nil or the Go type of an index' Kind. nil is before every other
// value, and equals nil.
type Value any

// Query selects rows of a collection: those that satisfy all conditions,
// ordered by Order and then by id, from the front, Limit at most.
type Query struct {
	Where []Condition
	Order []Order
	// Limit is the greatest number of rows; 0 means no limit.
	Limit int
	// After, when set, is a place in the order: only rows behind it count.
	After *Place
	// Except are ids of rows that do not count. Package uow sets it.
	Except []string
}

// Place is a place in the order of a query.
type Place struct {
	// Values are those of the query's Order, one each.
	Values []Value
	ID     string
}

// Condition compares an index with values. Values has one value, or any number
// for In; for Prefix it is a string. Field is the name of an index, or "id".
type Condition struct {
	Field  string
	Op     Comparison
	Values []Value
}

// Comparison is the operator of a Condition. A nil value in a row satisfies only
// Equal and In with nil.
type Comparison uint8

// The comparisons.
const (
	Equal Comparison = iota + 1
	In
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
	Prefix // of a String: begins with the bytes of the value
)

// Order is one criterion of a query's order. Field is as in Condition.
type Order struct {
	Field      string
	Descending bool
}

// Message is an entry of the outbox. Package outbox has the meaning of each
// field; here is what a store must do with it: keep all of it, and give Position
// in commit order.
type Message struct {
	Position      int64
	ID            string
	Topic         string
	Key           string
	Type          string
	AggregateType string
	AggregateID   string
	Sequence      int64
	Payload       []byte
	Headers       map[string]string
	CreatedAt     time.Time
	// At, when it is not zero, keeps the message apart from the log until then: the
	// store appends it, At as its CreatedAt and without an At, when it is told to by
	// outbox.Log.Promote. Only messages of no aggregate have it.
	At time.Time
	// Write is one more than the index in ChangeSet.Writes of the aggregate that
	// recorded the message, and 0 for a message of no aggregate. It is not
	// stored.
	Write int
}

// Apart takes the delayed messages out of those of a change set. Stores call it.
func Apart(all []Message) (messages, delayed []Message) {
	isDelayed := func(m Message) bool { return !m.At.IsZero() }
	if !slices.ContainsFunc(all, isDelayed) {
		return all, nil
	}
	for _, m := range all {
		if isDelayed(m) {
			delayed = append(delayed, m)
		} else {
			messages = append(messages, m)
		}
	}
	return messages, delayed
}

// ErrConflict is what errors.Is finds in every *ConflictError.
var ErrConflict = errors.New("uow: conflict")

// ConflictError reports that another unit changed a row first.
type ConflictError struct {
	Collection string
	ID         string
	// Expected is the version that the unit had loaded; 0 means that it expected
	// no row.
	Expected int64
	// Found is the version in the store; 0 means that there is no row.
	Found int64
}

// Error names the row, the version that was expected and the one found.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("uow: conflict: %s/%s: expected %s, found %s",
		e.Collection, e.ID, version(e.Expected), version(e.Found))
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

func version(v int64) string {
	if v == 0 {
		return "no row"
	}
	return fmt.Sprintf("version %d", v)
}

// ErrDuplicate is what errors.Is finds in every *DuplicateError.
var ErrDuplicate = errors.New("uow: duplicate")

// DuplicateError reports that a unique index already has the value, in a row
// other than the one written.
type DuplicateError struct {
	Collection string
	ID         string
	Index      string
}

// Error names the row that could not be written and the index. The value stays
// out, since it may be a secret.
func (e *DuplicateError) Error() string {
	return fmt.Sprintf("uow: duplicate: %s/%s: unique index %s has its value already", e.Collection, e.ID, e.Index)
}

// Is makes errors.Is(err, ErrDuplicate) true.
func (e *DuplicateError) Is(target error) bool { return target == ErrDuplicate }
