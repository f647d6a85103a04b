package main

import (
	"errors"
	"flag"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/uow-go/uow/admin"
)

// flags are those of all commands.
type flags struct {
	store, schema                           string
	json, yes, dryRun, all, force           bool
	cursor, reason, actor, consumer, source string
	after, page                             string
	limit, rate, from                       int
	filter                                  admin.Filter
	rest                                    []string
}

// which commands have which flags, besides store, schema and json.
const (
	selects = "cursor topic key type aggregate id position state from to since before limit"
	acts    = selects + " all dry-run yes actor"
)

func known(verb string) string {
	switch verb {
	case "outbox stats", "outbox show":
		return ""
	case "outbox ls":
		return selects + " after"
	case "outbox redrive", "outbox discard":
		return acts
	case "outbox park":
		return acts + " reason"
	case "outbox replay":
		return acts + " rate"
	case "outbox drop-cursor":
		return "dry-run yes actor force"
	case "inbox ls":
		return "consumer source limit page id"
	case "inbox streams":
		return "consumer limit page"
	}
	return "version"
}

// parse reads the arguments, flags and others in any order.
func (f *flags) parse(verb string, args []string) (wantsHelp bool, err error) {
	set := flag.NewFlagSet(verb, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&f.store, "store", "", "")
	set.StringVar(&f.schema, "schema", "", "")
	set.BoolVar(&f.json, "json", false, "")
	define := f.definitions(set)
	for _, name := range strings.Fields(known(verb)) {
		define[name](name)
	}
	for {
		if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
			return true, nil
		} else if err != nil {
			return false, usage("%s: %s", verb, err)
		}
		if set.NArg() == 0 {
			return false, nil
		}
		f.rest = append(f.rest, set.Arg(0))
		args = set.Args()[1:]
	}
}

// definitions returns what defines each flag.
func (f *flags) definitions(set *flag.FlagSet) map[string]func(name string) {
	text := func(p *string) func(string) { return func(name string) { set.StringVar(p, name, *p, "") } }
	truth := func(p *bool) func(string) { return func(name string) { set.BoolVar(p, name, *p, "") } }
	number := func(p *int) func(string) { return func(name string) { set.IntVar(p, name, *p, "") } }
	long := func(p *int64) func(string) { return func(name string) { set.Int64Var(p, name, *p, "") } }
	list := func(p *[]string) func(string) {
		return func(name string) {
			set.Func(name, "", func(value string) error { *p = append(*p, value); return nil })
		}
	}
	moment := func(p *time.Time) func(string) {
		return func(name string) {
			set.Func(name, "", func(value string) (err error) { *p, err = parseTime(value, time.Now()); return err })
		}
	}
	positions := func(name string) {
		set.Func(name, "", func(value string) error {
			for _, part := range strings.Split(value, ",") {
				n, err := strconv.ParseInt(part, 10, 64)
				if err != nil {
					return errors.New("want numbers, with commas between them")
				}
				f.filter.Positions = append(f.filter.Positions, n)
			}
			return nil
		})
	}
	states := func(name string) {
		set.Func(name, "", func(value string) error {
			for _, part := range strings.Split(value, ",") {
				f.filter.States = append(f.filter.States, admin.State(part))
			}
			return nil
		})
	}
	f.cursor = "default"
	return map[string]func(string){
		"cursor": text(&f.cursor), "topic": list(&f.filter.Topics), "key": list(&f.filter.Keys), "type": list(&f.filter.Types),
		"aggregate": list(&f.filter.Aggregates), "id": list(&f.filter.IDs), "position": positions, "state": states,
		"from": long(&f.filter.From), "to": long(&f.filter.To), "since": moment(&f.filter.Since), "before": moment(&f.filter.Before),
		"limit": number(&f.limit), "all": truth(&f.all), "dry-run": truth(&f.dryRun), "yes": truth(&f.yes), "actor": text(&f.actor),
		"after": text(&f.after), "reason": text(&f.reason), "rate": number(&f.rate), "force": truth(&f.force),
		"consumer": text(&f.consumer), "source": text(&f.source), "page": text(&f.page), "version": number(&f.from),
	}
}

// parseTime reads a time, or for how long ago it is.
func parseTime(value string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(value); err == nil {
		return now.Add(-ago), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, value, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("want a time as 2026-01-31T15:04:05Z, a day, or a duration as 90m for so long ago")
}
