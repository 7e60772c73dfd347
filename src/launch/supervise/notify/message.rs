//! What of a container's words to the service manager is passed on. Pure.

/// What a container may say in its unit's name (sd_notify(3)). Not `MAINPID` (the launcher is the
/// main process), nor what widens who may speak for the unit (`NOTIFYACCESS`).
const ALLOWED: [&str; 15] = [
    "READY",
    "STATUS",
    "WATCHDOG",
    "WATCHDOG_USEC",
    "STOPPING",
    "RELOADING",
    "MONOTONIC_USEC",
    "EXTEND_TIMEOUT_USEC",
    "ERRNO",
    "BUSERROR",
    "VARLINKERROR",
    "FDSTORE",
    "FDSTOREREMOVE",
    "FDNAME",
    "FDPOLL",
];
/// Alone in its datagram, with one descriptor: the manager closes that when it has processed all
/// that came before.
const BARRIER: &str = "BARRIER=1";
/// The descriptors of the datagram are to be kept for the unit's next start.
const STORE: &str = "FDSTORE=1";

/// What is left of a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filtered {
    pub(super) text: String,
    /// Whether its descriptors go along: without a reason for them, the manager need not have them.
    pub(super) with_descriptors: bool,
}

/// The allowed part of a datagram with so many descriptors; `None` where nothing is left.
pub(super) fn filter(datagram: &[u8], descriptors: usize) -> Option<Filtered> {
    let text = String::from_utf8_lossy(datagram);
    let lines = || text.lines().filter(|line| !line.is_empty());
    if lines().any(|line| line == BARRIER) {
        // With anything else in it, the manager would pass over the whole of it.
        return (lines().count() == 1 && descriptors == 1)
            .then(|| Filtered { text: BARRIER.to_owned(), with_descriptors: true });
    }
    let is_allowed =
        |line: &&str| line.split_once('=').is_some_and(|(name, _)| ALLOWED.contains(&name));
    let kept: Vec<&str> = lines().filter(is_allowed).collect();
    let with_descriptors = descriptors > 0 && kept.contains(&STORE);
    (!kept.is_empty()).then(|| Filtered { text: kept.join("\n"), with_descriptors })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(datagram: &[u8]) -> Option<String> {
        filter(datagram, 0).map(|filtered| filtered.text)
    }

    #[test]
    fn passes_on_only_what_is_allowed() {
        let told = b"READY=1\nMAINPID=1\nSTATUS=up = fine\nNOTIFYACCESS=all\nREADYX=1\n";
        assert_eq!(text(told).unwrap(), "READY=1\nSTATUS=up = fine");
        assert_eq!(text(b"MAINPID=1\nMAINPIDFDID=1"), None);
        assert_eq!(text(b"READY"), None);
        assert_eq!(text(b"STATUS=\xff").unwrap(), "STATUS=\u{fffd}");
        assert_eq!(text(b"WATCHDOG=trigger").unwrap(), "WATCHDOG=trigger");
    }

    #[test]
    fn descriptors_go_along_only_to_be_stored() {
        let store = filter(b"FDSTORE=1\nFDNAME=state\nFDPOLL=0", 3).unwrap();
        assert_eq!(store.text, "FDSTORE=1\nFDNAME=state\nFDPOLL=0");
        assert!(store.with_descriptors);
        assert!(!filter(b"FDSTORE=1", 0).unwrap().with_descriptors);
        assert!(!filter(b"FDSTORE=0\nREADY=1", 1).unwrap().with_descriptors);
        assert!(!filter(b"READY=1", 1).unwrap().with_descriptors);
        assert!(!filter(b"FDSTOREREMOVE=1\nFDNAME=state", 1).unwrap().with_descriptors);
    }

    #[test]
    fn a_barrier_comes_alone_and_with_one_descriptor() {
        for barrier in [&b"BARRIER=1"[..], b"BARRIER=1\n"] {
            let passed = filter(barrier, 1).unwrap();
            assert_eq!((&*passed.text, passed.with_descriptors), (BARRIER, true));
            assert_eq!(filter(barrier, 0), None);
            assert_eq!(filter(barrier, 2), None);
        }
        assert_eq!(filter(b"READY=1\nBARRIER=1", 1), None);
        assert_eq!(text(b"BARRIER=0\nREADY=1").unwrap(), "READY=1");
    }

    proptest! {
        #[test]
        fn nothing_else_gets_through(
            datagram in proptest::collection::vec(any::<u8>(), 0..200),
            descriptors in 0usize..3,
        ) {
            if let Some(filtered) = filter(&datagram, descriptors) {
                for line in filtered.text.lines() {
                    let (name, _) = line.split_once('=').unwrap();
                    prop_assert!(ALLOWED.contains(&name) || line == BARRIER);
                }
                prop_assert!(!filtered.with_descriptors || descriptors > 0);
            }
        }
    }
}
