package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// ErrUsage is what errors.Is finds in errors about wrong options.
var ErrUsage = errors.New("tocsin: wrong options")

// Options say how to run tocsin. Their zero value watches tocsin itself and this
// host.
type Options struct {
	// ConfigFile is a prometheus.yml. Default: the built-in configuration.
	ConfigFile string
	// DB is sqlite:PATH, or a path. Default: tocsin.db in DataDir.
	DB string
	// DataDir has the samples, and the database unless DB says otherwise. It is
	// created. Default: tocsin in the user's data directory.
	DataDir string
	// Listen is the address of the page and the API. Default: 127.0.0.1:9096.
	Listen string
	// WebConfigFile has TLS and basic authentication for it, in the format of
	// Prometheus' exporter toolkit. Default: neither.
	WebConfigFile string
	// ExternalURL is how others reach the page. Default: from Listen.
	ExternalURL string
	// ResendDelay is how often an Alertmanager is told again of an alert that has
	// not changed. Default: 1 minute.
	ResendDelay time.Duration
	// Version is shown to users.
	Version string
	// Console gets the notifications of console destinations. Default: standard
	// output.
	Console io.Writer
	// Logger. Default: slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:9096"
	}
	if o.Console == nil {
		o.Console = os.Stdout
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Version == "" {
		o.Version = "development"
	}
	if o.DataDir == "" {
		dir, err := userDataDir()
		if err != nil {
			return o, err
		}
		o.DataDir = filepath.Join(dir, "tocsin")
	}
	path, err := databasePath(o.DB, o.DataDir)
	o.DB = path
	return o, err
}

// databasePath returns the file of a --db option.
func databasePath(db, dataDir string) (string, error) {
	if db == "" {
		return filepath.Join(dataDir, "tocsin.db"), nil
	}
	if path, ok := strings.CutPrefix(db, "sqlite:"); ok {
		if path = strings.TrimPrefix(path, "//"); path == "" {
			return "", fmt.Errorf("%w: --db %q: expected sqlite:PATH", ErrUsage, db)
		}
		return path, nil
	}
	if scheme, _, ok := strings.Cut(db, "://"); ok {
		return "", fmt.Errorf("%w: --db: expected sqlite:PATH, found the scheme %q, which this version does not serve", ErrUsage, scheme)
	}
	return db, nil
}

// userDataDir returns where programs keep the data of the user.
func userDataDir() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		dir, err := os.UserConfigDir() // what these systems have for it
		if err != nil {
			return "", fmt.Errorf("tocsin: no data directory: %w", err)
		}
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("tocsin: no data directory, set --data: %w", err)
	}
	return filepath.Join(home, ".local", "share"), nil
}
