// Package uowtest tests what is made of units of work: the operations of a program,
// and stores.
//
// # Operations
//
// Explore answers what happens when step 2 fails, for all steps of an operation and
// all ways to fail. It runs the operation once to count its steps, and then with a
// failure at each of them: before it, after it, with its answer lost, with a panic,
// a cancelled context, or the end of the process. After each run what must be all
// or nothing is compared with what the outcome allows.
//
//	func TestTransfer(t *testing.T) {
//		uowtest.Explore(t, uowtest.Exploration{
//			Config: uow.Config{Collections: []uow.AnyCollection{accounts}},
//			Setup: func(ctx context.Context, x *uowtest.Run) error {
//				return openAccounts(ctx, x.DB)
//			},
//			Operation: func(ctx context.Context, x *uowtest.Run) error {
//				return transfer(ctx, x.DB, "alice", "bob", 30)
//			},
//			Snapshot: func(ctx context.Context, x *uowtest.Run) (any, error) {
//				return balances(ctx, x.DB)
//			},
//		})
//	}
//
// Failures name the step that broke the rule, with the line that took it. The
// guide is docs/testing.md.
//
// FaultyDB, FaultyStore, FaultyLog and FaultyPublisher put faults, chosen by hand,
// between a store or a publisher and its user.
//
// # Stores
//
// TestStore runs the promises of package uow, and what package outbox asks of a log,
// as a suite of checks against a store, whose failures explain the rule that was
// broken. The test file of a store is short:
//
//	func TestStore(t *testing.T) {
//		uowtest.TestStore(t, uowtest.Harness{
//			Open: func(t testing.TB, cfg uow.Config) *uow.DB {
//				db, err := mystore.Open(t.Context(), t.TempDir(), cfg)
//				if err != nil {
//					t.Fatal(err)
//				}
//				t.Cleanup(func() { db.Close() })
//				return db
//			},
//		})
//	}
//
// Names of checks begin with the number of the promise, as in P02_error_rolls_back.
// What a store cannot do is declared in Harness.Lacks, and the checks that need it
// are not run; the log has their names. Run the suite with the race detector.
//
// The checks themselves are proven too: the tests of this package break a store
// in one way after the other and demand that the check which guards against it
// fails. Check.Failures is what makes that possible.
package uowtest
