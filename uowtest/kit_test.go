package uowtest

import (
	"testing"

	"github.com/uow-go/uow/driver"
)

// TestSound runs all checks against a store without a fault.
func TestSound(t *testing.T) { TestStore(t, newHarness(fault{})) }

func TestNames(t *testing.T) {
	testNames[Harness](t, Checks(), `^(P[0-9]{2}|Log|Query|Index|Store|Table)_[a-z0-9_]+$`)
}

// TestLacks demands that what a store lacks is reported, and nothing else.
func TestLacks(t *testing.T) {
	none := Harness{Lacks: Capabilities{Outbox: true, UniqueIndexes: true, ConcurrentFlush: true, Nesting: true, Locking: true, Tables: true}}
	testLacks(t, Checks(), none, newHarness(fault{}), func(c Check) bool { return c.needs != 0 })
}

// TestStoreWithoutOutbox runs the checks that are left against a store that
// refuses messages.
func TestStoreWithoutOutbox(t *testing.T) {
	refuse := func(_ *brokenStore, cs *driver.ChangeSet) {
		if len(cs.Messages) > 0 {
			t.Errorf("a check that needs no outbox appends %v", cs.Messages)
		}
	}
	h := newHarness(changes(refuse))
	h.Lacks = Capabilities{Outbox: true, UniqueIndexes: true, Nesting: true, Locking: true, Tables: true}
	TestStore(t, h)
}

// TestImpreciseConflicts demands that a store which refuses units without a conflict
// passes where it declares that, and only there; and that the checks which such a
// store may meet can fail all the same.
func TestImpreciseConflicts(t *testing.T) {
	checks := byName[Harness](t, Checks())
	imprecise := func(f fault) fault {
		f.harness = func(h *Harness) { h.Lacks.PreciseConflicts = true }
		return f
	}
	for name, refuses := range map[string]func() fault{
		"P22_no_message_is_skipped":             refusesEachSecond,
		"P11_locked_aggregates_do_not_conflict": refusesEachSecond,
		"P16_nested_flush_error":                refusesOverlaps,
		"Index_unique_holds_between_units":      refusesOverlaps,
	} {
		if got := checks[name].Failures(t, newHarness(refuses())); len(got) == 0 {
			t.Errorf("%s passes a store that refuses units and does not declare it", name)
		}
		if got := checks[name].Failures(t, newHarness(imprecise(refuses()))); len(got) > 0 {
			t.Errorf("%s does not pass a store that refuses units and declares it: %q", name, got)
		}
		for _, row := range breakages(t) {
			if row.check == name && len(checks[name].Failures(t, newHarness(imprecise(row.how)))) == 0 {
				t.Errorf("%s passes a store that %s and declares that it refuses units", name, row.fault)
			}
		}
	}
}

// TestEachCheckCanFail breaks the store in each way, and demands that the check
// which guards against it fails.
func TestEachCheckCanFail(t *testing.T) {
	testEachCanFail(t, Checks(), breakages(t), func(_ *testing.T, how fault) Harness { return newHarness(how) })
}

