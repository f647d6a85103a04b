// Package schema is what ent generates its client from.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Receipt is a row of the user's table receipts.
type Receipt struct{ ent.Schema }

// Fields implements ent.Interface.
func (Receipt) Fields() []ent.Field {
	return []ent.Field{
		field.String("id"),
		field.String("account_id"),
		field.Int64("amount"),
	}
}
