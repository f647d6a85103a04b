// Package embedded runs a NATS server with JetStream within the process, so that a
// program publishes its events, and reads them, with no broker beside it.
//
//	server, err := embedded.Start(embedded.Config{Dir: "events"})
//	p, err := nats.New(ctx, nats.Config{
//		Options: []client.Option{server.InProcess()},
//		Stream:  "EVENTS", Source: "/orders",
//		Create:  &jetstream.StreamConfig{Subjects: []string{"orders"}, AllowAtomicPublish: true},
//	})
//
// The server syncs its files before it acknowledges, so that what is confirmed outlives
// a power failure. That makes single messages slow, some thousand a second, and atomic
// batches fast, since they are synced once: let streams allow them.
//
// It listens to nobody outside the process unless Config.Listen asks for it. Its
// directory belongs to one server at a time, which locks it: Start fails with ErrInUse.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
)

// ErrConfig is what errors.Is finds in errors of Start that are about its Config.
var ErrConfig = errors.New("embedded: wrong configuration")

// ErrInUse is what errors.Is finds when another server, of this process or another,
// uses the directory.
var ErrInUse = errors.New("embedded: the directory is in use")

// Config says where the server keeps its files, and who may connect.
type Config struct {
	// Dir is where streams are kept. It is created when it does not exist. Required.
	Dir string
	// Listen is an address, "host:port", to listen on for clients outside the process.
	// They are not asked who they are. Port 0 is any free port. Default: none.
	Listen string
	// MaxPayload is the size of the largest message, its headers included. Default:
	// 8 MiB.
	MaxPayload int32
	// StartTimeout is how long Start waits for the server, which reads its files first.
	// Default: 30s.
	StartTimeout time.Duration
	// Log gets what the server says. Default: it is silent.
	Log server.Logger
}

// Server is a server that runs.
type Server struct {
	server *server.Server
	lock   *os.File
	once   sync.Once
}

// Start starts a server and waits until it is ready. The caller must Close it, after
// its clients.
func Start(cfg Config) (*Server, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	locked, err := lock(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(options)
	if err != nil {
		_ = locked.Close()
		return nil, fmt.Errorf("embedded: %w", err)
	}
	if cfg.Log != nil {
		s.SetLoggerV2(cfg.Log, false, false, false)
	}
	s.Start()
	running := &Server{server: s, lock: locked}
	if !s.ReadyForConnections(cfg.StartTimeout) || !s.JetStreamEnabled() {
		_ = running.Close()
		return nil, fmt.Errorf("embedded: the server was not ready within %v, or has no JetStream in %s", cfg.StartTimeout, cfg.Dir)
	}
	return running, nil
}

func (c *Config) options() (*server.Options, error) {
	switch {
	case c.Dir == "":
		return nil, fmt.Errorf("%w: Dir is missing", ErrConfig)
	case c.MaxPayload < 0 || c.StartTimeout < 0:
		return nil, fmt.Errorf("%w: MaxPayload and StartTimeout can't be negative", ErrConfig)
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 8 << 20
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 30 * time.Second
	}
	options := &server.Options{
		ServerName: "embedded",
		JetStream:  true,
		StoreDir:   c.Dir,
		SyncAlways: true, // an acknowledgement means that it is on disk
		MaxPayload: c.MaxPayload,
		MaxPending: int64(max(c.MaxPayload*2, 64<<20)),
		DontListen: c.Listen == "",
		NoSigs:     true, // signals are the program's
		NoLog:      c.Log == nil,
	}
	if c.Listen == "" {
		return options, nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("%w: Listen: %w", ErrConfig, err)
	}
	number, err := strconv.Atoi(port)
	if err != nil || number < 0 || number > 65535 {
		return nil, fmt.Errorf("%w: Listen has no port", ErrConfig)
	}
	if options.Host, options.Port = host, number; number == 0 {
		options.Port = server.RANDOM_PORT
	}
	return options, nil
}

// InProcess is the option of a client that connects to the server without a network.
func (s *Server) InProcess() client.Option { return client.InProcessServer(s.server) }

// Address returns where the server listens, as "host:port"; empty when it does not.
func (s *Server) Address() string {
	if a := s.server.Addr(); a != nil {
		return a.String()
	}
	return ""
}

// Close stops the server and waits for its end. It may be called again.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		err = s.lock.Close()
	})
	return err
}
