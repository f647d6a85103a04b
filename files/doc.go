// Package files is a store over plain files: units of work without a database.
//
//	db, err := files.Open(ctx, "bank", uow.Config{
//		Collections: []uow.AnyCollection{accounts},
//	})
//
// A row is a file that people can read, search and put under version control:
//
//	bank/collections/accounts/alice.json
//
//	{"uow":{"collection":"accounts","id":"alice","version":3,…,"crc32c":"a04002bf"},
//	"body":
//	{"ID":"alice","Balance":100}
//	}
//
// The directory's README.md, written with it, tells people the rest. Nothing is to be
// changed by hand: every file has a checksum, and Open refuses what was changed.
//
// One process at a time may have the directory open. It keeps all rows, and all
// messages that Trim has not deleted, in memory, in the engine of package memory;
// files are read by Open and written afterwards. For more data than that, or more
// processes, there is package sqlite. The system must be a Unix, the file system a
// local one: the store relies on flock, fsync and atomic renames.
//
// # The directory
//
//	uow.json                     the version of the format: {"format":2}
//	README.md                    for people
//	lock                         locked by flock while the directory is open
//	collections/<name>/<id>.json rows
//	removed/<name>/<id>.json     version and sequence of removed rows
//	outbox/<position>.log        messages, in segments named after the first
//	outbox/state.json            cursors, held messages, sizes of segments, and the
//	                             last record of the journal that is in all these
//	journal/<number>.log         records: commits
//	journal/units.json           ids of the newest units, for uow.DB.Resolve
//	tmp/                         files that are being written
//
// Hidden files (.git) are left alone, and anything else is an error. An id is escaped
// in the name of its file, capital letters included, since some file systems do not
// tell them from small ones (as Go's module cache does); a long one ends in its
// SHA-256. A body that is no JSON, and a string that is no UTF-8, stand there as a JSON
// text or as {"base64":…}.
//
// A row's file is exactly what the store would write for what it reads there; the
// checksum, CRC-32C, is that of the header before it and the body. A line of a journal
// or segment is the length of its payload, the checksum of that, and the payload, which
// is JSON in one line.
//
// # A commit
//
// A commit is one record of the journal: the rows as they are afterwards, the messages
// with their positions, changes of cursors. It is committed when fsync has returned
// for it, and not seen by others before. Commits that wait for the journal share a
// record and so an fsync, led by one of them (group commit, as in package sqlite). All
// of them or none is in the journal; each fails alone by what it conflicts with.
//
//	{"record":7,"changes":[{"unit":"…","rows":[…],"messages":[…]},…]}
//
// Records are numbered. The first line of a journal's file has the format and a number
// that the records in it have at least, so that neither a missing file nor a missing
// end of one goes unnoticed when others follow.
//
// When there is no room for a record, its line is cut off again, and its units fail
// with ErrFull. When the fsync fails, the store can't tell what the disk has, and
// neither can another fsync, since the system may have dropped what it could not write
// ("fsyncgate": PostgreSQL's list, 2018; Rebello et al., USENIX ATC 2020). So the units
// of that record are in doubt (uow.InDoubtError), and every other commit fails with
// ErrBroken until the directory is opened again, by which it is decided.
//
// # The files
//
// Some time after a commit (Options.Delay), or when the journal is large
// (Options.JournalSize), what changed is written to the files, by then each row once:
//
//  1. A new file of the journal is begun and synced, with its directory. Commits go
//     on in it.
//  2. Each row is written under tmp, synced, and renamed to its place, atomically.
//     Messages are added behind the size of the last segment, and synced; after an
//     error that segment gets no more.
//  3. The directories are synced.
//  4. state.json is written in the same way, and its directory synced. From now on the
//     files count, and not the old journal.
//  5. The old files of the journal are removed, and segments of which all messages are
//     deleted.
//
// Whatever fails is done again from step 1, into new files; the old journal stays.
// That writing goes to a log before its place, and the log is dropped after it, is
// write-ahead logging; that the log has states rather than operations, and so can be
// replayed any number of times, is physical redo (Gray and Reuter, 1993).
//
// # Open
//
// Open reads and checks everything before it changes anything. A last line of a
// journal that is not whole is what a crash has left of a record that nobody was told
// of, and is dropped. One that others follow is damage: ErrDamaged with the file and
// the byte. (A last record that was committed, and that the disk has damaged since,
// looks like the former. Nothing can tell.)
//
// Then the records that are not in the files are copied to a new journal, which is
// synced: those that were read may never have reached the disk, when the process was
// killed before its fsync, or when that failed. Only then they are applied, by the
// steps above. A crash at any point of this leaves what another Open finishes.
//
// What is assumed of the disk is what POSIX promises: data is there after fsync of the
// file, a name after fsync of its directory, a rename is there or not, and everything
// else may be lost, torn, or reordered (as in Pillai et al., OSDI 2014). The tests play
// that through, at every operation.
package files
