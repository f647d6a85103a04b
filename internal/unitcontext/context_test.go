package unitcontext_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/uow-go/uow/internal/unitcontext"
)

func begin(parent context.Context) *unitcontext.Context {
	c := &unitcontext.Context{}
	c.Begin(parent)
	return c
}

type key struct{}

func TestEndsByEnd(t *testing.T) {
	for name, asked := range map[string]bool{"asked before": true, "asked after": false} {
		t.Run(name, func(t *testing.T) {
			c := begin(context.WithValue(t.Context(), key{}, 7))
			if asked {
				select {
				case <-c.Done():
					t.Fatal("has ended")
				default:
				}
			}
			if c.Err() != nil || c.Value(key{}) != 7 {
				t.Fatal(c.Err(), c.Value(key{}))
			}
			c.End()
			c.End()
			if !asked && !errors.Is(c.Err(), context.Canceled) {
				t.Error(c.Err())
			}
			<-c.Done()
			if !errors.Is(c.Err(), context.Canceled) || !errors.Is(context.Cause(c), context.Canceled) || c.Value(key{}) != 7 {
				t.Error(c.Err(), context.Cause(c))
			}
		})
	}
}

func TestEndsWithItsParent(t *testing.T) {
	why := errors.New("why")
	parent, cancel := context.WithCancelCause(t.Context())
	c, asked := begin(parent), begin(parent)
	child, stop := context.WithTimeout(asked, time.Hour)
	defer stop()
	cancel(why)
	<-child.Done()
	for _, ctx := range []context.Context{c, asked, child} {
		if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), why) {
			t.Error(ctx.Err(), context.Cause(ctx))
		}
	}
}

func TestChildrenEndWithIt(t *testing.T) {
	c := begin(t.Context())
	child, cancel := context.WithCancel(c)
	defer cancel()
	ran := make(chan struct{})
	context.AfterFunc(child, func() { close(ran) })
	c.End()
	<-ran
	if !errors.Is(child.Err(), context.Canceled) {
		t.Error(child.Err())
	}
}

func TestWaiting(t *testing.T) {
	c := begin(t.Context())
	if unitcontext.Waiting(c) != t.Context() {
		t.Error("not the parent")
	}
	child := context.WithValue(c, key{}, 1)
	if unitcontext.Waiting(child) != child {
		t.Error("a context that was derived is not what it is derived from")
	}
}
