// Command tocsin is alerting that is transactional: it fetches metrics, evaluates
// Prometheus rules and emits alerts, and each evaluation is one unit of work.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/uow-go/uow/monitor/internal/app"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// cli is the command line.
type cli struct {
	Run     runCommand       `cmd:"" default:"withargs" help:"Watch, evaluate and alert (the default). With no flags: tocsin itself and this host."`
	Check   checkCommand     `cmd:"" help:"Check files without running anything."`
	Version kong.VersionFlag `help:"Print the version and leave."`
}

type runCommand struct {
	Config      string `short:"c" placeholder:"FILE" help:"A prometheus.yml. Default: watch tocsin itself and this host, with sample rules."`
	DB          string `name:"db" placeholder:"sqlite:PATH" help:"The database. Default: tocsin.db in the data directory."`
	Data        string `placeholder:"DIR" help:"The data directory. Default: tocsin in the user's data directory."`
	Listen      string `default:"127.0.0.1:9096" placeholder:"ADDRESS" help:"Where to serve the page and the API (${default})."`
	WebConfig   string `placeholder:"FILE" help:"TLS and basic authentication for them, in the exporter toolkit's format."`
	ExternalURL string `name:"external-url" placeholder:"URL" help:"How others reach the page. Default: from --listen."`
	LogLevel    string `enum:"debug,info,warn,error" default:"info" help:"debug, info, warn or error (${default})."`
	LogFormat   string `enum:"text,json" default:"text" help:"text or json (${default})."`
}

type checkCommand struct {
	Config checkConfig `cmd:"" help:"Check a configuration, with the rule files that it names."`
}

type checkConfig struct {
	File string `arg:"" help:"The prometheus.yml."`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	exit := -1
	var c cli
	parser, err := kong.New(&c,
		kong.Name("tocsin"),
		kong.Description("Alerting that is transactional: it reads prometheus.yml and rule files as they are, "+
			"and loses no alert to a crash.\n\nExamples:\n"+
			"  tocsin                                     watch this machine, http://127.0.0.1:9096\n"+
			"  tocsin run --config prometheus.yml         watch what your Prometheus watches\n"+
			"  tocsin check config prometheus.yml         find mistakes before a start"),
		kong.Vars{"version": version()},
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "tocsin:", err)
		return 1
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 { // --help and --version have printed
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "tocsin: %v (see tocsin --help)\n", err)
		return 2
	}
	parsed.Bind(&streams{stdout: stdout, stderr: stderr})
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

type streams struct{ stdout, stderr io.Writer }

// Run runs the daemon until a signal ends it.
func (r *runCommand) Run(s *streams) error {
	logger, err := r.logger(s.stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a, err := app.New(ctx, app.Options{
		ConfigFile:    r.Config,
		DB:            r.DB,
		DataDir:       r.Data,
		Listen:        r.Listen,
		WebConfigFile: r.WebConfig,
		ExternalURL:   r.ExternalURL,
		Version:       version(),
		Console:       s.stdout,
		Logger:        logger,
	})
	if err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	go func() {
		for range reload {
			if err := a.Reload(ctx); err != nil {
				logger.Error("reload failed, the old configuration stays", "error", err)
			}
		}
	}()
	fmt.Fprintln(s.stderr, a.Greeting())
	return a.Run(ctx)
}

func (r *runCommand) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(r.LogLevel)); err != nil {
		return nil, fmt.Errorf("tocsin: --log-level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: level}
	if r.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return slog.New(slog.NewTextHandler(w, opts)), nil
}

// Run checks the configuration and says what it has.
func (c *checkConfig) Run(s *streams) error {
	cfg, err := config.Load(c.File)
	if err != nil {
		return err
	}
	rules := 0
	for _, g := range cfg.Groups {
		rules += len(g.Rules)
	}
	fmt.Fprintf(s.stdout, "%s is good: %d scrape configurations, %d rule groups with %d rules\n",
		c.File, len(cfg.ScrapeConfigs), len(cfg.Groups), rules)
	for _, name := range cfg.Ignored {
		fmt.Fprintf(s.stdout, "ignored: %s\n", name)
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(s.stdout, "warning: %s\n", w)
	}
	return nil
}

// version returns the version that the program was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "development"
	}
	return info.Main.Version
}
