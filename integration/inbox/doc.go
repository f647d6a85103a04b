// Package inbox kills processes while they handle messages, and shows that each
// message takes effect once all the same.
//
// The test is bounded. These flags make it longer:
//
//	-rounds N  how many rounds there are for each store and claim, with two processes
//	           that are killed in each (default 50)
//	-seed N    the seed of chance; 0, the default, for a new one, which is printed
package inbox
