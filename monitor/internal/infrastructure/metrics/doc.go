// Package metrics fetches metrics, stores them and evaluates rules on them. It
// is Prometheus' scraper, store and query engine, with what tocsin needs to keep
// its promises:
//
//   - Samples from before the process started do not count as present: Open ends
//     every series that was alive, and WaitFirstScrape says when the targets have
//     been asked again. Functions over a range keep the history.
//   - A result says which of its absences mean nothing, since the target that the
//     samples come from is down (domain.Result.Stale).
//   - What rules record and the ALERTS series end when they are over, also across
//     a restart.
//
// Nothing here touches the database of the alerts; all of it may be slow.
package metrics
