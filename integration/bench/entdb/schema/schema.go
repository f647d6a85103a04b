// Package schema describes the two tables to ent, which generates package entdb (its
// packages enttest and hook are not needed, and removed):
//
//	GOWORK=off go run -mod=mod entgo.io/ent/cmd/ent generate ./bench/entdb/schema
//	rm -r bench/entdb/enttest bench/entdb/hook && go mod tidy
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
)

// Body is the account's JSON.
type Body struct {
	ID      string
	Owner   string
	Balance int64
	Tags    []string
	Note    string
}

// Account is a row of accounts.
type Account struct{ ent.Schema }

// Annotations names the table.
func (Account) Annotations() []schema.Annotation {
	return []schema.Annotation{entsql.Table("accounts")}
}

// Fields lists the columns.
func (Account) Fields() []ent.Field {
	return []ent.Field{
		field.String("id"),
		field.Int64("version"),
		field.JSON("body", Body{}).SchemaType(map[string]string{dialect.Postgres: "json"}),
	}
}

// Message is a row of outbox.
type Message struct{ ent.Schema }

// Annotations names the table.
func (Message) Annotations() []schema.Annotation {
	return []schema.Annotation{entsql.Table("outbox")}
}

// Fields lists the columns. What ent calls id is the position.
func (Message) Fields() []ent.Field {
	return []ent.Field{
		field.Int64("id").StorageKey("position"),
		field.String("message_id").StorageKey("id"),
		field.String("topic"),
		field.String("ordering_key"),
		field.String("type"),
		field.Time("created_at"),
		field.Bytes("payload"),
	}
}
