package postgres

import (
	"context"

	"github.com/uow-go/uow/outbox"
)

var _ outbox.Blockers = (*Store)(nil)

// Blockers implements outbox.Blockers: the sessions that have a lock on the outbox, as
// those have that append to it until their transactions end. Of other roles' sessions
// the server tells no more than the process id, unless one's role has pg_read_all_stats.
func (s *Store) Blockers(ctx context.Context) (all []outbox.Blocker, err error) {
	err = s.do(ctx, "ask for blockers", step{
		statement: newStatement(`SELECT l.pid::text, coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''), coalesce(a.state, ''), a.xact_start, a.query_start
			FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'relation'
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND l.relation = ` + literal(s.schema+".uow_outbox") + `::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
			ORDER BY a.xact_start, l.pid`),
		row: func(row [][]byte) error {
			b := outbox.Blocker{
				Session: string(row[0]), Application: string(row[1]), Client: string(row[2]), State: string(row[3]),
				Since: timeOf(row[4]), QueryAt: timeOf(row[5]),
			}
			if b.Session == "" {
				b.Session = "prepared transaction"
			}
			all = append(all, b)
			return nil
		},
	})
	return all, err
}
