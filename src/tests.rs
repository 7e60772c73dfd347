//! What the tests of all rooms share.

use std::io::Write as _;

pub(crate) mod archives;

/// Says that a test cannot run here, and why, past the test harness, which would swallow it.
///
/// # Panics
/// Under `make test`, which takes no skipping: it sets `UPDATERD_REQUIRE_SYSTEM=1`.
pub(crate) fn skip(why: &str) {
    let required = std::env::var_os("UPDATERD_REQUIRE_SYSTEM").is_some_and(|value| value == "1");
    assert!(!required, "skipped, and UPDATERD_REQUIRE_SYSTEM=1 wants it: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
