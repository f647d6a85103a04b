package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/uow-go/uow/driver"
)

// mapped is what a table of the user's has of its own.
type mapped struct {
	key     string // the column of ids, quoted, and
	keyType string // its type
	version string // the column, quoted
	// offset is what the version column has more than the version.
	offset   int64
	sequence string // the column, quoted; "" for none
	types    []string
	// constraints are the columns of unique indexes of one column, by the index' name;
	// "" for that of the key.
	constraints map[string]string
	count       *statement // keeps the sequence of a row without a column for it
}

// quoteQualified quotes a name that may have a schema.
func quoteQualified(name string) string {
	schema, rest, ok := strings.Cut(name, ".")
	if !ok {
		return quote(name)
	}
	return quote(schema) + "." + quote(rest)
}

// newMapped makes the statements for a table of the user's, by the types of its
// columns. It is found by the search path where its name has no schema.
func newMapped(schema string, place int, desc driver.Collection, name string, types map[string]string) (*table, error) {
	d := desc.Table
	m := &mapped{key: quote(d.Key), version: quote(d.Version), offset: d.FirstVersion - 1}
	wanted := []string{d.Key, d.Version}
	if d.Sequence != "" {
		m.sequence = quote(d.Sequence)
		wanted = append(wanted, d.Sequence)
	}
	for _, index := range desc.Indexes {
		wanted = append(wanted, index.Name)
	}
	for _, column := range wanted {
		if types[column] == "" {
			return nil, fmt.Errorf("%w: the table %s has no column %s", ErrMismatch, d.Name, column)
		}
	}
	m.keyType = types[d.Key]
	t := &table{desc: desc, name: name, place: place, body: pgtype.TextOID, unique: true, mapped: m}
	for _, index := range desc.Indexes {
		m.types = append(m.types, types[index.Name])
	}
	t.mappedReads(schema)
	t.mappedWrites(schema)
	t.mappedGraves(schema)
	return t, nil
}

// cast gives a parameter, or a column of one, the type of a column.
func (m *mapped) cast(i int, kind driver.Kind, expr string) string {
	switch {
	case kind == driver.Time && strings.HasPrefix(m.types[i], "timestamp") && strings.HasSuffix(m.types[i], "with time zone"):
		return expr
	case kind == driver.Time:
		return "CAST(" + expr + " AT TIME ZONE 'UTC' AS " + m.types[i] + ")"
	case kind == driver.Bytes:
		return expr
	}
	return "CAST(" + expr + " AS " + m.types[i] + ")"
}

// value gives a column the type of its kind.
func (m *mapped) value(i int, index driver.Index) string {
	column := quote(index.Name)
	switch index.Kind {
	case driver.Bytes:
		return column
	case driver.Time:
		switch {
		case strings.HasSuffix(m.types[i], "with time zone"):
			return column
		default:
			return "CAST(" + column + " AS timestamp) AT TIME ZONE 'UTC'"
		}
	}
	return "CAST(" + column + " AS " + sqlType(index.Kind) + ")"
}

func (m *mapped) id(expr string) string { return "CAST(" + expr + " AS " + m.keyType + ")" }

func (m *mapped) ids(expr string) string { return "CAST(" + expr + " AS " + m.keyType + "[])" }

func (m *mapped) idText() string { return "CAST(" + m.key + " AS text)" }

// shifted is a version as the column has it.
func (m *mapped) shifted(expr string) string { return fmt.Sprintf("%s + (%d)", expr, m.offset) }

func (m *mapped) versionOf() string { return fmt.Sprintf("(%s::bigint - (%d))", m.version, m.offset) }

func (t *table) mappedReads(schema string) {
	m := t.mapped
	sequence := m.sequence + "::bigint"
	if m.sequence == "" {
		sequence = "coalesce((SELECT g.sequence FROM " + schema + ".uow_tombstones g WHERE g.collection = " + literal(t.desc.Name) + " AND g.id = " + m.idText() + "), 0)"
	}
	columns := "SELECT " + m.idText() + ", " + m.versionOf() + ", " + sequence
	for i, index := range t.desc.Indexes {
		columns += ", " + m.value(i, index)
	}
	columns += " FROM " + t.name
	const texts, text = pgtype.TextArrayOID, pgtype.TextOID
	t.selectRows = newStatement(columns)
	t.selectOne = newStatement(columns+" WHERE "+m.key+" = "+m.id("$1"), text)
	t.selectMany = newStatement(columns+" WHERE "+m.key+" = ANY("+m.ids("$1")+")", texts)
	t.selectLocked = newStatement(columns+" WHERE "+m.key+" = ANY("+m.ids("$1")+") ORDER BY "+m.key+" FOR NO KEY UPDATE", texts)
	t.selectVersions = newStatement("SELECT "+m.idText()+", "+m.versionOf()+" FROM "+t.name+" WHERE "+m.key+" = ANY("+m.ids("$1")+")", texts)
	for _, index := range t.desc.Indexes {
		t.release = append(t.release, newStatement("UPDATE "+t.name+" SET "+quote(index.Name)+" = NULL WHERE "+m.key+" = ANY("+m.ids("$1")+")", texts))
	}
}

