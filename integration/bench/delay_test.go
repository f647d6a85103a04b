package bench

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// echo is a server that answers what it gets.
func echo(t *testing.T) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func through(t *testing.T, delay time.Duration) net.Conn {
	d, err := NewDelay(echo(t), delay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := net.Dial("tcp", d.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDelayKeepsBytesAndOrder(t *testing.T) {
	c := through(t, time.Microsecond)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		failed <- err
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Error("what came back is not what was sent")
	}
}

// What is sent while other messages are under way does not wait for them: each
// arrives when its own time is over.
func TestDelayIsPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages = 50
		client, in := net.Pipe()
		out, server := net.Pipe()
		d := &Delay{delay: time.Second}
		done := make(chan struct{})
		go func() { defer close(done); d.forward(in, out) }()
		start := time.Now()
		go func() {
			for i := range messages {
				time.Sleep(time.Millisecond)
				_, _ = client.Write([]byte{byte(i)})
			}
		}()
		for i := range messages {
			var got [1]byte
			if _, err := io.ReadFull(server, got[:]); err != nil {
				t.Fatal(err)
			}
			if want := time.Second + time.Duration(i+1)*time.Millisecond; got[0] != byte(i) || time.Since(start) != want {
				t.Errorf("message %d came after %v, want message %d after %v", got[0], time.Since(start), i, want)
			}
		}
		client.Close()
		<-done
	})
}

func TestDelayEndsWithItsConnections(t *testing.T) {
	d, err := NewDelay(echo(t), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", d.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
}
