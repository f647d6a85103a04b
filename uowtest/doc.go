// Package uowtest proves stores. TestStore runs the promises of package uow, and
// what package outbox asks of a log, as a suite of checks against a store, whose
// failures explain the rule that was broken.
//
// The test file of a store is short:
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
// are reported as skipped, by name. Run the suite with the race detector.
//
// The checks themselves are proven too: the tests of this package break a store
// in one way after the other and demand that the check which guards against it
// fails. Check.Failures is what makes that possible.
package uowtest
