package uowtest

import (
	"context"
	"runtime"
	"runtime/pprof"
	"slices"

	relays "github.com/uow-go/uow/relay"
)

func publisherCloseChecks() []PublisherCheck {
	return []PublisherCheck{
		{
			Name: "P18_publisher_leaves_nothing_behind",
			Rule: "after Close no goroutine and no connection of the publisher may be left",
			run:  publishLeaves,
		},
		{
			Name: "Publisher_closed",
			Rule: "after Close nothing is sent any more, Publish says why, and Close may be called again",
			run:  publishClosed,
		},
		{
			Name:  "Publisher_closed_while_publishing",
			Rule:  "Close must end what is under way, whose outcome is then unknown",
			needs: addressNeeded,
			run:   publishWhileClosing,
		},
	}
}

func publishLeaves(k *publisherKit) {
	address := k.h.Address
	var l *link
	if address != "" {
		l = k.link()
		address = l.address()
	}
	label := k.run
	var p ClosingPublisher // kept to the end: a connection that is garbage would close
	defer func() { runtime.KeepAlive(p) }()
	pprof.Do(k.Context(), pprof.Labels(goroutineLabel, label), func(ctx context.Context) {
		var err error
		p, err = k.destination.Open(ctx, address)
		k.must("open a publisher", err)
		batch := slices.Concat(k.messages(0, 5, "a", "b"), k.free(0, 5))
		k.wantDelivered(batch, p.Publish(ctx, batch))
		k.must("close", p.Close())
	})
	if l != nil && !k.eventually(func() bool { return l.connections() == 0 }) {
		k.broken("%d connections are left", l.connections())
	}
	var left []string
	if !k.eventually(func() bool { left = labelled(label); return len(left) == 0 }) {
		k.broken("%s", left[0])
	}
}

func publishClosed(k *publisherKit) {
	p := k.open()
	first := k.messages(0, 1, "a")
	k.wantDelivered(first, k.publish(p, first))
	k.must("close", p.Close())
	batch := k.messages(1, 2, "a", "b")
	for i, r := range k.publish(p, batch) {
		if r.Outcome != relays.Unavailable && r.Outcome != relays.NotTried {
			k.broken("%s should be called unavailable or not tried; it is %v (%v)", batch[i].ID, r.Outcome, r.Err)
		}
		if r.Err == nil {
			k.broken("%s should have an error that says that the publisher is closed", batch[i].ID)
		}
	}
	if err := p.Close(); err != nil {
		k.broken("the second Close returned %v", err)
	}
	k.wantStored("after Close", first)
}

func publishWhileClosing(k *publisherKit) {
	p, l := k.openLinked()
	warm := k.messages(0, 1, "a")
	k.wantDelivered(warm, k.publish(p, warm))
	l.hold(answers)
	batch := k.messages(1, 2, "a", "b")
	results := k.start(context.WithoutCancel(k.Context()), p, batch)
	if !k.eventually(func() bool { return k.copies(k.stored())[batch[0].ID] > 0 }) {
		k.broken("the message should be sent; it did not arrive")
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	got := results()
	k.judge(batch, got)
	if got[0].Outcome != relays.Unknown {
		k.broken("what was sent should be unknown; it is %v (%v)", got[0].Outcome, got[0].Err)
	}
	k.must("close", await(&k.brokerKit, k.patience, "Close should return", closed))
	l.release()
}
