package main

const help = `uow looks after the outbox and the inboxes of a database.

    uow COMMAND [--store DATABASE] [--json] [FLAGS]

DATABASE is a file of SQLite, postgres://user:password@host/name or
mysql://user:password@host/name; --schema names the schema of PostgreSQL. It may
be in the environment as UOW_STORE, which keeps passwords out of the list of
processes. Tables are never made or changed: a database without an outbox, or
one of another version, is refused.

Look:
    uow outbox stats            how far each cursor is behind, what is held, who
                                has it, and what holds it up
    uow outbox ls               messages, oldest first
    uow outbox show POSITION|ID one message: headers, body, its state at each cursor
    uow inbox ls                messages that consumers have handled, newest first
    uow inbox streams           how far a consumer (--consumer) is in each stream
    uow schema sqlite|postgres  SQL that makes the outbox' tables (--version N: from
                                that version of them on)

Act, at one cursor:
    uow outbox redrive          publish parked messages again, now
    uow outbox discard          give parked messages up (--state retrying,waiting:
                                those that are not parked)
    uow outbox park             stop trying messages that fail (--reason TEXT); with
                                --key K --state delivered: stop a key that works
    uow outbox replay           publish delivered messages again, with the same ids
                                (--rate N: so many a second)
    uow outbox drop-cursor NAME forget a cursor (--force: though a relay has it)

Which messages (each may be given several times; all must fit):
    --cursor NAME       the relay's cursor; default: default
    --state STATE,…     pending, retrying, waiting, parked or delivered
    --topic, --key, --type, --id TEXT
    --aggregate TYPE    or TYPE/ID
    --position N,…      and --from N, --to N: a range
    --since, --before T a time, a day, or 90m for so long ago
    --limit N           at most so many; default of ls: 100
    --after N           ls: go on after this position
    --all               act on all; else something must select messages

Acting:
    --dry-run           say what would be done, and change nothing
    --yes               do not ask; without a terminal nothing is done otherwise
    --actor NAME        for the audit line on standard error; default: $USER

Inbox: --consumer NAME, --source S and --id ID of one message, --limit N,
--page P as printed.

Exit codes: 0 done; 1 failed; 2 the command line makes no sense; 3 nothing is
there, or nothing is selected; 4 not confirmed.
`
