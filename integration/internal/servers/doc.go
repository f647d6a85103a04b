// Package servers finds the database servers that tests use, and starts private
// ones from installed programs for tests that kill or reconfigure theirs.
//
// A server is looked for in its environment variable, then at its standard port on
// 127.0.0.1; else one is started. Where that can't be done a test is skipped and
// says how to enable it, or fails with REQUIRE_SERVICES=1.
package servers
