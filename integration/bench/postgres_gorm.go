package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	gormpg "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// gormAccount and gormMessage are GORM's models.
type gormAccount struct {
	ID      string `gorm:"primaryKey"`
	Version int64
	Body    Account `gorm:"serializer:json;type:json"`
}

// TableName implements GORM's Tabler.
func (gormAccount) TableName() string { return "accounts" }

type gormMessage struct {
	Position    int64 `gorm:"primaryKey;autoIncrement"`
	ID          string
	Topic       string
	OrderingKey string
	Type        string
	CreatedAt   time.Time
	Payload     []byte
}

// TableName implements GORM's Tabler.
func (gormMessage) TableName() string { return "outbox" }

// gormDB is GORM without its transaction around each write, since the unit has one.
// Statements are prepared by pgx: with GORM's own PrepareStmt it is slower.
type gormDB struct {
	db *gorm.DB
	postgresSums
	event Changed
}

func openGORM(ctx context.Context, dsn string) (Subject, error) {
	conns, sums, err := fillSQL(ctx, dsn, pgx.QueryExecModeCacheStatement)
	if err != nil {
		return nil, err
	}
	db, err := gorm.Open(gormpg.New(gormpg.Config{Conn: conns}), &gorm.Config{
		SkipDefaultTransaction: true,
		Logger:                 logger.Discard,
	})
	return gormDB{db, sums, newEvent()}, err
}

func (s gormDB) Unit(ctx context.Context, id string, change func(*Account)) error {
	return s.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		var a gormAccount
		if err := tx.Take(&a, "id = ?", id).Error; err != nil {
			return err
		}
		change(&a.Body)
		result := tx.Model(&a).Where("version = ?", a.Version).
			Select("version", "body").Updates(gormAccount{Version: a.Version + 1, Body: a.Body})
		if result.Error != nil {
			return result.Error
		}
		if result.RowsAffected != 1 {
			return fmt.Errorf("%w: %s", ErrConflict, id)
		}
		message, payload, err := newMessage(s.event)
		if err != nil {
			return err
		}
		return tx.Create(&gormMessage{
			ID: message, Topic: "accounts", OrderingKey: id, Type: "Changed", CreatedAt: time.Now(), Payload: payload,
		}).Error
	})
}

func (s gormDB) Close() error {
	db, err := s.db.DB()
	if err != nil {
		return err
	}
	return db.Close()
}
