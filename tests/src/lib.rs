//! Nothing but the place of the integration tests: they are one binary, `integration/main.rs`, with its modules beside it.
//!
//! - `integration/harness.rs` builds plugins and runs jobs in this process, `integration/cli/` runs the binary as a user types it.
//! - `fixtures/` holds input, `golden/` what must come of it, `guests/` components that no example shows.
