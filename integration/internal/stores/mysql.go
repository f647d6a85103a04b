package stores

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/faultproxy"
	"github.com/uow-go/uow/integration/internal/servers"
	"github.com/uow-go/uow/mysql"
)

func mysqlStores(local *servers.Local) []Store {
	var list []Store
	var databases atomic.Int64
	for _, level := range []struct {
		name  string
		value mysql.Isolation
	}{
		{"mysql", mysql.ReadCommitted},
		{"mysql repeatable read", mysql.RepeatableRead},
		{"mysql serializable", mysql.Serializable},
	} {
		list = append(list, Store{
			Name:    level.name,
			Variant: level.value != mysql.ReadCommitted,
			Server: &Server{
				Protocol:  faultproxy.MySQL{},
				Deadlock:  "1213",
				Deadlocks: level.value != mysql.ReadCommitted,
				Address:   func(t testing.TB) string { return mysqlConfig(t, local.MySQL(t)).Addr },
			},
			open: func(t testing.TB, o Options) *Database {
				t.Helper()
				if o.Name == "" {
					o.Name = fmt.Sprintf("uow_chaos_%d_%d", os.Getpid(), databases.Add(1))
					makeDatabase(t, local.MySQL(t), o.Name)
				}
				return MySQL(t, local.MySQL(t), o, mysql.Options{Isolation: level.value, CommitTimeout: o.CommitTimeout})
			},
		})
	}
	return list
}

// MySQL opens the database o.Name on the server of a dsn, with a pool of its own.
func MySQL(t testing.TB, dsn string, o Options, options mysql.Options) *Database {
	t.Helper()
	m := &mysqlDatabase{}
	m.direct = openPool(t, dsn, o, nil)
	m.direct.SetMaxIdleConns(1)
	if o.Address != "" {
		cfg := mysqlConfig(t, dsn)
		cfg.Addr = o.Address
		dsn = cfg.FormatDSN()
	}
	m.pool = openPool(t, dsn, o, &m.sessions)
	m.pool.SetMaxOpenConns(max(o.MaxConns, 1))
	m.pool.SetMaxIdleConns(max(o.MaxConns, 1))
	options.DB = m.pool
	db, err := options.Open(t.Context(), "", o.Config)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, db)
	_, err = m.direct.ExecContext(t.Context(), "CREATE TABLE IF NOT EXISTS notes (text VARCHAR(200) COLLATE utf8mb4_bin NOT NULL) ENGINE=InnoDB")
	if err != nil {
		t.Fatal(err)
	}
	return &Database{
		DB: db, Name: o.Name,
		InUse:    func() int { return m.pool.Stats().InUse },
		CloseAll: func() { _ = m.pool.Close() },
		Sessions: m.count, Mark: m.mark, Note: m.note, Notes: m.notes,
	}
}

// mysqlDatabase is a database on a server.
type mysqlDatabase struct {
	pool     *sql.DB // which may go through a proxy
	direct   *sql.DB
	sessions sessions
}

// sessions are the ids of a pool's connections, by which the server knows them.
type sessions struct {
	mu  sync.Mutex
	ids []string
}

func openPool(t testing.TB, dsn string, o Options, known *sessions) *sql.DB {
	t.Helper()
	cfg := mysqlConfig(t, dsn)
	cfg.DBName, cfg.MultiStatements, cfg.ClientFoundRows, cfg.Logger = o.Name, true, true, &driver.NopLogger{}
	if err := cfg.Apply(driver.Charset("utf8mb4", "")); err != nil {
		t.Fatal(err)
	}
	cfg.Params = map[string]string{"sql_mode": "'STRICT_TRANS_TABLES'", "time_zone": "'+00:00'"}
	if o.CommitTimeout > 0 && o.CommitTimeout < time.Second {
		cfg.Params["innodb_lock_wait_timeout"] = "1" // as the store's own pool has it
	}
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(counted{connector, known})
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// counted is a connector that notes the sessions.
type counted struct {
	sqldriver.Connector
	known *sessions
}

// Connect implements driver.Connector of database/sql.
func (c counted) Connect(ctx context.Context) (sqldriver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil || c.known == nil {
		return conn, err
	}
	id, err := sessionID(ctx, conn.(sqldriver.QueryerContext))
	if err != nil {
		_ = conn.Close() // the first error tells more
		return nil, err
	}
	c.known.mu.Lock()
	defer c.known.mu.Unlock()
	c.known.ids = append(c.known.ids, id)
	return conn, nil
}

func sessionID(ctx context.Context, conn sqldriver.QueryerContext) (id string, err error) {
	rows, err := conn.QueryContext(ctx, "SELECT CONNECTION_ID()", nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	row := make([]sqldriver.Value, 1)
	if err := rows.Next(row); err != nil {
		return "", err
	}
	n, err := asInt(row[0])
	return strconv.FormatInt(n, 10), err
}

func asInt(v sqldriver.Value) (int64, error) {
	if b, ok := v.([]byte); ok {
		return strconv.ParseInt(string(b), 10, 64)
	}
	n, ok := v.(int64)
	if !ok {
		return 0, fmt.Errorf("a number is a %T", v)
	}
	return n, nil
}

// refreshed is for how long nobody must read INNODB_TRX before the server looks anew what
// it says: who asks all the time gets the same answer all the time.
const refreshed = 150 * time.Millisecond

// count counts the sessions that the server still has. Who finds some busy may ask again
// at once.
func (m *mysqlDatabase) count(ctx context.Context) (all, busy int, err error) {
	m.sessions.mu.Lock()
	ids := strings.Join(append([]string{"0"}, m.sessions.ids...), ", ")
	m.sessions.mu.Unlock()
	err = m.direct.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM information_schema.processlist WHERE id IN ("+ids+")),"+
		" (SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id IN ("+ids+"))").Scan(&all, &busy)
	if busy > 0 {
		select {
		case <-time.After(refreshed):
		case <-ctx.Done():
		}
	}
	return all, busy, err
}

func (m *mysqlDatabase) mark(ctx context.Context, unit string) (there bool, err error) {
	err = m.pool.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM uow_units WHERE unit = UNHEX(REPLACE(?, '-', '')) AND NOT fenced)", unit).Scan(&there)
	return there, err
}

func (m *mysqlDatabase) note(ctx context.Context, u *uow.Unit, text string) error {
	_, err := mysql.Tx(u).ExecContext(ctx, "INSERT INTO notes VALUES (?)", text)
	return err
}

func (m *mysqlDatabase) notes(ctx context.Context, u *uow.Unit, prefix string) (map[string]int, error) {
	rows, err := mysql.Tx(u).QueryContext(ctx, "SELECT text, COUNT(*) FROM notes WHERE LEFT(text, CHAR_LENGTH(?)) = ? GROUP BY text", prefix, prefix) //nolint:rowserrcheck // counts does
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	return counts(rows)
}

// makeDatabase makes a database, which is dropped when the test ends.
func makeDatabase(t testing.TB, dsn, name string) {
	t.Helper()
	run := func(query string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		db, err := sql.Open("mysql", dsn)
		if err == nil {
			_, err = db.ExecContext(ctx, query)
			_ = db.Close()
		}
		if err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	run("CREATE DATABASE " + name)
	t.Cleanup(func() { run("DROP DATABASE IF EXISTS " + name) })
}

func mysqlConfig(t testing.TB, dsn string) *driver.Config {
	t.Helper()
	cfg, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
