package uowtest

import (
	"context"
	"errors"

	"github.com/uow-go/uow"
)

func conflictChecks() []Check {
	return []Check{
		{
			Name: "P11_second_commit_conflicts",
			Rule: "of two units that changed the same aggregate, the second commit must fail with a *ConflictError that names collection, id, expected and found version",
			run:  secondCommitConflicts,
		}, {
			Name: "P11_update_of_a_deleted_row",
			Rule: "a change of an aggregate that another unit has removed must be refused, with found version 0",
			run:  updateOfDeleted,
		}, {
			Name: "P11_remove_of_a_changed_row",
			Rule: "a removal of an aggregate that another unit has changed must be refused",
			run:  removeOfChanged,
		}, {
			Name: "P11_add_of_an_existing_row",
			Rule: "an added aggregate whose id exists by the commit must be refused, with expected version 0",
			run:  addOfExisting,
		}, {
			Name: "P11_required_version",
			Rule: "a version that a unit requires must be checked at the commit, also when the unit does not change the aggregate",
			run:  requiredVersion,
		}, {
			Name: "P11_versions_go_on_after_a_removal",
			Rule: "the version of an aggregate must never come back, also when it was removed and added again: who has loaded an earlier one must get a conflict",
			run:  versionsGoOn,
		},
	}
}

// wantConflict demands that err is a *ConflictError of an account.
func (k *kit) wantConflict(err error, id string, expected, found int64) {
	k.Helper()
	var conflict *uow.ConflictError
	want := uow.ConflictError{Collection: "accounts", ID: id, Expected: expected, Found: found}
	if !errors.As(err, &conflict) || *conflict != want {
		k.broken("the commit should fail with %+v; got %v", want, err)
		return
	}
	if !errors.Is(err, uow.ErrConflict) {
		k.broken("errors.Is(err, ErrConflict) should be true of a *ConflictError; got %v", err)
	}
}

func secondCommitConflicts(k *kit) {
	k.save("a", "b")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		if err := k.change(ctx, u, "a", 1); err != nil {
			return err
		}
		k.meanwhile("a", 10)
		k.meanwhile("a", 10)
		return k.change(ctx, u, "b", 1)
	})
	k.wantConflict(err, "a", 1, 3)
	k.wantBalance("a", 120, "after a lost update was refused")
	k.wantBalance("b", 100, "after its unit was refused")
}

// removeNow removes an account in a unit of its own.
func (k *kit) removeNow(id string) {
	k.Helper()
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		a, err := k.accounts.In(u).Get(ctx, id)
		if err != nil {
			return err
		}
		return k.accounts.In(u).Remove(a)
	})
}

func updateOfDeleted(k *kit) {
	k.save("a")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		err := k.change(ctx, u, "a", 1)
		k.removeNow("a")
		return err
	})
	k.wantConflict(err, "a", 1, 0)
	k.wantNone("after a change of a removed aggregate was refused", "a")
}

func removeOfChanged(k *kit) {
	k.save("a")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		a, err := k.accounts.In(u).Get(ctx, "a")
		if err != nil {
			return err
		}
		k.meanwhile("a", 1)
		return k.accounts.In(u).Remove(a)
	})
	k.wantConflict(err, "a", 1, 2)
	k.wantBalance("a", 101, "after its removal was refused")
}

func addOfExisting(k *kit) {
	k.save("a")
	k.meanwhile("a", 1)
	add := func(read bool) error {
		return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			if read { // and so have a snapshot without the account
				if _, err := k.accounts.In(u).Get(ctx, "b"); !errors.Is(err, uow.ErrNotFound) {
					k.broken("Get of a missing aggregate should be ErrNotFound; got %v", err)
				}
				k.save("b")
				return k.accounts.In(u).Add(&account{ID: "b", Balance: 1})
			}
			return k.accounts.In(u).Add(&account{ID: "a", Balance: 1})
		})
	}
	k.wantConflict(add(false), "a", 0, 2)
	k.wantBalance("a", 101, "after an addition of the same id was refused")
	k.wantConflict(add(true), "b", 0, 1)
	k.wantBalance("b", 100, "after an addition of the same id was refused")
}

func requiredVersion(k *kit) {
	k.save("a", "b")
	require := func(version int64, between func()) error {
		return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			a, err := k.accounts.In(u).Get(ctx, "a")
			if err != nil {
				return err
			}
			if err := k.accounts.In(u).Require(a, version); err != nil {
				return err
			}
			between()
			return k.change(ctx, u, "b", 1)
		})
	}
	k.must("requiring the version that is there", require(1, func() {}))
	k.wantConflict(require(1, func() { k.meanwhile("a", 1) }), "a", 1, 2)
	k.wantBalance("b", 101, "after a unit was refused because of what it required")
	k.wantConflict(require(1, func() {}), "a", 1, 2)
	k.wantConflict(require(2, func() { k.removeNow("a") }), "a", 2, 0)
	k.wantBalance("b", 101, "after a unit was refused because of what it required")
}

func versionsGoOn(k *kit) {
	k.save("a")
	k.meanwhile("a", 1)
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		err := k.change(ctx, u, "a", 1)
		k.removeNow("a")
		k.save("a")
		k.meanwhile("a", 1)
		return err
	})
	now := k.look("a")
	if now.version <= 3 {
		k.broken("after two commits, a removal, an addition and a change the version should be greater than 3; got %+v", now)
	}
	k.wantConflict(err, "a", 2, now.version)
	k.setUp(func(ctx context.Context, u *uow.Unit) error { // in one unit, and with a flush between
		a, err := k.accounts.In(u).Get(ctx, "a")
		if err != nil {
			return err
		}
		return errors.Join(
			k.accounts.In(u).Remove(a), u.Flush(ctx),
			k.accounts.In(u).Add(&account{ID: "a", Balance: 5}), u.Flush(ctx),
			k.change(ctx, u, "a", 1),
		)
	})
	if after := k.look("a"); after.version <= now.version || after.balance != 6 {
		k.broken("after a removal and an addition in one unit the version should be greater than %d; got %+v", now.version, after)
	}
}
