package bench

import (
	"context"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/mysql"
)

// mysqlUnits is uow.
type mysqlUnits struct {
	*units
	dsn string
}

func openMySQLUnits(ctx context.Context, dsn string) (Subject, error) {
	s := &mysqlUnits{dsn: dsn}
	var err error
	s.units, err = newUnits(ctx, Rows, func(cfg uow.Config) (*uow.DB, error) {
		return mysql.Options{MaxConns: Conns}.Open(ctx, dsn, cfg)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *mysqlUnits) Sums(ctx context.Context) (Sums, error) {
	return mysqlSums(ctx, s.dsn, "uow_outbox")
}
