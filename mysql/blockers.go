package mysql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	sqldriver "database/sql/driver"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow/outbox"
)

var _ outbox.Blockers = (*Store)(nil)

// Blockers implements outbox.Blockers: the transactions that have written something, of
// connections whose lanes are taken. One in 256 of the others has the same lane and is
// named too. Without the privilege PROCESS the server does not tell who they are, and
// the lanes are what is known.
func (s *Store) Blockers(ctx context.Context) ([]outbox.Blocker, error) {
	taken, err := s.takenLanes(ctx, nil)
	if err != nil || len(taken) == 0 {
		return nil, err
	}
	numbers := slices.Sorted(maps.Keys(taken))
	all, err := s.writers(ctx, numbers)
	var refused *mysql.MySQLError
	if errors.As(err, &refused) && refused.Number == codeNoPrivilege {
		all = make([]outbox.Blocker, len(numbers))
		for i, lane := range numbers {
			all[i].Session = fmt.Sprintf("a connection whose id is %d modulo %d", lane, lanes)
		}
		return all, nil
	}
	return all, err
}

// writers returns the transactions of lanes that have written, the oldest first.
func (s *Store) writers(ctx context.Context, of []int64) (all []outbox.Blocker, err error) {
	sc := newScript().add("SELECT CAST(t.trx_mysql_thread_id AS CHAR), COALESCE(p.user, ''), COALESCE(p.host, ''), COALESCE(p.command, ''),",
		" CAST(UTC_TIMESTAMP(6) - INTERVAL TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) SECOND AS CHAR),",
		" CAST(UTC_TIMESTAMP(6) - INTERVAL p.time SECOND AS CHAR)",
		" FROM information_schema.innodb_trx t LEFT JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id",
		" WHERE t.trx_rows_modified > 0 AND t.trx_mysql_thread_id % ").int(lanes).add(" IN ").positions(of).
		add(" ORDER BY t.trx_started, t.trx_mysql_thread_id").
		query(func(row []sqldriver.Value) error {
			all = append(all, outbox.Blocker{
				Session: text(row[0]), Application: text(row[1]), Client: text(row[2]), State: text(row[3]),
				Since: timeOf(row[4]), QueryAt: timeOf(row[5]),
			})
			return nil
		})
	return all, s.do(ctx, "ask for blockers", sc)
}
