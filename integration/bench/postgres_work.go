package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/freerware/work/v4/unit"
	"github.com/jackc/pgx/v5"
)

// working is freerware/work: a unit made by a Uniter, with data mappers. It has no
// reads: the account is loaded before the unit's transaction begins. Its repetition
// of whatever fails is off, since a conflict does not go away by it.
type working struct {
	db *sql.DB
	postgresSums
	uniter unit.Uniter
	event  Changed
}

func openWork(ctx context.Context, dsn string) (Subject, error) {
	db, sums, err := fillSQL(ctx, dsn, pgx.QueryExecModeCacheStatement)
	if err != nil {
		return nil, err
	}
	mappers := map[unit.TypeName]unit.DataMapper{
		unit.TypeNameOf(&workAccount{}): accountMapper{},
		unit.TypeNameOf(&workMessage{}): messageMapper{},
	}
	uniter := unit.NewUniter(unit.DB(db), unit.DataMappers(mappers), unit.DisableDefaultLoggingActions(), unit.RetryAttempts(1))
	return working{db, sums, uniter, newEvent()}, nil
}

type workAccount struct {
	version int64
	account Account
}

// Identifier is what the unit's cache asks for.
func (a *workAccount) Identifier() any { return a.account.ID }

type workMessage struct {
	id, key string
	payload []byte
}

func (s working) Unit(ctx context.Context, id string, change func(*Account)) error {
	u, err := s.uniter.Unit()
	if err != nil {
		return err
	}
	a := &workAccount{}
	var body []byte
	if err := s.db.QueryRowContext(ctx, pgSelect, id).Scan(&a.version, &body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, &a.account); err != nil {
		return err
	}
	if err := u.Register(ctx, a); err != nil {
		return err
	}
	change(&a.account)
	message, payload, err := newMessage(s.event)
	if err != nil {
		return err
	}
	if err := errors.Join(u.Alter(ctx, a), u.Add(ctx, &workMessage{message, id, payload})); err != nil {
		return err
	}
	return u.Save(ctx)
}

func (s working) Close() error { return s.db.Close() }

var errUnmapped = errors.New("bench: not mapped")

type accountMapper struct{}

func (accountMapper) Insert(context.Context, unit.MapperContext, ...any) error { return errUnmapped }
func (accountMapper) Delete(context.Context, unit.MapperContext, ...any) error { return errUnmapped }

func (accountMapper) Update(ctx context.Context, in unit.MapperContext, entities ...any) error {
	for _, entity := range entities {
		a, ok := entity.(*workAccount)
		if !ok {
			return errUnmapped
		}
		body, err := json.Marshal(&a.account)
		if err != nil {
			return err
		}
		result, err := in.Tx.ExecContext(ctx, pgUpdate, body, a.account.ID, a.version)
		if err != nil {
			return err
		}
		if err := changedOne(result, a.account.ID); err != nil {
			return err
		}
	}
	return nil
}

type messageMapper struct{}

func (messageMapper) Update(context.Context, unit.MapperContext, ...any) error { return errUnmapped }
func (messageMapper) Delete(context.Context, unit.MapperContext, ...any) error { return errUnmapped }

func (messageMapper) Insert(ctx context.Context, in unit.MapperContext, entities ...any) error {
	for _, entity := range entities {
		m, ok := entity.(*workMessage)
		if !ok {
			return errUnmapped
		}
		if _, err := in.Tx.ExecContext(ctx, pgInsert, m.id, "accounts", m.key, "Changed", time.Now(), m.payload); err != nil {
			return err
		}
	}
	return nil
}
