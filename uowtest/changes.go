package uowtest

import (
	"context"
	"errors"

	"github.com/uow-go/uow"
)

func changeChecks() []Check {
	return []Check{
		{
			Name: "P10_reading_changes_nothing",
			Rule: "a unit that only reads must write nothing: versions stay as they are",
			run:  readingChangesNothing,
		}, {
			Name: "P10_only_changed_rows_are_written",
			Rule: "only aggregates that differ from what was loaded must be written",
			run:  onlyChangedRows,
		}, {
			Name: "P10_old_formats_are_no_change",
			Rule: "a row that was written in an older encoding must not count as changed until it is",
			run:  oldFormats,
		}, {
			Name: "P10_maps_are_compared",
			Rule: "a change deep in an aggregate, in a map, must be found, and a map that was put back must be no change",
			run:  mapsAreCompared,
		}, {
			Name: "P10_bodies_come_back_unchanged",
			Rule: "a store must give back each byte of an aggregate's encoding or an equal encoding",
			run:  bodiesComeBack,
		},
	}
}

func (k *kit) wantVersion(id string, want int64, when string) {
	k.Helper()
	if got := k.look(id); got.version != want {
		k.broken("%s, accounts/%s should have version %d; got %+v", when, id, want, got)
	}
}

func readingChangesNothing(k *kit) {
	k.save("a", "b")
	for range 3 {
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			r := k.accounts.In(u)
			_, err := r.Get(ctx, "a")
			_, err2 := r.Find(ctx, uow.Query{})
			_, err3 := r.GetMany(ctx, "a", "b", "c")
			k.meanwhile("b", 1) // no conflict for somebody who only reads
			return errors.Join(err, err2, err3)
		})
		if err != nil {
			k.broken("a unit that only reads should commit, whatever others changed; got %v", err)
		}
	}
	k.wantVersion("a", 1, "after units that only read it")
	k.wantVersion("b", 4, "after three changes by others")
}

func onlyChangedRows(k *kit) {
	k.save("a", "b", "c")
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		for id, by := range map[string]int64{"a": 1, "b": 0} {
			if err := k.change(ctx, u, id, by); err != nil {
				return err
			}
		}
		return errors.Join(k.change(ctx, u, "c", 1), k.change(ctx, u, "c", -1))
	})
	k.must("the unit", err)
	k.wantVersion("a", 2, "after a change")
	k.wantVersion("b", 1, "after no change")
	k.wantVersion("c", 1, "after a change that was taken back")

	err = k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		return errors.Join(k.change(ctx, u, "a", 1), u.Flush(ctx), u.Flush(ctx))
	})
	k.must("the unit", err)
	k.wantVersion("a", 3, "after one change, two flushes and a commit")
}

// letterVersion returns the version of the letter l in a new unit.
func (k *kit) letterVersion(fn func(l *letter)) (version int64) {
	k.Helper()
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		l, err := k.letters.In(u).Get(ctx, "l")
		if err != nil {
			return err
		}
		fn(l)
		version, err = k.letters.In(u).Version(l)
		return err
	})
	return version
}

func oldFormats(k *kit) {
	k.codec.old.Store(true)
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return k.letters.In(u).Add(&letter{ID: "l", Words: map[string]int{"b": 2, "a": 1}})
	})
	k.codec.old.Store(false)
	nothing := func(*letter) {}
	k.letterVersion(nothing)
	if v := k.letterVersion(nothing); v != 1 {
		k.broken("a letter that was only read by a program with a new format should still have version 1; got %d", v)
	}
	k.letterVersion(func(l *letter) { l.Extra = "new" })
	if v := k.letterVersion(func(l *letter) {
		if l.Extra != "new" || l.Words["b"] != 2 {
			k.broken("a changed letter should have its old and new fields; got %+v", l)
		}
	}); v != 2 {
		k.broken("a letter that was changed should have version 2; got %d", v)
	}
}

func mapsAreCompared(k *kit) {
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return k.letters.In(u).Add(&letter{ID: "l", Words: map[string]int{"c": 3, "b": 2, "a": 1}})
	})
	k.letterVersion(func(l *letter) {
		l.Words = map[string]int{"a": 1, "b": 2, "c": 3}
	})
	if v := k.letterVersion(func(l *letter) { l.Words["b"] = 20 }); v != 1 {
		k.broken("a letter whose map was replaced by an equal one should still have version 1; got %d", v)
	}
	v := k.letterVersion(func(l *letter) {
		if l.Words["b"] != 20 {
			k.broken("a change in a map should be stored; got %v", l.Words)
		}
	})
	if v != 2 {
		k.broken("a letter with a change in its map should have version 2; got %d", v)
	}
}

func bodiesComeBack(k *kit) {
	text := "quote \" backslash \\ zero \u0000 line \u2028 emoji 🐘 replacement \ufffd <html>&"
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return k.letters.In(u).Add(&letter{ID: "l", Extra: text, Words: map[string]int{text: 1 << 53}})
	})
	v := k.letterVersion(func(l *letter) {
		if l.Extra != text || l.Words[text] != 1<<53 {
			k.broken("texts and numbers should come back as they were stored; got %+v", l)
		}
	})
	if v = max(v, k.letterVersion(func(*letter) {})); v != 1 {
		k.broken("a letter that was only read should have version 1; got %d", v)
	}
}