// mappedWrites makes the statements that write rows, one at a time. They have the
// parameters of those for documents; that of the body is not used.
func (t *table) mappedWrites(schema string) {
	m := t.mapped
	refuse := schema + ".uow_refuse(" + literal(t.desc.Name) + ", "
	one := []uint32{pgtype.TextOID, pgtype.Int8OID, pgtype.Int8OID, t.body}
	columns, values := []string{m.key, m.version}, []string{m.id("$1"), m.shifted("$2")}
	sets := []string{m.version + " = " + m.shifted("$3")}
	if m.sequence != "" {
		columns, values, sets = append(columns, m.sequence), append(values, "$3"), append(sets, m.sequence+" = $4")
	}
	for i, index := range t.desc.Indexes {
		columns, values = append(columns, quote(index.Name)), append(values, m.cast(i, index.Kind, fmt.Sprintf("$%d", 5+i)))
		sets = append(sets, quote(index.Name)+" = "+m.cast(i, index.Kind, fmt.Sprintf("$%d", 6+i)))
		one = append(one, kindOID(index.Kind))
	}
	t.insertOne = newStatement("INSERT INTO "+t.name+" ("+strings.Join(columns, ", ")+") VALUES ("+strings.Join(values, ", ")+")", one...)
	t.updateOne = newStatement("WITH w AS (UPDATE "+t.name+" SET "+strings.Join(sets, ", ")+" WHERE "+m.key+" = "+m.id("$1")+
		" AND "+m.version+" = "+m.shifted("$2")+" RETURNING 1) SELECT "+refuse+"ARRAY[$1]) WHERE NOT EXISTS (SELECT FROM w)", withExpected(one)...)
	const texts, ints = pgtype.TextArrayOID, pgtype.Int8ArrayOID
	rows := "WITH w AS (DELETE FROM " + t.name + " t USING unnest($1, $2) AS i(id, expected) WHERE t." + m.key + " = " + m.id("i.id") +
		" AND t." + m.version + " = " + m.shifted("i.expected") + " RETURNING CAST(t." + m.key + " AS text) AS id)"
	missing := " SELECT " + refuse + "array_agg(i.id ORDER BY i.n)) FROM unnest($1) WITH ORDINALITY AS i(id, n)" +
		" WHERE NOT EXISTS (SELECT FROM w WHERE w.id = i.id) HAVING count(*) > 0"
	t.remove = newStatement(rows+missing, texts, ints)
	if !t.desc.Disposable {
		t.remove = newStatement(rows+", "+t.bury(schema)+missing, texts, ints, ints, ints)
	}
	locking := func(mode string) *statement {
		return newStatement("WITH l AS MATERIALIZED (SELECT "+m.idText()+" AS id, "+m.versionOf()+" AS version FROM "+t.name+
			" WHERE "+m.key+" = ANY("+m.ids("$1")+") ORDER BY "+m.key+" "+mode+") SELECT "+refuse+"array_agg(i.id ORDER BY i.n))"+
			" FROM unnest($1, $2) WITH ORDINALITY AS i(id, version, n) LEFT JOIN l ON l.id = i.id"+
			" WHERE coalesce(l.version, 0) <> i.version HAVING count(*) > 0", texts, ints)
	}
	t.lock, t.share = locking("FOR NO KEY UPDATE"), locking("FOR SHARE")
	if m.sequence == "" {
		m.count = newStatement("INSERT INTO "+schema+".uow_tombstones AS g (collection, id, version, sequence) VALUES ("+literal(t.desc.Name)+
			", $1, 0, $2) ON CONFLICT (collection, id) DO UPDATE SET sequence = CASE WHEN $3 THEN g.sequence + excluded.sequence ELSE excluded.sequence END",
			pgtype.TextOID, pgtype.Int8OID, pgtype.BoolOID)
	}
}