func breakages(t testing.TB) []breakage[fault] {
	return []breakage[fault]{
		{"P01_all_or_nothing", "commits half", commitsHalf()},
		{"P01_messages_and_rows_together", "stores the messages of refused units", storesMessagesAnyway()},
		{"P01_nothing_visible_before_the_commit", "makes a flush visible", flushIsVisible()},
		{"P01_one_snapshot", "sees commits of others", seesOtherCommits()},
		{"P01_native_writes", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P01_native_writes", "writes natively beside the unit", nativeOutside()},
		{"P01_readers_see_whole_commits", "sees commits of others", seesOtherCommits()},

		{"P02_error_rolls_back", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P02_error_rolls_back", "commits although the closure failed", ignoresErrors()},
		{"P03_panic_rolls_back_and_goes_on", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P03_panic_rolls_back_and_goes_on", "swallows panics", swallowsPanics()},
		{"P04_goexit_rolls_back", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P04_goexit_rolls_back", "commits after Goexit", commitsInDefer()},
		{"P05_cancelled_context_rolls_back", "commits whatever became of the context", ignoresContext()},
		{"P05_cancelled_context_rolls_back", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P05_expired_context_rolls_back", "commits whatever became of the context", ignoresContext()},
		{"P05_rollback_needs_no_context", "needs the context for a rollback", rollbackNeedsContext()},
		{"P06_close_without_commit_rolls_back", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P06_close_after_commit_does_nothing", "forgets what was flushed", flushDoesNothing()},

		{"P07_use_after_the_end", "leaves units open", neverEnds()},
		{"P07_native_use_after_the_end", "writes natively beside the unit", nativeOutside()},
		// The refusals are package uow's, and its own tests prove them. What a store
		// can break is what the uses that went well have written.
		{"P07_use_from_two_goroutines", "drops a write", dropsLastWrite()},
		{"P08_no_repository_without_a_unit", "leaves units open", neverEnds()},

		{"P09_same_pointer", "gets one row at most", getsAtMost(1)},
		{"P09_queries_see_own_changes", "drops the last row of a query", findDropsLast()},
		{"P09_queries_see_flushed_changes", "drops the last row of a query", findDropsLast()},
		{"P09_limit_counts_own_changes", "halves the limit of a query", findHalvesLimit()},
		{"P09_removed_is_gone", "ignores deletes", ignoresDeletes()},
		{"P10_reading_changes_nothing", "writes what was read", writesWhatWasRead()},
		{"P10_only_changed_rows_are_written", "writes what was read", writesWhatWasRead()},
		{"P10_old_formats_are_no_change", "writes what was read", writesWhatWasRead()},
		{"P10_maps_are_compared", "writes what was read", writesWhatWasRead()},
		{"P10_bodies_come_back_unchanged", "loses zero characters", manglesBodies()},

		{"P11_second_commit_conflicts", "ignores versions", ignoresVersions()},
		{"P11_update_of_a_deleted_row", "ignores versions", ignoresVersions()},
		{"P11_remove_of_a_changed_row", "ignores versions", ignoresVersions()},
		{"P11_add_of_an_existing_row", "ignores versions", ignoresVersions()},
		{"P11_required_version", "ignores checks", ignoresChecks()},
		{"P11_versions_go_on_after_a_removal", "restarts versions", restartsVersions()},
		{"P11_row_57_of_a_batch_of_100", "ignores versions", ignoresVersions()},
		{"P11_every_kind_of_row_in_a_batch", "ignores versions", ignoresVersions()},
		{"P11_flush_finds_conflicts", "ignores versions", ignoresVersions()},
		{"P11_flushed_rows_are_guarded", "applies flushes to whatever is there", flushIsNotGuarded()},
		{"P11_two_units_that_flushed", "applies flushes to whatever is there", flushIsNotGuarded()},
		{"P11_no_lost_updates", "ignores versions", ignoresVersions()},
		{"P11_one_of_many_adds", "ignores versions", ignoresVersions()},

		{"P13_aggregates_are_detached", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P13_aggregates_are_detached", "leaves units open", neverEnds()},
		{"P13_changes_after_the_end_do_nothing", "ends units late", endsLate()},
		{"P18_no_goroutine_outlives_its_unit", "leaks goroutines", leaksGoroutines(t)},
		{"P18_connections_come_back", "does nothing in a rollback", rollbackDoesNothing()},
		{"P18_store_goes_on_after_failures", "loses connections of a small pool", smallPool()},

		{"P14_retry_runs_the_closure_again", "repeats the closure in its own unit", sameUnitAgain()},
		{"P14_retry_after_retryable_errors_only", "repeats after each error", retriesAll()},
		{"P14_retry_is_bounded", "repeats after each error", retriesAll()},
		{"P14_conflicts_are_retried_where_asked", "never repeats", neverRetries()},
		{"P14_conflicts_are_retried_where_asked", "repeats after each error", retriesAll()},
		{"P14_contention_is_retryable", "ignores versions", ignoresVersions()},
		{"P14_contention_is_retryable", "does not tell what a conflict is", hidesClass()},
		{"P15_lost_answer_of_a_commit", "repeats what went well", runsTwice()},
		{"P15_lost_answer_of_no_commit", "never repeats", neverRetries()},
		{"P15_in_doubt", "repeats after each error", retriesAll()},
		{"P15_in_doubt", "takes a failed commit for a success", commitErrorsAreSuccess()},
		{"P15_resolve_tells_the_truth", "knows of no commit", forgetsUnits()},
		{"P15_resolve_tells_the_truth", "lets resolved units commit", resolvesLoosely()},
		{"P17_failed_commit_is_no_success", "takes a failed commit for a success", commitErrorsAreSuccess()},

		{"P16_nested_failure_leaves_no_trace", "keeps what is to be undone", unnestKeeps()},
		{"P16_nested_failure_leaves_no_trace", "has no savepoint where nothing was flushed", nestsLate()},
		{"P16_nested_failure_leaves_no_trace", "does not nest", noNesting()},
		{"P16_nested_native_writes", "keeps what is to be undone", unnestKeeps()},
		{"P16_nested_native_writes", "has no savepoint where nothing was flushed", nestsLate()},
		{"P16_nested_events_and_messages", "undoes rows only", unnestKeepsMessages()},
		{"P16_nested_events_and_messages", "does not nest", noNesting()},
		{"P16_nested_hooks", "does not nest", noNesting()},
		{"P16_nested_success_is_part_of_the_unit", "undoes what is to be kept", unnestDrops()},
		{"P16_nested_success_is_part_of_the_unit", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P16_nested_in_nested", "has one savepoint only", nestsOnce()},
		{"P16_nested_panic_and_goexit", "keeps what is to be undone", unnestKeeps()},
		{"P16_nested_panic_and_goexit", "swallows panics", nestingSwallowsPanics()},
		{"P16_nested_cancelled", "needs the context for the undoing", unnestNeedsContext()},
		{"P16_nested_flush_error", "stays failed", staysFailed()},
		{"P16_nested_flush_error", "keeps what is to be undone", unnestKeeps()},
		{"P16_failed_undo_spoils_the_unit", "does not nest", noNesting()},

		{"P19_events_and_messages_in_order", "reverses messages", reversesMessages()},
		{"P19_events_and_messages_in_order", "drops the last message", dropsLastMessage()},
		{"P19_rollback_stores_none", "stores what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P19_sequences_have_no_gaps", "drops the last message", dropsLastMessage()},
		{"P19_relays_find_streams_in_order", "loses the third event of each stream", scanLosesEvents()},
		{"P19_relays_find_streams_in_order", "reverses messages", reversesMessages()},
		{"P19_messages_are_kept_whole", "drops headers", dropsHeaders()},
		{"P20_nothing_before_the_commit", "makes a flush visible", flushIsVisible()},
		{"P20_nothing_is_forgotten", "shows each message once", scanShowsOnce()},
		{"P22_no_message_is_skipped", "goes past what it does not show", scanSkipsGaps()},
		{"P22_commit_order_is_stream_order", "stores messages after their commit", storesMessagesLate()},
		{"P22_recent_is_the_log", "forgets headers of what is recent", recentWithoutHeaders()},
		{"P22_recent_passes_nothing_of_others", "passes messages of others", recentPassesOthers()},
		{"P22_recent_among_writers", "says that all is recent", recentStopsEarly()},
		{"P22_rollbacks_leave_no_trap", "stores what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P23_held_messages_are_listed", "ignores the filter", heldIgnoresFilter()},
		{"P23_held_state_changes", "ignores releases", settleIgnoresRelease()},
		{"P23_redrive", "redrives nothing", redriveDoesNothing()},
		{"P23_discard", "counts all it was told", discardCountsAll()},
		{"P23_park", "loses the reason", parkLosesReason()},
		{"P23_park_stops_keys", "loses the reason", parkLosesReason()},
		{"P23_park_stops_keys", "stops nothing", parkStopsNothing()},
		{"P23_park_stops_keys", "stops by the first", parkStopsByFirst()},
		{"P23_replay", "replays nothing", replaysNothing()},
		{"P23_replay", "replays what was not delivered", replaysAnything()},
		{"P23_replay_of_partitions", "replays what was not delivered", replaysAnything()},
		{"P23_discard_stays", "holds what was discarded", holdsDiscarded()},
		{"P23_held_belongs_to_its_cursor", "has one cursor for all", sharesCursors()},

		{"P24_once_among_many_deliveries", "loses marks", losesMarks()},
		{"P24_once_among_processes", "ignores versions", ignoresVersions()},
		{"P24_once_among_processes", "loses marks", losesMarks()},
		{"P24_mark_and_effects_are_one", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P24_mark_and_effects_are_one", "loses marks", losesMarks()},
		{"P24_crash_between", "makes a flush visible", flushIsVisible()},
		{"P24_crash_between", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P24_results_are_replayed", "loses zero characters", manglesBodies()},
		{"P24_gaps_and_reorders", "loses places of streams", losesStreams()},
		{"P24_gaps_and_reorders", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P24_forgotten_messages", "keeps marks for ever", keepsMarks()},
		{"P24_forgotten_messages", "does not know what it forgot", forgetsHowFar()},
		{"P24_forgotten_messages", "ignores conditions", findIgnoresWhere()},
		{"P24_marks_are_listed", "ignores the order", findIgnoresOrder()},
		{"P24_marks_are_listed", "drops the last row of a query", findDropsLast()},
		{"P24_marks_are_kept", "forgets everything", forgetsEverything()},

		{"P25_before_commit_can_veto", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P25_after_commit_runs_once_and_after", "says that it committed and did not", commitLies()},
		{"P25_after_commit_runs_once_and_after", "repeats what went well", runsTwice()},
		{"P25_after_commit_not_after_a_failure", "ignores versions", ignoresVersions()},
		{"P25_after_rollback_in_reverse_order", "keeps what was flushed in a rollback", rollbackKeepsFlushed()},
		{"P25_failing_after_hook", "says that it committed and did not", commitLies()},

		{"Log_scan_goes_on_where_it_stopped", "ignores the limit", scanIgnoresLimit()},
		{"Log_acquire", "gives the same epoch again", acquireKeepsEpoch()},
		{"Log_acquire", "tells no time", acquireTellsNoTime()},
		{"Log_stale_lease_changes_nothing", "ignores epochs", settleIgnoresEpochs()},
		{"Log_lease_of_a_dropped_cursor", "ignores epochs", settleIgnoresEpochs()},
		{"Log_cursors_are_independent", "has one cursor for all", sharesCursors()},
		{"Log_stats", "forgets what is parked", statsForgetHeld()},
		{"Log_trim_keeps_what_is_not_delivered", "trims what is not delivered", trimsUndelivered()},
		{"Log_trim_keeps_what_is_held", "trims what is held", trimsHeld()},
		{"Log_trim_heeds_time_and_limit", "ignores the limit of Trim", trimIgnoresLimit()},
		{"Log_trim_heeds_time_and_limit", "ignores the time of Trim", trimIgnoresTime()},
		{"Log_positions_never_come_back", "restarts positions", restartsPositions()},

		{"Log_scan_of_a_share", "ignores the share of a scan", scanIgnoresShare()},
		{"Log_scan_of_a_share", "ignores the share of what is held", heldIgnoresShare()},
		{"P21_a_lease_keeps_others_off", "gives everybody the lease", acquireForces()},
		{"P21_a_lease_keeps_others_off", "does not force", acquireNeverForces()},
		{"P21_a_lease_expires", "has leases that never expire", leasesNeverExpire()},
		{"P21_a_lease_expires", "does not extend leases", settleExtendsNothing()},
		{"P21_a_lease_is_released", "releases nothing", releaseDoesNothing()},
		{"P21_a_lease_is_released", "releases the leases of others", releaseIgnoresEpochs()},
		{"Log_stats_of_partitions", "forgets the partitions", statsForgetParts()},
		{"Log_members", "has members that stay", membersStay()},
		{"P21_partitions_are_independent", "has one position for all partitions", partitionsAreOne()},
		{"P21_partitions_are_independent", "takes any number of partitions", acquireIgnoresPartitions()},
		{"P22_trim_heeds_every_partition", "trims by the furthest partition", trimIgnoresPartitions()},
		{"P21_repartition", "begins new partitions elsewhere", resplitBegins()},
		{"P21_repartition", "forgets what is held", resplitForgets()},
		{"P20_delayed_messages_wait", "delays nothing", delaysNothing()},
		{"P20_delayed_messages_wait", "ignores the limit of Promote", promoteIgnoresLimit()},
		{"P22_delayed_messages_come_once", "repeats what was delayed", promoteRepeats()},
		{"P22_a_restored_log_is_noticed", "ignores where the partition was left", settleIgnoresFrom()},
		{"P22_a_restored_log_is_noticed", "takes what comes late from the beginning", settleTakesBeginning()},
		{"P22_a_restored_log_is_noticed", "takes any log", settleIgnoresLogs()},

		{"Query_by_id", "ignores case in the order", findIgnoresCase()},
		{"Query_missing_values", "ignores conditions", findIgnoresWhere()},
		{"Query_edges", "ignores the order", findIgnoresOrder()},
		{"Query_random", "ignores the limit of a query", findIgnoresLimit()},
		{"Query_across_commits", "drops the last row of a query", findDropsLast()},
		{"P09_counts_and_streams_see_own_changes", "halves the limit of a query", findHalvesLimit()},
		{"P09_counts_and_streams_see_own_changes", "counts everything", countsAll()},
		{"P09_streams_are_whole", "ignores the place of a page", findIgnoresPlace()},
		{"P01_views_are_one_snapshot", "sees commits of others", seesOtherCommits()},
		{"P11_serializable_checks_what_was_read", "ignores checks", ignoresChecks()},
		{"P11_serializable_checks_what_was_read", "ignores ranges", ignoresRanges()},
		{"P11_serializable_goes_through", "takes own changes for those of others", rangesIgnoreOwn()},
		{"P11_locked_aggregates_do_not_conflict", "does not lock", locksNothing()},
		{"P11_locks_keep_others_out", "locks one row only", locksOne()},
		{"Query_random", "ignores the place of a page", findIgnoresPlace()},
		{"Query_random", "counts everything", countsAll()},
		{"Table_values_come_back", "drops the last value", dropsLastValue()},
		{"Table_versions_and_events", "ignores versions", ignoresVersions()},
		{"Table_queries", "ignores conditions", findIgnoresWhere()},
		{"Table_unique_values", "ignores unique indexes", ignoresUnique()},
		{"Table_unique_values", "ignores releases", ignoresReleases()},
		{"Index_unique_values_swap", "ignores releases", ignoresReleases()},
		{"Index_unique_refuses_duplicates", "ignores unique indexes", ignoresUnique()},
		{"Index_unique_missing_values", "lets missing values collide", missingValuesCollide()},
		{"Index_unique_values_move_on", "never frees values", neverFreesValues()},
		{"Index_unique_holds_between_units", "ignores unique indexes", ignoresUnique()},

		{"Store_many_rows", "gets 1000 rows at most", getsAtMost(1000)},
		{"Store_empty_units", "writes what was read", writesWhatWasRead()},
		{"Store_closed", "stays open", staysOpen()},
		{"Store_closed_log", "stays open", staysOpen()},
		{"Store_reopened", "forgets everything", forgetsEverything()},
		{"Store_disposable_collection", "ignores versions", ignoresVersions()},
	}
}