// bury is the part of a removal that remembers the rows.
func (t *table) bury(schema string) string {
	return `g AS (INSERT INTO ` + schema + `.uow_tombstones AS g (collection, id, version, sequence)` +
		` SELECT ` + literal(t.desc.Name) + `, i.id, i.version, i.sequence FROM unnest($1, $3, $4) AS i(id, version, sequence)` +
		` JOIN w ON w.id = i.id ORDER BY i.id ON CONFLICT (collection, id) DO UPDATE` +
		` SET version = excluded.version, sequence = excluded.sequence)`
}

func (t *table) mappedGraves(schema string) {
	if t.desc.Disposable {
		return
	}
	m := t.mapped
	sets := m.version + " = t." + m.version + " + g.version"
	if m.sequence != "" {
		sets += ", " + m.sequence + " = t." + m.sequence + " + g.sequence"
	}
	t.resume = newStatement(`UPDATE `+t.name+` t SET `+sets+` FROM `+schema+`.uow_tombstones g WHERE g.collection = `+literal(t.desc.Name)+
		` AND g.id = CAST(t.`+m.key+` AS text) AND t.`+m.key+` = ANY(`+m.ids("$1")+`) RETURNING g.id, g.version, g.sequence`, pgtype.TextArrayOID)
	t.probes(schema)
}

// uniqueColumn returns the column that a unique index keeps, and whether it is the
// key's.
func (t *table) uniqueColumn(constraint string) (column string, key, ok bool) {
	if t.mapped != nil {
		column, ok = t.mapped.constraints[constraint]
		return column, column == "", ok
	}
	if constraint == indexName(t.desc.Name, "id") {
		return "", true, true
	}
	for _, index := range t.desc.Indexes {
		if constraint == indexName(t.desc.Name, index.Name) {
			return index.Name, false, true
		}
	}
	return "", false, false
}

// registerMapped looks at a table of the user's.
func (s *Store) registerMapped(ctx context.Context, tx pgx.Tx, place int, desc driver.Collection) (*table, error) {
	name := quoteQualified(desc.Table.Name)
	if !strings.Contains(desc.Table.Name, ".") { // that of the store's schema, or of the search path
		inSchema, err := columns(ctx, tx, s.schema+"."+name)
		if err != nil {
			return nil, err
		}
		if len(inSchema) > 0 {
			name = s.schema + "." + name
		}
	}
	types, err := columns(ctx, tx, name)
	if err != nil {
		return nil, err
	}
	if len(types) == 0 {
		return nil, fmt.Errorf("%w: there is no table %s", ErrMismatch, desc.Table.Name)
	}
	for column, kind := range types {
		types[column] = strings.TrimSuffix(kind, ` COLLATE "C"`)
	}
	t, err := newMapped(s.schema, place, desc, name, types)
	if err != nil {
		return nil, err
	}
	t.mapped.constraints, err = uniqueColumns(ctx, tx, name)
	for index, column := range t.mapped.constraints {
		if column == desc.Table.Key {
			t.mapped.constraints[index] = ""
		}
	}
	return t, err
}

// uniqueColumns returns the columns of unique indexes that have one, by the index.
func uniqueColumns(ctx context.Context, tx pgx.Tx, table string) (map[string]string, error) {
	rows, err := tx.Query(ctx, `SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
		WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indnkeyatts = 1`, pgx.QueryExecModeExec, table)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	var index, column string
	_, err = pgx.ForEachRow(rows, []any{&index, &column}, func() error {
		found[index] = column
		return nil
	})
	return found, err
}

// countEvents plans to keep the sequences of rows whose tables have no column for it.
// It comes after the messages, which go on from what is kept.
func (p *plan) countEvents() {
	counted := map[int]bool{}
	for i := range p.cs.Messages {
		at := p.cs.Messages[i].Write
		if at == 0 || at > len(p.cs.Writes) || counted[at] {
			continue
		}
		counted[at] = true
		w := &p.cs.Writes[at-1]
		t := p.store.tables[w.Collection]
		if t.mapped == nil || t.mapped.count == nil || w.Op == driver.Delete {
			continue
		}
		p.steps = append(p.steps, step{statement: t.mapped.count, args: newArgs(3).text(w.ID).int(w.Sequence).value(w.Op == driver.Insert)})
	}
}

// valueOf reads a column of a table of the user's, in the type of its kind.
func valueOf(kind driver.Kind, v []byte) driver.Value {
	if v == nil {
		return nil
	}
	switch kind {
	case driver.Int:
		return number(v)
	case driver.Float:
		return math.Float64frombits(uint64(number(v)))
	case driver.Bool:
		return truth(v)
	case driver.Time:
		return timeOf(v)
	case driver.Bytes, driver.JSON:
		return blob(v)
	}
	return string(v)
}
